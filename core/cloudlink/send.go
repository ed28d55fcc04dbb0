package cloudlink

import (
	"context"
	"fmt"
	"log/slog"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// flight is a message on its way.
type flight struct {
	mqtt.Token
	number uint64
}

// send has as many messages on their way as there may be.
func (s *session) send() {
	for {
		m, number, ok := s.link.queue.Take()
		if !ok {
			return
		}
		s.flights = append(s.flights, flight{s.client.Publish(m.Topic, 1, false, m.Payload), number})
		if len(s.flights) == 1 {
			s.stalled.Reset(s.link.options.OperationTimeout)
		}
	}
}

// landing is closed when the oldest message on its way has arrived, or has failed.
func (s *session) landing() <-chan struct{} {
	if len(s.flights) == 0 {
		return nil
	}
	return s.flights[0].Done()
}

// land takes what has been acknowledged out of the queue. Its error means that the
// connection is of no use any more.
func (s *session) land() error {
	for len(s.flights) > 0 {
		f := s.flights[0]
		select {
		case <-f.Done():
		default:
			return nil
		}
		if err := f.Error(); err != nil {
			return fmt.Errorf("publish: %w", s.cause(err))
		}
		s.flights = s.flights[1:]
		s.link.queue.Settle(f.number)
		s.stalled.Reset(s.link.options.OperationTimeout)
	}
	s.stalled.Stop()
	return nil
}

// stall is the end of a connection over which nothing is acknowledged. Slow is not
// refused: the messages stay for as long as it takes.
func (s *session) stall() error {
	s.link.options.Logger.Error("Cloud messaging error: Error occurred while trying to publish a message.",
		slog.String("errorString", errTimeout.Error()), slog.Int("messages", len(s.flights)))
	return fmt.Errorf("publish: %w", errTimeout)
}

// ground leaves in the queue what was on its way when the connection ended. blamed says
// that it may have been the cloud's answer to that.
func (s *session) ground(blamed bool) {
	if len(s.flights) == 0 {
		return
	}
	l := s.link
	for _, f := range s.flights {
		select {
		case <-f.Done():
			if f.Error() == nil {
				l.queue.Settle(f.number)
			}
		default:
		}
	}
	given, attempts := l.queue.Ground(blamed, l.options.Insist)
	if given == nil {
		return
	}
	l.mu.Lock()
	l.lost++
	l.mu.Unlock()
	l.options.Logger.Error("A message was dropped: the cloud closed the connection each time it was sent. Check the core's IoT policy for iot:Publish.",
		slog.String("topic", given.Topic), slog.Int("size", len(given.Payload)), slog.Int("attempts", attempts))
}

// drain sends what is queued, for a bounded time.
func (s *session) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.link.options.Drain)
	defer cancel()
	for s.send(); len(s.flights) > 0; s.send() {
		select {
		case <-ctx.Done():
			return
		case <-s.landing():
		}
		if s.land() != nil {
			return
		}
	}
}
