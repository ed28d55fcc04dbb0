package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/logs"
)

// Logs keeps what cores send of their logs.
type Logs struct{ db *DB }

// Logs is that part of the database.
func (db *DB) Logs() Logs { return Logs{db} }

// oldestLogs is how many pieces are removed at a time to make room.
const oldestLogs = 100

// AddLogs implements logs.Store.
func (s Logs) AddLogs(ctx context.Context, p fescue.Partition, thing string, pieces []logs.Piece, space int64) error {
	err := s.db.update(ctx, func(tx transaction) error {
		var added int64
		for _, l := range pieces {
			body := base64.StdEncoding.EncodeToString(l.Body)
			result, err := tx.ExecContext(ctx, `
				INSERT INTO core_log (partition, group_id, thing, id, at, component, name, bytes, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
				ON CONFLICT (partition, thing, id) DO NOTHING`,
				p.Key(), l.GroupID, thing, l.ID, millis(l.At), l.Component, l.Name, len(body), body)
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return err
			}
			added += n * int64(len(body))
		}
		kept, err := addLogSpace(ctx, tx, p.Key(), thing, added)
		for err == nil && kept > space {
			// Down to a little less, so that not every batch has to remove something.
			kept, err = removeOldestLogs(ctx, tx, p, thing, kept, space-space/16)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("keep logs of core %s: %w", thing, err)
	}
	return nil
}

// addLogSpace counts what was added to a core's logs, or removed, and gives what
// there is.
func addLogSpace(ctx context.Context, tx transaction, partition, thing string, bytes int64) (kept int64, err error) {
	err = one(tx.QueryRowContext(ctx, `
		INSERT INTO core_log_space (partition, thing, bytes) VALUES ($1, $2, $3)
		ON CONFLICT (partition, thing) DO UPDATE SET bytes = core_log_space.bytes + excluded.bytes RETURNING bytes`,
		partition, thing, bytes), &kept)
	return kept, err
}

func removeOldestLogs(ctx context.Context, tx transaction, p fescue.Partition, thing string, kept, space int64) (int64, error) {
	type piece struct {
		id    string
		bytes int64
	}
	oldest, err := all(ctx, tx, func(rows *sql.Rows) (l piece, err error) {
		err = rows.Scan(&l.id, &l.bytes)
		return l, err
	}, `SELECT id, bytes FROM core_log WHERE partition = $1 AND thing = $2 ORDER BY at, id LIMIT $3`, p.Key(), thing, oldestLogs)
	if err != nil {
		return kept, err
	}
	if len(oldest) == 0 {
		return 0, nil
	}
	var freed int64
	for _, l := range oldest {
		if kept-freed <= space {
			break
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM core_log WHERE partition = $1 AND thing = $2 AND id = $3`, p.Key(), thing, l.id); err != nil {
			return kept, err
		}
		freed += l.bytes
	}
	return addLogSpace(ctx, tx, p.Key(), thing, -freed)
}

// Logs implements logs.Store.
func (s Logs) Logs(ctx context.Context, p fescue.Partition, groupID string, f logs.Filter) ([]logs.Piece, error) {
	list, err := all(ctx, s.db.read, func(rows *sql.Rows) (logs.Piece, error) {
		l := logs.Piece{Partition: p, GroupID: groupID}
		var at int64
		var body string
		err := rows.Scan(&l.Thing, &l.ID, &at, &l.Component, &l.Name, &body)
		l.At = fromMillis(at)
		if err == nil {
			l.Body, err = base64.StdEncoding.DecodeString(body)
		}
		return l, err
	}, `
		SELECT thing, id, at, component, name, body FROM core_log
		WHERE partition = $1 AND group_id = $2 AND at >= $3 AND (at > $4 OR at = $4 AND id > $5)
		AND ($6 = '' OR thing = $6) AND ($7 = '' OR component = $7) AND ($8 = '' OR name = $8)
		ORDER BY at, id LIMIT $9`,
		p.Key(), groupID, max(millis(f.From), millis(f.AfterAt)), millis(f.AfterAt), f.AfterID, f.Thing, f.Component, f.Name, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("logs of group %s: %w", groupID, err)
	}
	return list, nil
}

// forgetLogs counts what is about to be removed for its age.
func forgetLogs(ctx context.Context, tx transaction, from, last int64) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE core_log_space SET bytes = bytes - (SELECT sum(l.bytes) FROM core_log l
			WHERE l.partition = core_log_space.partition AND l.thing = core_log_space.thing AND l.at > $1 AND l.at <= $2)
		WHERE (partition, thing) IN (SELECT partition, thing FROM core_log WHERE at > $1 AND at <= $2)`, from, last)
	return err
}
