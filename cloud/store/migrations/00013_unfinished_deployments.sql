-- +goose Up

-- What of a group is under way, on whatever core.
CREATE INDEX deployment_unfinished ON deployment (partition, group_id) WHERE status = 'InProgress';

-- +goose Down
SELECT 1;
