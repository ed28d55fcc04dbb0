package mqtttest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

// Clients of a Server. Each uses its name as client id.
const (
	A = "a"
	B = "b"
	// Long has as many bytes as every server must take, of letters and digits.
	Long = "0123456789ABCDEFGHIJabc"
)

// Clients are all of them.
var Clients = []string{A, B, Long}

// Server is what is held to the table.
type Server struct {
	// Core says that it is the core's; the cloud's otherwise.
	Core bool
	// Open gives a server, or a part of one, that nobody else uses: a connection of a
	// client of Clients at each call of dial. What A publishes reaches B, if B has subscribed,
	// and the other way round; at the core nothing else does, and no topic that starts
	// with $.
	Open func(t testing.TB) (dial func(client string) net.Conn)
}

// Run holds a server to the table.
func Run(t *testing.T, s Server) {
	for _, r := range table {
		t.Run(r.ids+" "+r.name, func(t *testing.T) {
			t.Parallel()
			p := &play{t: t, server: s, dial: s.Open(t), clients: make(map[string]*client)}
			for _, step := range r.of(s) {
				step(p)
			}
		})
	}
}

// of are the steps of a server.
func (r row) of(s Server) []step {
	switch {
	case r.both != nil:
		return r.both
	case s.Core:
		return r.core
	}
	return r.cloud
}

// play is a row that is being played.
type play struct {
	t       *testing.T
	server  Server
	dial    func(client string) net.Conn
	clients map[string]*client
}

// client is a connection of a play.
type client struct {
	conn net.Conn
	r    *mqtt.Reader
	// ids are the packet identifiers of the messages with QoS 1 that came on this
	// connection and on those before it.
	ids []uint16
}

// step is something that is sent, or must come.
type step func(*play)

func (p *play) of(who string) *client {
	p.t.Helper()
	c := p.clients[who]
	if c == nil || c.conn == nil {
		p.dialed(who)
		c = p.clients[who]
	}
	return c
}

// dialed makes a new connection; what is known of the one before stays known.
func (p *play) dialed(who string) {
	p.t.Helper()
	conn := p.dial(who)
	p.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		p.t.Fatal(err)
	}
	c := p.clients[who]
	if c == nil {
		c = new(client)
		p.clients[who] = c
	}
	c.conn, c.r = conn, mqtt.NewReader(conn, 0)
}

// read is the next packet of a client.
func (p *play) read(who string) mqtt.Packet {
	p.t.Helper()
	packet, err := p.of(who).r.Read()
	if err != nil {
		p.t.Fatalf("%s waits for a packet: %v", who, err)
	}
	return packet
}

func (p *play) write(who string, data []byte) {
	p.t.Helper()
	if _, err := p.of(who).conn.Write(data); err != nil {
		p.t.Fatalf("%s: %v", who, err)
	}
}

// raw sends bytes.
func raw(who, data string) step {
	return func(p *play) { p.t.Helper(); p.write(who, []byte(data)) }
}

// send sends packets, all at once.
func send(who string, packets ...mqtt.Packet) step {
	return func(p *play) {
		p.t.Helper()
		var buf bytes.Buffer
		for _, packet := range packets {
			if err := mqtt.Encode(&buf, packet); err != nil {
				p.t.Fatal(err)
			}
		}
		p.write(who, buf.Bytes())
	}
}

// want says which packets come next, none of them a message.
func want(who string, packets ...mqtt.Packet) step {
	return func(p *play) {
		p.t.Helper()
		for _, each := range packets {
			if diff := cmp.Diff(each, p.read(who)); diff != "" {
				p.t.Fatalf("what came to %s (-want +got):\n%s", who, diff)
			}
		}
	}
}

// ends says that the server ends the connection, and sends nothing before.
func ends(who string) step {
	return func(p *play) {
		p.t.Helper()
		c := p.of(who)
		packet, err := c.r.Read()
		var timeout net.Error
		switch {
		case err == nil:
			p.t.Fatalf("%+v came to %s, want the end of the connection", packet, who)
		case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
			p.t.Fatalf("the connection of %s goes on", who)
		}
		c.conn.Close()
		c.conn = nil
	}
}

// cut breaks a connection, as a cable would.
func cut(who string) step {
	return func(p *play) {
		c := p.of(who)
		conn := c.conn
		if t, ok := conn.(*tls.Conn); ok {
			conn = t.NetConn()
		}
		conn.Close()
		c.conn = nil
	}
}

// another has the client go on with a new connection while the server still has the one before.
func another(who string) step {
	return func(p *play) { p.t.Helper(); p.dialed(who) }
}

// opening is a CONNECT of a clean session, changed.
func opening(who string, change ...func(*mqtt.Connect)) *mqtt.Connect {
	c := &mqtt.Connect{ClientID: who, Level: mqtt.Level311, CleanSession: true, KeepAlive: time.Minute}
	for _, f := range change {
		f(c)
	}
	return c
}

func lasting(c *mqtt.Connect) { c.CleanSession = false }

// will is one of the client, with payload "gone".
func will(topic string, qos byte, retain bool) func(*mqtt.Connect) {
	return func(c *mqtt.Connect) {
		c.Will = &mqtt.Publish{Topic: topic, Payload: []byte("gone"), QoS: qos, Retain: retain}
	}
}

// join connects, and has no session to go on with.
func join(who string, change ...func(*mqtt.Connect)) step {
	fresh := func(p *play) { p.of(who).ids = nil }
	return all(fresh, send(who, opening(who, change...)), want(who, &mqtt.Connack{}))
}

// resume connects and goes on with a session.
func resume(who string) step {
	return all(send(who, opening(who, lasting)), want(who, &mqtt.Connack{SessionPresent: true}))
}

// leave ends a connection in peace.
func leave(who string) step { return all(send(who, &mqtt.Disconnect{}), ends(who)) }

// all are steps one after the other.
func all(steps ...step) step {
	return func(p *play) {
		p.t.Helper()
		for _, s := range steps {
			s(p)
		}
	}
}

// subscribe is granted as asked for: "filter:qos" each.
func subscribe(who string, filters ...string) step {
	m, ack := &mqtt.Subscribe{ID: 10}, &mqtt.Suback{ID: 10}
	for _, f := range filters {
		i := strings.LastIndexByte(f, ':')
		qos := f[i+1] - '0'
		m.Filters = append(m.Filters, mqtt.Subscription{Filter: f[:i], QoS: qos})
		ack.Codes = append(ack.Codes, qos)
	}
	return all(send(who, m), want(who, ack))
}

// publish sends a message and, for QoS 1, waits for its PUBACK.
func publish(who, topic, payload string, qos byte) step {
	m := &mqtt.Publish{Topic: topic, Payload: []byte(payload), QoS: qos}
	if qos == 0 {
		return send(who, m)
	}
	m.ID = 20
	return all(send(who, m), want(who, &mqtt.Puback{ID: 20}))
}

// retained sends a message to be retained, with QoS 1.
func retained(who, topic, payload string) step {
	return all(send(who, &mqtt.Publish{Topic: topic, Payload: []byte(payload), QoS: 1, ID: 21, Retain: true}), want(who, &mqtt.Puback{ID: 21}))
}

// message is what comes next: neither retained nor a repetition, with a packet identifier
// that no message in flight has.
func message(who, topic, payload string, qos byte) step {
	return arrives(who, mqtt.Publish{Topic: topic, Payload: []byte(payload), QoS: qos})
}

// waited is a message that came while the client was away. The server may have tried to
// send it on the connection that was ending, so DUP is as it likes.
func waited(who, topic, payload string) step {
	return func(p *play) {
		p.t.Helper()
		got := p.message(who)
		if got.Topic != topic || string(got.Payload) != payload || got.QoS != 1 || got.ID == 0 {
			p.t.Fatalf("%+v came to %s, want %s on %s", got, who, payload, topic)
		}
		p.clients[who].ids = append(p.clients[who].ids, got.ID)
	}
}

// message is the next packet, which has to be one.
func (p *play) message(who string) *mqtt.Publish {
	p.t.Helper()
	packet := p.read(who)
	got, ok := packet.(*mqtt.Publish)
	if !ok {
		p.t.Fatalf("%+v came to %s, want a message", packet, who)
	}
	return got
}

// arrives is a message with its flags.
func arrives(who string, m mqtt.Publish) step {
	return func(p *play) {
		p.t.Helper()
		got := p.message(who)
		c := p.clients[who]
		if n := len(m.Payload); n == 0 && len(got.Payload) == 0 {
			got.Payload = m.Payload
		}
		id := got.ID
		got.ID = 0
		if diff := cmp.Diff(&m, got); diff != "" {
			p.t.Fatalf("the message for %s (-want +got):\n%s", who, diff)
		}
		if (id != 0) != (m.QoS > 0) {
			p.t.Fatalf("a message with QoS %d has packet identifier %d", m.QoS, id)
		}
		if id == 0 {
			return
		}
		if used := slices.Contains(c.ids, id); used != m.Dup {
			p.t.Fatalf("packet identifier %d of a message with DUP %v; those in flight were %v", id, m.Dup, c.ids)
		}
		if !m.Dup {
			c.ids = append(c.ids, id)
		}
	}
}

// again is a message that came before and was not acknowledged: with its identifier.
func again(who, topic, payload string) step {
	return arrives(who, mqtt.Publish{Topic: topic, Payload: []byte(payload), QoS: 1, Dup: true})
}

// acknowledge acknowledges all that came with QoS 1.
func acknowledge(who string) step {
	return func(p *play) {
		p.t.Helper()
		c := p.of(who)
		for _, id := range c.ids {
			send(who, &mqtt.Puback{ID: id})(p)
		}
		c.ids = nil
		// What was acknowledged is known to be when the next packet is answered.
		send(who, &mqtt.Pingreq{})(p)
		want(who, &mqtt.Pingresp{})(p)
	}
}

// broken are bytes that end a connection at once.
func broken(ids, name, data string) row {
	return row{ids: ids, name: name, both: []step{join(A), raw(A, data), ends(A)}}
}

// brokenFirst are bytes that end one in place of CONNECT, without an answer.
func brokenFirst(ids, name, data string) row {
	return row{ids: ids, name: name, both: []step{raw(A, data), ends(A)}}
}
