package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/changes"
	"github.com/fescue-edge/fescue/cloud/cores"
)

// See implements cores.PresenceStore.
func (s Cores) See(ctx context.Context, list []cores.Seen) error {
	// In one order, so that two servers that write the same cores do not wait for
	// each other.
	list = slices.SortedFunc(slices.Values(list), func(a, b cores.Seen) int {
		return strings.Compare(a.Partition.Key()+"/"+a.Thing, b.Partition.Key()+"/"+b.Thing)
	})
	return s.db.update(ctx, func(tx transaction) error {
		moved := make(map[string]bool) // partitions in which cores came or went
		for _, seen := range list {
			came, err := see(ctx, tx, seen)
			if err != nil {
				return err
			}
			if came {
				moved[seen.Partition.Key()] = true
			}
		}
		for partition := range moved {
			if _, err := tx.ExecContext(ctx, `INSERT INTO change (kind, partition, subject, at) VALUES ($1, $2, '', $3)`,
				changes.Presence, partition, millis(s.db.now())); err != nil {
				return err
			}
		}
		return nil
	})
}

// see reports whether the thing is a core that came or went by this.
func see(ctx context.Context, tx transaction, seen cores.Seen) (moved bool, err error) {
	if seen.Core {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO core (partition, thing, epoch, group_id) VALUES ($1, $2, 0, '')
			ON CONFLICT (partition, thing) DO NOTHING`, seen.Partition.Key(), seen.Thing)
		if err != nil {
			return false, err
		}
	}
	// As cores.LastSeen.Then says, in one statement.
	err = one(tx.QueryRowContext(ctx, `
		UPDATE core SET
			connected_at = CASE WHEN CAST($1 AS BIGINT) > 0 AND (connected_at = 0 OR gone_at > seen_at OR seen_at <= $2) THEN $1 ELSE connected_at END,
			address = CASE WHEN $3 <> '' THEN $3 ELSE address END,
			seen_at = CASE WHEN seen_at < $4 THEN $4 ELSE seen_at END,
			gone_at = CASE WHEN gone_at < $5 THEN $5 ELSE gone_at END
		WHERE partition = $6 AND thing = $7
		RETURNING CAST($1 AS BIGINT) > 0 AND connected_at = $1 OR gone_at = $5 AND gone_at > seen_at`,
		millis(seen.ConnectedAt), millis(seen.ConnectedAt.Add(-cores.OnlineWindow)), seen.Address,
		millis(seen.SeenAt), millis(seen.GoneAt), seen.Partition.Key(), seen.Thing), &moved)
	if errors.Is(err, fescue.ErrNotFound) {
		return false, nil
	}
	return moved, err
}

// LastSeen is when a core was last seen; the zero LastSeen of one that never
// was.
func (s Cores) LastSeen(ctx context.Context, p fescue.Partition, thing string) (cores.LastSeen, error) {
	var seen, gone, connected int64
	var address string
	err := one(s.db.read.QueryRowContext(ctx, `
		SELECT seen_at, gone_at, connected_at, address FROM core WHERE partition = $1 AND thing = $2`,
		p.Key(), thing), &seen, &gone, &connected, &address)
	if errors.Is(err, fescue.ErrNotFound) {
		return cores.LastSeen{}, nil
	}
	return lastSeen(seen, gone, connected, address), err
}

func lastSeen(seen, gone, connected int64, address string) cores.LastSeen {
	return cores.LastSeen{SeenAt: fromMillis(seen), GoneAt: fromMillis(gone), ConnectedAt: fromMillis(connected), Address: address}
}

// CountCores counts the cores of every partition that were ever seen, and those
// of them that are online now.
func (s Cores) CountCores(ctx context.Context, now time.Time) (known, online int, err error) {
	err = s.db.read.QueryRowContext(ctx, `
		SELECT count(*), coalesce(sum(CASE WHEN gone_at <= seen_at AND seen_at > $1 THEN 1 ELSE 0 END), 0)
		FROM core WHERE seen_at > 0`, millis(now.Add(-cores.OnlineWindow))).Scan(&known, &online)
	return known, online, err
}

// CountFleet counts a partition's cores, and those of them that are online now.
func (s Cores) CountFleet(ctx context.Context, p fescue.Partition, now time.Time) (known, online int, err error) {
	err = s.db.read.QueryRowContext(ctx, `
		SELECT count(*), coalesce(sum(CASE WHEN gone_at <= seen_at AND seen_at > $2 THEN 1 ELSE 0 END), 0)
		FROM core WHERE partition = $1`, p.Key(), millis(now.Add(-cores.OnlineWindow))).Scan(&known, &online)
	if err != nil {
		return 0, 0, fmt.Errorf("count cores: %w", err)
	}
	return known, online, nil
}
