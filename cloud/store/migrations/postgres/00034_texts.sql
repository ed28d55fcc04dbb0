-- +goose Up

-- Cores and groups are looked for by a text that stands anywhere in their names. text_grams is
-- what an index answers that with: the groups of three characters that a text has. It costs
-- more than to look at a row, so that other conditions are seen to first; and it is for texts
-- of a name's length, of which the name of a group need not be: what is behind the beginning
-- of one is not looked for.
-- +goose StatementBegin
CREATE FUNCTION text_grams(t text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 1000 AS $$
    SELECT coalesce(array_agg(DISTINCT substr(t, i, 3)), '{}') FROM generate_series(1, length(t) - 2) i
$$;
-- +goose StatementEnd

-- What came since these were last tidied is read from end to end: it has to be little.
CREATE INDEX core_text ON core USING gin (text_grams(lower(thing || ' ' || address))) WITH (gin_pending_list_limit = 256);
CREATE INDEX definition_text ON definition USING gin (text_grams(lower(substr(name, 1, 256)))) WITH (gin_pending_list_limit = 256) WHERE kind = 'groups';

-- +goose Down
DROP INDEX definition_text;
DROP INDEX core_text;
DROP FUNCTION text_grams(text);
