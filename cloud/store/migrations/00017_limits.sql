-- +goose Up

-- What a limited key covers besides the tag of groups: fescue.Limit.
ALTER TABLE access_key ADD COLUMN limit_json TEXT NOT NULL DEFAULT '';

-- The tag of the groups that whoever created the deployment may touch; empty for
-- all.
ALTER TABLE deployment ADD COLUMN group_tag TEXT NOT NULL DEFAULT '';

-- What a group has of things, functions, secrets, buckets and definitions, by
-- ARN: of what was offered to its core, until that failed or a later deployment of
-- the group succeeded.
CREATE TABLE holding (
    partition TEXT   NOT NULL,
    group_id  TEXT   NOT NULL,
    number    BIGINT NOT NULL, -- the deployment's
    arn       TEXT   NOT NULL,
    PRIMARY KEY (partition, group_id, number, arn),
    FOREIGN KEY (partition, group_id, number) REFERENCES deployment (partition, group_id, number) ON DELETE CASCADE
);
CREATE INDEX holding_arn ON holding (partition, arn, group_id);

-- +goose Down
SELECT 1;
