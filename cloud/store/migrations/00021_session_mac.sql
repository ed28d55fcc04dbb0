-- +goose Up

-- Authenticates the row of a temporary key; empty for those of early versions.
ALTER TABLE session_key ADD COLUMN mac TEXT NOT NULL DEFAULT '';

-- +goose Down
SELECT 1;
