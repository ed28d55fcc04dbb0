-- +goose Up

-- As for SQLite.
CREATE TRIGGER core_connectivity_made AFTER INSERT ON core_connectivity FOR EACH ROW EXECUTE FUNCTION change_of('site', 'thing');
CREATE TRIGGER core_connectivity_changed AFTER UPDATE OF info_json ON core_connectivity FOR EACH ROW
WHEN (OLD.info_json <> NEW.info_json) EXECUTE FUNCTION change_of('site', 'thing');
CREATE TRIGGER core_telemetry_made AFTER INSERT ON core_telemetry FOR EACH ROW
WHEN (NEW.desired <> '') EXECUTE FUNCTION change_of('site', 'thing');
CREATE TRIGGER core_telemetry_changed AFTER UPDATE OF desired ON core_telemetry FOR EACH ROW
WHEN (OLD.desired <> NEW.desired) EXECUTE FUNCTION change_of('site', 'thing');
CREATE TRIGGER core_update_wanted AFTER INSERT ON job_execution FOR EACH ROW
WHEN (substr(NEW.job_id, 1, 20) = 'GreengrassUpdateJob_') EXECUTE FUNCTION change_of('site', 'thing');

-- +goose StatementBegin
CREATE FUNCTION change_of_group() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO change (kind, partition, subject)
    SELECT 'site', partition, thing FROM core WHERE partition = NEW.partition AND group_id = NEW.group_id;
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER group_authority_made AFTER INSERT ON group_authority FOR EACH ROW EXECUTE FUNCTION change_of_group();

-- +goose Down
SELECT 1;
