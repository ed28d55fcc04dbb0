-- +goose Up

-- What a key may do: one of the built-in roles; and the tag ("site=north") that
-- groups must have for it, empty for no limit. Keys from before may do all.
ALTER TABLE access_key ADD COLUMN role TEXT NOT NULL DEFAULT 'admin';
ALTER TABLE access_key ADD COLUMN group_tag TEXT NOT NULL DEFAULT '';

-- Temporary keys. Secret and token are derived from the id by the master key;
-- identity is what follows the account in the caller's ARN, role the IAM role
-- that limits the key, empty for one that may do what its parent may.
CREATE TABLE session_key (
    id         TEXT   PRIMARY KEY,
    parent     TEXT   NOT NULL REFERENCES access_key (id),
    identity   TEXT   NOT NULL,
    role       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX session_key_end ON session_key (expires_at);

-- Every call that changes something. Rows are only added; retention removes the
-- oldest.
CREATE TABLE audit_record (
    partition TEXT   NOT NULL,
    at        BIGINT NOT NULL,
    id        TEXT   NOT NULL, -- the request's
    key_id    TEXT   NOT NULL,
    key_name  TEXT   NOT NULL,
    source    TEXT   NOT NULL,
    service   TEXT   NOT NULL,
    operation TEXT   NOT NULL,
    resource  TEXT   NOT NULL,
    status    BIGINT NOT NULL,
    code      TEXT   NOT NULL, -- of the error, empty for success
    PRIMARY KEY (partition, at, id)
);
CREATE INDEX audit_record_at ON audit_record (at);

-- IAM is global: its names belong to an account, in whatever Region.
CREATE TABLE iam_role (
    account     TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    id          TEXT   NOT NULL,
    path        TEXT   NOT NULL,
    description TEXT   NOT NULL,
    trust       TEXT   NOT NULL, -- AssumeRolePolicyDocument, as it was sent
    max_session BIGINT NOT NULL, -- seconds
    tags_json   TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (account, name)
);

-- Policies inside a role.
CREATE TABLE iam_role_policy (
    account  TEXT NOT NULL,
    role     TEXT NOT NULL,
    name     TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (account, role, name),
    FOREIGN KEY (account, role) REFERENCES iam_role (account, name)
);

-- Managed policies of a role, whether or not they are known here: scripts attach
-- those of AWS.
CREATE TABLE iam_role_attachment (
    account    TEXT NOT NULL,
    role       TEXT NOT NULL,
    policy_arn TEXT NOT NULL,
    PRIMARY KEY (account, role, policy_arn),
    FOREIGN KEY (account, role) REFERENCES iam_role (account, name)
);

CREATE TABLE iam_policy (
    account     TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    id          TEXT   NOT NULL,
    path        TEXT   NOT NULL,
    description TEXT   NOT NULL,
    document    TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (account, name)
);

-- suffix is the six characters at the end of a secret's ARN. purge_at is when a
-- deleted secret is gone for good, 0 for one that is not deleted.
CREATE TABLE secret (
    partition   TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    suffix      TEXT   NOT NULL,
    description TEXT   NOT NULL,
    kms_key     TEXT   NOT NULL,
    tags_json   TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    changed_at  BIGINT NOT NULL,
    deleted_at  BIGINT NOT NULL,
    purge_at    BIGINT NOT NULL,
    PRIMARY KEY (partition, name)
);

CREATE TABLE secret_version (
    partition  TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    sealed     TEXT    NOT NULL, -- base64, by the master key
    is_binary  BOOLEAN NOT NULL,
    created_at BIGINT  NOT NULL,
    PRIMARY KEY (partition, name, id),
    FOREIGN KEY (partition, name) REFERENCES secret (partition, name) ON DELETE CASCADE
);

-- Which version a staging label stands on.
CREATE TABLE secret_stage (
    partition TEXT NOT NULL,
    name      TEXT NOT NULL,
    stage     TEXT NOT NULL,
    version   TEXT NOT NULL,
    PRIMARY KEY (partition, name, stage),
    FOREIGN KEY (partition, name, version)
        REFERENCES secret_version (partition, name, id) ON DELETE CASCADE
);

-- +goose Down
SELECT 1;
