package cloudlink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// sendOne sends the oldest message and waits for its acknowledgement. Its error
// means that the connection is of no use any more.
func (s *session) sendOne(ctx context.Context) error {
	l := s.link
	m, number, ok := l.queue.Take()
	if !ok {
		return nil
	}
	if s.sending.number != number {
		s.sending.number, s.sending.closes = number, 0
	}
	err := wait(ctx, s.client.Publish(m.Topic, 1, false, m.Payload), l.options.OperationTimeout)
	switch {
	case err == nil:
		signal(l.queued)
		return l.queue.Settle(true)
	case ctx.Err() != nil:
		return errors.Join(err, l.queue.Settle(false))
	case errors.Is(err, errTimeout):
		// Slow is not refused: the message stays for as long as it takes.
		l.options.Logger.Error("Cloud messaging error: Error occurred while trying to publish a message.",
			slog.String("errorString", err.Error()), slog.String("topic", m.Topic))
		return errors.Join(fmt.Errorf("publish: %w", err), l.queue.Settle(false))
	}
	cause := s.cause(err)
	given := false
	if closedByCloud(cause) {
		s.sending.closes++
		given = s.sending.closes >= maxClosesInFlight
	}
	if given {
		l.mu.Lock()
		l.lost++
		l.mu.Unlock()
		l.options.Logger.Error("A message was dropped: the cloud closed the connection each time it was sent. Check the core's IoT policy for iot:Publish.",
			slog.String("topic", m.Topic), slog.Int("size", len(m.Payload)), slog.Int("attempts", s.sending.closes))
	}
	return errors.Join(fmt.Errorf("publish: %w", cause), l.queue.Settle(given))
}

// drain sends what is queued, until ctx ends.
func (s *session) drain(ctx context.Context) {
	for ctx.Err() == nil {
		if n, _, _ := s.link.queue.Waiting(); n == 0 {
			return
		}
		if err := s.sendOne(ctx); err != nil {
			return
		}
	}
}
