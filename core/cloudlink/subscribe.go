package cloudlink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// maxFilters is how many filters one SUBSCRIBE may carry (AWS General Reference,
// "AWS IoT Core endpoints and quotas").
const maxFilters = 8

// maxCloses is how many connections a filter may end before it is left out, for
// as long as suspicionLasts.
const (
	maxCloses      = 3
	suspicionLasts = 10 * time.Minute
)

// suspicion is what a filter may have done.
type suspicion struct {
	// closes counts the connections that ended while it was subscribed to.
	closes int
	// until is when it is tried again.
	until time.Time
}

// refused is the return code of a subscription that the broker does not grant.
const refused = 0x80

// subscribe brings the connection's subscriptions in line with what is wanted.
func (s *session) subscribe(ctx context.Context) error {
	batches, gone := s.plan()
	for chunk := range slices.Chunk(gone, maxFilters) {
		if err := s.wait(ctx, s.client.Unsubscribe(chunk...)); err != nil {
			return fmt.Errorf("unsubscribe: %w", err)
		}
		s.link.mu.Lock()
		for _, f := range chunk {
			s.lose(f)
		}
		s.link.mu.Unlock()
		if s.lasting {
			s.forget(ctx, chunk)
		}
	}
	for _, batch := range batches {
		if err := s.subscribeTo(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// plan gives what is to be subscribed to, in packets, and what is not wanted any
// more. A filter that may have ended a connection goes alone and last, so that
// it cannot keep the others from working.
func (s *session) plan() (batches [][]string, gone []string) {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	known := s.subscribed
	if s.lasting {
		known = s.recorded
	}
	for f := range known {
		if !slices.Contains(s.wanted, f) {
			gone = append(gone, f)
		}
	}
	slices.Sort(gone)
	var good, alone []string
	for _, f := range s.wanted {
		switch {
		case s.subscribed[f]:
		case l.suspects[f].closes > 0:
			alone = append(alone, f)
		default:
			good = append(good, f)
		}
	}
	batches = slices.Collect(slices.Chunk(good, maxFilters))
	return append(batches, slices.Collect(slices.Chunk(alone, 1))...), gone
}

func (s *session) subscribeTo(ctx context.Context, batch []string) error {
	l, qos := s.link, byte(0)
	if s.lasting {
		qos = 1
		s.record(ctx, batch)
	}
	want := make(map[string]byte, len(batch))
	for _, f := range batch {
		want[f] = qos
	}
	token := s.client.SubscribeMultiple(want, nil)
	if err := s.wait(ctx, token); err != nil {
		if ctx.Err() == nil && !errors.Is(err, errTimeout) {
			if err = s.cause(err); closedByCloud(err) {
				s.suspect(batch)
			}
		}
		return fmt.Errorf("subscribe: %w", err)
	}
	var codes map[string]byte
	if t, ok := token.(*mqtt.SubscribeToken); ok {
		codes = t.Result()
	}
	if s.lasting {
		defer s.forget(ctx, slices.DeleteFunc(slices.Clone(batch), func(f string) bool { return codes[f] != refused }))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	rearrange := false
	for _, f := range batch {
		if codes[f] == refused {
			l.options.Logger.Error("The cloud refuses a subscription. Check the core's IoT policy for iot:Subscribe.", slog.String("filter", f))
			l.suspects[f] = suspicion{maxCloses, time.Now().Add(suspicionLasts)}
			rearrange = true // it covers nothing any more
			continue
		}
		s.gain(f)
		if l.suspects[f].closes > 0 {
			delete(l.suspects, f)
			rearrange = true // it may cover others
		}
	}
	if rearrange {
		l.arrange()
	}
	return nil
}

// suspect blames a batch for the end of the connection.
func (s *session) suspect(batch []string) {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range batch {
		of := l.suspects[f]
		if of.closes++; of.closes >= maxCloses {
			of.until = time.Now().Add(suspicionLasts)
			l.options.Logger.Error("The cloud closes the connection at a subscription, which is left out. Check the core's IoT policy for iot:Subscribe.", slog.String("filter", f))
		}
		l.suspects[f] = of
	}
	l.arrange()
}

// wait waits for one operation, for as long as one may take.
func (s *session) wait(ctx context.Context, token mqtt.Token) error {
	return wait(ctx, token, s.link.options.OperationTimeout)
}
