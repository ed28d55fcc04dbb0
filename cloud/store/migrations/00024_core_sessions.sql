-- +goose Up

-- Temporary keys that cores got for the roles of their groups, as session_key has
-- those of access keys. Each ends with the certificate that asked for it.
CREATE TABLE core_session (
    id         TEXT   PRIMARY KEY,
    parent     TEXT   NOT NULL, -- the id of the certificate
    identity   TEXT   NOT NULL,
    role       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    mac        TEXT   NOT NULL
);
CREATE INDEX core_session_end ON core_session (expires_at);

-- +goose Down
SELECT 1;
