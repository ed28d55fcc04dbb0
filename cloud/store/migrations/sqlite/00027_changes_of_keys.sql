-- +goose Up

-- What changes for access keys and the temporary keys that are from them, as for certificates
-- in migration 26. Keys and roles are an account's, whatever the Region: of the partition's key
-- the part after the account is empty.

-- +goose StatementBegin
CREATE TRIGGER access_key_changed AFTER UPDATE ON access_key
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('key', NEW.account || '/', NEW.id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER access_key_gone AFTER DELETE ON access_key
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('key', OLD.account || '/', OLD.id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- Temporary keys that are removed because they have ended are no news.
-- +goose StatementBegin
CREATE TRIGGER session_key_changed AFTER UPDATE ON session_key
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('key', '/', NEW.id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER session_key_gone AFTER DELETE ON session_key
WHEN OLD.expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER)
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('key', '/', OLD.id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER core_session_changed AFTER UPDATE ON core_session
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('key', '/', NEW.id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER core_session_gone AFTER DELETE ON core_session
WHEN OLD.expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER)
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('key', '/', OLD.id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER iam_role_gone AFTER DELETE ON iam_role
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('role', OLD.account || '/', OLD.name, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER iam_role_policy_made AFTER INSERT ON iam_role_policy
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('role', NEW.account || '/', NEW.role, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER iam_role_policy_changed AFTER UPDATE ON iam_role_policy
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('role', NEW.account || '/', NEW.role, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER iam_role_policy_gone AFTER DELETE ON iam_role_policy
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('role', OLD.account || '/', OLD.role, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER iam_role_attachment_made AFTER INSERT ON iam_role_attachment
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('role', NEW.account || '/', NEW.role, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER iam_role_attachment_gone AFTER DELETE ON iam_role_attachment
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('role', OLD.account || '/', OLD.role, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER iam_policy_made AFTER INSERT ON iam_policy
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('role', NEW.account || '/', NEW.name, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER iam_policy_changed AFTER UPDATE ON iam_policy
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('role', NEW.account || '/', NEW.name, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER iam_policy_gone AFTER DELETE ON iam_policy
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('role', OLD.account || '/', OLD.name, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose Down
SELECT 1;
