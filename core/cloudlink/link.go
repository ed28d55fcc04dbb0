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
	MaxMessage        = 128 << 10
	DefaultDrain      = 2 * time.Second
	DefaultMaxRetry   = 60 * time.Second
	DefaultOperation  = 5 * time.Second
	DefaultKeepAlive  = 600 * time.Second
	DefaultInsist     = time.Minute
	maxClosesInFlight = 3
	firstRetry        = time.Second
)

// Errors of KeepCloud and PublishNow.
var (
	// ErrTooLarge means more than MaxMessage bytes.
	ErrTooLarge = errors.New("message too large for the cloud")
	// ErrTopic means a topic that cannot be published to.
	ErrTopic = errors.New("not a topic to publish to")
	// ErrOffline means that there is no connection now.
	ErrOffline = errors.New("the core is not connected to the cloud")
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
	// Insist is for how long at least a message is sent again and again at which the
	// cloud closes the connection: a broker that fails for a moment closes it, too. A
	// minute if zero.
	Insist time.Duration
	// Drain bounds how long the end of Run waits for the queue to empty; 2 s if
	// zero.
	Drain time.Duration
	// Spool is where the queue is kept when SetQueue has it on the disk; nil is
	// nowhere.
	Spool Spool
	// Sessions keep what persistent sessions are subscribed to; nil is nowhere.
	Sessions Sessions
	// Changed is called when the connection comes (with its subscriptions) and
	// goes; nil is not called.
	Changed func(connected bool)
	Logger  *slog.Logger
}

// Link is one core's connection to the cloud's broker. Make one with New; Run
// owns it. Its methods may be called from any goroutine, before Run too.
type Link struct {
	options Options
	queue   *Queue
	// arranged has an element when there may be more or fewer connections to run.
	arranged chan struct{}
	// first is the connection that publishes.
	first *connection

	mu            sync.Mutex
	subscriptions []*Subscription
	suspects      map[string]suspicion
	// connections are those of clean sessions, at least one: the first is always first.
	// lasting are those of persistent ones, by their numbers, which wait until it is
	// decided what these are to have.
	connections, lasting []*connection
	decided              bool
	// served are what clean connections are subscribed to, servedLasting the others.
	served, servedLasting served
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
		{&o.Insist, DefaultInsist},
		{&o.Drain, DefaultDrain},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
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
		queue:    NewQueue(o.Spool, o.Logger),
		arranged: make(chan struct{}, 1),
		suspects: make(map[string]suspicion),
	}
	l.first = newConnection(l, o.ClientID)
	l.first.publishes = true
	l.connections = []*connection{l.first}
	return l
}

// KeepCloud queues a message and never waits. When the queue is full the oldest messages
// give way. taken is called once, from any goroutine, maybe before KeepCloud returns:
// with nil when the queue has the message, on the disk if that is where the queue is; with
// ErrTooLarge or ErrTopic, or why it is not there, otherwise. If it cannot be put on the
// disk, a strict message is dropped; another one stays in memory.
func (l *Link) KeepCloud(name string, payload []byte, strict bool, taken func(error)) {
	if err := valid(name, payload); err != nil {
		taken(err)
		return
	}
	l.queue.Push(Message{Topic: name, Payload: slices.Clone(payload)}, strict, taken)
}

// PublishNow sends a message with QoS 0, beside those that are queued. What cannot be
// sent now is not sent. The error is ErrTooLarge, ErrTopic, ErrOffline, or the
// connection's.
func (l *Link) PublishNow(ctx context.Context, name string, payload []byte) error {
	if err := valid(name, payload); err != nil {
		return err
	}
	l.mu.Lock()
	client := l.first.live
	l.mu.Unlock()
	if client == nil {
		return ErrOffline
	}
	return wait(ctx, client.Publish(name, 0, false, payload), l.options.OperationTimeout)
}

// valid refuses messages that the cloud would not take.
func valid(name string, payload []byte) error {
	if len(payload) > MaxMessage {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxMessage)
	}
	if err := topic.ValidName(name); err != nil {
		return fmt.Errorf("%w: %w", ErrTopic, err)
	}
	return nil
}

// SetQueue says whether the queue is on the disk, and how large it may be, in bytes; 0
// is the default. Nothing is lost by a change of place.
func (l *Link) SetQueue(onDisk bool, bytes int64) {
	if bytes <= 0 {
		bytes = DefaultMaxBytes
	}
	l.queue.Set(onDisk, bytes)
}

// Connected reports whether the link is up, with its subscriptions.
func (l *Link) Connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first.up
}

// Retry has the link connect now where it waits to try again: who calls it has reached
// the cloud by another way. A connection that the cloud turned away waits all the same.
func (l *Link) Retry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range slices.Concat(l.connections, l.lasting) {
		signal(c.retry)
	}
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
// queued for a bounded time and disconnects; what is on the disk stays there. It always
// returns nil.
func (l *Link) Run(ctx context.Context) error {
	// The queue lasts longer than the connections, which take from it.
	keeping, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var queue, running sync.WaitGroup
	queue.Go(func() { l.queue.run(keeping) })
	l.loadSessions(ctx)
	running.Go(func() { l.runExtra(ctx) })
	l.first.run(ctx)
	running.Wait()
	end()
	queue.Wait()
	if n := l.queue.inMemory(); n > 0 {
		l.options.Logger.Warn("Messages for the cloud are lost with the end of the core.", slog.Int("messages", n))
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
		if l.decided {
			extra = append(extra, l.lasting...)
		}
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
