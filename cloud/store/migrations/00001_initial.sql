-- +goose Up

-- Times are milliseconds since the epoch, UTC. partition is "account/region".
-- Columns named *_json hold JSON text; columns named sealed hold what only the
-- master key opens.

CREATE TABLE server_setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Authorities and signing keys of the server, wrapped.
CREATE TABLE server_key (
    id         TEXT PRIMARY KEY,
    purpose    TEXT   NOT NULL, -- listener-authority, device-authority, signing
    public_pem TEXT   NOT NULL,
    sealed     TEXT   NOT NULL, -- base64
    created_at BIGINT NOT NULL
);
CREATE INDEX server_key_purpose ON server_key (purpose, created_at);

CREATE TABLE access_key (
    id         TEXT PRIMARY KEY,
    account    TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    sealed     TEXT   NOT NULL, -- base64
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

-- Client tokens of idempotent create calls; subject is the id of what was made.
CREATE TABLE client_token (
    partition    TEXT   NOT NULL,
    operation    TEXT   NOT NULL,
    value        TEXT   NOT NULL,
    request_hash TEXT   NOT NULL,
    subject      TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (partition, operation, value)
);

-- Groups and the seven kinds of definition; kind is the URL segment.
CREATE TABLE definition (
    partition      TEXT   NOT NULL,
    kind           TEXT   NOT NULL,
    id             TEXT   NOT NULL,
    name           TEXT   NOT NULL,
    latest_version TEXT   NOT NULL,
    tags_json      TEXT   NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (partition, kind, id)
);

-- number orders the versions of one container: 1, 2, 3, …
CREATE TABLE definition_version (
    partition     TEXT   NOT NULL,
    kind          TEXT   NOT NULL,
    definition_id TEXT   NOT NULL,
    id            TEXT   NOT NULL,
    number        BIGINT NOT NULL,
    body_json     TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (partition, kind, definition_id, id),
    FOREIGN KEY (partition, kind, definition_id)
        REFERENCES definition (partition, kind, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX definition_version_number
    ON definition_version (partition, kind, definition_id, number);

-- The service role of a partition (group_id empty) and the roles of groups.
CREATE TABLE greengrass_role (
    partition     TEXT   NOT NULL,
    group_id      TEXT   NOT NULL,
    role_arn      TEXT   NOT NULL,
    associated_at BIGINT NOT NULL,
    PRIMARY KEY (partition, group_id)
);

CREATE TABLE deployment (
    partition        TEXT   NOT NULL,
    id               TEXT   NOT NULL,
    group_id         TEXT   NOT NULL,
    group_version_id TEXT   NOT NULL,
    type             TEXT   NOT NULL,
    status           TEXT   NOT NULL,
    phase            TEXT   NOT NULL,
    core_thing       TEXT   NOT NULL,
    epoch            BIGINT NOT NULL,
    error_message    TEXT   NOT NULL,
    details_json     TEXT   NOT NULL,
    envelope         TEXT   NOT NULL, -- the signed manifest, JSON
    artifacts_json   TEXT   NOT NULL, -- hashes that the core may fetch
    number           BIGINT NOT NULL, -- orders the deployments of one group
    revision         BIGINT NOT NULL,
    leased_until     BIGINT NOT NULL, -- who builds it has until then
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    PRIMARY KEY (partition, id)
);
CREATE UNIQUE INDEX deployment_group ON deployment (partition, group_id, number);
-- At most one deployment of a group is being built.
CREATE UNIQUE INDEX deployment_building ON deployment (partition, group_id) WHERE status = 'Building';
CREATE INDEX deployment_building_lease ON deployment (leased_until) WHERE status = 'Building';
-- What waits for a core or is under way on it.
CREATE INDEX deployment_waiting ON deployment (partition, core_thing, epoch)
    WHERE status = 'InProgress' OR type = 'ForceResetDeployment';

CREATE TABLE deployment_step (
    partition     TEXT   NOT NULL,
    deployment_id TEXT   NOT NULL,
    number        BIGINT NOT NULL,
    event         TEXT   NOT NULL,
    actor         TEXT   NOT NULL,
    note          TEXT   NOT NULL,
    at            BIGINT NOT NULL,
    PRIMARY KEY (partition, deployment_id, number),
    FOREIGN KEY (partition, deployment_id) REFERENCES deployment (partition, id) ON DELETE CASCADE
);

-- Cores, by thing: the highest epoch given out, and which group owns the core.
CREATE TABLE core (
    partition TEXT   NOT NULL,
    thing     TEXT   NOT NULL,
    epoch     BIGINT NOT NULL,
    group_id  TEXT   NOT NULL, -- empty: no group
    PRIMARY KEY (partition, thing)
);
CREATE INDEX core_group ON core (partition, group_id);

CREATE TABLE thing (
    partition       TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    type            TEXT   NOT NULL,
    attributes_json TEXT   NOT NULL,
    version         BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (partition, name)
);

-- A certificate belongs to one partition: its id alone is the key.
CREATE TABLE certificate (
    id         TEXT PRIMARY KEY,
    partition  TEXT   NOT NULL,
    pem        TEXT   NOT NULL,
    status     TEXT   NOT NULL,
    mode       TEXT   NOT NULL,
    not_before BIGINT NOT NULL,
    not_after  BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX certificate_created ON certificate (partition, created_at, id);

CREATE TABLE thing_certificate (
    partition      TEXT NOT NULL,
    thing          TEXT NOT NULL,
    certificate_id TEXT NOT NULL,
    PRIMARY KEY (partition, thing, certificate_id),
    FOREIGN KEY (partition, thing) REFERENCES thing (partition, name),
    FOREIGN KEY (certificate_id) REFERENCES certificate (id)
);
CREATE INDEX thing_certificate_certificate ON thing_certificate (certificate_id);

CREATE TABLE policy (
    partition       TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    default_version BIGINT NOT NULL,
    last_version    BIGINT NOT NULL, -- numbers are never given twice
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    PRIMARY KEY (partition, name)
);
CREATE INDEX policy_created ON policy (partition, created_at, name);

CREATE TABLE policy_version (
    partition  TEXT   NOT NULL,
    policy     TEXT   NOT NULL,
    number     BIGINT NOT NULL,
    document   TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (partition, policy, number),
    FOREIGN KEY (partition, policy) REFERENCES policy (partition, name) ON DELETE CASCADE
);

CREATE TABLE policy_target (
    partition      TEXT NOT NULL,
    policy         TEXT NOT NULL,
    certificate_id TEXT NOT NULL,
    PRIMARY KEY (partition, policy, certificate_id),
    FOREIGN KEY (partition, policy) REFERENCES policy (partition, name),
    FOREIGN KEY (certificate_id) REFERENCES certificate (id)
);
CREATE INDEX policy_target_certificate ON policy_target (certificate_id);

-- Lambda functions. last_version is the highest number ever published;
-- unpublished is true when $LATEST changed since then.
CREATE TABLE lambda_function (
    partition    TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    last_version BIGINT  NOT NULL,
    unpublished  BOOLEAN NOT NULL,
    tags_json    TEXT    NOT NULL,
    created_at   BIGINT  NOT NULL,
    PRIMARY KEY (partition, name)
);

-- number is 0 for $LATEST. config_json is fescue.FunctionVersion.
CREATE TABLE lambda_version (
    partition   TEXT   NOT NULL,
    function    TEXT   NOT NULL,
    number      BIGINT NOT NULL,
    revision_id TEXT   NOT NULL,
    code_hash   TEXT   NOT NULL,
    config_json TEXT   NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (partition, function, number),
    FOREIGN KEY (partition, function) REFERENCES lambda_function (partition, name) ON DELETE CASCADE
);
CREATE INDEX lambda_version_code ON lambda_version (partition, code_hash);

CREATE TABLE lambda_alias (
    partition   TEXT   NOT NULL,
    function    TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    number      BIGINT NOT NULL,
    description TEXT   NOT NULL,
    revision_id TEXT   NOT NULL,
    PRIMARY KEY (partition, function, name),
    FOREIGN KEY (partition, function, number) REFERENCES lambda_version (partition, function, number)
);

-- +goose Down
SELECT 1;
