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
)

// errTimeout is in the original's words (AWS IoT Greengrass V1 developer guide,
// "Troubleshooting").
var errTimeout = errors.New("operation timed out")

// errEnded is the end of a connection that is of no use any more.
var errEnded = errors.New("the connection has ended")

// connection is one MQTT client id of the core, with one session after the other.
type connection struct {
	link     *Link
	clientID string
	// publishes is true for the first connection, which sends what is queued and is
	// up even without filters.
	publishes bool
	// lasting is of a persistent session in the cloud, of which number is that in the
	// client id.
	lasting bool
	number  int
	// refilter has an element when wanted may have changed.
	refilter chan struct{}
	// retry has an element when the line is known to be back.
	retry chan struct{}

	// Guarded by link.mu. wanted are the filters that it is to have, subscribed those
	// that it has, recorded those that its persistent session may have; up says that it
	// has all that it gets, since a time.
	wanted     []string
	subscribed map[string]bool
	recorded   map[string]bool
	up         bool
	since      time.Time
	// reached says that the last session had a line to the cloud, wasUp that it was up.
	reached, wasUp bool
	// order is its place among those of its kind, below 0 once it has none any more.
	order int
	// live is the session that is up.
	live mqtt.Client
}

func newConnection(l *Link, clientID string) *connection {
	return &connection{
		link: l, clientID: clientID,
		refilter: make(chan struct{}, 1), retry: make(chan struct{}, 1), subscribed: make(map[string]bool),
	}
}

// extraID is the client id of a further connection.
func (l *Link) extraID(number int) string {
	return fmt.Sprintf("%s-c%02d", l.options.ExtraClientID, number)
}

// among are what connections of the same kind have subscribed to.
func (c *connection) among() *served {
	if c.lasting {
		return &c.link.servedLasting
	}
	return &c.link.served
}

// gain and lose note what the connection is subscribed to. link.mu is held.
func (c *connection) gain(filter string) {
	if c.subscribed[filter] {
		return
	}
	c.subscribed[filter] = true
	if c.order >= 0 {
		c.among().add(filter, c)
	}
}

func (c *connection) lose(filter string) {
	delete(c.subscribed, filter)
	c.among().remove(filter, c)
}

func (c *connection) loseAll() {
	for f := range c.subscribed {
		c.lose(f)
	}
}

// retire notes that the connection is about to end and not to come back: it brings
// nothing any more. link.mu is held.
func (c *connection) retire() {
	c.order = -1
	for f := range c.subscribed {
		c.among().remove(f, c)
	}
}

// run connects, again and again, until ctx ends.
func (c *connection) run(ctx context.Context) {
	o, failures := c.link.options, 0
	for ctx.Err() == nil {
		select {
		case <-c.retry: // it is tried anyway
		default:
		}
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
		retry := c.retry
		if c.turnedAway() {
			retry = nil // it is the cloud that wants to be let be, not the line that is down
		}
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
		case <-retry:
		}
		timer.Stop()
	}
}

// turnedAway reports whether the last session reached the cloud and was never up.
func (c *connection) turnedAway() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.reached && !c.wasUp
}

// waiting are the filters that the connection is to have.
func (c *connection) waiting() []string {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.wanted
}

// setUp notes that a session is complete, or, with nil, has ended. When the connection
// is not to come back, others do not bring its messages in its place.
func (c *connection) setUp(session mqtt.Client, comesBack bool) {
	up := session != nil
	c.link.mu.Lock()
	was := c.up
	c.up, c.live, c.since = up, session, time.Now()
	c.wasUp = c.wasUp || up
	if !up && comesBack && !c.lasting {
		c.loseAll()
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
	// clean says that the cloud is to remember nothing.
	clean bool
	// flights are messages on their way, oldest first; stalled fires when none has been
	// acknowledged for too long.
	flights []flight
	stalled *time.Timer
	// lost has the reason when the connection has ended.
	lost chan error
}

// session connects and serves one network connection until it ends or ctx does.
func (c *connection) session(ctx context.Context) error {
	l := c.link
	l.mu.Lock()
	c.reached, c.wasUp = false, false
	l.mu.Unlock()
	unwanted := c.lasting && len(c.waiting()) == 0
	s := &session{connection: c, clean: !c.lasting || unwanted, lost: make(chan error, 1)}
	s.client = mqtt.NewClient(s.clientOptions(ctx))
	if unwanted {
		return s.discard(ctx)
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.client.Disconnect(250)
	defer func() { c.setUp(nil, ctx.Err() == nil) }()
	if err := s.subscribe(ctx); err != nil {
		return err
	}
	c.setUp(s.client, true)
	l.options.Logger.Info("The core is connected to the cloud.", slog.String("address", l.options.Address), slog.String("clientId", c.clientID))

	s.stalled = time.NewTimer(time.Hour)
	s.stalled.Stop()
	defer s.stalled.Stop()
	blamed, err := s.serve(ctx)
	s.ground(blamed && closedByCloud(err))
	return err
}

// serve carries messages until the connection ends or ctx does. blamed says that it may
// have ended because of those.
func (s *session) serve(ctx context.Context) (blamed bool, err error) {
	c, l := s.connection, s.link
	again := time.NewTicker(suspicionLasts)
	defer again.Stop()
	var queued <-chan struct{}
	if c.publishes {
		queued = l.queue.ready
		signal(l.queue.ready)
	}
	for {
		select {
		case <-ctx.Done():
			if c.publishes {
				s.drain(ctx)
			}
			return false, nil
		case <-again.C:
			// A filter that was left out gets another chance.
			l.mu.Lock()
			l.arrange()
			l.mu.Unlock()
		case err := <-s.lost:
			return true, err
		case <-c.refilter:
			if c.lasting && len(c.waiting()) == 0 {
				return false, errEnded // to be thrown away
			}
			if err := s.subscribe(ctx); err != nil {
				return false, err
			}
		case <-queued:
			s.send()
		case <-s.landing():
			if err := s.land(); err != nil {
				return true, err
			}
		case <-s.stalled.C:
			return false, s.stall()
		}
	}
}

func (s *session) clientOptions(ctx context.Context) *mqtt.ClientOptions {
	o := s.link.options
	opts := mqtt.NewClientOptions().
		AddBroker("ssl://" + o.Address).
		SetClientID(s.clientID).
		SetProtocolVersion(4).
		SetCleanSession(s.clean).
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
			if s.link.deliver(s.connection, Message{Topic: m.Topic(), Payload: m.Payload()}) {
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
		s.link.mu.Lock()
		s.reached = true
		s.link.mu.Unlock()
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
	if t, ok := token.(*mqtt.ConnectToken); ok && s.lasting && !t.SessionPresent() {
		s.link.mu.Lock()
		s.loseAll()
		s.link.mu.Unlock()
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
