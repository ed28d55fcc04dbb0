package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
)

// selectCores reads cores with what runs (r) and what came last (l).
const selectCores = `
	SELECT c.thing, c.info_json, c.info_at, c.seen_at, c.gone_at, c.connected_at, c.address, c.group_id, coalesce(g.name, ''),
		coalesce(r.id, ''), coalesce(r.group_id, ''), coalesce(r.group_version_id, ''), coalesce(r.type, ''), coalesce(r.status, ''), coalesce(r.updated_at, 0),
		coalesce(l.id, ''), coalesce(l.group_id, ''), coalesce(l.group_version_id, ''), coalesce(l.type, ''), coalesce(l.status, ''), coalesce(l.updated_at, 0),
		coalesce(l.phase, ''), coalesce(l.error_message, ''), coalesce(l.details_json, '')
	FROM core c
	LEFT JOIN definition g ON g.partition = c.partition AND g.kind = 'groups' AND g.id = c.group_id
	LEFT JOIN deployment r ON r.partition = c.partition AND r.id = (
		SELECT id FROM deployment WHERE partition = c.partition AND core_thing = c.thing AND status = 'Success' ORDER BY epoch DESC LIMIT 1)
	LEFT JOIN deployment l ON l.partition = c.partition AND l.id = (
		SELECT id FROM deployment WHERE partition = c.partition AND core_thing = c.thing ORDER BY epoch DESC LIMIT 1)
	WHERE c.partition = $1 AND c.thing IN (SELECT thing FROM (`

// selected ends what selectCores begins, around what finds the cores: by their names alone,
// so that nothing is read of those that are left out.
const selected = `) found) ORDER BY c.thing`

const (
	// matching lets through the cores in which a pattern, $3, finds a text, and whose group
	// has a tag, $4; where one is empty, all.
	matching = `
	AND (CAST($3 AS TEXT) = '' OR lower(c.thing) LIKE $3 ESCAPE '!' OR c.address LIKE $3 ESCAPE '!' OR (
		SELECT lower(substr(g.name, 1, 256)) FROM definition g WHERE g.partition = c.partition AND g.kind = 'groups' AND g.id = c.group_id) LIKE $3 ESCAPE '!')
	AND (CAST($4 AS TEXT) = '' OR EXISTS (
		SELECT 1 FROM definition g WHERE g.partition = c.partition AND g.kind = 'groups' AND g.id = c.group_id AND ` + tagged + `))`
	// tagged is that a group has the tag, which stands behind a comma or, the first, a brace.
	tagged = `replace(',' || substr(g.tags_json, 2), ',' || $4, '') <> ',' || substr(g.tags_json, 2)`
	// inState lets through those in a state, $5, as of $6.
	inState = `
	AND CASE CAST($5 AS TEXT)
		WHEN 'connected' THEN c.gone_at <= c.seen_at AND c.seen_at > $6
		WHEN 'offline' THEN c.gone_at > c.seen_at OR c.seen_at <= $6
		ELSE TRUE END
	ORDER BY c.thing LIMIT $7`

	// coresNamed are those that have a text, $8, themselves, and coresOfGroupsNamed those
	// whose groups have it, apart: each is found without the other.
	coresNamed = `
	SELECT thing FROM (SELECT c.thing FROM core c WHERE c.partition = $1 AND c.thing > $2 AND $8 <> '' AND CAST($4 AS TEXT) = ''` + named
	named              = ` AND (lower(c.thing) LIKE $3 ESCAPE '!' OR c.address LIKE $3 ESCAPE '!')`
	coresOfGroupsNamed = `) found
	UNION SELECT thing FROM (SELECT c.thing` + ofGroups + ` AND lower(substr(g.name, 1, 256)) LIKE $3 ESCAPE '!'`
	// ofGroups are cores by way of their groups, over the index of those, which || keeps to.
	ofGroups = ` FROM definition g CROSS JOIN core c
		WHERE g.partition = $1 AND g.kind = 'groups' AND c.partition = $1 AND c.group_id = g.id AND c.thing || '' > $2`
	coresInOrder = `) found ORDER BY thing LIMIT $7`

	// What finds a text, or a tag, in an index.
	namedIndexed       = ` AND text_grams(lower(c.thing || ' ' || c.address)) @> text_grams($8)`
	groupsNamedIndexed = ` AND text_grams(lower(substr(g.name, 1, 256))) @> text_grams($8)`
	taggedIndexed      = ` AND tag_pairs(g.tags_json) @> ARRAY[CAST($4 AS TEXT)]`

	coresWithText        = selectCores + coresNamed + inState + coresOfGroupsNamed + inState + coresInOrder + selected
	coresWithIndexedText = selectCores + coresNamed + namedIndexed + inState + coresOfGroupsNamed + groupsNamedIndexed + inState + coresInOrder + selected

	// coresTagged are those whose groups have the tag, and the text if there is one.
	coresTagged = selectCores + `SELECT c.thing` + ofGroups + `
		AND (CAST($3 AS TEXT) = '' OR lower(c.thing) LIKE $3 ESCAPE '!' OR c.address LIKE $3 ESCAPE '!' OR lower(substr(g.name, 1, 256)) LIKE $3 ESCAPE '!')`
	coresWithTag        = coresTagged + ` AND ` + tagged + inState + selected
	coresWithIndexedTag = coresTagged + taggedIndexed + inState + selected

	// coresWithTextOfTag have both, and are found by the text.
	coresWithTextOfTag = selectCores + `
	SELECT thing FROM (SELECT c.thing FROM core c WHERE c.partition = $1 AND c.thing > $2` + named + namedIndexed + ` AND EXISTS (
		SELECT 1 FROM definition g WHERE g.partition = c.partition AND g.kind = 'groups' AND g.id = c.group_id AND ` + tagged + `)` + inState +
		coresOfGroupsNamed + groupsNamedIndexed + ` AND ` + tagged + inState + coresInOrder + selected

	// coresOneByOne are looked for among those before a name, $8, one by one.
	coresOneByOne = selectCores + `SELECT thing FROM core c WHERE partition = $1 AND thing > $2 AND thing < $8` + matching + inState + selected

	// groupsTagged counts the groups that have a tag, $3, as far as $2.
	groupsTagged = `SELECT count(*) FROM (SELECT 1 FROM definition g WHERE g.partition = $1 AND g.kind = 'groups' AND tag_pairs(g.tags_json) @> ARRAY[CAST($3 AS TEXT)] LIMIT $2) found`
)

// Cores implements cores.FleetStore.
func (s Cores) Cores(ctx context.Context, p fescue.Partition, f cores.Filter, page fescue.Page) ([]cores.Core, error) {
	list, err := s.cores(ctx, p, f, page)
	if err != nil {
		return nil, fmt.Errorf("list cores: %w", err)
	}
	return list, nil
}

func (s Cores) cores(ctx context.Context, p fescue.Partition, f cores.Filter, page fescue.Page) ([]cores.Core, error) {
	find := func(query string, args ...any) ([]cores.Core, error) {
		return all(ctx, s.db.read, scanCore, query, append([]any{p.Key(), page.After}, args...)...)
	}
	online, tag := millis(f.Now.Add(-cores.OnlineWindow)), tagPair(f.Tag, f.Value)
	switch {
	case f.Group != "":
		return find(selectCores+`SELECT thing FROM core WHERE partition = $1 AND thing > $2 AND group_id = $3 ORDER BY thing LIMIT $4`+selected, f.Group, page.Limit)
	case f.State == cores.Wrong: // they are few: found over the indexes of findings and of failures, which || keeps to
		return find(selectCores+`
			SELECT thing FROM (SELECT c.thing FROM core c WHERE c.partition = $1 AND c.thing > $2 AND replace(c.info_json, '"findings":[', '') <> c.info_json`+matching+`
				ORDER BY c.thing LIMIT $5) found
			UNION SELECT thing FROM (SELECT c.thing FROM deployment d CROSS JOIN core c WHERE d.partition = $1 AND d.status = 'Failure' AND d.core_thing || '' > $2
				AND c.partition = $1 AND c.thing = d.core_thing AND NOT EXISTS (
					SELECT 1 FROM deployment WHERE partition = d.partition AND core_thing = d.core_thing AND epoch > d.epoch)`+matching+`
				ORDER BY c.thing LIMIT $5) found
			ORDER BY thing LIMIT $5`+selected, pattern(f.Text), tag, page.Limit)
	case f.Text == "" && tag == "":
		return find(selectCores+`SELECT thing FROM core c WHERE partition = $1 AND thing > $2 AND CAST($3 AS TEXT) = '' AND CAST($4 AS TEXT) = ''`+inState+selected,
			"", "", f.State, online, page.Limit)
	}
	edge, err := nearby(ctx, s.db.read, `SELECT thing FROM core WHERE partition = $1 AND thing > $2 ORDER BY thing LIMIT 1 OFFSET $3`, p, page)
	if err != nil {
		return nil, err
	}
	args := []any{pattern(f.Text), tag, f.State, online, page.Limit}
	list, err := find(coresOneByOne, append(args, edge)...)
	if err != nil || len(list) == page.Limit || edge == end {
		return list, err
	}
	text, indexed := lower(f.Text), s.db.engine.gin && long(f.Text)
	if tag == "" {
		if indexed {
			return find(coresWithIndexedText, append(args, text)...)
		}
		return find(coresWithText, append(args, text)...)
	}
	if !s.db.engine.gin {
		return find(coresWithTag, args...)
	}
	var groups int
	if err := s.db.read.QueryRowContext(ctx, groupsTagged, p.Key(), oneByOne, tag).Scan(&groups); err != nil {
		return nil, err
	}
	switch {
	case groups < oneByOne:
		return find(coresWithIndexedTag, args...)
	case indexed:
		return find(coresWithTextOfTag, append(args, text)...)
	}
	return find(coresOneByOne, append(args, end)...)
}

func scanCore(rows *sql.Rows) (cores.Core, error) {
	var c cores.Core
	var saidAt, seen, gone, connected, ranAt, lastAt int64
	var info, details string
	err := rows.Scan(&c.Thing, &info, &saidAt, &seen, &gone, &connected, &c.Address, &c.GroupID, &c.GroupName,
		&c.Runs.ID, &c.Runs.GroupID, &c.Runs.GroupVersionID, &c.Runs.Type, &c.Runs.Status, &ranAt,
		&c.Last.ID, &c.Last.GroupID, &c.Last.GroupVersionID, &c.Last.Type, &c.Last.Status, &lastAt,
		&c.Last.Phase, &c.Last.ErrorMessage, &details)
	if err == nil && details != "" {
		err = fromJSON(details, &c.Last.ErrorDetails)
	}
	if err == nil && info != "" {
		err = fromJSON(info, &c.Info)
	}
	c.LastSeen = lastSeen(seen, gone, connected, c.Address)
	c.Runs.UpdatedAt, c.Last.UpdatedAt, c.SaidAt = fromMillis(ranAt), fromMillis(lastAt), fromMillis(saidAt)
	if c.Runs.Type.Reset() {
		c.Runs = fescue.Deployment{} // it runs nothing since then
	}
	return c, err
}
