package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/periodic"
	"github.com/fescue-edge/fescue/topic"
)

// holders are the sessions of this server that have a filter.
type holders struct{ list []holder }

type holder struct {
	session *Session
	qos     byte
}

// add gives a session a filter, or changes its QoS. The broker's mu is held.
func (b *Broker) add(s *Session, filter string, qos byte) {
	tree := b.spaces[s.in]
	if tree == nil {
		tree = &topic.Tree[*holders]{}
		b.spaces[s.in] = tree
	}
	h, ok := tree.Get(filter)
	if !ok {
		h = &holders{}
		tree.Set(filter, h)
	}
	if i := h.index(s); i >= 0 {
		h.list[i].qos = qos
		return
	}
	h.list = append(h.list, holder{s, qos})
}

// remove takes a filter from a session. The broker's mu is held.
func (b *Broker) remove(s *Session, filter string) {
	tree := b.spaces[s.in]
	if tree == nil {
		return
	}
	h, ok := tree.Get(filter)
	if !ok {
		return
	}
	if i := h.index(s); i >= 0 {
		h.list[i] = h.list[len(h.list)-1]
		h.list[len(h.list)-1] = holder{}
		h.list = h.list[:len(h.list)-1]
	}
	if len(h.list) == 0 {
		if tree.Delete(filter); tree.Len() == 0 {
			delete(b.spaces, s.in)
		}
	}
}

func (h *holders) index(s *Session) int {
	return slices.IndexFunc(h.list, func(each holder) bool { return each.session == s })
}

// match calls fn for each session that has a filter for a topic, once, with the
// highest QoS of those filters. The broker's mu is held.
func (b *Broker) match(in space, name string, fn func(s *Session, qos byte)) {
	tree := b.spaces[in]
	if tree == nil {
		return
	}
	var first *holders
	var all map[*Session]byte // when several filters match
	tree.Match(name, func(h *holders) {
		if first == nil {
			first = h
			return
		}
		if all == nil {
			all = make(map[*Session]byte, len(first.list)+len(h.list))
			for _, each := range first.list {
				all[each.session] = each.qos
			}
		}
		for _, each := range h.list {
			all[each.session] = max(all[each.session], each.qos)
		}
	})
	switch {
	case all != nil:
		for s, qos := range all {
			fn(s, qos)
		}
	case first != nil:
		for _, each := range first.list {
			fn(each.session, each.qos)
		}
	}
}

// hand gives a message with QoS 0 to the sessions of this server.
func (b *Broker) hand(in space, m *mqtt.Publish) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	b.match(in, m.Topic, func(s *Session, _ byte) { s.offer(m, 0, 0) })
}

// follow reads the stream of messages from its end on.
func (b *Broker) follow(ctx context.Context) error {
	end, err := b.lastMessage(ctx)
	if err != nil {
		return fmt.Errorf("look at the message broker's stream %s: %w", messagesStream, err)
	}
	if m, err := b.messageOfLeader(end, ""); err == nil && end > 0 {
		b.marks.add(mark{end, m.Time})
	}
	b.done.Store(end)
	b.running.Go(func() {
		for failures := 1; b.ctx.Err() == nil; failures++ {
			before := b.done.Load()
			err := b.readStream()
			if b.ctx.Err() != nil {
				return
			}
			if b.done.Load() > before {
				failures = 1
			}
			b.o.Logger.Info("message broker: reading the messages anew", "after", b.done.Load(), "error", err)
			periodic.Sleep(b.ctx, rereads.Pause(failures))
		}
	})
	return nil
}

// readStream reads on from where it was done until something fails.
func (b *Broker) readStream() error {
	if err := b.rewind(); err != nil {
		return err
	}
	return b.consume(b.ctx, messagesStream, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: b.done.Load() + 1,
	}, false, b.handStored)
}

// rewindAfter is for how long the stream has to be shorter than what was read of it until
// that is believed: a node that has just come to lead may not know yet all that it has.
const rewindAfter = 30 * time.Second

// errShort means that the stream ends before what was read of it.
var errShort = errors.New("the stream ends before what was read of it")

// mark is a message that was read, by which the stream is known again: the place has another
// message where the stream has gone back.
type mark struct {
	seq uint64
	at  time.Time
}

// marks are the last message that was read, and others before it.
type marks struct {
	last mark
	list []mark
}

const (
	// markEvery is how far the others lie apart, and mostMarks how many they are: together
	// longer than a node takes to flush its disk, which is two minutes.
	markEvery = time.Second
	mostMarks = 300
)

func (k *marks) add(m mark) {
	k.last = m
	if n := len(k.list); n == 0 || m.at.Sub(k.list[n-1].at) >= markEvery {
		if n == mostMarks {
			k.list = append(k.list[:0], k.list[mostMarks/10:]...)
		}
		k.list = append(k.list, m)
	}
}

// rewind has sessions begin again where the stream is as it was when it has gone back, as after
// the loss of power of all nodes: what came next has numbers that they had.
func (b *Broker) rewind() error {
	if err := b.finishRewind(); err != nil {
		return err
	}
	s, err := b.api.Stream(b.ctx, messagesStream)
	if err != nil {
		return err
	}
	state, done := s.CachedInfo().State, b.done.Load()
	if state.LastSeq >= done {
		// It may have gone back, and have grown since.
		if gone, err := b.changed(); err != nil || !gone {
			b.shortSince = time.Time{}
			return err
		}
	} else {
		if b.shortSince.IsZero() {
			b.shortSince, b.shortEnd = time.Now(), state.LastSeq
		}
		after := rewindAfter
		if b.o.Remote != nil {
			after = cmp.Or(b.o.Remote.rewindAfter, rewindAfter)
		}
		if time.Since(b.shortSince) < after {
			return errShort
		}
	}
	to, err := b.lastInCommon(state.LastSeq)
	if err != nil {
		return err
	}
	if to == 0 {
		to = max(state.FirstSeq, 1) - 1
		if !b.shortSince.IsZero() {
			to = b.shortEnd
		}
	}
	b.o.Logger.Error("message broker: messages that were acknowledged are gone, sessions begin where the rest ends", "had", done, "has", to)
	b.shortSince = time.Time{}
	b.mu.Lock()
	b.done.Store(to)
	b.reached.learn(^uint64(0), 0)
	b.marks.list = slices.DeleteFunc(b.marks.list, func(m mark) bool { return m.seq > to })
	if b.marks.last = (mark{}); len(b.marks.list) > 0 {
		b.marks.last = b.marks.list[len(b.marks.list)-1]
	}
	b.rewound.to, b.rewound.due = append(b.rewound.to, to), true
	var recorded []*Session
	for _, sessions := range []map[string]*Session{b.sessions, b.closing} {
		for _, s := range sessions {
			if s.holdBack(to); s.lasting {
				recorded = append(recorded, s)
			}
		}
	}
	b.mu.Unlock()
	b.tally.until(to)
	b.endSessions()
	ctx, cancel := context.WithTimeout(b.ctx, answerTime)
	awaitEnded(ctx, recorded) // they write their records themselves
	cancel()
	return b.finishRewind()
}

// awaitEnded waits until nothing is left to do for sessions, or ctx ends.
func awaitEnded(ctx context.Context, sessions []*Session) {
	for _, s := range sessions {
		select {
		case <-s.ended:
		case <-ctx.Done():
			return
		}
	}
}

// rewound is to where the stream has gone back, each time that it did while this server reads it.
// While due is set records may be ahead of the last place.
type rewound struct {
	to  []uint64
	due bool
}

// known is of how many times a record that is read now cannot be ahead any more.
func (r rewound) known() int {
	if r.due {
		return len(r.to) - 1
	}
	return len(r.to)
}

// finishRewind sets the records back that are ahead.
func (b *Broker) finishRewind() error {
	b.mu.RLock()
	r := b.rewound
	b.mu.RUnlock()
	if !r.due {
		return nil
	}
	if err := insist(b.ctx, func(ctx context.Context) error { return b.holdBackTo(ctx, r.to[len(r.to)-1]) }); err != nil {
		return err
	}
	b.mu.Lock()
	b.rewound.due = false
	b.mu.Unlock()
	return nil
}

// still reports whether a place of the stream has the message that was read there, or another
// one. It may have none.
func (b *Broker) still(m mark) (same, other bool, err error) {
	if m.seq == 0 {
		return false, false, nil
	}
	there, err := b.messageOfLeader(m.seq, "")
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	same = there.Time.Equal(m.at)
	return same, !same, nil
}

// maxMissing is how many marked messages are looked for that are not there any more.
const maxMissing = 20

// changed reports whether the stream has another message where one was read.
func (b *Broker) changed() (bool, error) {
	for _, m := range append([]mark{b.marks.last}, b.marks.newest(maxMissing)...) {
		same, other, err := b.still(m)
		if err != nil || same || other {
			return other, err
		}
	}
	return false, nil
}

// newest are the last marks of the list, the last first.
func (k *marks) newest(most int) (list []mark) {
	for _, m := range slices.Backward(k.list[max(len(k.list)-most, 0):]) {
		list = append(list, m)
	}
	return list
}

// lastInCommon is the last message that was marked and is there still; 0 for none.
func (b *Broker) lastInCommon(end uint64) (uint64, error) {
	for _, m := range append([]mark{b.marks.last}, b.marks.newest(mostMarks)...) {
		if m.seq > end {
			continue
		}
		if same, _, err := b.still(m); err != nil || same {
			return m.seq, err
		}
	}
	return 0, nil
}

// handStored gives a message of the stream to the sessions of this server.
func (b *Broker) handStored(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
	seq := meta.Sequence.Stream
	in, name, ok := original(strings.TrimPrefix(m.Subject(), messagePrefix))
	var zero, one *mqtt.Publish
	if ok {
		// Of several servers the one that it came through has others give way for it.
		if size := storedSize(m.Subject(), m.Headers(), len(m.Data())); b.tally.count(in, seq, size) && strings.HasPrefix(m.Headers().Get(jetstream.MsgIDHeader), b.run) {
			b.hasTooMuch()
		}
	}
	b.marks.add(mark{seq, meta.Timestamp})
	b.mu.RLock()
	defer b.mu.RUnlock()
	defer b.done.Store(seq)
	if !ok {
		return nil
	}
	b.match(in, name, func(s *Session, qos byte) {
		if qos > 0 {
			if one == nil {
				one = &mqtt.Publish{Topic: name, Payload: m.Data(), QoS: 1}
			}
			s.offer(one, seq, 1)
			return
		}
		if zero == nil {
			zero = &mqtt.Publish{Topic: name, Payload: m.Data()}
		}
		s.offer(zero, seq, 0)
	})
	return nil
}
