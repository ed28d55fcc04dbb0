package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/retention"
)

// retained is a table whose rows are removed for their age.
type retained struct {
	table string
	// at is the column of the time, which has an index.
	at string
	// among and gone are conditions: among which rows age counts, the one of the
	// index on at where most rows are others, and which of them may go. Empty means all.
	among, gone string
	// before, when there is one, is done first, in the same transaction, for what is
	// after from and not after last.
	before func(ctx context.Context, tx transaction, from, last int64) error
}

// expiring are the tables of what retention.Ages bounds.
var expiring = map[retention.Retained]retained{
	retention.RetainedTokens: {table: "client_token", at: "created_at"},
	// What callers send is shorter.
	retention.RetainedAttempts: {table: "client_token", at: "created_at", among: `value LIKE '` + fescue.AttemptPrefix + `%' AND length(value) > 64`},
	retention.RetainedAudit:    {table: "audit_record", at: "at"},
	retention.RetainedLogs:     {table: "core_log", at: "at", before: forgetLogs},
	retention.FleetHistory:     {table: "fleet_sample", at: "at"},
	retention.RequestHistory:   {table: "request_sample", at: "at"},
	retention.RetainedDeployments: {
		table: "deployment", at: "updated_at",
		among: `status IN ('Success', 'Failure')`, gone: deploymentGone,
	},
}

// keptDeployments is how many deployments of a group stay whatever their age, for
// Redeployment.
const keptDeployments = 10

// deploymentGone is which ended deployments may go: of a group that is there not
// the last ones, and not the one that succeeded last, which is what runs; and not a
// forced reset that its core may still have to come for.
var deploymentGone = fmt.Sprintf(`
	(NOT EXISTS (SELECT 1 FROM definition g WHERE g.partition = deployment.partition AND g.kind = 'groups' AND g.id = deployment.group_id)
		OR number <= (SELECT max(l.number) FROM deployment l
			WHERE l.partition = deployment.partition AND l.group_id = deployment.group_id) - %d
		AND NOT (status = 'Success' AND NOT EXISTS (SELECT 1 FROM deployment l
			WHERE l.partition = deployment.partition AND l.group_id = deployment.group_id
			AND l.number > deployment.number AND l.status = 'Success')))
	AND NOT (type = 'ForceResetDeployment' AND EXISTS (SELECT 1 FROM core c
		WHERE c.partition = deployment.partition AND c.thing = deployment.core_thing AND c.epoch <= deployment.epoch))`, keptDeployments)

// Retention removes rows for their age.
type Retention struct{ db *DB }

// Retention is that part of the database.
func (db *DB) Retention() Retention { return Retention{db} }

// Expire looks at rows that are older than before, about limit of them, and
// removes those that may go. It begins after the time from and returns the time up
// to which it has looked, or the zero time when there were none: the next call
// begins there.
func (s Retention) Expire(ctx context.Context, what retention.Retained, from, before time.Time, limit int) (removed int64, upTo time.Time, err error) {
	r, ok := expiring[what]
	if !ok {
		return 0, upTo, fmt.Errorf("retention of %s: %w", what, fescue.ErrNotFound)
	}
	among, gone := condition(r.among), condition(r.gone)
	var last int64
	err = one(s.db.read.QueryRowContext(ctx, fmt.Sprintf(`
		SELECT max(seen) FROM (SELECT %[1]s AS seen FROM %[2]s WHERE %[1]s > $1 AND %[1]s < $2%[3]s ORDER BY %[1]s LIMIT $3) AS window_seen
		HAVING count(*) > 0`, r.at, r.table, among), millis(from), millis(before), limit), &last)
	if errors.Is(err, fescue.ErrNotFound) {
		return 0, time.Time{}, nil
	}
	if err == nil {
		err = s.db.update(ctx, func(tx transaction) error {
			if r.before != nil {
				if err := r.before(ctx, tx, millis(from), last); err != nil {
					return err
				}
			}
			result, err := tx.ExecContext(ctx, fmt.Sprintf(`
				DELETE FROM %[2]s WHERE %[1]s > $1 AND %[1]s <= $2%[3]s%[4]s`, r.at, r.table, among, gone), millis(from), last)
			if err != nil {
				return err
			}
			removed, err = result.RowsAffected()
			return err
		})
	}
	if unanswered(err) && limit > leastRemoved {
		return s.Expire(ctx, what, from, before, limit/2)
	}
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("remove old rows of %s: %w", r.table, err)
	}
	return removed, fromMillis(last), nil
}

func condition(text string) string {
	if text == "" {
		return ""
	}
	return " AND (" + text + ")"
}
