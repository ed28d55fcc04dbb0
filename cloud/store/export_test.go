package store

import (
	"context"
	"time"
)

// PostgresLook is how PostgreSQL is asked what changed since a snapshot.
var PostgresLook = postgresEngine.changes

// PostgresTaggedGroups is how PostgreSQL is asked for the groups that have a tag that few have.
var PostgresTaggedGroups = groupsWithIndexedTag

// Transaction is what a piece of work has of the database.
type Transaction = transaction

// Update runs f as the methods of this package run their work.
func (db *DB) Update(ctx context.Context, f func(tx Transaction) error) error {
	return db.update(ctx, f)
}

// Twice has all work done twice, what was done the first time being undone: as when a
// commit failed that was for others, too.
func Twice(db *DB) *DB {
	db.write = twice{db.write}
	return db
}

type twice struct{ writer }

func (t twice) do(ctx context.Context, f func(tx transaction) error) error {
	return t.writer.do(ctx, func(tx transaction) error {
		for _, statement := range []string{"SAVEPOINT first", "ROLLBACK TO first", "RELEASE first"} {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
			if statement == "SAVEPOINT first" {
				f(tx)
			}
		}
		return f(tx)
	})
}

// AnswerCommitsWithin has a commit on PostgreSQL answered as uncertain after a time.
func AnswerCommitsWithin(db *DB, d time.Duration) { db.write.(*pool).longestCommit.Store(int64(d)) }

// CloseWithin has Close on PostgreSQL wait that long for transactions that are under way.
func CloseWithin(db *DB, d time.Duration) { db.write.(*pool).goodbye = d }

// AnswerWithin has a statement on PostgreSQL answered within a time.
func AnswerWithin(db *DB, d time.Duration) { db.write.(*pool).tracer.longest.Store(int64(d)) }

// Connections is how many connections to PostgreSQL were made.
func Connections(db *DB) int64 { return db.write.(*pool).connections.Stat().NewConnsCount() }

// Wrote reports whether f's transaction on PostgreSQL counts as one that wrote. It is undone.
func Wrote(ctx context.Context, db *DB, f func(tx Transaction) error) (wrote bool, err error) {
	w, err := db.write.(*pool).begin(ctx)
	if err != nil {
		return false, err
	}
	defer w.rollback(ctx)
	err = f(transaction{w})
	return w.guard.wrote.Load(), err
}
