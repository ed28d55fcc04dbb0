package broker

import (
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/topic"
)

// mostMeasured is for how many sessions is measured at a time what waits for them.
const mostMeasured = 1000

// measuring has the sessions of a partition whose messages are to be measured: all of them in one
// pass over the stream, as many of an account come back at the same time.
type measuring struct {
	mu  sync.Mutex
	due []*measurement
	// pass is held during a pass.
	pass sync.Mutex
}

// measurement is how much waits for a session.
type measurement struct {
	s *Session
	// most is how much may wait; parts of grain bytes are counted.
	most, grain int64
	// at is where the session was, backs how often the stream had gone back, and upTo where the
	// pass ended; level is set when nothing waits.
	at, upTo uint64
	backs    int
	level    bool
	// last is the last message that was counted, waiting what is to be handed out, of what there is
	// behind skip; messages are those before.
	last     uint64
	waiting  account
	skip     uint64
	messages int64
	// done is set after its pass, and err is why that failed; with pass held.
	done bool
	err  error
}

// wanting is a measurement that counts what a filter finds behind a place.
type wanting struct {
	*measurement
	since uint64
}

// skip passes over the oldest messages when more wait than a session may have: the rest is
// three quarters of that. What waits is in the stream, where a session has nothing of its
// own; so it is measured only when the whole partition has more than would do.
func (r *reader) skip() error {
	s, b := r.s, r.s.b
	most := b.o.MaxSessionWaiting
	if most <= 0 || !r.mayHaveTooMuch() {
		return nil
	}
	m := &measurement{s: s, most: most, grain: max(most/64, 1)}
	if err := b.measure(s.in, m); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.level || s.closed || s.at != m.at || s.backs != m.backs {
		return nil // it is measured at the next turn
	}
	s.measured, s.margin = m.upTo, max(most-m.waiting.bytes, most/8)
	if m.skip == 0 {
		return nil
	}
	s.at = m.skip
	s.changed()
	b.skipped.Add(uint64(m.messages))
	if b.said.now("session " + s.key) {
		b.o.Logger.Warn("message broker: more waits for a session than it may have, the oldest messages are not handed out", "client", s.key, "messages", m.messages, "most", most)
	}
	return nil
}

// mayHaveTooMuch reports whether so much of the partition is behind what was measured that it
// has to be measured anew.
func (r *reader) mayHaveTooMuch() bool {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed && s.behind && s.b.tally.counted() && s.b.tally.after(s.in, max(s.at, s.measured)) > s.margin
}

// measure measures what waits for a session, with what is due for others of its partition.
func (b *Broker) measure(in space, m *measurement) error {
	of, _ := b.measuring.LoadOrStore(in, &measuring{})
	all := of.(*measuring)
	all.mu.Lock()
	all.due = append(all.due, m)
	all.mu.Unlock()
	all.pass.Lock()
	defer all.pass.Unlock()
	for !m.done {
		all.mu.Lock()
		n := min(len(all.due), mostMeasured)
		list := all.due[:n:n]
		if all.due = all.due[n:]; len(all.due) == 0 {
			all.due = nil
		}
		all.mu.Unlock()
		err := b.measureAll(in, list)
		for _, each := range list {
			each.done, each.err = true, err
		}
	}
	return m.err
}

// measureAll is one pass over what the stream has of a partition.
func (b *Broker) measureAll(in space, list []*measurement) error {
	filters := &topic.Tree[*[]wanting]{}
	from, upTo := ^uint64(0), b.done.Load()
	for _, m := range list {
		if m.begin(filters, upTo); !m.level {
			from = min(from, m.at+1)
		}
	}
	if filters.Len() == 0 || from > upTo {
		return nil
	}
	err := b.eachOf(b.ctx, in, from, upTo, func(m jetstream.Msg, meta *jetstream.MsgMetadata) {
		_, name, _ := original(strings.TrimPrefix(m.Subject(), messagePrefix))
		size := storedSize(m.Subject(), m.Headers(), len(m.Data()))
		filters.Match(name, func(all *[]wanting) {
			for _, w := range *all {
				w.count(meta.Sequence.Stream, w.since, size)
			}
		})
	})
	for _, m := range list {
		m.end()
	}
	return err
}

// begin takes in where the session is, and adds it to those that want what its filters find.
func (m *measurement) begin(filters *topic.Tree[*[]wanting], upTo uint64) {
	s := m.s
	s.mu.Lock()
	defer s.mu.Unlock()
	m.at, m.backs, m.upTo = s.at, s.backs, upTo
	if m.level = s.closed || !s.behind; m.level {
		return
	}
	for filter, g := range s.filters {
		if g.QoS == 0 {
			continue
		}
		all, ok := filters.Get(filter)
		if !ok {
			all = &[]wanting{}
			filters.Set(filter, all)
		}
		*all = append(*all, wanting{m, g.Since})
	}
}

// count counts a message that a filter finds. What is too much already is not kept part by part.
func (m *measurement) count(seq, since uint64, size int64) {
	if seq <= m.at || seq <= since || seq == m.last {
		return
	}
	m.last = seq
	m.waiting.add(seq, size, m.grain)
	for m.waiting.bytes-m.waiting.parts[0].bytes > m.most {
		m.pass(m.waiting.parts[0].last, m.waiting.parts[0].messages)
	}
}

// pass leaves out what waits up to a place.
func (m *measurement) pass(upTo uint64, messages int64) {
	m.waiting.drop(upTo)
	m.skip = upTo
	m.messages += messages
}

// end leaves out what is too much.
func (m *measurement) end() {
	if m.skip == 0 && m.waiting.bytes <= m.most {
		return
	}
	if upTo, messages := m.waiting.beyond(m.most / 4 * 3); messages > 0 {
		m.pass(upTo, messages)
	}
}
