-- +goose Up

-- How many calls, refused like an earlier one, a record stands for; 0 for one call's own.
ALTER TABLE audit_record ADD COLUMN repeats BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE audit_record DROP COLUMN repeats;
