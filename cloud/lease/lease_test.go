package lease_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fescue-edge/fescue/cloud/lease"
)

// leases keeps one lease, and can be out of reach of a holder.
type leases struct {
	mu     sync.Mutex
	holder string
	until  time.Time
	lost   map[string]bool // holders that do not reach it
	last   string
}

func (l *leases) Take(_ context.Context, _, holder string, until time.Time) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost[holder] {
		return false, errors.New("the database is away")
	}
	if l.holder != holder && time.Now().Before(l.until) {
		return false, nil
	}
	l.holder, l.until, l.last = holder, until, holder
	return true, nil
}

func (l *leases) Release(_ context.Context, _, holder string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holder == holder && !l.lost[holder] {
		l.until = time.Time{}
	}
	return nil
}

// cut takes the database away from who has the lease.
func (l *leases) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = map[string]bool{l.last: true}
}

// servers run work under one lease.
type servers struct {
	mu      sync.Mutex
	working map[int]bool
	most    int
}

func (s *servers) run(ctx context.Context, store lease.Store, id int) {
	l := lease.Lease{Store: store, Name: "work", Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
	l.Run(ctx, func(ctx context.Context) {
		s.set(id, true)
		<-ctx.Done()
		s.set(id, false)
	})
}

func (s *servers) set(id int, works bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.working, id)
	if works {
		s.working[id] = true
	}
	s.most = max(s.most, len(s.working))
}

func (s *servers) who() (id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.working {
		return id
	}
	return 0
}

func TestLease(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(l *leases, stop context.CancelFunc){
		"a server that stops gives it back":              func(_ *leases, stop context.CancelFunc) { stop() },
		"a server that lost the database stops its work": func(l *leases, _ context.CancelFunc) { l.cut() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, s := new(leases), &servers{working: make(map[int]bool)}
				first, stop := context.WithCancel(t.Context())
				second, stopSecond := context.WithCancel(t.Context())
				var all sync.WaitGroup
				all.Go(func() { s.run(first, store, 1) })
				synctest.Wait()
				all.Go(func() { s.run(second, store, 2) })
				time.Sleep(time.Minute)
				if s.who() != 1 {
					t.Errorf("server %d works, not the first", s.who())
				}
				away(store, stop)
				time.Sleep(15 * time.Second)
				synctest.Wait()
				if s.who() != 2 || s.most != 1 {
					t.Errorf("server %d works; at most %d did", s.who(), s.most)
				}
				stop()
				stopSecond()
				all.Wait()
			})
		})
	}
}
