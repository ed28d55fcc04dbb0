-- +goose Up

-- What cores send of their logs, in the pieces in which it came.
CREATE TABLE core_log (
    partition TEXT   NOT NULL,
    group_id  TEXT   NOT NULL,
    thing     TEXT   NOT NULL,
    id        TEXT   NOT NULL, -- by the core's batch: one that comes twice is kept once
    at        BIGINT NOT NULL, -- when it came
    component TEXT   NOT NULL, -- GreengrassSystem or Lambda
    name      TEXT   NOT NULL, -- of the component's file, or of the function
    bytes     BIGINT NOT NULL, -- of body
    body      TEXT   NOT NULL, -- base64 of gzip of JSON
    PRIMARY KEY (partition, thing, id)
);
CREATE INDEX core_log_group ON core_log (partition, group_id, at, id);
CREATE INDEX core_log_thing ON core_log (partition, thing, at, id);
CREATE INDEX core_log_age ON core_log (at);

-- How much is kept of each core.
CREATE TABLE core_log_space (
    partition TEXT   NOT NULL,
    thing     TEXT   NOT NULL,
    bytes     BIGINT NOT NULL,
    PRIMARY KEY (partition, thing)
);

-- +goose Down
SELECT 1;
