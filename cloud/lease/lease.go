// Package lease has one server at a time do a piece of the servers' work, where
// several share a database.
package lease

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue/periodic"
)

// Store keeps leases.
type Store interface {
	// Take gives holder a lease until a time, or prolongs it, and reports
	// whether holder has it: false while another does.
	Take(ctx context.Context, name, holder string, until time.Time) (bool, error)
	// Release gives it back.
	Release(ctx context.Context, name, holder string) error
}

// Lease is a name for a piece of work. All members are needed.
type Lease struct {
	Store  Store
	Name   string
	Now    func() time.Time
	Logger *slog.Logger
}

// Timing: the work of a server that died is taken up within term.
const (
	term    = 10 * time.Second
	renewal = 3 * time.Second
	// release bounds how long giving the lease back may take.
	release = 3 * time.Second
)

// Run runs work whenever this server has the lease, until ctx ends. The context
// that work gets ends when the lease is lost; work that goes on after that must
// do no harm beside another's.
func (l Lease) Run(ctx context.Context, work func(ctx context.Context)) {
	holder := uuid.NewString()
	periodic.AtOnce(ctx, renewal, func() {
		if l.take(ctx, holder) {
			l.hold(ctx, holder, work)
			l.give(ctx, holder)
		}
	})
}

func (l Lease) take(ctx context.Context, holder string) bool {
	held, err := l.Store.Take(ctx, l.Name, holder, l.Now().Add(term))
	if err != nil && ctx.Err() == nil {
		l.Logger.Error("lease not taken; it is tried again", "lease", l.Name, "error", err)
	}
	return held && err == nil
}

func (l Lease) give(ctx context.Context, holder string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), release)
	defer cancel()
	if err := l.Store.Release(ctx, l.Name, holder); err != nil {
		l.Logger.Warn("lease not given back; it ends by itself", "lease", l.Name, "within", term, "error", err)
	}
}

// hold runs work and keeps the lease meanwhile. A renewal that fails is tried
// once more before the term ends; then the work is stopped.
func (l Lease) hold(ctx context.Context, holder string, work func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	done := make(chan struct{})
	working.Go(func() {
		defer close(done)
		work(ctx)
	})
	tick := time.NewTicker(renewal)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if l.take(ctx, holder) {
			last = time.Now()
		} else if time.Since(last) > term-renewal && ctx.Err() == nil {
			l.Logger.Error("lease lost; another server may do its work", "lease", l.Name)
			return
		}
	}
}
