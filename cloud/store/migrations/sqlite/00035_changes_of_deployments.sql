-- +goose Up

-- What open pages of the console show of deployments. kind is deployment, subject the group.

-- +goose StatementBegin
CREATE TRIGGER deployment_made AFTER INSERT ON deployment
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('deployment', NEW.partition, NEW.group_id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER deployment_moved AFTER UPDATE OF status, phase, progress_json, cancel_requested_at ON deployment
WHEN OLD.status <> NEW.status OR OLD.phase <> NEW.phase OR OLD.progress_json <> NEW.progress_json OR OLD.cancel_requested_at <> NEW.cancel_requested_at
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('deployment', NEW.partition, NEW.group_id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER deployment_moved;
DROP TRIGGER deployment_made;
