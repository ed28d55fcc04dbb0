-- +goose Up

-- The certificates that end soon are asked for.
CREATE INDEX certificate_end ON certificate (partition, status, not_after, id);

-- +goose Down
SELECT 1;
