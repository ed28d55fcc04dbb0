// Package retention removes what is older than it is to be kept, in small pieces,
// by one server at a time.
package retention

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/fescue-edge/fescue/cloud/lease"
	"github.com/fescue-edge/fescue/periodic"
)

// Store keeps what ages.
type Store interface {
	// Expire looks at about limit rows from a time on that are older than before,
	// removes those that may go, and returns up to which time it looked, zero when
	// there were none.
	Expire(ctx context.Context, what Retained, from, before time.Time, limit int) (removed int64, upTo time.Time, err error)
}

// Options is what a Sweeper is made of. All are needed.
type Options struct {
	Store Store
	// Leases have one server sweep at a time.
	Leases lease.Store
	// Ages are those that can be chosen.
	Ages   Ages
	Now    func() time.Time
	Logger *slog.Logger
}

// Sweeper removes what is too old.
type Sweeper struct {
	Options
	// swept is up to when no attempts are left. They lie among tokens that stay for long.
	swept time.Time
}

// New makes a Sweeper.
func New(o Options) *Sweeper {
	ages := maps.Clone(fixed)
	maps.Copy(ages, o.Ages)
	o.Ages = ages
	return &Sweeper{Options: o}
}

// Pace: what an hour brings is removed in pieces that no caller notices.
const (
	piece = 200
	pause = 20 * time.Millisecond
)

// Run sweeps now and then until ctx ends, while no other server does.
func (s *Sweeper) Run(ctx context.Context) {
	l := lease.Lease{Store: s.Leases, Name: "retention", Now: s.Now, Logger: s.Logger}
	l.Run(ctx, func(ctx context.Context) {
		for {
			s.Sweep(ctx)
			if !periodic.Sleep(ctx, s.Ages.interval()) {
				return
			}
		}
	})
}

// Sweep removes all that is too old now.
func (s *Sweeper) Sweep(ctx context.Context) {
	for _, what := range slices.Sorted(maps.Keys(s.Ages)) {
		age := s.Ages[what]
		if age <= 0 {
			continue
		}
		removed, err := s.sweep(ctx, what, s.Now().Add(-age))
		if _, always := fixed[what]; removed > 0 && !always {
			s.Logger.Info("removed what was older than it is to be kept", "what", what, "rows", removed, "age", age)
		}
		if err != nil && ctx.Err() == nil {
			s.Logger.Error("old rows not removed; it is tried again", "what", what, "error", err)
		}
	}
}

func (s *Sweeper) sweep(ctx context.Context, what Retained, before time.Time) (total int64, err error) {
	var from time.Time
	if what == RetainedAttempts {
		from = s.swept
	}
	for {
		removed, upTo, err := s.Store.Expire(ctx, what, from, before, piece)
		total += removed
		if err != nil {
			return total, err
		}
		if upTo.IsZero() {
			if what == RetainedAttempts {
				s.swept = before.Add(-time.Millisecond)
			}
			return total, nil
		}
		if from = upTo; !periodic.Sleep(ctx, pause) {
			return total, nil
		}
	}
}
