package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/events"
)

// Events are the outbox of notifications, written in the transactions of what they
// report.
type Events struct{ db *DB }

// Events is that part of the database.
func (db *DB) Events() Events { return Events{db} }

// SetEventDestinations makes names the destinations of what changes from now on.
// What waits for a destination that is no longer among them goes on waiting.
func (s Events) SetEventDestinations(ctx context.Context, names []string) error {
	err := s.db.update(ctx, func(tx transaction) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM event_destination`); err != nil {
			return err
		}
		for _, name := range names {
			_, err := tx.ExecContext(ctx, `
				INSERT INTO event_destination (name) VALUES ($1) ON CONFLICT (name) DO NOTHING`, name)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write destinations of events: %w", err)
	}
	return nil
}

// insertEvent writes down, for every destination, that a deployment entered its
// present status.
func insertEvent(ctx context.Context, tx transaction, d fescue.Deployment) error {
	event := events.Change(d)
	_, err := tx.ExecContext(ctx, `
		INSERT INTO event_outbox (destination, id, partition, deployment_id, revision, body_json, attempts, due_at, created_at)
		SELECT name, CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT), CAST($5 AS TEXT), 0,
			CAST($6 AS BIGINT), CAST($6 AS BIGINT)
		FROM event_destination`,
		event.ID, d.Partition.Key(), d.ID, d.Revision, toJSON(event), millis(d.UpdatedAt))
	return err
}

// DueNotifications lists what may be delivered to a destination now, the longest
// due first. Of each deployment it is the oldest only, so that they arrive in
// order.
func (s Events) DueNotifications(ctx context.Context, aws, destination string, limit int) ([]events.Notification, error) {
	scan := func(rows *sql.Rows) (events.Notification, error) {
		n := events.Notification{Destination: destination}
		var partition, body string
		var created int64
		err := rows.Scan(&n.ID, &partition, &n.DeploymentID, &n.Revision, &body, &n.Attempts, &created)
		n.Partition, n.Body, n.CreatedAt = partitionOf(aws, partition), []byte(body), fromMillis(created)
		return n, err
	}
	return all(ctx, s.db.read, scan, `
		SELECT id, partition, deployment_id, revision, body_json, attempts, created_at FROM event_outbox AS e
		WHERE destination = $1 AND due_at <= $2 AND NOT EXISTS (
			SELECT 1 FROM event_outbox AS earlier
			WHERE earlier.destination = e.destination AND earlier.partition = e.partition
				AND earlier.deployment_id = e.deployment_id AND earlier.revision < e.revision)
		ORDER BY due_at LIMIT $3`, destination, millis(s.db.now()), limit)
}

// FinishNotifications forgets what was delivered, and has what failed wait until
// its time.
func (s Events) FinishNotifications(ctx context.Context, destination string, delivered []string, failed map[string]time.Time) error {
	return s.db.update(ctx, func(tx transaction) error {
		for _, id := range delivered {
			_, err := tx.ExecContext(ctx, `DELETE FROM event_outbox WHERE destination = $1 AND id = $2`, destination, id)
			if err != nil {
				return err
			}
		}
		for id, due := range failed {
			_, err := tx.ExecContext(ctx, `
				UPDATE event_outbox SET attempts = attempts + 1, due_at = $1 WHERE destination = $2 AND id = $3`,
				millis(due), destination, id)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// DropNotifications forgets what was made before a time and still waits. It
// returns how many of each destination.
func (s Events) DropNotifications(ctx context.Context, before time.Time) (map[string]int64, error) {
	dropped := make(map[string]int64)
	err := s.db.update(ctx, func(tx transaction) error {
		clear(dropped)
		names, err := all(ctx, tx, column[string], `
			DELETE FROM event_outbox WHERE created_at < $1 RETURNING destination`, millis(before))
		for _, name := range names {
			dropped[name]++
		}
		return err
	})
	return dropped, err
}

// NotificationBacklog counts what waits, by destination, also for those that are
// no longer configured.
func (s Events) NotificationBacklog(ctx context.Context) ([]events.NotificationBacklog, error) {
	scan := func(rows *sql.Rows) (b events.NotificationBacklog, err error) {
		var oldest int64
		err = rows.Scan(&b.Destination, &b.Pending, &oldest)
		b.Oldest = fromMillis(oldest)
		return b, err
	}
	return all(ctx, s.db.read, scan, `
		SELECT destination, count(*), min(created_at) FROM event_outbox GROUP BY destination ORDER BY destination`)
}
