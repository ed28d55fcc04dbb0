package cloudlink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/topic"
)

// Bounds of the queue, in bytes (AWS IoT Greengrass V1 developer guide, "MQTT
// message queue"), and of one message (AWS General Reference: 128 KB).
const (
	DefaultMaxBytes   = 2621440
	MinMaxBytes       = 262144
	MaxMessage        = 128 << 10
	DefaultDrain      = 2 * time.Second
	DefaultMaxRetry   = 60 * time.Second
	DefaultOperation  = 5 * time.Second
	DefaultKeepAlive  = 600 * time.Second
	maxClosesInFlight = 3
	firstRetry        = time.Second
)

// Errors of Publish.
var (
	// ErrTooLarge means more than MaxMessage bytes.
	ErrTooLarge = errors.New("message too large for the cloud")
	// ErrTopic means a topic that cannot be published to.
	ErrTopic = errors.New("not a topic to publish to")
)

// Options are what a Link stands on. Address, TLS, ClientID and Logger are
// required.
type Options struct {
	// Address is the broker's "host:port"; TLS is spoken on it.
	Address string
	TLS     *tls.Config
	// Dial opens the connection under TLS; nil dials Address.
	Dial     func(ctx context.Context) (net.Conn, error)
	ClientID string
	// ExtraClientID begins the client ids of further connections, which end in -c00,
	// -c01 and so on; ClientID if empty.
	ExtraClientID string
	// KeepAlive is 600 s if zero.
	KeepAlive time.Duration
	// OperationTimeout bounds a connect, publish, subscribe or unsubscribe; 5 s
	// if zero.
	OperationTimeout time.Duration
	// FirstRetry and MaxRetry bound the reconnect back-off; 1 s and 60 s if zero.
	FirstRetry, MaxRetry time.Duration
	// Drain bounds how long the end of Run waits for the queue to empty; 2 s if
	// zero.
	Drain time.Duration
	// Queue holds what is published; nil is one of DefaultMaxBytes in memory.
	Queue Queue
	// Changed is called when the connection comes (with its subscriptions) and
	// goes; nil is not called.
	Changed func(connected bool)
	Logger  *slog.Logger
}

// Link is one core's connection to the cloud's broker. Make one with New; Run
// owns it. Its methods may be called from any goroutine, before Run too.
type Link struct {
	options Options
	queue   Queue
	// queued has an element when there may be something to send.
	queued chan struct{}
	// arranged has an element when there may be more or fewer connections to run.
	arranged chan struct{}
	// first is the connection that publishes.
	first *connection

	mu            sync.Mutex
	subscriptions []*Subscription
	suspects      map[string]suspicion
	// connections are at least one: the first is always first.
	connections []*connection
	// lost counts the messages that were given up.
	lost uint64
}

// New makes a link. It does nothing before Run.
func New(o Options) *Link {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.KeepAlive, DefaultKeepAlive},
		{&o.OperationTimeout, DefaultOperation},
		{&o.FirstRetry, firstRetry},
		{&o.MaxRetry, DefaultMaxRetry},
		{&o.Drain, DefaultDrain},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	if o.Queue == nil {
		o.Queue = NewMemory(DefaultMaxBytes)
	}
	if o.ExtraClientID == "" {
		o.ExtraClientID = o.ClientID
	}
	if o.Changed == nil {
		o.Changed = func(bool) {}
	}
	if o.Dial == nil {
		var d net.Dialer
		o.Dial = func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", o.Address) }
	}
	l := &Link{
		options:  o,
		queue:    o.Queue,
		queued:   make(chan struct{}, 1),
		arranged: make(chan struct{}, 1),
		suspects: make(map[string]suspicion),
	}
	l.first = newConnection(l, 0)
	l.connections = []*connection{l.first}
	return l
}

// PublishCloud queues a message and never waits. When the queue is full the
// oldest messages give way. The error is ErrTooLarge, ErrTopic or the queue's.
func (l *Link) PublishCloud(_ context.Context, name string, payload []byte) error {
	if len(payload) > MaxMessage {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxMessage)
	}
	if err := topic.ValidName(name); err != nil {
		return fmt.Errorf("%w: %w", ErrTopic, err)
	}
	dropped, err := l.queue.Push(Message{name, slices.Clone(payload)})
	if err != nil {
		return fmt.Errorf("queue a message for the cloud: %w", err)
	}
	signal(l.queued)
	if dropped > 0 {
		l.options.Logger.Warn("The queue to the cloud is full; the oldest messages were dropped.",
			slog.String("topic", name), slog.Int("messages", dropped), slog.Uint64("droppedMessageCount", l.Stats().Dropped))
	}
	return nil
}

// SetMaxBytes changes the bound of the queue; 0 is the default.
func (l *Link) SetMaxBytes(n int64) {
	if n <= 0 {
		n = DefaultMaxBytes
	}
	l.queue.SetLimit(n)
}

// Connected reports whether the link is up, with its subscriptions.
func (l *Link) Connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first.up
}

// Stats are the link's figures of the moment.
type Stats struct {
	// Messages and Bytes wait to be sent; Dropped were lost since the start.
	Messages int
	Bytes    int64
	Dropped  uint64
}

// Stats returns the figures.
func (l *Link) Stats() Stats {
	n, bytes, dropped := l.queue.Waiting()
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{n, bytes, dropped + l.lost}
}

// Run connects, again and again, until ctx ends; then it tries to send what is
// queued for a bounded time and disconnects. It always returns nil.
func (l *Link) Run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { l.runExtra(ctx) })
	l.first.run(ctx)
	running.Wait()
	if s := l.Stats(); s.Messages > 0 {
		l.options.Logger.Warn("Messages for the cloud are lost with the end of the core.", slog.Int("messages", s.Messages), slog.Int64("bytes", s.Bytes))
	}
	return nil
}

// runExtra runs the connections beside the first, as many as there are to be, until
// ctx ends.
func (l *Link) runExtra(ctx context.Context) {
	var wait sync.WaitGroup
	defer wait.Wait()
	type running struct {
		end   context.CancelFunc
		ended chan struct{}
	}
	all := make(map[*connection]running)
	for {
		l.mu.Lock()
		extra := slices.Clone(l.connections[1:])
		l.mu.Unlock()
		for c, r := range all {
			if !slices.Contains(extra, c) {
				r.end()
				<-r.ended // before another one has its client id
				delete(all, c)
			}
		}
		for _, c := range extra {
			if _, runs := all[c]; runs {
				continue
			}
			own, end := context.WithCancel(ctx)
			r := running{end, make(chan struct{})}
			all[c] = r
			wait.Go(func() {
				defer close(r.ended)
				c.run(own)
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-l.arranged:
		}
	}
}

// signal leaves a word for the one who waits.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
