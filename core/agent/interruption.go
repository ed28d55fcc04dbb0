package agent

import (
	"context"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/periodic"
)

// interruption ends a long poll when something is handed over.
type interruption struct {
	mu      sync.Mutex
	end     context.CancelFunc
	working bool
	setback
}

// setback is a bundle that cannot be read or removed for now.
type setback struct {
	// changed is when its folder was, until when it is let be.
	changed, until time.Time
	failures       int
	text           string
}

// holds reports whether a bundle is let be for now.
func (s setback) holds(changed, now time.Time) bool {
	return s.failures > 0 && changed.Equal(s.changed) && now.Before(s.until)
}

// later has a bundle let be for a while, and reports whether that is news.
func (i *interruption) later(changed, now time.Time, retry backoff.Policy, cause error) (pause time.Duration, news bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	news = cause.Error() != i.text
	i.failures++
	pause = retry.Pause(i.failures)
	i.changed, i.until, i.text = changed, now.Add(pause), cause.Error()
	return pause, news
}

// well forgets a setback.
func (i *interruption) well() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.setback = setback{}
}

// held is holds, for the goroutine of Run.
func (i *interruption) held(changed, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.holds(changed, now)
}

// polling is a context for a poll; done must be called.
func (i *interruption) polling(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.end = cancel
	return ctx, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.end = nil
		cancel()
	}
}

func (i *interruption) set(working bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.working = working
}

// watchCarried looks for what is handed over, until ctx ends.
func (a *Agent) watchCarried(ctx context.Context) {
	periodic.Every(ctx, a.Times.Handover, func() {
		info, err := a.Disk.Lstat(a.layout.carried())
		i := &a.interruption
		i.mu.Lock()
		defer i.mu.Unlock()
		if err != nil || i.working || i.holds(info.ModTime(), a.Now()) {
			return
		}
		if i.end != nil {
			i.end()
		}
		select {
		case a.wake <- struct{}{}:
		default:
		}
	})
}
