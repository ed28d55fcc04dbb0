package broker

import (
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

// rewind ends all sessions when the stream has gone back, as after the loss of power of all
// nodes: what comes next has numbers that they had.
func (b *Broker) rewind() error {
	end, err := b.lastMessage(b.ctx)
	if err != nil {
		return err
	}
	if end >= b.done.Load() {
		b.shortSince = time.Time{}
		return nil
	}
	if b.shortSince.IsZero() {
		b.shortSince = time.Now()
	}
	if time.Since(b.shortSince) < rewindAfter {
		return errShort
	}
	b.o.Logger.Error("message broker: messages that were acknowledged are gone, sessions begin where the rest ends", "had", b.done.Load(), "has", end)
	b.mu.Lock()
	b.done.Store(end)
	b.mu.Unlock()
	b.endSessions()
	periodic.Sleep(b.ctx, answerTime) // their records come first
	return b.holdBack(b.ctx)
}

// handStored gives a message of the stream to the sessions of this server.
func (b *Broker) handStored(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
	seq := meta.Sequence.Stream
	in, name, ok := original(strings.TrimPrefix(m.Subject(), messagePrefix))
	var zero, one *mqtt.Publish
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
