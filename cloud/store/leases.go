package store

import (
	"context"
	"errors"
	"time"

	"github.com/fescue-edge/fescue"
)

// Leases say which server does the work that one does at a time.
type Leases struct{ db *DB }

// Leases is that part of the database.
func (db *DB) Leases() Leases { return Leases{db} }

// Take gives holder the sole right to a piece of the servers' work until a
// time, or prolongs it. It reports whether holder has it: false while another
// does.
func (s Leases) Take(ctx context.Context, name, holder string, until time.Time) (bool, error) {
	now := s.db.now()
	err := s.db.update(ctx, func(tx transaction) error {
		return changed(ctx, tx, `
			INSERT INTO server_lease (name, holder, until) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
			WHERE server_lease.holder = excluded.holder OR server_lease.until < $4 OR server_lease.until > $5`,
			name, holder, millis(until), millis(now), absurd(now, until))
	})
	if errors.Is(err, fescue.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Release gives a lease back, if holder still has it.
func (s Leases) Release(ctx context.Context, name, holder string) error {
	return s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM server_lease WHERE name = $1 AND holder = $2`, name, holder)
		return err
	})
}

// leastTerm is the least that servers' clocks may differ in, whatever the lease.
const leastTerm = time.Minute

// absurd is when no lease ends that was taken rightly, seen by one who wants one
// of the same length now: the holder's clock was wrong, or the clock went back
// since. Such a lease binds nobody, or work would lie until that time comes.
func absurd(now, until time.Time) int64 {
	return millis(now.Add(2 * max(until.Sub(now), leastTerm)))
}
