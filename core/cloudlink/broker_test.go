package cloudlink_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/cloudlink"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/topic"
)

// broker is the cloud's end: it takes connections over TLS and does what the
// test tells it to.
type broker struct {
	t        *testing.T
	roots    *x509.CertPool
	listener net.Listener
	ctx      context.Context

	mu testkit.Monitor
	// received are the topics of acknowledged messages, seen all that came.
	received, seen []string
	connects       []mqtt.Connect
	clients        map[string]*client // by client id
	packets        []int              // filters for each SUBSCRIBE
	session        *mqtt.Session      // of the core's first connection
	// copies sends a message once for each filter that matches, not once for each
	// connection.
	copies bool
	// refuse refuses all connections, stranger those of one client id; silent leaves
	// messages without acknowledgement.
	refuse, silent bool
	stranger       string
	// poison are topics, poisonFilters filters at which the connection is
	// closed; denied filters get 0x80.
	poison, poisonFilters, denied map[string]bool
	unacked                       []uint16
	// fate, if it is not nil, says whether a message is acknowledged, or why the connection
	// ends at it.
	fate func(m *mqtt.Publish) (ack bool, err error)
	// stored are the filters of persistent sessions, by client id, taken the
	// acknowledgements of what the core got.
	stored map[string]map[string]byte
	taken  []uint16
}

var errClosed = errors.New("closed by the test")

func newBroker(t *testing.T) *broker {
	t.Helper()
	now := time.Now()
	authority, err := pki.NewAuthority("test", pki.ECDSA, now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.IssueServer(pki.ECDSA, []string{"localhost"}, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &broker{
		t: t, roots: x509.NewCertPool(), listener: l, ctx: ctx,
		clients: map[string]*client{}, poison: map[string]bool{}, poisonFilters: map[string]bool{}, denied: map[string]bool{},
		stored: map[string]map[string]byte{},
	}
	b.roots.AddCert(authority.Certificate)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				c := &client{b: b, filters: map[string]byte{}}
				_ = mqtt.Serve(ctx, tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*leaf}}), c, mqtt.Options{})
				b.mu.Change(func() { maps.DeleteFunc(b.clients, func(_ string, other *client) bool { return other == c }) })
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		running.Wait()
	})
	return b
}

func (b *broker) await(what string, cond func() bool) {
	b.t.Helper()
	b.mu.Await(b.t, what, cond, func() string {
		return fmt.Sprintf("received %v, seen %v, filters %v, %d connects", b.received, b.seen, b.filters(), len(b.connects))
	})
}

// client is one connection.
type client struct {
	b       *broker
	s       *mqtt.Session
	filters map[string]byte
	// over says that the client has connected anew: what is still read of this
	// connection does not count any more.
	over bool
}

// filters are those of all connections. mu is held.
func (b *broker) filters() map[string]byte {
	all := map[string]byte{}
	for _, c := range b.clients {
		maps.Copy(all, c.filters)
	}
	return all
}

// send brings a message to all connections. mu is not held.
func (b *broker) send(name, payload string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.clients {
		for f := range c.filters {
			if !topic.Match(f, name) {
				continue
			}
			if err := c.s.Send(&mqtt.Publish{Topic: name, Payload: []byte(payload)}); err != nil {
				b.t.Error(err)
			}
			if !b.copies {
				break
			}
		}
	}
}

func (c *client) Connect(_ context.Context, s *mqtt.Session, m *mqtt.Connect) mqtt.Connack {
	c.s = s
	ack := mqtt.Connack{}
	c.b.mu.Change(func() {
		c.b.connects = append(c.b.connects, *m)
		if c.b.refuse || m.ClientID == c.b.stranger {
			ack.Code = mqtt.RefusedNotAuthorized
			return
		}
		if m.ClientID == "Mill_Core" {
			c.b.session = s
		}
		if old := c.b.clients[m.ClientID]; old != nil {
			old.over = true
			old.s.Close(errClosed)
		}
		c.b.clients[m.ClientID] = c
		if m.CleanSession {
			delete(c.b.stored, m.ClientID)
			return
		}
		if c.filters, ack.SessionPresent = c.b.stored[m.ClientID]; !ack.SessionPresent {
			c.filters = map[string]byte{}
			c.b.stored[m.ClientID] = c.filters
		}
	})
	return ack
}

func (c *client) Publish(_ context.Context, m *mqtt.Publish) error {
	var err error
	c.b.mu.Change(func() {
		c.b.seen = append(c.b.seen, m.Topic)
		switch {
		case c.b.poison[m.Topic]:
			err = errClosed
		case c.b.fate != nil:
			var ack bool
			if ack, err = c.b.fate(m); ack {
				err = c.s.Send(&mqtt.Puback{ID: m.ID})
			}
		case c.b.silent:
			c.b.unacked = append(c.b.unacked, m.ID)
		default:
			c.b.received = append(c.b.received, m.Topic)
			err = c.s.Send(&mqtt.Puback{ID: m.ID})
		}
	})
	return err
}

func (c *client) Subscribe(_ context.Context, m *mqtt.Subscribe) error {
	var err error
	c.b.mu.Change(func() {
		if c.over {
			err = errClosed
			return
		}
		ack := &mqtt.Suback{ID: m.ID}
		c.b.packets = append(c.b.packets, len(m.Filters))
		for _, f := range m.Filters {
			if c.b.poisonFilters[f.Filter] {
				err = errClosed
				return
			}
		}
		for _, f := range m.Filters {
			if c.b.denied[f.Filter] {
				ack.Codes = append(ack.Codes, mqtt.SubackFailure)
				continue
			}
			c.filters[f.Filter] = f.QoS
			ack.Codes = append(ack.Codes, f.QoS)
		}
		err = c.s.Send(ack)
	})
	return err
}

func (c *client) Unsubscribe(_ context.Context, m *mqtt.Unsubscribe) error {
	err := errClosed
	c.b.mu.Change(func() {
		if c.over {
			return
		}
		for _, f := range m.Filters {
			delete(c.filters, f)
		}
		err = c.s.Send(&mqtt.Unsuback{ID: m.ID})
	})
	return err
}

func (c *client) Puback(_ context.Context, id uint16) error {
	c.b.mu.Change(func() { c.b.taken = append(c.b.taken, id) })
	return nil
}

// sendKept brings a message with QoS 1 to one connection. mu is not held.
func (b *broker) sendKept(clientID, name, payload string, id uint16) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.clients[clientID].s.Send(&mqtt.Publish{Topic: name, Payload: []byte(payload), QoS: 1, ID: id}); err != nil {
		b.t.Error(err)
	}
}

// drop ends the present connection.
func (b *broker) drop() {
	b.mu.Lock()
	s := b.session
	b.mu.Unlock()
	if s != nil {
		s.Close(errClosed)
	}
}

// link starts a link to the broker; stop ends it and waits.
func (b *broker) link(edit func(*cloudlink.Options)) (l *cloudlink.Link, stop func()) {
	b.t.Helper()
	o := cloudlink.Options{
		Address: b.listener.Addr().String(), TLS: &tls.Config{RootCAs: b.roots, ServerName: "localhost"},
		ClientID: "Mill_Core", FirstRetry: time.Millisecond, MaxRetry: 20 * time.Millisecond, Insist: time.Millisecond,
		Logger:  slog.New(slog.DiscardHandler),
		Changed: func(bool) { b.mu.Change(func() {}) },
	}
	if edit != nil {
		edit(&o)
	}
	l = cloudlink.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := l.Run(ctx); err != nil {
			b.t.Errorf("the link ended with %v", err)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			b.t.Error("the link does not end")
		}
	})
	b.t.Cleanup(stop)
	return l, stop
}

// lines is a log that tests read while it is written.
type lines = testkit.Buffer
