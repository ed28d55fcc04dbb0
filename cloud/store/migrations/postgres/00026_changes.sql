-- +goose Up

-- As for SQLite. tx is the transaction that made the change: a sequence's numbers become
-- visible in another order than they are given out.
CREATE TABLE change (
    seq       BIGSERIAL PRIMARY KEY,
    tx        XID8   NOT NULL DEFAULT pg_current_xact_id(),
    kind      TEXT   NOT NULL,
    partition TEXT   NOT NULL,
    subject   TEXT   NOT NULL,
    at        BIGINT NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT
);
CREATE INDEX change_tx ON change (tx);
CREATE INDEX change_at ON change (at);

CREATE TABLE change_horizon (pruned BIGINT NOT NULL);
INSERT INTO change_horizon (pruned) VALUES (0);

-- change_of writes a change of the kind that is its first argument, of the row's column
-- that is its second.
-- +goose StatementBegin
CREATE FUNCTION change_of() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    changed JSONB;
BEGIN
    IF TG_OP = 'DELETE' THEN changed := to_jsonb(OLD); ELSE changed := to_jsonb(NEW); END IF;
    INSERT INTO change (kind, partition, subject) VALUES (TG_ARGV[0], changed->>'partition', changed->>TG_ARGV[1]);
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER certificate_status AFTER UPDATE OF status, not_before, not_after, partition ON certificate FOR EACH ROW
WHEN (OLD.status <> NEW.status OR OLD.not_before <> NEW.not_before OR OLD.not_after <> NEW.not_after OR OLD.partition <> NEW.partition)
EXECUTE FUNCTION change_of('certificate', 'id');
CREATE TRIGGER certificate_gone AFTER DELETE ON certificate FOR EACH ROW EXECUTE FUNCTION change_of('certificate', 'id');
CREATE TRIGGER thing_certificate_changed AFTER INSERT OR DELETE ON thing_certificate FOR EACH ROW
EXECUTE FUNCTION change_of('certificate', 'certificate_id');
CREATE TRIGGER policy_target_changed AFTER INSERT OR DELETE ON policy_target FOR EACH ROW
EXECUTE FUNCTION change_of('certificate', 'certificate_id');
CREATE TRIGGER policy_default AFTER UPDATE OF default_version ON policy FOR EACH ROW
WHEN (OLD.default_version <> NEW.default_version) EXECUTE FUNCTION change_of('policy', 'name');
-- A core's own reports on what it has claimed are no news for it.
CREATE TRIGGER deployment_news AFTER UPDATE OF status, phase, cancel_requested_at ON deployment FOR EACH ROW
WHEN (NEW.core_thing <> '' AND (
    OLD.cancel_requested_at <> NEW.cancel_requested_at OR OLD.status <> NEW.status OR (OLD.phase <> NEW.phase AND NEW.phase = 'Offered')))
EXECUTE FUNCTION change_of('core', 'core_thing');
CREATE TRIGGER core_check_made AFTER INSERT ON core_check FOR EACH ROW EXECUTE FUNCTION change_of('core', 'thing');

-- +goose Down
SELECT 1;
