-- +goose Up

-- Where client devices reach a core, as UpdateConnectivityInfo took it.
CREATE TABLE core_connectivity (
    partition  TEXT   NOT NULL,
    thing      TEXT   NOT NULL,
    version    TEXT   NOT NULL,
    info_json  TEXT   NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (partition, thing)
);

-- Whether a core is to send telemetry, and what it last said it does; empty
-- where nobody said anything.
CREATE TABLE core_telemetry (
    partition TEXT NOT NULL,
    thing     TEXT NOT NULL,
    desired   TEXT NOT NULL,
    reported  TEXT NOT NULL,
    PRIMARY KEY (partition, thing)
);

-- The certificate authorities of groups; the one with the highest number signs.
-- kind is the group's, for the reference.
CREATE TABLE group_authority (
    partition       TEXT   NOT NULL,
    kind            TEXT   NOT NULL CHECK (kind = 'groups'),
    group_id        TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    number          BIGINT NOT NULL,
    certificate_pem TEXT   NOT NULL,
    sealed          TEXT   NOT NULL, -- base64; empty once another signs
    leaves_until    BIGINT NOT NULL, -- end of the last certificate it signed
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (partition, group_id, id),
    FOREIGN KEY (partition, kind, group_id)
        REFERENCES definition (partition, kind, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX group_authority_number ON group_authority (partition, group_id, number);

-- Lifetime in milliseconds of the certificates that a group's authority signs,
-- where it is not the default.
CREATE TABLE group_certificate_expiry (
    partition TEXT   NOT NULL,
    kind      TEXT   NOT NULL CHECK (kind = 'groups'),
    group_id  TEXT   NOT NULL,
    lifetime  BIGINT NOT NULL,
    PRIMARY KEY (partition, group_id),
    FOREIGN KEY (partition, kind, group_id)
        REFERENCES definition (partition, kind, id) ON DELETE CASCADE
);

-- +goose Down
SELECT 1;
