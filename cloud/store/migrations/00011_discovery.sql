-- +goose Up

-- The client devices of what was offered to a core, until it failed or a later
-- deployment of the group succeeded. Discovery lists those of a Success.
CREATE TABLE client_device (
    partition       TEXT   NOT NULL,
    group_id        TEXT   NOT NULL,
    number          BIGINT NOT NULL, -- the deployment's
    thing           TEXT   NOT NULL,
    certificate_arn TEXT   NOT NULL,
    PRIMARY KEY (partition, group_id, number, thing, certificate_arn),
    FOREIGN KEY (partition, group_id, number) REFERENCES deployment (partition, group_id, number) ON DELETE CASCADE
);
CREATE INDEX client_device_thing ON client_device (partition, thing, group_id);

-- +goose Down
SELECT 1;
