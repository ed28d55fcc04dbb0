-- +goose Up

CREATE TABLE thing_type (
    partition       TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    description     TEXT   NOT NULL,
    attributes_json TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,
    -- 0 is not deprecated.
    deprecated_at   BIGINT NOT NULL,
    PRIMARY KEY (partition, name)
);

-- The things of a type.
CREATE INDEX thing_type_thing ON thing (partition, type, name) WHERE type <> '';

-- +goose Down
SELECT 1;
