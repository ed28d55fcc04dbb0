-- +goose Up

-- Device shadows; name is empty for the classic one. What is left of a deleted
-- one is its version, for a while.
CREATE TABLE shadow (
    partition     TEXT   NOT NULL,
    thing         TEXT   NOT NULL, -- need not be registered
    name          TEXT   NOT NULL,
    document_json TEXT   NOT NULL,
    version       BIGINT NOT NULL,
    revision      BIGINT NOT NULL, -- rises with every write, deletions included
    deleted_at    BIGINT NOT NULL, -- 0: it exists
    PRIMARY KEY (partition, thing, name)
);
CREATE INDEX shadow_deleted ON shadow (deleted_at) WHERE deleted_at > 0;

CREATE TABLE role_alias (
    partition  TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    role_arn   TEXT   NOT NULL,
    owner      TEXT   NOT NULL,
    lifetime   BIGINT NOT NULL, -- of credentials, in seconds
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (partition, name)
);
CREATE INDEX role_alias_created ON role_alias (partition, created_at, name);

-- AWS IoT jobs. open counts the executions that have not ended.
CREATE TABLE job (
    partition    TEXT   NOT NULL,
    id           TEXT   NOT NULL,
    status       TEXT   NOT NULL,
    open         BIGINT NOT NULL,
    body_json    TEXT   NOT NULL, -- what CreateJob fixed
    reason_code  TEXT   NOT NULL,
    comment      TEXT   NOT NULL,
    forced       BOOLEAN NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    completed_at BIGINT NOT NULL, -- 0: it has not ended
    PRIMARY KEY (partition, id)
);
CREATE INDEX job_created ON job (partition, created_at, id);

CREATE TABLE job_execution (
    partition    TEXT   NOT NULL,
    job_id       TEXT   NOT NULL,
    thing        TEXT   NOT NULL,
    status       TEXT   NOT NULL,
    details_json TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    forced       BOOLEAN NOT NULL,
    queued_at    BIGINT NOT NULL,
    started_at   BIGINT NOT NULL, -- 0: it has not been
    updated_at   BIGINT NOT NULL,
    timeout_at   BIGINT NOT NULL, -- 0: never
    PRIMARY KEY (partition, job_id, thing),
    FOREIGN KEY (partition, job_id) REFERENCES job (partition, id) ON DELETE CASCADE
);
CREATE INDEX job_execution_thing ON job_execution (partition, thing, queued_at, job_id);
CREATE INDEX job_execution_timeout ON job_execution (timeout_at) WHERE timeout_at > 0;

-- Statements of the resource policies of functions; qualifier is empty for the
-- function itself.
CREATE TABLE lambda_permission (
    partition      TEXT   NOT NULL,
    function       TEXT   NOT NULL,
    qualifier      TEXT   NOT NULL,
    id             TEXT   NOT NULL,
    statement_json TEXT   NOT NULL,
    created_at     BIGINT NOT NULL,
    PRIMARY KEY (partition, function, qualifier, id),
    FOREIGN KEY (partition, function) REFERENCES lambda_function (partition, name) ON DELETE CASCADE
);

-- +goose Down
SELECT 1;
