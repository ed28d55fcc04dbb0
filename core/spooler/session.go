package spooler

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
)

// errTimeout is in the original's words (AWS IoT Greengrass V1 developer guide,
// "Troubleshooting").
var errTimeout = errors.New("operation timed out")

// session is one connection.
type session struct {
	link   *Link
	client mqtt.Client
	// lost has the reason when the connection has ended.
	lost chan error
	// subscribed are the filters that this connection has.
	subscribed map[string]bool
}

// session connects and serves one connection until it ends or ctx does.
func (l *Link) session(ctx context.Context) error {
	s := &session{link: l, lost: make(chan error, 1), subscribed: make(map[string]bool)}
	s.client = mqtt.NewClient(s.clientOptions(ctx))
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.client.Disconnect(250)
	defer l.setConnected(false)
	if err := s.subscribe(ctx); err != nil {
		return err
	}
	l.setConnected(true)
	l.options.Logger.Info("The core is connected to the cloud.", slog.String("address", l.options.Address), slog.String("clientId", l.options.ClientID))
	l.queue.signal()

	// Sending outlives ctx by the time that draining may take.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(l.options.Drain, cancel) })()
	again := time.NewTicker(suspicionLasts)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			s.drain(sending)
			return nil
		case <-again.C:
			// A filter that was left out gets another chance.
			if err := s.subscribe(ctx); err != nil {
				return err
			}
		case err := <-s.lost:
			return err
		case <-l.refilter:
			if err := s.subscribe(ctx); err != nil {
				return err
			}
		case <-l.queue.changed:
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
		SetClientID(o.ClientID).
		SetProtocolVersion(4).
		SetCleanSession(true).
		// The queue keeps what is not acknowledged, so nothing is to be sent
		// behind its back.
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetOrderMatters(true).
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
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { o.Deliver(m.Topic(), m.Payload()) })
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

// sendOne sends the oldest message and waits for its acknowledgement. Its error
// means that the connection is of no use any more.
func (s *session) sendOne(ctx context.Context) error {
	l := s.link
	m := l.queue.take()
	if m == nil {
		return nil
	}
	err := wait(ctx, s.client.Publish(m.topic, 1, false, m.payload), l.options.OperationTimeout)
	switch {
	case err == nil:
		l.queue.settle(true)
		l.queue.signal()
		return nil
	case ctx.Err() != nil:
		l.queue.settle(false)
		return err
	case errors.Is(err, errTimeout):
		// Slow is not refused: the message stays for as long as it takes.
		l.queue.settle(false)
		l.options.Logger.Error("Cloud messaging error: Error occurred while trying to publish a message.",
			slog.String("errorString", err.Error()), slog.String("topic", m.topic))
		return fmt.Errorf("publish: %w", err)
	}
	cause := s.cause(err)
	if !closedByCloud(cause) {
		l.queue.settle(false)
		return fmt.Errorf("publish: %w", cause)
	}
	m.closes++
	given := m.closes >= maxClosesInFlight
	l.queue.settle(given)
	if given {
		l.queue.lose()
		l.options.Logger.Error("A message was dropped: the cloud closed the connection each time it was sent. Check the core's IoT policy for iot:Publish.",
			slog.String("topic", m.topic), slog.Int("size", len(m.payload)), slog.Int("attempts", m.closes))
	}
	return fmt.Errorf("publish: %w", cause)
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

// drain sends what is queued, until ctx ends.
func (s *session) drain(ctx context.Context) {
	for ctx.Err() == nil {
		if n, _, _ := s.link.queue.stats(); n == 0 {
			return
		}
		if err := s.sendOne(ctx); err != nil {
			return
		}
	}
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
