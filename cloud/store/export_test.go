package store

import "context"

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
