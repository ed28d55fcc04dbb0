-- +goose Up

-- As for SQLite. change_of_account is change_of for what an account has: its second argument
-- is the column of the subject, and a table of temporary keys has no account.
-- +goose StatementBegin
CREATE FUNCTION change_of_account() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    changed JSONB;
BEGIN
    IF TG_OP = 'DELETE' THEN changed := to_jsonb(OLD); ELSE changed := to_jsonb(NEW); END IF;
    INSERT INTO change (kind, partition, subject) VALUES (TG_ARGV[0], COALESCE(changed->>'account', '') || '/', changed->>TG_ARGV[1]);
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER access_key_changed AFTER UPDATE OR DELETE ON access_key FOR EACH ROW EXECUTE FUNCTION change_of_account('key', 'id');
CREATE TRIGGER session_key_changed AFTER UPDATE ON session_key FOR EACH ROW EXECUTE FUNCTION change_of_account('key', 'id');
CREATE TRIGGER session_key_gone AFTER DELETE ON session_key FOR EACH ROW
WHEN (OLD.expires_at > (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT)
EXECUTE FUNCTION change_of_account('key', 'id');
CREATE TRIGGER core_session_changed AFTER UPDATE ON core_session FOR EACH ROW EXECUTE FUNCTION change_of_account('key', 'id');
CREATE TRIGGER core_session_gone AFTER DELETE ON core_session FOR EACH ROW
WHEN (OLD.expires_at > (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT)
EXECUTE FUNCTION change_of_account('key', 'id');
CREATE TRIGGER iam_role_gone AFTER DELETE ON iam_role FOR EACH ROW EXECUTE FUNCTION change_of_account('role', 'name');
CREATE TRIGGER iam_role_policy_changed AFTER INSERT OR UPDATE OR DELETE ON iam_role_policy FOR EACH ROW EXECUTE FUNCTION change_of_account('role', 'role');
CREATE TRIGGER iam_role_attachment_changed AFTER INSERT OR UPDATE OR DELETE ON iam_role_attachment FOR EACH ROW EXECUTE FUNCTION change_of_account('role', 'role');
CREATE TRIGGER iam_policy_changed AFTER INSERT OR UPDATE OR DELETE ON iam_policy FOR EACH ROW EXECUTE FUNCTION change_of_account('role', 'name');

-- +goose Down
SELECT 1;
