package broker

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/periodic"
)

const (
	// maxReading is how many sessions read the stream for themselves at the same time.
	maxReading = 64
	// turn is how many steps a session may do until it lets others read.
	turn = 100
)

// rereads are the pauses after a read that failed.
var rereads = backoff.Policy{First: 100 * time.Millisecond, Most: 5 * time.Second}

// catchUp has a session that is behind read the stream until it is not any more, or the
// client has to acknowledge first. mu is held.
func (s *Session) catchUp() {
	if s.catching || s.closed {
		return
	}
	s.catching = true
	if !s.b.goRun(func() {
		r := &reader{s: s, heads: map[string]*jetstream.RawStreamMsg{}}
		for more := true; more; {
			if s.b.reading.Acquire(s.b.ctx, 1) != nil {
				return
			}
			more = r.run()
			s.b.reading.Release(1)
		}
	}) {
		s.catching = false
	}
}

// reader reads the stream for one session, by its filters.
type reader struct {
	s *Session
	// heads has for each filter the next message that it finds; nil for none that the
	// reader of all has not passed by since.
	heads    map[string]*jetstream.RawStreamMsg
	failures int
}

// run does a turn, and reports whether there is more to do.
func (r *reader) run() (more bool) {
	for range turn {
		more, err := r.step()
		if err != nil {
			r.failures++
			r.s.b.o.Logger.Warn("message broker: cannot read what waits for a session", "client", r.s.key, "error", err)
			return periodic.Sleep(r.s.b.ctx, rereads.Pause(r.failures))
		}
		if !more {
			return false
		}
		r.failures = 0
	}
	return true
}

// step hands out one message, or finds that there is none. It reports whether there is
// more to do.
func (r *reader) step() (more bool, err error) {
	s := r.s
	s.mu.Lock()
	if s.closed || s.full(1) {
		s.catching = false
		s.mu.Unlock()
		return false, nil
	}
	if len(s.again) > 0 {
		seq := s.again[0]
		s.mu.Unlock()
		return true, r.again(seq)
	}
	// All messages up to done have been offered: of those the stream has, and the heads do
	// not know, passed tells. What is offered from here on is passed by until the session
	// is level.
	at, upTo := s.at, s.b.done.Load()
	if s.passed {
		maps.DeleteFunc(r.heads, func(_ string, m *jetstream.RawStreamMsg) bool { return m == nil })
		s.passed = false
	}
	from := map[string]uint64{}
	for filter, g := range s.filters {
		if g.QoS > 0 {
			from[filter] = max(at, g.Since)
		}
	}
	s.mu.Unlock()
	m, err := r.next(from)
	if err != nil {
		return true, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || s.at != at:
	case m == nil && s.passed:
	case m == nil:
		s.at = max(at, upTo)
		s.behind, s.catching = false, false
		s.changed()
		return false, nil
	case s.full(len(m.Data)):
		s.catching = false
		return false, nil
	default:
		s.at = m.Sequence
		s.handOutRead(m, false)
	}
	return true, nil
}

// message reads a message of the stream.
func (b *Broker) message(seq uint64, options ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	return ask(b.ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return b.messages.GetMsg(ctx, seq, options...)
	})
}

// next is the first message for any filter; nil for none.
func (r *reader) next(from map[string]uint64) (first *jetstream.RawStreamMsg, err error) {
	for filter, after := range from {
		head, known := r.heads[filter]
		if !known || head != nil && head.Sequence <= after {
			head, err = r.s.b.message(after+1, jetstream.WithGetMsgSubject(messagePrefix+r.s.in.subject(filter)))
			if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil, err
			}
			r.heads[filter] = head
		}
		if head != nil && (first == nil || head.Sequence < first.Sequence) {
			first = head
		}
	}
	return first, nil
}

// again hands out a message that was handed out before, if it is still there.
func (r *reader) again(seq uint64) error {
	s := r.s
	m, err := s.b.message(seq)
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.again) == 0 || s.again[0] != seq {
		return nil
	}
	s.again = s.again[1:]
	if err == nil {
		s.handOutRead(m, true)
	}
	return nil
}

// handOutRead gives a message of the stream to the client. mu is held.
func (s *Session) handOutRead(m *jetstream.RawStreamMsg, dup bool) {
	if in, name, ok := original(strings.TrimPrefix(m.Subject, messagePrefix)); ok && in == s.in {
		s.handOut(&mqtt.Publish{Topic: name, Payload: m.Data, QoS: 1}, m.Sequence, dup)
	}
}
