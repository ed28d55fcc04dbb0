package forward

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/fescue-edge/fescue/mqtt"
)

// broker is another MQTT broker. Messages keep their topics and are published with QoS 1,
// over one connection that is made when there is something to send.
type broker struct {
	address string
	tls     *tls.Config // nil for plain TCP
	connect mqtt.Connect

	mu   sync.Mutex
	link *link // nil while there is none
}

// link is one connection.
type link struct {
	client *mqtt.Client
	gone   chan struct{} // closed when it has ended
	cause  error         // why, once it has

	mu      sync.Mutex
	waiting map[uint16]chan struct{} // closed by PUBACK
	next    uint16
}

func newBroker(r Rule) *broker {
	port := r.Target.Port()
	b := &broker{}
	if r.Target.Scheme == "mqtts" {
		b.tls = r.tlsConfig()
		b.tls.ServerName = r.Target.Hostname()
		if port == "" {
			port = "8883"
		}
	} else if port == "" {
		port = "1883"
	}
	b.address = net.JoinHostPort(r.Target.Hostname(), port)
	// Servers that forward to one broker must not take each other for one client, and
	// brokers need not take more than 23 characters.
	var unique [4]byte
	rand.Read(unique[:])
	sum := sha256.Sum256([]byte(r.name))
	b.connect = mqtt.Connect{Level: mqtt.Level311, CleanSession: true, ClientID: "fescue-" + hex.EncodeToString(sum[:4]) + hex.EncodeToString(unique[:])}
	if r.username != "" {
		b.connect.HasUsername, b.connect.Username = true, r.username
		b.connect.HasPassword, b.connect.Password = true, []byte(r.password)
	}
	return b
}

// errSilent ends a connection whose broker does not acknowledge.
var errSilent = errors.New("the broker does not acknowledge a message")

// Send publishes and waits for the acknowledgement.
func (b *broker) Send(ctx context.Context, m Message) error {
	l, err := b.open(ctx)
	if err != nil {
		return err
	}
	id, acknowledged := l.expect()
	if err := l.client.Send(&mqtt.Publish{Topic: m.Topic, Payload: m.Payload, QoS: 1, ID: id}); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	select {
	case <-acknowledged:
		return nil
	case <-l.gone:
		if closedByBroker(l.cause) {
			return fmt.Errorf("%w: %w", errClosed, l.cause)
		}
		return l.cause
	case <-ctx.Done():
		l.client.Close() // what it acknowledges later must not be taken for another
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return errSilent
		}
		return ctx.Err()
	}
}

// closedByBroker reports whether it was the broker that ended a connection.
func closedByBroker(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// open gives the connection, and makes it if there is none.
func (b *broker) open(ctx context.Context) (*link, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link != nil {
		select {
		case <-b.link.gone:
		default:
			return b.link, nil
		}
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", b.address)
	if err != nil {
		return nil, err
	}
	if b.tls != nil {
		secure := tls.Client(conn, b.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, fmt.Errorf("TLS with the broker: %w", err)
		}
		conn = secure
	}
	connect := b.connect
	client, ack, err := mqtt.Open(ctx, conn, &connect, mqtt.Options{})
	if err != nil {
		if errors.Is(err, mqtt.ErrRefused) {
			return nil, fmt.Errorf("the broker refuses the connection with return code %d", ack.Code)
		}
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	b.link = &link{client: client, gone: make(chan struct{}), waiting: map[uint16]chan struct{}{}}
	go b.link.read()
	return b.link, nil
}

// read takes acknowledgements until the connection ends.
func (l *link) read() {
	defer close(l.gone)
	defer l.client.Close()
	for {
		p, err := l.client.Read()
		if err != nil {
			l.cause = fmt.Errorf("the connection ended: %w", err)
			return
		}
		if ack, ok := p.(*mqtt.Puback); ok {
			l.mu.Lock()
			if acknowledged, ok := l.waiting[ack.ID]; ok {
				close(acknowledged)
				delete(l.waiting, ack.ID)
			}
			l.mu.Unlock()
		}
	}
}

// expect reserves a packet identifier. There are always free ones: few messages are on
// their way at a time.
func (l *link) expect() (uint16, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		l.next++
		if _, taken := l.waiting[l.next]; l.next != 0 && !taken {
			break
		}
	}
	acknowledged := make(chan struct{})
	l.waiting[l.next] = acknowledged
	return l.next, acknowledged
}

// Close says goodbye.
func (b *broker) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link != nil {
		b.link.client.Disconnect(time.Second)
		b.link.client.Close()
		<-b.link.gone
	}
}
