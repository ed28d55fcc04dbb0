-- +goose Up

-- Cores for which an authority of a group signed, by the certificate with which each
-- asked: until ends_at client devices that trust the authority take what the core shows.
CREATE TABLE group_authority_holder (
    partition      TEXT   NOT NULL,
    group_id       TEXT   NOT NULL,
    authority_id   TEXT   NOT NULL,
    thing          TEXT   NOT NULL,
    certificate_id TEXT   NOT NULL,
    ends_at        BIGINT NOT NULL,
    PRIMARY KEY (partition, group_id, authority_id, thing, certificate_id),
    FOREIGN KEY (partition, group_id, authority_id)
        REFERENCES group_authority (partition, group_id, id) ON DELETE CASCADE
);

-- +goose Down
SELECT 1;
