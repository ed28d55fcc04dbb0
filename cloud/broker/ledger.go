package broker

import (
	"fmt"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/periodic"
)

// ledger is how much each partition retains: of each topic the size, by the hash of its
// subject. The zero ledger is empty.
type ledger struct {
	mu     sync.Mutex
	spaces map[space]*shelf
	// fresh is what takes its place when it has been read anew; nil while it is not.
	fresh *ledger
}

// shelf is what one partition retains.
type shelf struct {
	sizes map[uint64]int32
	bytes int64
}

var ledgerSeed = maphash.MakeSeed()

// set notes that a message is retained, or none any more.
func (l *ledger) set(in space, subject string, size int64, removed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fresh != nil {
		l.fresh.set(in, subject, size, removed) // it may have been read up to before that
	}
	s, topic := l.spaces[in], maphash.String(ledgerSeed, subject)
	if s == nil {
		if removed {
			return
		}
		if l.spaces == nil {
			l.spaces = map[space]*shelf{}
		}
		s = &shelf{sizes: map[uint64]int32{}}
		l.spaces[in] = s
	}
	s.bytes -= int64(s.sizes[topic])
	if !removed {
		s.sizes[topic] = int32(size)
		s.bytes += size
	} else if delete(s.sizes, topic); len(s.sizes) == 0 {
		delete(l.spaces, in)
	}
}

// with is how many topics of a partition would have a retained message, and how many bytes
// these would take, with one more or a larger one.
func (l *ledger) with(in space, subject string, size int64) (topics int, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.spaces[in]
	if s == nil {
		return 1, size
	}
	before, there := s.sizes[maphash.String(ledgerSeed, subject)]
	topics = len(s.sizes)
	if !there {
		topics++
	}
	return topics, s.bytes + size - int64(before)
}

// readAnew gives a ledger for what is read anew, which then replaces what is known.
func (l *ledger) readAnew() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fresh = &ledger{}
	return l.fresh
}

// replace puts what was read anew in the place of what was known.
func (l *ledger) replace() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spaces, l.fresh = l.fresh.spaces, nil
}

// followRetained keeps the ledger, whoever publishes.
func (b *Broker) followRetained() {
	for failures := 1; b.ctx.Err() == nil; failures++ {
		fresh, reading := b.ledger.readAnew(), true
		if s, err := b.api.Stream(b.ctx, retainedStream); err == nil && s.CachedInfo().State.Msgs == 0 {
			b.ledger.replace()
			reading = false
		}
		err := b.consume(b.ctx, retainedStream, jetstream.ConsumerConfig{
			FilterSubject: retainedPrefix + ">", DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, HeadersOnly: true,
		}, false, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
			failures = 1
			to := &b.ledger
			if reading {
				to = fresh
			}
			in, _, _ := strings.Cut(strings.TrimPrefix(m.Subject(), retainedPrefix), ".")
			to.set(space(in), m.Subject(), storedSize(m.Subject(), m.Headers(), len(m.Data())), m.Headers().Get(jetstream.MsgTTLHeader) != "")
			if reading && meta.NumPending == 0 {
				b.ledger.replace()
				reading = false
			}
			return nil
		})
		b.o.Logger.Debug("message broker: reading the retained messages anew", "error", err)
		periodic.Sleep(b.ctx, rereads.Pause(failures))
	}
}

// RoomToRetain is nil while the broker may retain a message of a partition. One that is
// not larger than what it replaces there is room for, unless all take too much.
func (b *Broker) RoomToRetain(p fescue.Partition, m *mqtt.Publish) error {
	if n := b.sizes.retained.Load(); n >= b.o.MaxRetained {
		return fmt.Errorf("retained messages take %d MB, and %d MB are allowed: remove some by retaining empty ones", n>>20, b.o.MaxRetained>>20)
	}
	in := spaceOf(p)
	subject := retainedPrefix + in.subject(m.Topic)
	topics, bytes := b.ledger.with(in, subject, storedSize(subject, nil, len(m.Payload)))
	if most := b.o.MaxPartitionTopics; most > 0 && topics > most {
		return fmt.Errorf("%d topics of the account have retained messages, and no more are allowed: remove some by retaining empty ones", topics-1)
	}
	if most := b.o.MaxPartitionRetained; most > 0 && bytes > most {
		return fmt.Errorf("the account's retained messages take %d KB, and %d KB are allowed: remove some by retaining empty ones", (bytes-int64(len(m.Payload)))>>10, most>>10)
	}
	return nil
}
