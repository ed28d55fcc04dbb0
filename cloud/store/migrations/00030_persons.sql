-- +goose Up

-- Who signed in and was given the rights of an access key for a while, as the provider of
-- identities calls them; empty for whoever has the key itself.
ALTER TABLE session_key ADD COLUMN person TEXT NOT NULL DEFAULT '';
ALTER TABLE core_session ADD COLUMN person TEXT NOT NULL DEFAULT ''; -- nobody signs in at a core
ALTER TABLE audit_record ADD COLUMN person TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE audit_record DROP COLUMN person;
ALTER TABLE core_session DROP COLUMN person;
ALTER TABLE session_key DROP COLUMN person;
