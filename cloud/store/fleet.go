package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

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
	WHERE c.partition = $1`

// hasText lets through the cores that a pattern, $3, finds; an empty one all.
const hasText = `
	AND (CAST($3 AS TEXT) = '' OR lower(c.thing) LIKE $3 ESCAPE '!' OR lower(g.name) LIKE $3 ESCAPE '!' OR c.address LIKE $3 ESCAPE '!')`

// Cores implements cores.FleetStore.
func (s Cores) Cores(ctx context.Context, p fescue.Partition, f cores.Filter, page fescue.Page) ([]cores.Core, error) {
	var list []cores.Core
	var err error
	switch {
	case f.Group != "":
		list, err = all(ctx, s.db.read, scanCore, selectCores+` AND c.group_id = $2 AND c.thing > $3 ORDER BY c.thing LIMIT $4`, p.Key(), f.Group, page.After, page.Limit)
	case f == cores.Filter{}:
		list, err = all(ctx, s.db.read, scanCore, selectCores+` AND c.thing > $2 ORDER BY c.thing LIMIT $3`, p.Key(), page.After, page.Limit)
	case f.State == cores.Wrong: // they are few: found over the indexes of findings and of failures, which || keeps to
		list, err = all(ctx, s.db.read, scanCore, selectCores+hasText+` AND c.thing IN (
				SELECT thing FROM core WHERE partition = $1 AND thing > $2 AND replace(info_json, '"findings":[', '') <> info_json
				UNION SELECT core_thing FROM deployment d WHERE d.partition = $1 AND d.status = 'Failure' AND d.core_thing || '' > $2 AND NOT EXISTS (
					SELECT 1 FROM deployment WHERE partition = d.partition AND core_thing = d.core_thing AND epoch > d.epoch))
			ORDER BY c.thing LIMIT $4`, p.Key(), page.After, pattern(f.Text), page.Limit)
	default:
		list, err = all(ctx, s.db.read, scanCore, selectCores+` AND c.thing > $2`+hasText+`
			AND CASE CAST($4 AS TEXT)
				WHEN 'connected' THEN c.gone_at <= c.seen_at AND c.seen_at > $5
				WHEN 'offline' THEN c.gone_at > c.seen_at OR c.seen_at <= $5
				ELSE TRUE END
			ORDER BY c.thing LIMIT $6`, p.Key(), page.After, pattern(f.Text), f.State, millis(f.Now.Add(-cores.OnlineWindow)), page.Limit)
	}
	if err != nil {
		return nil, fmt.Errorf("list cores: %w", err)
	}
	return list, nil
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

// pattern is for LIKE what holds a text, whatever its case; empty for none.
func pattern(text string) string {
	if text == "" {
		return ""
	}
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(strings.ToLower(text)) + "%"
}
