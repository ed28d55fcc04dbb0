-- +goose Up

-- Since when a core is online, or was at last, and from where.
ALTER TABLE core ADD COLUMN connected_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE core ADD COLUMN address TEXT NOT NULL DEFAULT '';

-- A core's deployments, the newest first: what it runs, and what came last.
CREATE INDEX deployment_core ON deployment (partition, core_thing, epoch);

-- +goose Down
SELECT 1;
