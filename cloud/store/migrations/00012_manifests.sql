-- +goose Up

-- What cores are offered, until the deployment ends; a forced reset's for as long
-- as the reset itself. A deployment's row stays small: it is read more often than
-- everything else, and stays for a year.
CREATE TABLE manifest (
    partition      TEXT NOT NULL,
    deployment_id  TEXT NOT NULL,
    envelope       TEXT NOT NULL, -- signed, JSON
    artifacts_json TEXT NOT NULL, -- hashes that the core may fetch
    PRIMARY KEY (partition, deployment_id),
    FOREIGN KEY (partition, deployment_id) REFERENCES deployment (partition, id) ON DELETE CASCADE
);
INSERT INTO manifest (partition, deployment_id, envelope, artifacts_json)
SELECT partition, id, envelope, artifacts_json FROM deployment
WHERE envelope <> '' AND (status = 'InProgress' OR type = 'ForceResetDeployment');
ALTER TABLE deployment DROP COLUMN envelope;
ALTER TABLE deployment DROP COLUMN artifacts_json;

-- +goose Down
SELECT 1;
