-- +goose Up

-- Cores are looked for by a tag of their group. tag_pairs is what an index answers that with:
-- the pairs of name and value as they stand in the JSON, since what they stand for may have
-- characters that PostgreSQL's texts cannot.
-- +goose StatementBegin
CREATE FUNCTION tag_pairs(t text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 AS $$
    SELECT coalesce(array_agg(pair[1]), '{}') FROM regexp_matches(t, '("(?:[^"\\]|\\.)*":"(?:[^"\\]|\\.)*")', 'g') pair
$$;
-- +goose StatementEnd

-- What came since it was last tidied is read from end to end: it has to be little.
CREATE INDEX definition_tags ON definition USING gin (tag_pairs(tags_json)) WITH (gin_pending_list_limit = 256) WHERE kind = 'groups';

-- +goose Down
DROP INDEX definition_tags;
DROP FUNCTION tag_pairs(text);
