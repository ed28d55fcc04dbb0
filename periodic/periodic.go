// Package periodic does something again and again. It knows nothing of what.
package periodic

import (
	"context"
	"time"
)

// Every calls do once each interval until ctx ends, the first time after one. A call that
// takes longer delays the next.
func Every(ctx context.Context, interval time.Duration, do func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			if ctx.Err() == nil { // both were ready
				do()
			}
		}
	}
}

// AtOnce is Every that calls do at its start, too.
func AtOnce(ctx context.Context, interval time.Duration, do func()) {
	do()
	Every(ctx, interval, do)
}

// Sleep waits for a time and reports whether it has passed: false when ctx ended before.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
