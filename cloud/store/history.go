package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/history"
)

// History keeps how the fleet and the servers did.
type History struct{ db *DB }

// History is that part of the database.
func (db *DB) History() History { return History{db} }

// endsSince counts the deployments that ended since a time by partition and bucket, over the
// index on when they did.
const endsSince = `
	SELECT partition, updated_at / $1 * $1, sum(CASE status WHEN 'Success' THEN 1 ELSE 0 END),
		sum(CASE WHEN status = 'Failure' AND details_json LIKE '%"DEPLOYMENT_CANCELLED"%' THEN 1 ELSE 0 END), count(*)
	FROM deployment WHERE status IN ('Success', 'Failure') AND updated_at >= $2`

// endedIn is a row of it.
type endedIn struct {
	partition string
	history.Sample
}

func scanEnds(rows *sql.Rows) (e endedIn, err error) {
	var at int64
	var all int
	err = rows.Scan(&e.partition, &at, &e.Succeeded, &e.Cancelled, &all)
	e.At, e.Failed = fromMillis(at), all-e.Succeeded-e.Cancelled
	return e, err
}

// overlap is how many buckets that were counted are counted again: a deployment's end is
// written a moment after the time that it bears, and perhaps by another clock.
const overlap = 3

// Sample implements history.Store. What it counts is read outside the transaction that
// writes it.
func (s History) Sample(ctx context.Context, at, now time.Time) error {
	type counted struct {
		partition        string
		cores, connected int
	}
	fleets, err := all(ctx, s.db.read, columns(func(c *counted) []any { return []any{&c.partition, &c.cores, &c.connected} }), `
		SELECT partition, count(*), sum(CASE WHEN gone_at <= seen_at AND seen_at > $1 THEN 1 ELSE 0 END)
		FROM core GROUP BY partition`, millis(now.Add(-cores.OnlineWindow)))
	if err != nil {
		return fmt.Errorf("count cores: %w", err)
	}
	var before int64
	if err := one(s.db.read.QueryRowContext(ctx, `SELECT coalesce(max(at), 0) FROM fleet_sample WHERE at <= $1`, millis(at)), &before); err != nil {
		return fmt.Errorf("find the last sample: %w", err)
	}
	from := max(before-overlap*history.Bucket.Milliseconds(), millis(at.Add(-history.Kept)))
	ends, err := all(ctx, s.db.read, scanEnds, endsSince+` GROUP BY 1, 2`, history.Bucket.Milliseconds(), from)
	if err != nil {
		return fmt.Errorf("count deployments: %w", err)
	}
	return s.db.update(ctx, func(tx transaction) error {
		for _, f := range fleets {
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO fleet_sample (partition, at, cores, connected) VALUES ($1, $2, $3, $4)
				ON CONFLICT (partition, at) DO UPDATE SET cores = excluded.cores, connected = excluded.connected
				WHERE fleet_sample.cores IS NULL`, f.partition, millis(at), f.cores, f.connected); err != nil {
				return err
			}
		}
		for _, e := range ends { // of those that retention removed meanwhile, what was counted stays
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO fleet_sample (partition, at, succeeded, failed, cancelled) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (partition, at) DO UPDATE SET succeeded = excluded.succeeded, failed = excluded.failed, cancelled = excluded.cancelled
				WHERE fleet_sample.succeeded + fleet_sample.failed + fleet_sample.cancelled < excluded.succeeded + excluded.failed + excluded.cancelled`,
				e.partition, millis(e.At), e.Succeeded, e.Failed, e.Cancelled); err != nil {
				return err
			}
		}
		return nil
	})
}

// Samples implements history.Store.
func (s History) Samples(ctx context.Context, p fescue.Partition, from time.Time) ([]history.Sample, error) {
	var h history.Sample
	var at int64
	var known, connected sql.NullInt64
	into := []any{&at, &known, &connected, &h.Succeeded, &h.Failed, &h.Cancelled}
	list, err := all(ctx, s.db.read, func(rows *sql.Rows) (history.Sample, error) {
		err := rows.Scan(into...)
		h.At, h.Counted, h.Cores, h.Connected = fromMillis(at), known.Valid, int(known.Int64), int(connected.Int64)
		return h, err
	}, `
		SELECT at, cores, connected, succeeded, failed, cancelled FROM fleet_sample
		WHERE partition = $1 AND at >= $2 ORDER BY at`, p.Key(), millis(from))
	if err != nil {
		return nil, fmt.Errorf("read samples of the fleet: %w", err)
	}
	return list, nil
}

// Ends implements history.Store.
func (s History) Ends(ctx context.Context, p fescue.Partition, from time.Time) ([]history.Sample, error) {
	// The times of all partitions have an index: few have ended since a moment ago.
	ends, err := all(ctx, s.db.read, scanEnds, endsSince+` AND partition || '' = $3 GROUP BY 1, 2 ORDER BY 2`,
		history.Bucket.Milliseconds(), millis(from), p.Key())
	if err != nil {
		return nil, fmt.Errorf("count deployments: %w", err)
	}
	list := make([]history.Sample, 0, len(ends))
	for _, e := range ends {
		list = append(list, e.Sample)
	}
	return list, nil
}

// AddRequests implements history.Store.
func (s History) AddRequests(ctx context.Context, at time.Time, took history.Latencies) error {
	return s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO request_sample (at, took_0, took_1, took_2, took_3, took_4, took_5, took_6, took_7, took_8)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (at) DO UPDATE SET
				took_0 = request_sample.took_0 + excluded.took_0, took_1 = request_sample.took_1 + excluded.took_1,
				took_2 = request_sample.took_2 + excluded.took_2, took_3 = request_sample.took_3 + excluded.took_3,
				took_4 = request_sample.took_4 + excluded.took_4, took_5 = request_sample.took_5 + excluded.took_5,
				took_6 = request_sample.took_6 + excluded.took_6, took_7 = request_sample.took_7 + excluded.took_7,
				took_8 = request_sample.took_8 + excluded.took_8`,
			millis(at), took[0], took[1], took[2], took[3], took[4], took[5], took[6], took[7], took[8])
		return err
	})
}

// Requests implements history.Store.
func (s History) Requests(ctx context.Context, from time.Time) ([]history.RequestSample, error) {
	var r history.RequestSample
	var at int64
	into := []any{&at}
	for i := range r.Took {
		into = append(into, &r.Took[i])
	}
	list, err := all(ctx, s.db.read, func(rows *sql.Rows) (history.RequestSample, error) {
		err := rows.Scan(into...)
		r.At = fromMillis(at)
		return r, err
	}, `
		SELECT at, took_0, took_1, took_2, took_3, took_4, took_5, took_6, took_7, took_8 FROM request_sample
		WHERE at >= $1 ORDER BY at`, millis(from))
	if err != nil {
		return nil, fmt.Errorf("read samples of requests: %w", err)
	}
	return list, nil
}
