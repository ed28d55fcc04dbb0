package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/mqtt"
)

const (
	// window is how many messages with QoS 1 a client may have without an
	// acknowledgement (100 for a connection in the AWS IoT Core quotas), windowBytes
	// how many bytes they may have together: one message may be larger.
	window      = 100
	windowBytes = 4 << 20
	// maxRetained is how many retained messages may wait for room in the window.
	maxRetained = 64
)

// Client is whoever a session is for. Its methods must not wait, nor call those of
// the session.
type Client interface {
	// Deliver passes a message on. For one with QoS 1 it reports whether the client
	// will have to acknowledge it; false settles it.
	Deliver(m *mqtt.Publish) (awaited bool)
	// End ends the client's connection. The session is to be closed then.
	End(cause error)
}

// Filter is a topic filter with the QoS that is granted for it.
type Filter struct {
	Filter string
	QoS    byte
}

// Session is a client's session while the client is here. Its methods may be called
// from any goroutine.
type Session struct {
	b      *Broker
	in     space
	key    string
	holder string
	owner  string // names this opening; empty for a session that is not persistent
	client Client
	opened int64         // in nanoseconds since 1970
	ended  chan struct{} // closed when there is nothing more to do for it
	// finished closes ended.
	finished sync.Once
	lasting  bool

	mu      sync.Mutex
	closed  bool
	filters map[string]grant
	// unacked are the messages that were handed out with QoS 1, in their order, and
	// bytes is how large they are. again are those that were handed out on another
	// connection, and are to be once more.
	unacked []handed
	bytes   int
	again   []uint64
	nextID  uint16
	// retained are retained messages with QoS 1 for which there was no room yet, one for a
	// topic.
	retained []*mqtt.Publish
	// at is the last message of the stream that was looked at for this session, as far
	// as it is known here. A session that is behind gets no message of the stream from
	// the reader of all, but reads for itself from there; catching is set while it does.
	at               uint64
	behind, catching bool
	// passed says that the reader of all has passed by a message for a session that is
	// behind.
	passed bool

	writing  sync.Mutex // held while the record is written
	revision uint64     // of the record
}

// grant is what a session has for a filter.
type grant struct {
	QoS byte `json:"qos,omitempty"`
	// Since is the last message of the stream that came before the filter.
	Since uint64 `json:"since,omitempty"`
}

// handed is a message without its acknowledgement.
type handed struct {
	id   uint16
	seq  uint64 // 0 for one that was retained
	size int
}

// Opening says for whom a session is opened.
type Opening struct {
	Partition fescue.Partition
	ClientID  string
	// Holder is the certificate or access key that the session counts for.
	Holder string
	// Lasting makes a persistent session; otherwise one that is there is removed.
	Lasting bool
}

// Open opens the session of a client. present says that it continues a persistent one,
// whose messages follow at once. Of one client id there is one session at a time: an
// earlier one is to be closed before; at another server it is ended.
func (b *Broker) Open(ctx context.Context, o Opening, c Client) (s *Session, present bool, err error) {
	s = &Session{
		b: b, in: spaceOf(o.Partition), key: Key(o.Partition, o.ClientID), holder: o.Holder, client: c, lasting: o.Lasting,
		opened: time.Now().UnixNano(), ended: make(chan struct{}), filters: map[string]grant{},
	}
	b.mu.Lock()
	former := b.closing[s.key]
	b.mu.Unlock()
	if former != nil {
		if err := former.write(ctx); err != nil && !errors.Is(err, ErrTaken) {
			return nil, false, fmt.Errorf("the session's last connection is not recorded yet: %w", err)
		}
	}
	if s.lasting {
		if present, err = s.resume(ctx); err != nil {
			return nil, false, err
		}
	} else if present, err = b.discard(ctx, s.key); err != nil {
		return nil, false, err
	}
	b.sayOpened(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost {
		return nil, false, ErrLost
	}
	b.sessions[s.key] = s
	for filter, g := range s.filters {
		b.add(s, filter, g.QoS)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behind {
		s.catchUp()
	} else {
		s.at = b.done.Load()
	}
	return s, present && s.lasting, nil
}

// Subscribe gives the session filters. When it returns, they hold, for a persistent
// session also after a crash.
func (s *Session) Subscribe(ctx context.Context, list []Filter) error {
	b, changed := s.b, false
	b.mu.Lock()
	s.mu.Lock()
	for _, f := range list {
		g, ok := s.filters[f.Filter]
		if ok && g.QoS == f.QoS {
			continue
		}
		changed = true
		b.add(s, f.Filter, f.QoS)
		s.filters[f.Filter] = grant{QoS: f.QoS, Since: b.done.Load()}
	}
	s.mu.Unlock()
	b.mu.Unlock()
	if changed {
		if err := s.write(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Retained calls fn with what is retained at the topics that a filter finds, for Hand.
func (s *Session) Retained(ctx context.Context, f Filter, fn func(m *mqtt.Publish)) error {
	return s.b.eachRetained(ctx, s.in, f.Filter, func(m *mqtt.Publish) {
		m.QoS = min(m.QoS, f.QoS)
		fn(m)
	})
}

// Hand gives the client a retained message, at once or when it has acknowledged others.
func (s *Session) Hand(m *mqtt.Publish) { s.offer(m, 0, m.QoS) }

// Unsubscribe takes filters from the session.
func (s *Session) Unsubscribe(ctx context.Context, filters []string) error {
	b, changed := s.b, false
	b.mu.Lock()
	s.mu.Lock()
	for _, filter := range filters {
		if _, ok := s.filters[filter]; ok {
			changed = true
			b.remove(s, filter)
			delete(s.filters, filter)
		}
	}
	s.mu.Unlock()
	b.mu.Unlock()
	if changed {
		return s.write(ctx)
	}
	return nil
}

// offer hands a message to the client, unless it comes later: seq is its place in the
// stream, 0 for none.
func (s *Session) offer(m *mqtt.Publish, seq uint64, qos byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case qos == 0:
		s.client.Deliver(m)
	case seq == 0 && (len(s.retained) > 0 || s.full(len(m.Payload))):
		s.keep(m)
	case seq > 0 && s.behind:
		s.passed = true
	case seq > 0 && seq <= s.at:
	case s.full(len(m.Payload)):
		s.behind, s.at = true, max(s.at, seq-1) // the rest is read when there is room
		s.changed()
	default:
		s.handOut(m, seq, false)
	}
}

// keep keeps a retained message until there is room. mu is held.
func (s *Session) keep(m *mqtt.Publish) {
	s.retained = slices.DeleteFunc(s.retained, func(other *mqtt.Publish) bool { return other.Topic == m.Topic })
	if len(s.retained) >= maxRetained {
		s.client.End(ErrUnacknowledged)
		return
	}
	s.retained = append(s.retained, m)
}

// full reports whether a message of a size has to wait for acknowledgements. mu is held.
func (s *Session) full(size int) bool {
	return len(s.unacked) >= window || len(s.unacked) > 0 && s.bytes+size > windowBytes
}

// handOut gives a message with QoS 1 to the client. mu is held.
func (s *Session) handOut(m *mqtt.Publish, seq uint64, dup bool) {
	s.at = max(s.at, seq)
	out := *m
	out.ID, out.Dup = s.freeID(), dup
	if s.client.Deliver(&out) {
		s.unacked = append(s.unacked, handed{out.ID, seq, len(m.Payload)})
		s.bytes += len(m.Payload)
	}
	s.changed()
}

// freeID is a packet identifier that no message without acknowledgement has.
func (s *Session) freeID() uint16 {
	for {
		s.nextID++
		if s.nextID != 0 && !slices.ContainsFunc(s.unacked, func(h handed) bool { return h.id == s.nextID }) {
			return s.nextID
		}
	}
}

// Ack says that the client has a message. One that it was not handed is nothing.
func (s *Session) Ack(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	i := slices.IndexFunc(s.unacked, func(h handed) bool { return h.id == id })
	if i < 0 {
		return
	}
	s.bytes -= s.unacked[i].size
	if s.unacked = slices.Delete(s.unacked, i, i+1); len(s.unacked) == 0 {
		s.unacked = nil // an idle session keeps no memory
	}
	s.changed()
	for len(s.retained) > 0 && !s.closed && !s.full(len(s.retained[0].Payload)) {
		s.handOut(s.retained[0], 0, false)
		if s.retained = s.retained[1:]; len(s.retained) == 0 {
			s.retained = nil
		}
	}
	if s.behind && len(s.unacked) <= window/2 && s.bytes <= windowBytes/2 {
		s.catchUp()
	}
}

// Renew records that the client is here.
func (s *Session) Renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.changed()
	}
}

// changed has the record written soon. mu is held.
func (s *Session) changed() {
	if !s.lasting {
		return
	}
	u := &s.b.unwritten
	u.Lock()
	defer u.Unlock()
	u.sessions[s] = struct{}{}
}

// Close ends the session's time here: a persistent one waits for its client from now
// on, any other is no more. What could not be recorded, as the error says, is tried again.
func (s *Session) Close(ctx context.Context) error {
	b := s.b
	b.mu.Lock()
	if b.sessions[s.key] == s {
		delete(b.sessions, s.key)
	}
	s.mu.Lock()
	for filter := range s.filters {
		b.remove(s, filter)
	}
	already := s.closed
	s.closed = true
	if !already && s.lasting {
		b.closing[s.key] = s
		s.changed() // until it is written, no checkpoint is
	}
	if !s.behind {
		s.at = max(s.at, b.done.Load())
	}
	s.mu.Unlock()
	b.mu.Unlock()
	switch {
	case already:
		return nil
	case !s.lasting:
		s.finish()
		return nil
	}
	return s.write(ctx)
}
