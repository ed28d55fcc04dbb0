-- +goose Up

-- What a core learns by asking for deployments although none waits for it, as for certificates
-- in migration 26, so that it need not ask for it now and then: where it is reached, whether it
-- is to send telemetry, which authority signs for its group, and that somebody wants it to
-- update itself, which its asking answers. kind is site, subject the core's thing.

-- +goose StatementBegin
CREATE TRIGGER core_connectivity_made AFTER INSERT ON core_connectivity
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('site', NEW.partition, NEW.thing, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER core_connectivity_changed AFTER UPDATE OF info_json ON core_connectivity
WHEN OLD.info_json <> NEW.info_json
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('site', NEW.partition, NEW.thing, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER core_telemetry_made AFTER INSERT ON core_telemetry
WHEN NEW.desired <> ''
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('site', NEW.partition, NEW.thing, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER core_telemetry_changed AFTER UPDATE OF desired ON core_telemetry
WHEN OLD.desired <> NEW.desired
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('site', NEW.partition, NEW.thing, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER group_authority_made AFTER INSERT ON group_authority
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    SELECT 'site', partition, thing, CAST(unixepoch('subsec') * 1000 AS INTEGER) FROM core WHERE partition = NEW.partition AND group_id = NEW.group_id;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER core_update_wanted AFTER INSERT ON job_execution
WHEN substr(NEW.job_id, 1, 20) = 'GreengrassUpdateJob_'
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('site', NEW.partition, NEW.thing, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose Down
SELECT 1;
