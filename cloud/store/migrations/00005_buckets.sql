-- +goose Up

CREATE TABLE bucket (
    partition  TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (partition, name)
);

CREATE TABLE bucket_object (
    partition     TEXT   NOT NULL,
    bucket        TEXT   NOT NULL,
    object_key    TEXT   NOT NULL,
    content       TEXT   NOT NULL,
    size          BIGINT NOT NULL,
    etag          TEXT   NOT NULL,
    part_count    BIGINT NOT NULL,
    checksum_json TEXT   NOT NULL, -- fescue.Checksum
    settings_json TEXT   NOT NULL, -- fescue.ObjectSettings
    modified_at   BIGINT NOT NULL,
    PRIMARY KEY (partition, bucket, object_key),
    FOREIGN KEY (partition, bucket) REFERENCES bucket (partition, name)
);

-- Multipart uploads under way. id becomes the content of what they make.
CREATE TABLE bucket_upload (
    partition     TEXT   NOT NULL,
    bucket        TEXT   NOT NULL,
    id            TEXT   NOT NULL,
    object_key    TEXT   NOT NULL,
    checksum_json TEXT   NOT NULL,
    settings_json TEXT   NOT NULL,
    changes       BIGINT NOT NULL, -- counts the parts written: writers wait here
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (partition, bucket, id),
    FOREIGN KEY (partition, bucket) REFERENCES bucket (partition, name)
);
CREATE INDEX bucket_upload_key ON bucket_upload (partition, bucket, object_key, id);
CREATE INDEX bucket_upload_created ON bucket_upload (created_at);

-- The pieces of the contents of objects and uploads; each is a blob named by its
-- SHA-256.
CREATE TABLE bucket_part (
    partition     TEXT   NOT NULL,
    content       TEXT   NOT NULL,
    number        BIGINT NOT NULL,
    hash          TEXT   NOT NULL,
    size          BIGINT NOT NULL,
    etag          TEXT   NOT NULL,
    checksum_json TEXT   NOT NULL,
    modified_at   BIGINT NOT NULL,
    PRIMARY KEY (partition, content, number)
);
CREATE INDEX bucket_part_hash ON bucket_part (hash);

-- Blobs that may be without a name, to be looked at once look_at has come. Who
-- puts a blob writes a row first and moves look_at on when it names the blob; who
-- deletes one sets doomed_until first, and only if look_at is what it was.
CREATE TABLE bucket_garbage (
    hash         TEXT PRIMARY KEY,
    look_at      BIGINT NOT NULL,
    doomed_until BIGINT NOT NULL -- 0: nobody is deleting it
);
CREATE INDEX bucket_garbage_look ON bucket_garbage (look_at);

-- +goose Down
SELECT 1;
