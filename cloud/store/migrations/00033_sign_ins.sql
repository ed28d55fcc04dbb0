-- +goose Up

-- The temporary key of who signed in that another one was made with, and ends with; empty
-- where it was made with none.
ALTER TABLE session_key ADD COLUMN sign_in TEXT NOT NULL DEFAULT '';
ALTER TABLE core_session ADD COLUMN sign_in TEXT NOT NULL DEFAULT ''; -- nobody signs in at a core
CREATE INDEX session_key_sign_in ON session_key (sign_in) WHERE sign_in <> '';

-- +goose Down
DROP INDEX session_key_sign_in;
ALTER TABLE core_session DROP COLUMN sign_in;
ALTER TABLE session_key DROP COLUMN sign_in;
