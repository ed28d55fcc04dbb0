-- What the core's persistent MQTT sessions in the cloud may be subscribed to: it is noted
-- before it is asked for, and removed when the cloud has let go of it.
CREATE TABLE session (
    client TEXT NOT NULL, -- the MQTT client id
    filter TEXT NOT NULL,
    PRIMARY KEY (client, filter)
) STRICT, WITHOUT ROWID;
