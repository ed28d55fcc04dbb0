-- +goose Up

-- Changes are removed that a snapshot of a while ago saw, however old the oldest transaction is
-- that is under way, in whichever database. change_mark are those snapshots, and at when they
-- were taken; removed is the last one whose changes were removed. pruned stays for servers of
-- before this, which remove by it.
CREATE TABLE change_mark (
    at   BIGINT      NOT NULL,
    seen PG_SNAPSHOT NOT NULL
);
ALTER TABLE change_horizon ADD COLUMN removed PG_SNAPSHOT;

-- +goose Down
ALTER TABLE change_horizon DROP COLUMN removed;
DROP TABLE change_mark;
