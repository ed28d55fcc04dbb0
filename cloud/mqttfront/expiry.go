package mqttfront

import (
	"context"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/periodic"
)

// longestTick is the most between two looks at the sessions.
const longestTick = time.Minute

// expiry removes persistent sessions whose clients stay away, and keeps the book up to
// date on those of other servers and earlier runs.
type expiry struct{ front *Front }

// learn takes in what is kept of a session: nil for one that is no more.
func (e *expiry) learn(key string, k *broker.Kept) {
	f := e.front
	f.mu.Lock()
	defer f.mu.Unlock()
	if k != nil {
		f.book.learn(key, k, f.sessions[key] != nil)
		return
	}
	f.book.lose(key, f.sessions[key] != nil)
}

// run looks through the sessions until ctx ends.
func (e *expiry) run(ctx context.Context) {
	every := max(min(e.front.o.SessionExpiry/4, longestTick), time.Millisecond)
	periodic.Every(ctx, every, func() {
		now := e.front.o.Now()
		// Connected clients are renewed at half of the expiry, so that other servers see
		// them in time.
		for _, key := range e.front.book.older(now.Add(-e.front.o.SessionExpiry / 2)) {
			if ctx.Err() != nil {
				return
			}
			if err := e.lookAt(ctx, key, now); err != nil && ctx.Err() == nil {
				e.front.o.Logger.Warn("MQTT: cannot remove a persistent session", "client", key, "error", err)
			}
		}
	})
}

func (e *expiry) lookAt(ctx context.Context, key string, now time.Time) error {
	f := e.front
	f.mu.Lock()
	d := f.sessions[key]
	f.mu.Unlock()
	seen, lasts := f.book.lasts(key)
	switch {
	case d != nil:
		f.book.touch(key, now)
		d.renew()
		return nil
	case !lasts || now.Sub(seen) <= f.o.SessionExpiry:
		return nil
	}
	removed, none, err := f.o.Broker.Expire(ctx, key, now.Add(-f.o.SessionExpiry))
	if err != nil {
		return fmt.Errorf("remove a session: %w", err)
	}
	if removed {
		f.counters.expired.Add(1)
	}
	if none {
		e.learn(key, nil)
	}
	return nil
}
