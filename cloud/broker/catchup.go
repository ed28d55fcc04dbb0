package broker

import (
	"errors"
	"maps"
	"strings"
	"sync"
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
	// fewTries is how many messages of a filter are read one by one, until several are at
	// a time.
	fewTries = 3
	// aheadMessages and aheadBytes are how much of a filter is read at a time then, while the
	// session has read no more than sessionAhead ahead, those of its partition no more than
	// partitionAhead, and all together no more than mostAhead.
	aheadMessages  = 1000
	aheadBytes     = 256 << 10
	sessionAhead   = 1 << 20
	mostAhead      = 64 << 20
	partitionAhead = mostAhead / 4
	// aheadTime is for how long it is kept while the client has to acknowledge first.
	aheadTime = 5 * time.Second
	// overhead is what a message that was read takes in memory beside its text.
	overhead = 200
)

// ahead is how many bytes sessions have read and not handed out: all, and those of each partition.
type ahead struct {
	mu  sync.Mutex
	all int64
	of  map[space]int64
}

func (a *ahead) hold(in space, bytes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all += int64(bytes)
	if a.of[in] += int64(bytes); a.of[in] == 0 {
		delete(a.of, in)
	}
}

// room reports whether a session of a partition may read ahead.
func (a *ahead) room(in space) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all < mostAhead && a.of[in] < partitionAhead
}

// rereads are the pauses after a read that failed.
var rereads = backoff.Policy{First: 100 * time.Millisecond, Most: 5 * time.Second}

// catchUp has a session that is behind read the stream until it is not any more, or the
// client has to acknowledge first. mu is held.
func (s *Session) catchUp() {
	if s.catching || s.closed {
		return
	}
	s.catching = true
	if s.reader == nil {
		s.reader = &reader{s: s, heads: map[string]*head{}, backs: s.backs}
	}
	r := s.reader
	if r.paused != nil {
		r.paused.Stop()
	}
	if !s.b.goRun(func() {
		for more := true; more; {
			err := r.skip() // it may take long, and keeps nobody else waiting
			if err == nil {
				if s.b.reading.Acquire(s.b.ctx, 1) != nil {
					return
				}
				more, err = r.run()
				s.b.reading.Release(1)
			}
			if err != nil {
				r.failures++
				s.b.o.Logger.Warn("message broker: cannot read what waits for a session", "client", s.key, "error", err)
				more = periodic.Sleep(s.b.ctx, rereads.Pause(r.failures))
			}
		}
	}) {
		s.catching = false
	}
}

// forget drops what was read ahead. mu is held.
func (s *Session) forget() {
	if r := s.reader; r != nil {
		r.hold(-r.held)
		if r.paused != nil {
			r.paused.Stop()
		}
		s.reader = nil
	}
}

// reader reads the stream for one session, by its filters.
type reader struct {
	s *Session
	// heads has what each filter finds next.
	heads map[string]*head
	// backs is how often the stream had gone back when they were found.
	backs int
	// held is how many bytes these have.
	held     int
	failures int
	// paused forgets it while it does not read, a while after it has.
	paused *time.Timer
}

// head is what a filter finds next.
type head struct {
	// list are messages without a gap.
	list []*jetstream.RawStreamMsg
	// There is none before list, or where empty is set, up to none.
	none  uint64
	empty bool
	// found is how many were found one by one.
	found int
}

// cost is what a message that was read takes.
func cost(m *jetstream.RawStreamMsg) int { return len(m.Data) + len(m.Subject) + overhead }

// hold counts what was read ahead, or is not kept any more.
func (r *reader) hold(bytes int) {
	r.held += bytes
	r.s.b.ahead.hold(r.s.in, bytes)
}

// run does a turn, and reports whether there is more to do.
func (r *reader) run() (more bool, err error) {
	for range turn {
		if more, err = r.step(); err != nil || !more {
			return more, err
		}
		r.failures = 0
	}
	return true, nil
}

// pause ends the reading until the client has acknowledged, or for good. mu is held. One that
// does not acknowledge may not keep what all together may read ahead.
func (s *Session) pause() {
	s.catching = false
	r := s.reader
	switch {
	case s.closed || !s.b.ahead.room(s.in):
		s.forget()
	case r.held == 0:
	case r.paused != nil:
		r.paused.Reset(aheadTime)
	default:
		r.paused = time.AfterFunc(aheadTime, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.reader == r && !s.catching {
				s.forget()
			}
		})
	}
}

// step hands out one message, or finds that there is none. It reports whether there is
// more to do.
func (r *reader) step() (more bool, err error) {
	s := r.s
	s.mu.Lock()
	if s.closed || s.full(1) {
		s.pause()
		s.mu.Unlock()
		return false, nil
	}
	if len(s.again) > 0 {
		seq := s.again[0]
		s.mu.Unlock()
		return true, r.again(seq)
	}
	if len(s.anew) > 0 {
		o := s.anew[0]
		s.mu.Unlock()
		return r.anew(o)
	}
	// All messages up to done have been offered. What is offered from here on is passed by
	// until the session is level.
	at, upTo, backs := s.at, s.b.done.Load(), s.backs
	if r.backs != backs {
		for _, h := range r.heads {
			r.take(h, len(h.list))
		}
		clear(r.heads)
		r.backs = backs
	}
	for _, h := range r.heads {
		if h.empty && h.none >= s.passed {
			h.none = max(h.none, upTo)
		}
	}
	from := map[string]uint64{}
	for filter, g := range s.filters {
		if g.QoS > 0 {
			from[filter] = max(at, g.Since)
		}
	}
	s.mu.Unlock()
	m, err := r.next(from, upTo)
	if err != nil {
		return true, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m != nil && m.Sequence > upTo {
		// Another filter may find one before it that is not known: what follows upTo
		// the reader of all hands out, or passes by and says so.
		m = nil
	}
	switch {
	case s.closed || s.at != at || s.backs != backs:
	case m == nil && s.passed > upTo:
	case m == nil:
		s.at = max(at, upTo)
		s.behind, s.catching = false, false
		s.forget()
		s.changed()
		return false, nil
	case s.full(len(m.Data)):
		s.pause()
		return false, nil
	default:
		s.at = m.Sequence
		s.handOutRead(m, false)
	}
	return true, nil
}

// next is the first message for any filter up to a place, or one behind that; nil for none.
func (r *reader) next(from map[string]uint64, upTo uint64) (first *jetstream.RawStreamMsg, err error) {
	maps.DeleteFunc(r.heads, func(filter string, h *head) bool {
		_, still := from[filter]
		if !still {
			r.take(h, len(h.list))
		}
		return !still
	})
	bound := upTo
	for filter, after := range from {
		h := r.heads[filter]
		if h == nil {
			h = &head{}
			r.heads[filter] = h
		}
		had := 0
		for had < len(h.list) && h.list[had].Sequence <= after {
			had++
		}
		r.take(h, had)
		if len(h.list) > 0 && (first == nil || h.list[0].Sequence < first.Sequence) {
			first = h.list[0]
			bound = min(bound, first.Sequence)
		}
	}
	// The others are read that may have one before it.
	for filter, after := range from {
		h := r.heads[filter]
		if len(h.list) > 0 || h.none >= bound {
			continue
		}
		if err := r.read(h, filter, max(after, h.none)+1, upTo); err != nil {
			return nil, err
		}
		if len(h.list) > 0 && (first == nil || h.list[0].Sequence < first.Sequence) {
			first = h.list[0]
			bound = min(bound, first.Sequence)
		}
	}
	return first, nil
}

// take takes the first messages from what a filter finds.
func (r *reader) take(h *head, n int) {
	for i, m := range h.list[:n] {
		r.hold(-cost(m))
		h.list[i] = nil
	}
	if h.list = h.list[n:]; len(h.list) == 0 {
		h.list = nil
	}
}

// read reads what a filter finds next: one message, or several after some, or that there is
// none up to a place.
func (r *reader) read(h *head, filter string, seq, upTo uint64) (err error) {
	b, subject := r.s.b, messagePrefix+r.s.in.subject(filter)
	h.empty = false
	if h.found >= fewTries && r.held < sessionAhead && b.ahead.room(r.s.in) {
		if h.list, err = b.messagesOf(seq, subject, aheadMessages, aheadBytes); err != nil {
			b.o.Logger.Debug("message broker: cannot read several messages at a time", "client", r.s.key, "error", err)
			h.found = -turn // who was silent may be again
		}
		for _, m := range h.list {
			r.hold(cost(m))
		}
		if len(h.list) > 0 {
			return nil
		}
		h.found = min(h.found, 0) // who leads knows whether there is one
	}
	m, err := b.message(seq, subject, upTo)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		h.none, h.empty = max(h.none, upTo), true
		return nil
	case err != nil:
		return err
	}
	h.found++
	h.list = []*jetstream.RawStreamMsg{m}
	r.hold(cost(m))
	return nil
}

// again hands out a message that was handed out before, if it is still there.
func (r *reader) again(seq uint64) error {
	s := r.s
	m, err := s.b.message(seq, "", seq)
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
	} else {
		s.changed() // it is gone from the record, too
	}
	return nil
}

// anew hands out what is retained at the topic of one that is owed. It comes again only if it is the one
// that was handed out.
func (r *reader) anew(o owed) (more bool, err error) {
	s := r.s
	var m Retained
	if err := s.b.eachRetained(s.b.ctx, s.in, o.topic, func(found Retained) { m = found }); err != nil {
		return true, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.anew) == 0 || s.anew[0] != o {
		return true, nil // the client has unsubscribed
	}
	there := m.Publish != nil
	qos, wanted := s.granted(o.topic)
	switch {
	case s.closed, there && s.full(len(m.Payload)):
		s.pause()
		return false, nil
	case !there || !wanted: // it was removed, or nobody asks for it any more
		s.changed()
	case min(m.QoS, qos) == 0:
		m.QoS = 0
		s.client.Deliver(m.Publish)
		s.changed()
	default:
		m.QoS = 1
		s.handOutRetained(m, m.seq == o.handed)
	}
	if s.anew = s.anew[1:]; len(s.anew) == 0 {
		s.handRetained()
	}
	return true, nil
}

// handOutRead gives a message of the stream to the client. mu is held.
func (s *Session) handOutRead(m *jetstream.RawStreamMsg, dup bool) {
	if in, name, ok := original(strings.TrimPrefix(m.Subject, messagePrefix)); ok && in == s.in {
		s.handOut(&mqtt.Publish{Topic: name, Payload: m.Data, QoS: 1}, m.Sequence, dup)
	}
}
