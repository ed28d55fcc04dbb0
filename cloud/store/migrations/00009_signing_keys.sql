-- +goose Up

-- The keys of a purpose are counted: the highest number is in use. statement is
-- the signed word of the key before that this one follows it.
ALTER TABLE server_key ADD COLUMN number BIGINT NOT NULL DEFAULT 1;
ALTER TABLE server_key ADD COLUMN statement TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX server_key_number ON server_key (purpose, number);

-- +goose Down
SELECT 1;
