-- +goose Up

-- Where notifications go, and those that still have to: one row for each
-- destination, written in the transaction of the change that it tells. revision
-- orders those of one deployment.
CREATE TABLE event_destination (
    name TEXT PRIMARY KEY
);

CREATE TABLE event_outbox (
    destination   TEXT   NOT NULL,
    id            TEXT   NOT NULL,
    partition     TEXT   NOT NULL,
    deployment_id TEXT   NOT NULL,
    revision      BIGINT NOT NULL,
    body_json     TEXT   NOT NULL,
    attempts      BIGINT NOT NULL,
    due_at        BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (destination, id)
);
CREATE UNIQUE INDEX event_outbox_order ON event_outbox (destination, partition, deployment_id, revision);
CREATE INDEX event_outbox_due ON event_outbox (destination, due_at);
CREATE INDEX event_outbox_created ON event_outbox (created_at);

-- Work that one server at a time does.
CREATE TABLE server_lease (
    name   TEXT PRIMARY KEY,
    holder TEXT   NOT NULL,
    until  BIGINT NOT NULL
);

-- Bulk deployments. number orders those of one partition; the counts are the
-- API's metrics, kept with every record that changes.
CREATE TABLE bulk_deployment (
    partition         TEXT   NOT NULL,
    id                TEXT   NOT NULL,
    number            BIGINT NOT NULL,
    status            TEXT   NOT NULL,
    execution_role    TEXT   NOT NULL,
    bucket            TEXT   NOT NULL,
    object_key        TEXT   NOT NULL,
    tags_json         TEXT   NOT NULL,
    error_message     TEXT   NOT NULL,
    details_json      TEXT   NOT NULL,
    records_processed BIGINT NOT NULL,
    invalid_records   BIGINT NOT NULL,
    retry_attempts    BIGINT NOT NULL,
    reports           BIGINT NOT NULL, -- the number of the newest report
    created_at        BIGINT NOT NULL,
    PRIMARY KEY (partition, id)
);
CREATE UNIQUE INDEX bulk_deployment_number ON bulk_deployment (partition, number);
-- At most one of a partition has not ended.
CREATE UNIQUE INDEX bulk_deployment_active ON bulk_deployment (partition)
    WHERE status IN ('Initializing', 'Running', 'Stopping');

-- The lines of their input. report is 0 until the record has become a deployment
-- or has failed, and then numbers those of one bulk deployment.
CREATE TABLE bulk_record (
    partition        TEXT   NOT NULL,
    bulk_id          TEXT   NOT NULL,
    line             BIGINT NOT NULL,
    group_id         TEXT   NOT NULL,
    group_version_id TEXT   NOT NULL,
    attempts         BIGINT NOT NULL,
    due_at           BIGINT NOT NULL,
    report           BIGINT NOT NULL,
    deployment_id    TEXT   NOT NULL,
    error_message    TEXT   NOT NULL,
    details_json     TEXT   NOT NULL,
    reported_at      BIGINT NOT NULL,
    PRIMARY KEY (partition, bulk_id, line),
    FOREIGN KEY (partition, bulk_id) REFERENCES bulk_deployment (partition, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX bulk_record_report ON bulk_record (partition, bulk_id, report) WHERE report > 0;
CREATE INDEX bulk_record_due ON bulk_record (partition, bulk_id, due_at, line) WHERE report = 0;

-- +goose Down
SELECT 1;
