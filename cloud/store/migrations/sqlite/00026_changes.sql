-- +goose Up

-- What has changed that servers keep in memory or wait for, see changes.go. Triggers
-- write it, so that whatever changes a row does, programs of other versions included.
-- kind is certificate, policy or core, subject its id or name.
CREATE TABLE change (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      TEXT    NOT NULL,
    partition TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    at        BIGINT  NOT NULL
);
CREATE INDEX change_at ON change (at);

-- Changes up to here were removed.
CREATE TABLE change_horizon (pruned BIGINT NOT NULL);
INSERT INTO change_horizon (pruned) VALUES (0);

-- +goose StatementBegin
CREATE TRIGGER certificate_status AFTER UPDATE OF status, not_before, not_after, partition ON certificate
WHEN OLD.status <> NEW.status OR OLD.not_before <> NEW.not_before OR OLD.not_after <> NEW.not_after OR OLD.partition <> NEW.partition
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('certificate', NEW.partition, NEW.id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER certificate_gone AFTER DELETE ON certificate BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('certificate', OLD.partition, OLD.id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER thing_certificate_made AFTER INSERT ON thing_certificate BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('certificate', NEW.partition, NEW.certificate_id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER thing_certificate_gone AFTER DELETE ON thing_certificate BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('certificate', OLD.partition, OLD.certificate_id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER policy_target_made AFTER INSERT ON policy_target BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('certificate', NEW.partition, NEW.certificate_id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER policy_target_gone AFTER DELETE ON policy_target BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('certificate', OLD.partition, OLD.certificate_id, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER policy_default AFTER UPDATE OF default_version ON policy
WHEN OLD.default_version <> NEW.default_version
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('policy', NEW.partition, NEW.name, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- A core's own reports on what it has claimed are no news for it.
-- +goose StatementBegin
CREATE TRIGGER deployment_news AFTER UPDATE OF status, phase, cancel_requested_at ON deployment
WHEN NEW.core_thing <> '' AND (
    OLD.cancel_requested_at <> NEW.cancel_requested_at OR OLD.status <> NEW.status OR (OLD.phase <> NEW.phase AND NEW.phase = 'Offered'))
BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('core', NEW.partition, NEW.core_thing, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER core_check_made AFTER INSERT ON core_check BEGIN
    INSERT INTO change (kind, partition, subject, at)
    VALUES ('core', NEW.partition, NEW.thing, CAST(unixepoch('subsec') * 1000 AS INTEGER));
END;
-- +goose StatementEnd

-- +goose Down
SELECT 1;
