package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
)

// See implements cores.PresenceStore.
func (s *Store) See(ctx context.Context, list []cores.Seen) error {
	// In one order, so that two servers that write the same cores do not wait for
	// each other.
	list = slices.SortedFunc(slices.Values(list), func(a, b cores.Seen) int {
		return strings.Compare(a.Partition.Key()+"/"+a.Thing, b.Partition.Key()+"/"+b.Thing)
	})
	return s.update(ctx, func(tx *sql.Tx) error {
		for _, seen := range list {
			if err := see(ctx, tx, seen); err != nil {
				return err
			}
		}
		return nil
	})
}

func see(ctx context.Context, tx *sql.Tx, seen cores.Seen) error {
	if seen.Core {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO core (partition, thing, epoch, group_id) VALUES ($1, $2, 0, '')
			ON CONFLICT (partition, thing) DO NOTHING`, seen.Partition.Key(), seen.Thing)
		if err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE core SET
			seen_at = CASE WHEN seen_at < $1 THEN $1 ELSE seen_at END,
			gone_at = CASE WHEN gone_at < $2 THEN $2 ELSE gone_at END
		WHERE partition = $3 AND thing = $4`,
		millis(seen.SeenAt), millis(seen.GoneAt), seen.Partition.Key(), seen.Thing)
	return err
}

// Sighting is when a core was last heard of; the zero Sighting of one that never
// was.
func (s *Store) Sighting(ctx context.Context, p fescue.Partition, thing string) (fescue.Sighting, error) {
	var seen, gone int64
	err := one(s.read.QueryRowContext(ctx, `
		SELECT seen_at, gone_at FROM core WHERE partition = $1 AND thing = $2`, p.Key(), thing), &seen, &gone)
	if errors.Is(err, fescue.ErrNotFound) {
		return fescue.Sighting{}, nil
	}
	return fescue.Sighting{SeenAt: fromMillis(seen), GoneAt: fromMillis(gone)}, err
}
