-- +goose Up

-- A group document, of text, that is kept with the manifest that names it, until the deployment
-- ends; empty for one that lies among the artifacts.
ALTER TABLE manifest ADD COLUMN document TEXT NOT NULL DEFAULT '';
ALTER TABLE manifest ADD COLUMN document_hash TEXT NOT NULL DEFAULT '';
CREATE INDEX manifest_document ON manifest (document_hash) WHERE document_hash <> '';

-- +goose Down
DROP INDEX manifest_document;
ALTER TABLE manifest DROP COLUMN document_hash;
ALTER TABLE manifest DROP COLUMN document;
