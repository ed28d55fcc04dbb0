package events

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
)

// Pace of a sender.
const (
	// batch is how many notifications are taken at once, of as many deployments.
	batch = 64
	// parallel is how many of them are under way at the same time.
	parallel = 8
	// idlePoll is how often an empty outbox is looked at.
	idlePoll = 250 * time.Millisecond
	// deliveryTimeout bounds one delivery.
	deliveryTimeout = 10 * time.Second
)

// sender delivers to one destination.
type sender struct {
	o  *Options
	to Destination

	// crowded is when the log last said of accounts that they have no room; of run.
	crowded time.Time

	mu     sync.Mutex
	counts Status
}

// sayCrowdedEvery is how often it does.
const sayCrowdedEvery = time.Minute

func (s *sender) count(f func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.counts)
}

func (s *sender) status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.counts
	st.Destination, st.Configured = s.to.Name(), true
	return st
}

// run delivers until ctx ends. While nothing arrives, one notification at a time
// tries whether the destination is back.
func (s *sender) run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		limit := batch
		if failures > 0 {
			limit = 1
		}
		delivered, err := s.round(ctx, limit)
		wait := idlePoll
		crowded := errors.Is(err, fescue.ErrCrowded)
		switch {
		case delivered > 0:
			failures, wait = 0, 0
		case crowded: // others' may go
			wait = 0
		case err != nil:
			failures++
			wait = s.retries().Pause(failures)
		}
		if now := s.o.Now(); crowded && now.Sub(s.crowded).Abs() >= sayCrowdedEvery {
			s.crowded, crowded = now, false
		}
		if err != nil && !crowded && ctx.Err() == nil {
			s.o.Logger.Warn("events not delivered; they are tried again", "destination", s.to.Name(), "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// retries are the pauses after failures.
func (s *sender) retries() backoff.Policy {
	return backoff.Policy{First: s.o.FirstRetry, Most: s.o.LastRetry}
}

// round delivers what is due, at most limit. The error is that of one that
// failed, and fescue.ErrCrowded only if no other did: that is of its account alone. Each of those
// waits for its own time, and what follows it with it.
func (s *sender) round(ctx context.Context, limit int) (delivered int, err error) {
	due, err := s.o.Store.DueNotifications(ctx, s.o.AWS, s.to.Name(), limit)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	results := make([]error, len(due))
	var all errgroup.Group
	all.SetLimit(parallel)
	for i, n := range due {
		all.Go(func() error {
			results[i] = s.deliver(ctx, n)
			return nil
		})
	}
	all.Wait()
	var done []string
	failed := make(map[string]time.Time)
	var first error
	for i, n := range due {
		switch {
		case results[i] == nil:
			done = append(done, n.ID)
		case ctx.Err() != nil: // ended by this server, not by the destination
		default:
			failed[n.ID] = s.o.Now().Add(s.retries().Pause(n.Attempts + 1))
			if first == nil || errors.Is(first, fescue.ErrCrowded) {
				first = results[i]
			}
		}
	}
	s.count(func(c *Status) {
		c.Delivered += int64(len(done))
		c.Failed += int64(len(failed))
		if first != nil {
			c.LastError = first.Error()
		}
	})
	// What was delivered is written down even when this server is to stop.
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), deliveryTimeout)
	defer cancel()
	if err := s.o.Store.FinishNotifications(finish, s.to.Name(), done, failed); err != nil {
		return 0, err
	}
	return len(done), first
}

func (s *sender) deliver(ctx context.Context, n Notification) error {
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	return s.to.Deliver(ctx, n)
}
