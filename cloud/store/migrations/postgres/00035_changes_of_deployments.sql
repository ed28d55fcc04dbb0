-- +goose Up

-- As for SQLite.
CREATE TRIGGER deployment_made AFTER INSERT ON deployment FOR EACH ROW EXECUTE FUNCTION change_of('deployment', 'group_id');
CREATE TRIGGER deployment_moved AFTER UPDATE OF status, phase, progress_json, cancel_requested_at ON deployment FOR EACH ROW
WHEN (OLD.status <> NEW.status OR OLD.phase <> NEW.phase OR OLD.progress_json <> NEW.progress_json OR OLD.cancel_requested_at <> NEW.cancel_requested_at)
EXECUTE FUNCTION change_of('deployment', 'group_id');

-- +goose Down
DROP TRIGGER deployment_moved ON deployment;
DROP TRIGGER deployment_made ON deployment;
