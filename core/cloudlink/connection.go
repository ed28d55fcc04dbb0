package cloudlink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"syscall"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/topic"
)

// errTimeout is in the original's words (AWS IoT Greengrass V1 developer guide,
// "Troubleshooting").
var errTimeout = errors.New("operation timed out")

// connection is one MQTT client id of the core, with one session after the other.
type connection struct {
	link     *Link
	clientID string
	// publishes is true for the first connection, which sends what is queued and is
	// up even without filters.
	publishes bool
	// refilter has an element when wanted may have changed.
	refilter chan struct{}

	// Guarded by link.mu. wanted are the filters that it is to have, subscribed those
	// that it has; up says that it has all that it gets.
	wanted     []string
	subscribed map[string]bool
	up         bool

	// sending are the number of the message last in flight, and how many sessions
	// have ended with it.
	sending struct {
		number uint64
		closes int
	}
}

func newConnection(l *Link, number int) *connection {
	c := &connection{
		link: l, clientID: l.options.ClientID, publishes: number == 0,
		refilter: make(chan struct{}, 1), subscribed: make(map[string]bool),
	}
	if !c.publishes {
		c.clientID = fmt.Sprintf("%s-c%02d", l.options.ExtraClientID, number-1)
	}
	return c
}

// serves reports whether messages that match a filter come. link.mu is held.
func (c *connection) serves(filter string) bool {
	if !c.up || c.subscribed[filter] {
		return c.up
	}
	for f := range c.subscribed {
		if topic.Covers(f, filter) {
			return true
		}
	}
	return false
}

// run connects, again and again, until ctx ends.
func (c *connection) run(ctx context.Context) {
	o, failures := c.link.options, 0
	for ctx.Err() == nil {
		began := time.Now()
		err := c.session(ctx)
		if ctx.Err() != nil {
			return
		}
		// A connection that lasted starts the back-off anew; one that the cloud
		// closes at once does not.
		if time.Since(began) > o.MaxRetry {
			failures = 0
		}
		failures++
		pause := backoff.Policy{First: o.FirstRetry, Most: o.MaxRetry}.Pause(failures)
		log := o.Logger.With(slog.String("address", o.Address), slog.String("clientId", c.clientID),
			slog.String("errorString", err.Error()), slog.Duration("retryAfter", pause))
		if filters := c.waiting(); c.publishes {
			log.Warn("The connection to the cloud is down.")
		} else if len(filters) > 0 {
			log.Warn("A further connection to the cloud is down; subscriptions wait for it. Check that the core's IoT policy allows iot:Connect with its client id.",
				slog.Int("subscriptions", len(filters)), slog.String("first", filters[0]))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// waiting are the filters that the connection is to have.
func (c *connection) waiting() []string {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.wanted
}

// setUp notes that the session is complete, or has ended. When the connection is
// not to come back, others do not bring its messages in its place.
func (c *connection) setUp(up, comesBack bool) {
	c.link.mu.Lock()
	was := c.up
	c.up = up
	if !up && comesBack {
		clear(c.subscribed)
	}
	c.link.mu.Unlock()
	if was != up && c.publishes {
		c.link.options.Changed(up)
	}
}

// session is one network connection.
type session struct {
	*connection
	client mqtt.Client
	// lost has the reason when the connection has ended.
	lost chan error
}

// session connects and serves one network connection until it ends or ctx does.
func (c *connection) session(ctx context.Context) error {
	l := c.link
	s := &session{connection: c, lost: make(chan error, 1)}
	s.client = mqtt.NewClient(s.clientOptions(ctx))
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.client.Disconnect(250)
	defer func() { c.setUp(false, ctx.Err() == nil) }()
	if err := s.subscribe(ctx); err != nil {
		return err
	}
	c.setUp(true, true)
	l.options.Logger.Info("The core is connected to the cloud.", slog.String("address", l.options.Address), slog.String("clientId", c.clientID))

	// Sending outlives ctx by the time that draining may take.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(l.options.Drain, cancel) })()
	again := time.NewTicker(suspicionLasts)
	defer again.Stop()
	var queued <-chan struct{}
	if c.publishes {
		queued = l.queued
		signal(l.queued)
	}
	for {
		select {
		case <-ctx.Done():
			if c.publishes {
				s.drain(sending)
			}
			return nil
		case <-again.C:
			// A filter that was left out gets another chance.
			l.mu.Lock()
			l.arrange()
			l.mu.Unlock()
		case err := <-s.lost:
			return err
		case <-c.refilter:
			if err := s.subscribe(ctx); err != nil {
				return err
			}
		case <-queued:
			if err := s.sendOne(sending); err != nil {
				return err
			}
		}
	}
}

func (s *session) clientOptions(ctx context.Context) *mqtt.ClientOptions {
	o := s.link.options
	opts := mqtt.NewClientOptions().
		AddBroker("ssl://" + o.Address).
		SetClientID(s.clientID).
		SetProtocolVersion(4).
		SetCleanSession(true).
		// The queue keeps what is not acknowledged, so nothing is to be sent
		// behind its back.
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetOrderMatters(true).
		SetAutoAckDisabled(true).
		SetKeepAlive(o.KeepAlive).
		SetPingTimeout(o.OperationTimeout).
		SetConnectTimeout(o.OperationTimeout + 5*time.Second).
		SetWriteTimeout(o.OperationTimeout).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) {
			if err == nil {
				err = errors.New("the connection was closed")
			}
			select {
			case s.lost <- err:
			default:
			}
		}).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			if s.link.deliver(s.connection, Message{m.Topic(), m.Payload()}) {
				m.Ack()
			}
		})
	opts.SetCustomOpenConnectionFn(func(_ *url.URL, options mqtt.ClientOptions) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, options.ConnectTimeout)
		defer cancel()
		conn, err := o.Dial(ctx)
		if err != nil {
			return nil, err
		}
		secure := tls.Client(conn, o.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return secure, nil
	})
	return opts
}

func (s *session) connect(ctx context.Context) error {
	token := s.client.Connect()
	// The client bounds each step of connecting; this bounds all of them.
	err := wait(ctx, token, 3*s.link.options.OperationTimeout+10*time.Second)
	if err != nil {
		s.client.Disconnect(0)
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// cause is why the connection ended; the client says it shortly after it has
// failed what was in flight.
func (s *session) cause(err error) error {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case cause := <-s.lost:
		return cause
	case <-timer.C:
		return err
	}
}

// closedByCloud tells the cloud's way to refuse a message, which is to close the
// connection, from a network that failed while the message was on its way.
func closedByCloud(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// wait waits for a token.
func wait(ctx context.Context, token mqtt.Token, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-token.Done():
		return token.Error()
	case <-timer.C:
		return errTimeout
	case <-ctx.Done():
		return ctx.Err()
	}
}
