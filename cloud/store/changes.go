package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/fescue-edge/fescue/cloud/changes"
)

// Changes keep what has changed, for package changes. Triggers of the schema write them
// in the transaction of each change.
type Changes struct {
	db  *DB
	aws string
}

// Changes is that part of the database. aws is the first part of ARNs.
func (db *DB) Changes(aws string) Changes { return Changes{db, aws} }

// mostChanges bounds what one look reads.
const mostChanges = 10_000

// Since implements changes.Store.
func (s Changes) Since(ctx context.Context, from int64) (page changes.Page, err error) {
	var pruned int64
	list, err := all(ctx, s.db.read, func(rows *sql.Rows) (c changes.Change, err error) {
		var seq sql.NullInt64
		var kind, partition, subject sql.NullString
		err = rows.Scan(&pruned, &page.Next, &seq, &kind, &partition, &subject)
		c.Seq, c.Kind, c.Subject = seq.Int64, changes.Kind(kind.String), subject.String
		if seq.Valid {
			c.Partition = partitionOf(s.aws, partition.String)
		}
		return c, err
	}, s.db.engine.changes, from, mostChanges)
	if err != nil {
		return page, err
	}
	if list[0].Seq > 0 { // without changes there is one row, of where the next look begins
		page.Changes = list
	}
	page.Lost = pruned >= from || len(list) == mostChanges
	return page, nil
}

// Prune implements changes.Store.
func (s Changes) Prune(ctx context.Context, before time.Time) error {
	var old bool
	err := s.db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM change WHERE at < $1)`, millis(before)).Scan(&old)
	if err != nil || !old {
		return err
	}
	return s.db.update(ctx, func(tx transaction) error {
		for _, statement := range s.db.engine.prune {
			if _, err := tx.ExecContext(ctx, statement, millis(before)); err != nil {
				return err
			}
		}
		return nil
	})
}
