package spooler

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
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

// Options are what a Link stands on. Address, TLS, ClientID, Deliver and Logger
// are required.
type Options struct {
	// Address is the broker's "host:port"; TLS is spoken on it.
	Address string
	TLS     *tls.Config
	// Dial opens the connection under TLS; nil dials Address.
	Dial     func(ctx context.Context) (net.Conn, error)
	ClientID string
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
	// MaxBytes bounds the queue; DefaultMaxBytes if zero.
	MaxBytes int64
	// Deliver takes what arrives, in order. It must not wait for the Link.
	Deliver func(topic string, payload []byte)
	// Changed is told when the connection comes (with its subscriptions) and
	// goes; nil tells nobody.
	Changed func(connected bool)
	Logger  *slog.Logger
}

// Link is one core's connection to the cloud's broker. Make one with New; Run
// owns it. Its methods may be called from any goroutine, before Run too.
type Link struct {
	options Options
	queue   *queue
	// refilter has an element when the filters may have changed.
	refilter chan struct{}

	mu        sync.Mutex
	filters   []string
	connected bool
	suspects  map[string]suspicion
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
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Changed == nil {
		o.Changed = func(bool) {}
	}
	if o.Dial == nil {
		var d net.Dialer
		o.Dial = func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", o.Address) }
	}
	return &Link{
		options:  o,
		queue:    newQueue(o.MaxBytes),
		refilter: make(chan struct{}, 1),
		suspects: make(map[string]suspicion),
	}
}

// PublishCloud queues a message and never waits. When the queue is full the
// oldest messages give way. The error is ErrTooLarge or ErrTopic.
func (l *Link) PublishCloud(_ context.Context, name string, payload []byte) error {
	if len(payload) > MaxMessage {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxMessage)
	}
	if err := topic.ValidName(name); err != nil {
		return fmt.Errorf("%w: %w", ErrTopic, err)
	}
	if n := l.queue.push(&message{topic: name, payload: slices.Clone(payload)}); n > 0 {
		_, _, dropped := l.queue.stats()
		l.options.Logger.Warn("The queue to the cloud is full; the oldest messages were dropped.",
			slog.String("topic", name), slog.Int("messages", n), slog.Uint64("droppedMessageCount", dropped))
	}
	return nil
}

// SetFilters makes these the subscriptions: new ones are added, others removed,
// now if connected, else at the next connection.
func (l *Link) SetFilters(filters []string) {
	l.mu.Lock()
	l.filters = slices.Compact(slices.Sorted(slices.Values(filters)))
	clear(l.suspects)
	l.mu.Unlock()
	select {
	case l.refilter <- struct{}{}:
	default:
	}
}

// SetMaxBytes changes the bound of the queue; 0 is the default.
func (l *Link) SetMaxBytes(n int64) {
	if n <= 0 {
		n = DefaultMaxBytes
	}
	l.queue.setLimit(n)
}

// Connected reports whether the link is up, with its subscriptions.
func (l *Link) Connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connected
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
	n, bytes, dropped := l.queue.stats()
	return Stats{n, bytes, dropped}
}

// Run connects, again and again, until ctx ends; then it tries to send what is
// queued for a bounded time and disconnects. It always returns nil.
func (l *Link) Run(ctx context.Context) error {
	failures := 0
	for ctx.Err() == nil {
		began := time.Now()
		err := l.session(ctx)
		if ctx.Err() != nil {
			break
		}
		// A connection that lasted starts the back-off anew; one that the cloud
		// closes at once does not.
		if time.Since(began) > l.options.MaxRetry {
			failures = 0
		}
		pause := l.pause(failures)
		failures++
		l.options.Logger.Warn("The connection to the cloud is down.",
			slog.String("address", l.options.Address), slog.String("clientId", l.options.ClientID),
			slog.String("errorString", err.Error()), slog.Duration("retryAfter", pause))
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	if n, bytes, _ := l.queue.stats(); n > 0 {
		l.options.Logger.Warn("Messages for the cloud are lost with the end of the core.", slog.Int("messages", n), slog.Int64("bytes", bytes))
	}
	return nil
}

// pause doubles up to MaxRetry, shortened by up to a half at random so that a
// fleet does not come back all at once.
func (l *Link) pause(failures int) time.Duration {
	pause := l.options.FirstRetry
	for range failures {
		if pause >= l.options.MaxRetry/2 {
			pause = l.options.MaxRetry
			break
		}
		pause *= 2
	}
	pause = min(pause, l.options.MaxRetry)
	return pause - rand.N(pause/2+1)
}

func (l *Link) setConnected(up bool) {
	l.mu.Lock()
	was := l.connected
	l.connected = up
	l.mu.Unlock()
	if was != up {
		l.options.Changed(up)
	}
}
