-- +goose Up

-- How a partition's fleet did, in buckets of five minutes for a week: at is when one
-- begins. cores and connected are of one moment in it, NULL where no server counted
-- them; the others are the deployments that ended in it.
CREATE TABLE fleet_sample (
    partition TEXT   NOT NULL,
    at        BIGINT NOT NULL,
    cores     BIGINT,
    connected BIGINT,
    succeeded BIGINT NOT NULL DEFAULT 0,
    failed    BIGINT NOT NULL DEFAULT 0,
    cancelled BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (partition, at)
);
CREATE INDEX fleet_sample_at ON fleet_sample (at);

-- The requests that all servers answered in a bucket, by how long they took: up to 0.2 ms
-- in took_0, up to four times that in the next one, and so on; took_8 has the rest.
CREATE TABLE request_sample (
    at     BIGINT NOT NULL PRIMARY KEY,
    took_0 BIGINT NOT NULL,
    took_1 BIGINT NOT NULL,
    took_2 BIGINT NOT NULL,
    took_3 BIGINT NOT NULL,
    took_4 BIGINT NOT NULL,
    took_5 BIGINT NOT NULL,
    took_6 BIGINT NOT NULL,
    took_7 BIGINT NOT NULL,
    took_8 BIGINT NOT NULL
);

-- +goose Down
SELECT 1;
