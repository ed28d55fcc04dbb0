// Package forward passes messages of chosen topics on to webhooks and other MQTT brokers, as
// rules of AWS IoT did. What a rule finds is kept in a queue of its target before its
// sender has an acknowledgement, and leaves it when the target has taken it: at least once,
// in the order of each topic, over restarts. It knows neither where queues lie nor who
// publishes.
package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/topic"
)

// ErrEmpty means that a queue has no item after the one asked for.
var ErrEmpty = errors.New("the queue has no further item")

// Item is one of a queue.
type Item struct {
	// Sequence rises with each item of the queue, from 1.
	Sequence uint64
	At       time.Time
	Record   []byte
}

// QueueState is how a queue stands: how many items it has, how many bytes they take, and
// the sequence of the last that was ever added.
type QueueState struct {
	Items, Last uint64
	Bytes       uint64
}

// Queue keeps items on the disk until they are removed. It is bounded: the oldest give way.
type Queue interface {
	// Add returns when the item is kept.
	Add(ctx context.Context, record []byte) error
	// Next is the first item with a greater sequence; ErrEmpty for none.
	Next(ctx context.Context, after uint64) (Item, error)
	Remove(ctx context.Context, sequence uint64) error
	State(ctx context.Context) (QueueState, error)
}

// Queues keep a queue by each name.
type Queues interface {
	// Queue opens a queue, or makes it, of at most so many bytes.
	Queue(ctx context.Context, name string, most int64) (Queue, error)
	// RemoveOthers removes the queues that have none of the names, and says how many items each
	// had.
	RemoveOthers(ctx context.Context, names []string) (map[string]uint64, error)
}

// Options are what a Service is made of. Zero numbers take the defaults.
type Options struct {
	Queues Queues
	Rules  []Rule
	// Space is how many bytes wait for one target at most; default 256 MiB.
	Space int64
	// Shared says that other servers put into the queues, too: they are looked at again and
	// again, and nobody can say how many messages gave way in them. One server at a time
	// may Run, and all have the same Rules.
	Shared bool
	// Retries are the pauses after failures; default from 500 ms to 1 min.
	Retries backoff.Policy
	// Timeout is how long a target may take for one message; default 15 s.
	Timeout time.Duration
	Logger  *slog.Logger
}

// Service forwards. Its methods may be called from any goroutine.
type Service struct {
	logger  *slog.Logger
	targets []*target
	// rules are the targets of each filter, by partition.
	rules map[string]*topic.Tree[[]*target]
}

// New opens the queues of the rules' targets. What waits for a target that no rule has any
// more is removed.
func New(ctx context.Context, o Options) (*Service, error) {
	if o.Space <= 0 {
		o.Space = 256 << 20
	}
	if o.Retries == (backoff.Policy{}) {
		o.Retries = backoff.Policy{First: 500 * time.Millisecond, Most: time.Minute}
	}
	if o.Timeout <= 0 {
		o.Timeout = 15 * time.Second
	}
	s := &Service{logger: o.Logger, rules: map[string]*topic.Tree[[]*target]{}}
	byName := map[string]*target{}
	var names []string
	for _, r := range o.Rules {
		t := byName[r.name]
		if t == nil {
			t = &target{name: r.name, address: r.Target.String(), sender: r.sender(), o: o, wake: make(chan struct{}, 1)}
			byName[r.name] = t
			names, s.targets = append(names, r.name), append(s.targets, t)
		} else if t.address != r.Target.String() {
			return nil, fmt.Errorf("--forward: the target %s stands there twice, with other credentials", r.name)
		}
		tree := s.rules[r.Partition.Key()]
		if tree == nil {
			tree = &topic.Tree[[]*target]{}
			s.rules[r.Partition.Key()] = tree
		}
		list, _ := tree.Get(r.Filter)
		tree.Set(r.Filter, append(list, t))
	}
	removed, err := o.Queues.RemoveOthers(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("queues of --forward: %w", err)
	}
	for name, items := range removed {
		o.Logger.Warn("messages for a target that no --forward names any more are removed", "target", name, "messages", items)
	}
	for _, t := range s.targets {
		if t.queue, err = o.Queues.Queue(ctx, t.name, o.Space); err != nil {
			return nil, fmt.Errorf("queue of --forward to %s: %w", t.name, err)
		}
		if t.start, err = t.queue.State(ctx); err != nil {
			return nil, fmt.Errorf("queue of --forward to %s: %w", t.name, err)
		}
	}
	return s, nil
}

// Forward keeps a message for the targets whose rules find its topic, each once. It returns
// when it is kept; on an error the sender must not think that it is.
func (s *Service) Forward(ctx context.Context, p fescue.Partition, name string, payload []byte) error {
	tree := s.rules[p.Key()]
	if tree == nil {
		return nil
	}
	var targets []*target
	tree.Match(name, func(list []*target) {
		for _, t := range list {
			if !slices.Contains(targets, t) {
				targets = append(targets, t)
			}
		}
	})
	if len(targets) == 0 {
		return nil
	}
	record := encode(Message{ID: fescue.NewID(), Partition: p, Topic: name, Payload: payload})
	for _, t := range targets {
		if err := t.queue.Add(ctx, record); err != nil {
			t.unkept.Add(1)
			return fmt.Errorf("keep a message for %s: %w", t.name, err)
		}
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// Run forwards until ctx ends. What is not forwarded then is after the next start.
func (s *Service) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, t := range s.targets {
		running.Go(func() { t.run(ctx) })
	}
	running.Wait()
}

// Status is how a target does. Counts are since the start.
type Status struct {
	Target string
	// Sent messages were taken by the target, Failed counts attempts that it did not take,
	// Dropped the messages that gave way to newer ones or that the target refused for
	// good, Unkept those that could not be queued.
	Sent, Failed, Dropped, Unkept uint64
	// Queued messages wait.
	Queued uint64
}

// Status is that of each target, in the order of the rules.
func (s *Service) Status(ctx context.Context) ([]Status, error) {
	list := make([]Status, len(s.targets))
	for i, t := range s.targets {
		state, err := t.queue.State(ctx)
		if err != nil {
			return nil, fmt.Errorf("queue of --forward to %s: %w", t.name, err)
		}
		list[i] = Status{
			Target: t.name, Sent: t.sent.Load(), Failed: t.failed.Load(), Unkept: t.unkept.Load(),
			Dropped: t.refused.Load() + t.gaveWay(state), Queued: state.Items,
		}
	}
	return list, nil
}

// Message is one to be forwarded.
type Message struct {
	Partition fescue.Partition
	Topic     string
	Payload   []byte
	// ID is the same whenever the same message is sent, and no other's, whichever server
	// had it; At is when that was.
	ID string
	At time.Time
}

// encode writes a message as it lies in a queue: the lengths and texts of the id, the
// partition and the topic, then the payload.
func encode(m Message) []byte {
	var b []byte
	for _, text := range []string{m.ID, m.Partition.AWS, m.Partition.Account, m.Partition.Region, m.Topic} {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	return append(b, m.Payload...)
}

// errRecord means that a record is not as encode wrote it.
var errRecord = errors.New("the record is not whole")

func decode(b []byte) (m Message, err error) {
	for _, into := range []*string{&m.ID, &m.Partition.AWS, &m.Partition.Account, &m.Partition.Region, &m.Topic} {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return Message{}, errRecord
		}
		*into, b = string(b[n:n+int(size)]), b[n+int(size):]
	}
	m.Payload = b
	return m, nil
}

// sender gives messages to a target. Those of one topic come one after the other.
type sender interface {
	// Send returns when the target has the message. An error that wraps ErrRefused says
	// that it never will, one that wraps errClosed that it may be this message that the
	// target does not want.
	Send(ctx context.Context, m Message) error
	// Close ends what is open between messages.
	Close()
}

// ErrRefused means that a target does not want a message, however often it is sent.
var ErrRefused = errors.New("the target refuses the message")

// errClosed means that a broker that had accepted a connection closed it while a message
// was on its way. MQTT 3.1.1 has no other way to refuse one.
var errClosed = errors.New("the broker closed the connection")

// maxCloses is how often in a row a broker may close the connection on a message that was
// sent alone, until the message counts as refused.
const maxCloses = 3

// How many messages are read at a time, and how many topics' are sent beside each other.
const (
	batch    = 128
	parallel = 16
)

// target is one with its queue.
type target struct {
	name, address string
	sender        sender
	queue         Queue
	o             Options
	wake          chan struct{}
	start         QueueState

	// closing is the message on which the broker closed the last connections, when it was
	// sent alone, and how many. Only run and what it waits for use it.
	closing struct {
		sequence uint64
		times    int
	}

	sent, failed, refused, unkept, removed atomic.Uint64
	mostGone                               atomic.Uint64
}

// sharedPause is how often a queue is looked at that others put into.
const sharedPause = time.Second

// others says when to look again at what other servers may have put into the queue.
func (t *target) others() <-chan time.Time {
	if !t.o.Shared {
		return nil
	}
	return time.After(sharedPause)
}

// gaveWay is how many items gave way to newer ones: what was there and came, less what was
// removed and is there.
func (t *target) gaveWay(now QueueState) uint64 {
	if t.o.Shared {
		return 0
	}
	gone := int64(t.start.Items+now.Last-t.start.Last) - int64(t.removed.Load()+now.Items)
	for {
		most := t.mostGone.Load()
		if gone <= int64(most) || t.mostGone.CompareAndSwap(most, uint64(gone)) {
			return t.mostGone.Load()
		}
	}
}

// run forwards what the queue has.
func (t *target) run(ctx context.Context) {
	defer t.sender.Close()
	// Until the sequence suspect each message is sent alone: one of these made the broker
	// close the connection.
	suspect := uint64(0)
	for failures := 0; ; {
		n := batch
		if failures > 0 || suspect > 0 {
			n = 1 // one is enough to see that the target is back
		}
		items, err := t.read(ctx, n)
		if err == nil && len(items) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-t.wake:
			case <-t.others():
			}
			continue
		}
		if err == nil {
			err = t.send(ctx, items)
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if failures > 0 {
				t.o.Logger.Info("forwarding goes on", "target", t.name, "failures", failures)
			}
			failures = 0
			if items[0].Sequence >= suspect {
				suspect = 0
			}
			continue
		}
		if errors.Is(err, errClosed) {
			suspect = max(suspect, items[len(items)-1].Sequence)
		}
		if failures++; failures == 1 {
			t.o.Logger.Warn("cannot forward messages, they wait", "target", t.name, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(t.o.Retries.Pause(failures)):
		}
	}
}

// read gives the oldest items.
func (t *target) read(ctx context.Context, most int) (items []Item, err error) {
	after := uint64(0)
	for len(items) < most {
		item, err := t.queue.Next(ctx, after)
		if errors.Is(err, ErrEmpty) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the queue: %w", err)
		}
		items, after = append(items, item), item.Sequence
	}
	return items, nil
}

// send gives items to the target, each topic's in their order. After a failure it begins
// nothing more. What was taken has left the queue.
func (t *target) send(ctx context.Context, items []Item) error {
	var topics [][]int
	index := map[string]int{}
	messages := make([]Message, len(items))
	for i, item := range items {
		m, err := decode(item.Record)
		if err != nil {
			t.o.Logger.Error("a message in the queue is not whole and is left out", "target", t.name, "sequence", item.Sequence)
		}
		m.At = item.At
		messages[i] = m
		key := m.Partition.Key() + "/" + m.Topic
		at, ok := index[key]
		if !ok {
			at = len(topics)
			index[key], topics = at, append(topics, nil)
		}
		topics[at] = append(topics[at], i)
	}
	var g errgroup.Group
	g.SetLimit(parallel)
	var stop atomic.Bool
	for _, list := range topics {
		g.Go(func() error {
			for _, i := range list {
				if stop.Load() || ctx.Err() != nil {
					return ctx.Err()
				}
				if err := t.one(ctx, items[i].Sequence, messages[i], len(items) == 1); err != nil {
					stop.Store(true)
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// one sends a message and takes it from the queue. alone says that no other is on its way.
func (t *target) one(ctx context.Context, sequence uint64, m Message, alone bool) error {
	count := &t.refused
	if m.Topic != "" {
		limited, cancel := context.WithTimeout(ctx, t.o.Timeout)
		err := t.sender.Send(limited, m)
		cancel()
		switch {
		case err == nil:
			count = &t.sent
		case errors.Is(err, ErrRefused):
			t.o.Logger.Warn("a message was refused and is not forwarded", "target", t.name, "partition", m.Partition, "topic", m.Topic, "error", err)
		default:
			t.failed.Add(1)
			if !alone || ctx.Err() != nil || t.closes(sequence, err) < maxCloses {
				return err
			}
			t.o.Logger.Warn("a message was dropped: the broker closes the connection each time it is sent",
				"target", t.name, "partition", m.Partition, "topic", m.Topic, "size", len(m.Payload), "error", err)
		}
	}
	t.removed.Add(1) // before it is: for a moment too many are gone, never too few
	if err := t.queue.Remove(ctx, sequence); err != nil {
		t.removed.Add(^uint64(0))
		return fmt.Errorf("take a message from the queue: %w", err)
	}
	count.Add(1)
	return nil
}

// closes counts how often in a row the broker closed an accepted connection on a message
// that was sent alone. A broker that is down, or silent, refuses no message: the count
// begins anew.
func (t *target) closes(sequence uint64, err error) int {
	if t.closing.sequence != sequence || !errors.Is(err, errClosed) {
		t.closing.sequence, t.closing.times = sequence, 0
	}
	if errors.Is(err, errClosed) {
		t.closing.times++
	}
	return t.closing.times
}
