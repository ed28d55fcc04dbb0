-- +goose Up

-- A row that was forgotten and made again is another announcement: what was put
-- under the one before may have been removed.
ALTER TABLE bucket_garbage ADD COLUMN hold TEXT NOT NULL DEFAULT '';

-- +goose Down
SELECT 1;
