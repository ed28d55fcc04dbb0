package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/topic"
)

const (
	// window is how many messages with QoS 1 a client may have without an
	// acknowledgement (100 for a connection in the AWS IoT Core quotas), windowBytes
	// how many bytes they may have together: one message may be larger.
	window      = 100
	windowBytes = 4 << 20
	// maxRetained is how many retained messages may wait for room in the window.
	maxRetained = 64
	// gatherTime is how long a session that is behind waits for further acknowledgements, while less
	// than half of the window is free.
	gatherTime = 20 * time.Millisecond
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
	opened int64         // rises from one opening to the next, at whichever server
	here   time.Time     // when it was opened
	ended  chan struct{} // closed when there is nothing more to do for it
	// overtaken ends its opening, and claimed is set once that may have written the record.
	overtaken context.CancelCauseFunc
	claimed   bool
	// finished closes ended.
	finished sync.Once
	lasting  bool
	will     *keptWill // nil for none
	// heir is set when the will has come in the place of an earlier connection's.
	heir    bool
	settled atomic.Bool

	mu      sync.Mutex
	closed  bool
	filters map[string]grant
	// unacked are the messages that were handed out with QoS 1, in their order, and
	// bytes is how large they are. again are those that were handed out on another
	// connection, and are to be once more.
	unacked []handed
	bytes   int
	again   []uint64
	// anew are retained messages that were handed out on another connection, or were to be.
	anew   []owed
	nextID uint16
	// retained are retained messages with QoS 1 for which there was no room yet, one for a
	// topic.
	retained []Retained
	// at is the last message of the stream that was looked at for this session, as far
	// as it is known here. A session that is behind gets no message of the stream from
	// the reader of all, but reads for itself from there; catching is set while it does.
	at               uint64
	behind, catching bool
	// gathering is set while acknowledgements are waited for.
	gathering bool
	// measured is up to where what waits for a session that is behind was measured, and
	// margin how much may come after that until it is again.
	measured uint64
	margin   int64
	// reader is who reads while the session is behind; what it has read ahead stays while
	// the client has to acknowledge first.
	reader *reader
	// backs is how often the stream went back.
	backs int
	// passed is the last message for a session that is behind by which the reader of all has
	// passed.
	passed uint64

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
	seq  uint64 // in the stream of messages, or of the retained ones
	size int
	// retained is the topic of one that was; empty for others.
	retained string
}

// Retained is a retained message.
type Retained struct {
	*mqtt.Publish
	seq uint64
}

// owed is a retained message of another connection: which one of its topic was handed out, 0 for
// none yet.
type owed struct {
	topic  string
	handed uint64
}

// Opening says for whom a session is opened.
type Opening struct {
	Partition fescue.Partition
	ClientID  string
	// Holder is the certificate or access key that the session counts for.
	Holder string
	// Lasting makes a persistent session; otherwise one that is there is removed.
	Lasting bool
	// Will is kept until the session is closed. When the server dies, another one publishes
	// it, or the same when it starts again.
	Will *Will
}

// Open opens the session of a client. present says that it continues a persistent one,
// whose messages follow at once. Of one client id there is one session at a time: an
// earlier one is to be closed before; at another server it is ended. One that has ended when it could be
// opened, as ctx says, or that a later one of the same client has overtaken at another server, is given
// back.
func (b *Broker) Open(ctx context.Context, o Opening, c Client) (_ *Session, present bool, err error) {
	s := &Session{
		b: b, in: spaceOf(o.Partition), key: Key(o.Partition, o.ClientID), holder: o.Holder, client: c, lasting: o.Lasting, margin: b.o.MaxSessionWaiting,
		opened: b.stamp(), here: time.Now(), ended: make(chan struct{}), filters: map[string]grant{},
	}
	ctx, s.overtaken = context.WithCancelCause(ctx)
	defer s.overtaken(nil)
	b.mu.Lock()
	former, rewinds := b.closing[s.key], b.rewound.known()
	b.opening[s.key] = s
	b.mu.Unlock()
	defer func() {
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			s.overtaken(err) // what cannot be written at once is later
			b.giveBack(ctx, s, rewinds)
		}
	}()
	if former != nil {
		if err := former.write(ctx); err != nil && !errors.Is(err, ErrTaken) {
			return nil, false, fmt.Errorf("the session's last connection is not recorded yet: %w", err)
		}
	}
	if s.lasting {
		if present, err = s.resume(ctx); err != nil {
			return nil, false, err
		}
	} else if present, err = b.discard(ctx, s); err != nil {
		return nil, false, err
	}
	if err := b.leaveWill(ctx, s, o); err != nil {
		return nil, false, err
	}
	if ctx.Err() == nil {
		b.sayOpened(s)
	}
	if err := b.admit(ctx, s, rewinds); err != nil {
		return nil, false, err
	}
	return s, present && s.lasting, nil
}

// giveBack leaves a session that is not opened to its next connection, as far as it is its own: the
// record may be another's.
func (b *Broker) giveBack(ctx context.Context, s *Session, rewinds int) {
	b.mu.Lock()
	if b.opening[s.key] == s {
		delete(b.opening, s.key)
	}
	if s.claimed {
		b.catchRewind(s, rewinds)
	}
	b.mu.Unlock()
	switch {
	case s.heir && leavesWill(ctx):
		_ = s.Leave(ctx)
	case s.claimed || s.will != nil:
		_ = s.Close(ctx)
	}
}

// catchRewind holds a session back whose record may have been read before it was set back, for all but
// the first times that the stream went back. mu is held.
func (b *Broker) catchRewind(s *Session, rewinds int) {
	if to := b.rewound.to[rewinds:]; len(to) > 0 {
		s.holdBack(slices.Min(to))
	}
}

// admit makes a session that was opened one of those that are here, unless its time is over already.
func (b *Broker) admit(ctx context.Context, s *Session, rewinds int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.lost:
		return ErrLost
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	b.catchRewind(s, rewinds)
	delete(b.opening, s.key)
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
	return nil
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
func (s *Session) Retained(ctx context.Context, f Filter, fn func(m Retained)) error {
	return s.b.eachRetained(ctx, s.in, f.Filter, func(m Retained) {
		m.QoS = min(m.QoS, f.QoS)
		fn(m)
	})
}

// Hand gives the client a retained message, at once or when it has acknowledged others.
func (s *Session) Hand(m Retained) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case m.QoS == 0:
		s.client.Deliver(m.Publish)
	case len(s.retained)+len(s.anew) > 0 || s.full(len(m.Payload)):
		s.keep(m)
	default:
		s.handOutRetained(m, false)
	}
}

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
	if changed {
		s.retained = slices.DeleteFunc(s.retained, func(m Retained) bool { _, ok := s.granted(m.Topic); return !ok })
		s.anew = slices.DeleteFunc(slices.Clone(s.anew), func(o owed) bool { _, ok := s.granted(o.topic); return !ok })
		if len(s.anew) == 0 {
			s.handRetained() // they may have waited for those
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
// stream, which one with QoS 0 need not have.
func (s *Session) offer(m *mqtt.Publish, seq uint64, qos byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case qos == 0:
		s.client.Deliver(m)
	case s.behind:
		s.passed = seq
	case seq <= s.at:
	case s.full(len(m.Payload)):
		// The rest is read when there is room, this one too, though done may not have come to it by then.
		s.behind, s.at, s.passed = true, seq-1, seq
		s.changed()
	default:
		s.handOut(m, seq, false)
	}
}

// keep keeps a retained message until there is room. mu is held.
func (s *Session) keep(m Retained) {
	s.retained = slices.DeleteFunc(s.retained, func(other Retained) bool { return other.Topic == m.Topic })
	if len(s.retained) >= maxRetained || len(s.retained)+len(s.anew) >= 2*maxRetained {
		s.client.End(ErrUnacknowledged)
		return
	}
	s.retained = append(s.retained, m)
	s.changed()
}

// handRetained hands out retained messages for which there is room now. mu is held.
func (s *Session) handRetained() {
	for len(s.retained) > 0 && !s.closed && !s.full(len(s.retained[0].Payload)) {
		s.handOutRetained(s.retained[0], false)
		if s.retained = s.retained[1:]; len(s.retained) == 0 {
			s.retained = nil
		}
	}
}

// granted is the highest QoS of the filters that find a topic; ok is false for none. mu is held.
func (s *Session) granted(name string) (qos byte, ok bool) {
	for filter, g := range s.filters {
		if topic.Match(filter, name) {
			qos, ok = max(qos, g.QoS), true
		}
	}
	return qos, ok
}

// full reports whether a message of a size has to wait for acknowledgements. mu is held.
func (s *Session) full(size int) bool {
	return len(s.unacked) >= window || len(s.unacked) > 0 && s.bytes+size > windowBytes
}

// handOut gives a message of the stream to the client, with QoS 1. mu is held.
func (s *Session) handOut(m *mqtt.Publish, seq uint64, dup bool) {
	s.at = max(s.at, seq)
	s.deliver(m, handed{seq: seq}, dup)
}

// handOutRetained gives a retained message to the client, with QoS 1. mu is held.
func (s *Session) handOutRetained(m Retained, dup bool) {
	s.deliver(m.Publish, handed{seq: m.seq, retained: m.Topic}, dup)
}

// deliver gives a message with QoS 1 to the client, and notes that it is to be acknowledged. mu is
// held.
func (s *Session) deliver(m *mqtt.Publish, h handed, dup bool) {
	out := *m
	out.ID, out.Dup = s.freeID(), dup
	if s.client.Deliver(&out) {
		h.id, h.size = out.ID, len(m.Payload)
		s.unacked = append(s.unacked, h)
		s.bytes += h.size
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
	if len(s.anew) == 0 {
		s.handRetained()
	}
	switch {
	case !s.behind || s.catching || s.full(1):
	case len(s.unacked) <= window/2 && s.bytes <= windowBytes/2:
		s.catchUp()
	case !s.gathering:
		// One message is not worth it, but the client may keep the others for good.
		s.gathering = true
		time.AfterFunc(gatherTime, s.gathered)
	}
}

// gathered has a session that is behind go on with the room that there is by now.
func (s *Session) gathered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gathering = false
	if s.behind && !s.full(1) {
		s.catchUp()
	}
}

// holdBack makes the session one of a stream that ends at a place.
func (s *Session) holdBack(end uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backs++
	s.at, s.measured, s.passed = min(s.at, end), min(s.measured, end), min(s.passed, end)
	s.unacked = slices.DeleteFunc(s.unacked, func(h handed) bool {
		gone := h.retained == "" && h.seq > end
		if gone {
			s.bytes -= h.size
		}
		return gone
	})
	s.again = slices.DeleteFunc(s.again, func(seq uint64) bool { return seq > end })
	for filter, g := range s.filters {
		s.filters[filter] = grant{QoS: g.QoS, Since: min(g.Since, end)}
	}
	s.changed()
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

// Leave is Close for a session whose will is left to others to publish.
func (s *Session) Leave(ctx context.Context) error {
	if s.will != nil {
		s.b.closeWill(s.will.owner)
	}
	return s.close(ctx)
}

// Close ends the session's time here: a persistent one waits for its client from now
// on, any other is no more. Its will was published, or need not be. What could not be recorded, as the error says, is tried again.
func (s *Session) Close(ctx context.Context) error {
	err := s.close(ctx)
	if s.will != nil && !s.settled.Swap(true) {
		s.b.removeWill(ctx, s.key, *s.will)
	}
	return err
}

func (s *Session) close(ctx context.Context) error {
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
	if !s.catching {
		s.forget()
	}
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
