-- +goose Up

-- What a core last said of itself, as JSON, and when; empty before that.
ALTER TABLE core ADD COLUMN info_json TEXT NOT NULL DEFAULT '';
ALTER TABLE core ADD COLUMN info_at BIGINT NOT NULL DEFAULT 0;

-- +goose Down
SELECT 1;
