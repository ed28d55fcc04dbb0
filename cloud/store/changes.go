package store

import (
	"cmp"
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/cloud/changes"
)

// Changes keep what has changed, for package changes. Triggers of the schema write them
// in the transaction of each change.
type Changes struct {
	db  *DB
	aws string
	// session is what looks go through on PostgreSQL.
	session *session
	// wrote says that something was committed since it said so.
	wrote <-chan struct{}
}

// Changes is that part of the database, for one who looks. aws is the first part of ARNs.
func (db *DB) Changes(aws string) Changes {
	return Changes{db, aws, db.sessions.open(), db.commits.hear()}
}

const (
	// mostChanges bounds what one look reads, and what one transaction removes.
	mostChanges = 10_000
	// leastRemoved is how few rows a transaction removes that is not answered in time with more.
	leastRemoved = 100
	// markEvery is how far apart the marks are by which changes are removed.
	markEvery = 30 * time.Second
	// sawNothing is PostgreSQL's snapshot that sees no transaction.
	sawNothing = "1:1:"
	// longestLook is for how long: one that has no answer by then has none.
	longestLook = 10 * time.Second
)

// Since implements changes.Store.
func (s Changes) Since(ctx context.Context, from changes.Cursor) (page changes.Page, err error) {
	ctx, cancel := context.WithTimeout(ctx, longestLook)
	defer cancel()
	var lost bool
	found := 0
	scan := func(row scanner) error {
		var seq sql.NullInt64
		var kind, partition, subject sql.NullString
		if err := row.Scan(&lost, &page.Next.At, &page.Next.Of, &page.Next.Seen, &seq, &kind, &partition, &subject); err != nil || !seq.Valid {
			return err // without changes there is one row, of where the next look begins
		}
		found++
		page.Changes = append(page.Changes, changes.Change{
			Seq: seq.Int64, Kind: changes.Kind(kind.String), Partition: partitionOf(s.aws, partition.String), Subject: subject.String,
		})
		return nil
	}
	if s.session == nil {
		_, err = all(ctx, s.db.read, func(rows *sql.Rows) (struct{}, error) { return struct{}{}, scan(rows) }, s.db.engine.changes, from.At, mostChanges)
	} else {
		var life string
		life, err = s.session.query(ctx, scan, s.db.engine.changes, from.At, mostChanges, cmp.Or(from.Seen, sawNothing))
		page.Next.Of += life
	}
	if err != nil {
		return changes.Page{}, err
	}
	page.Lost = lost || found == mostChanges || from.Of != "" && from.Of != page.Next.Of
	return page, nil
}

// Await implements changes.Store.
func (s Changes) Await(ctx context.Context) (own, told bool) {
	if s.session != nil {
		return s.session.await(ctx, s.wrote)
	}
	select {
	case <-s.wrote:
		return true, false
	case <-ctx.Done():
		return false, false
	}
}

// Tell implements changes.Store. On SQLite there is no other server.
func (s Changes) Tell(ctx context.Context) error {
	if s.session == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, longestLook)
	defer cancel()
	return s.session.tell(ctx)
}

// Prune implements changes.Store.
func (s Changes) Prune(ctx context.Context, before time.Time) error {
	var none bool
	if err := one(s.db.read.QueryRowContext(ctx, `SELECT MAX(seq) IS NULL FROM change`), &none); err != nil || none {
		return err
	}
	err := s.db.update(ctx, func(tx transaction) error {
		for _, statement := range s.db.engine.horizon {
			if _, err := tx.ExecContext(ctx, statement, millis(before)); err != nil {
				return err
			}
		}
		return nil
	})
	most := int64(mostChanges)
	for removed := most; err == nil && removed == most; {
		err = s.db.update(ctx, func(tx transaction) error {
			result, err := tx.ExecContext(ctx, s.db.engine.prune, most)
			if err == nil {
				removed, err = result.RowsAffected()
			}
			return err
		})
		if unanswered(err) && most > leastRemoved {
			most /= 2
			removed, err = most, nil
		}
	}
	if err != nil || s.db.engine.mark == "" {
		return err
	}
	// In a transaction of its own, that has no number yet when the snapshot is taken.
	return s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, s.db.engine.mark, markEvery.Milliseconds())
		return err
	})
}

// bell rings for everybody who hears it.
type bell struct {
	mu    sync.Mutex
	heard []chan struct{}
}

// hear returns what has a value when the bell rang since the last one was taken.
func (b *bell) hear() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	ch := make(chan struct{}, 1)
	b.heard = append(b.heard, ch)
	return ch
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ch := range b.heard {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
