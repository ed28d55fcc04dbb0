-- +goose Up

-- When somebody asked the core to stop, 0 when nobody did; and what the core last
-- said that it does (fescue.Progress).
ALTER TABLE deployment ADD COLUMN cancel_requested_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN progress_json TEXT NOT NULL DEFAULT '';
ALTER TABLE deployment_step ADD COLUMN fetched BIGINT NOT NULL DEFAULT 0;

-- The last sign of life of a core, and since when its connection is gone, 0 while
-- it is there.
ALTER TABLE core ADD COLUMN seen_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE core ADD COLUMN gone_at BIGINT NOT NULL DEFAULT 0;

-- Deadlines look for what has been in a phase for too long.
CREATE INDEX deployment_phase ON deployment (phase, updated_at) WHERE status = 'InProgress';
CREATE INDEX deployment_status ON deployment (partition, status, created_at, id);

-- What a core is asked to check without deploying it, until it has answered or
-- nobody waits for the answer any more.
CREATE TABLE core_check (
    partition    TEXT   NOT NULL,
    id           TEXT   NOT NULL,
    thing        TEXT   NOT NULL,
    request_json TEXT   NOT NULL,
    answer_json  TEXT   NOT NULL, -- empty until the core answers
    expires_at   BIGINT NOT NULL,
    PRIMARY KEY (partition, id)
);
CREATE INDEX core_check_waiting ON core_check (partition, thing, expires_at) WHERE answer_json = '';

-- +goose Down
SELECT 1;
