package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/gateway"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit"
)

const patience = testkit.Patience

func arn(thing string) string { return "arn:aws:iot:us-east-1:123456789012:thing/" + thing }

// site is a gateway with a router, on a port of its own.
type site struct {
	*gateway.Gateway
	spool   spool
	router  *router.Router
	address string
	log     *logBuffer
	// known are the devices of a test that adds some.
	known []gateway.Device

	mu  sync.Mutex
	now time.Time
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct{ testkit.Buffer }

// lines counts the lines that have a text.
func (b *logBuffer) lines(text string) int { return strings.Count(b.String(), text) }

func open(t testing.TB, o gateway.Options) *site {
	t.Helper()
	authority, err := pki.NewAuthority("group", pki.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.IssueServer(pki.ECDSA, []string{"127.0.0.1"}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{log: new(logBuffer), now: time.Now()}
	o.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	if o.Certificate == nil {
		o.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return leaf, nil }
	}
	if o.Now == nil {
		o.Now = func() time.Time {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.now
		}
	}
	s.Gateway, s.router = routed(o, &s.spool)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// routed makes a gateway and the router between its devices.
func routed(o gateway.Options, cloud router.CloudLink) (*gateway.Gateway, *router.Router) {
	endpoint := new(struct{ router.Endpoint })
	r := router.New(map[fescue.EndpointKind]router.Endpoint{fescue.EndpointDevice: endpoint, fescue.EndpointCloud: router.ToCloud(cloud, func(router.Message, error) {})}, o.Logger)
	o.Publisher = r
	g := gateway.New(o)
	endpoint.Endpoint = g
	return g, r
}

func (s *site) wait(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// routes sets the table: "source target subject" each.
func (s *site) routes(t testing.TB, rows ...string) {
	t.Helper()
	var list []fescue.Subscription
	for i, row := range rows {
		part := strings.Fields(row)
		list = append(list, fescue.Subscription{Id: fmt.Sprint(i), Source: arn(part[0]), Target: arn(part[1]), Subject: part[2]})
	}
	table, err := router.NewTable(list)
	if err != nil {
		t.Fatal(err)
	}
	s.router.SetTable(table)
}

// identity is a device's key and certificate, self-signed.
type identity struct {
	thing string
	pair  tls.Certificate
}

func newIdentity(t testing.TB, thing string, from, to time.Time) identity {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: thing}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return identity{thing, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}

func device(t testing.TB, thing string) identity {
	t.Helper()
	return newIdentity(t, thing, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
}

func (i identity) listed() gateway.Device {
	return gateway.Device{ThingARN: arn(i.thing), Thing: i.thing, CertificateID: pki.CertificateID(i.pair.Certificate[0])}
}

func listed(ids ...identity) (list []gateway.Device) {
	for _, id := range ids {
		list = append(list, id.listed())
	}
	return list
}

// peer is a client that sees each packet.
type peer struct {
	t    testing.TB
	conn *tls.Conn
	r    *mqtt.Reader
}

func (s *site) dial(t testing.TB, id identity) (*peer, error) {
	t.Helper()
	conn, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{id.pair}})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &peer{t, conn, mqtt.NewReader(conn, 0)}, nil
}

func (p *peer) send(packets ...mqtt.Packet) {
	p.t.Helper()
	var buf bytes.Buffer
	for _, packet := range packets {
		if err := mqtt.Encode(&buf, packet); err != nil {
			p.t.Fatal(err)
		}
	}
	p.write(buf.Bytes())
}

func (p *peer) write(data []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(data); err != nil {
		p.t.Fatal(err)
	}
}

// read is the next packet that is no sign of life.
func (p *peer) read() mqtt.Packet {
	p.t.Helper()
	packet, err := p.r.Read()
	if err != nil {
		p.t.Fatal(err)
	}
	return packet
}

// message is the next packet, which has to be a message with a payload.
func (p *peer) message(payload string) *mqtt.Publish {
	p.t.Helper()
	m, ok := p.read().(*mqtt.Publish)
	if !ok || string(m.Payload) != payload {
		p.t.Fatalf("got %+v, want the message %q", m, payload)
	}
	return m
}

// ended waits for the end of the connection.
func (p *peer) ended() {
	p.t.Helper()
	for {
		if _, err := p.r.Read(); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				p.t.Fatal("the connection goes on")
			}
			return
		}
	}
}

func connect(id identity) *mqtt.Connect {
	return &mqtt.Connect{ClientID: id.thing, Level: mqtt.Level311, CleanSession: true, KeepAlive: time.Minute}
}

// join connects, with the packet changed.
func (s *site) join(t testing.TB, id identity, change ...func(*mqtt.Connect)) *peer {
	t.Helper()
	p, err := s.dial(t, id)
	if err != nil {
		t.Fatal(err)
	}
	c := connect(id)
	for _, f := range change {
		f(c)
	}
	p.send(c)
	if ack, ok := p.read().(*mqtt.Connack); !ok || ack.Code != mqtt.Accepted {
		t.Fatalf("CONNACK %+v", ack)
	}
	return p
}

func (p *peer) subscribe(filters ...mqtt.Subscription) []byte {
	p.t.Helper()
	p.send(&mqtt.Subscribe{ID: 1, Filters: filters})
	ack, ok := p.read().(*mqtt.Suback)
	if !ok {
		p.t.Fatalf("SUBACK %+v", ack)
	}
	return ack.Codes
}

// publish sends a message with QoS 1 and waits until the gateway has it.
func (p *peer) publish(topic, payload string) {
	p.t.Helper()
	p.send(&mqtt.Publish{Topic: topic, Payload: []byte(payload), QoS: 1, ID: 7})
	if ack, ok := p.read().(*mqtt.Puback); !ok || ack.ID != 7 {
		p.t.Fatalf("PUBACK %+v", ack)
	}
}

var lasting = func(c *mqtt.Connect) { c.CleanSession = false }

// pair are two devices and a table from the first to the second.
func pair(t testing.TB, o gateway.Options) (s *site, from, to identity) {
	t.Helper()
	s, from, to = open(t, o), device(t, "from"), device(t, "to")
	s.SetDevices(listed(from, to))
	s.routes(t, "from to #")
	return s, from, to
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	s, from, to := pair(t, gateway.Options{})
	sender, receiver := s.join(t, from), s.join(t, to)
	if codes := receiver.subscribe(mqtt.Subscription{Filter: "a/+", QoS: 1}, mqtt.Subscription{Filter: "a/#", QoS: 0}, mqtt.Subscription{Filter: "b", QoS: 2},
		mqtt.Subscription{Filter: "c", QoS: 0}, mqtt.Subscription{Filter: "a/#/b", QoS: 0}, mqtt.Subscription{Filter: strings.Repeat("x", 257), QoS: 1}); !bytes.Equal(codes, []byte{1, 0, 1, 0, 0x80, 0x80}) {
		t.Errorf("SUBACK %v", codes)
	}
	for _, c := range []struct {
		topic    string
		qos      byte
		retain   bool
		want     bool
		wantQoS  byte
		wantNone string
	}{
		{topic: "a/b", qos: 1, want: true, wantQoS: 1},
		{topic: "a/b", qos: 0, want: true, wantQoS: 0},
		{topic: "a/b/c", qos: 1, want: true, wantQoS: 0},
		{topic: "a", qos: 1},
		{topic: "b", qos: 1, want: true, wantQoS: 1, retain: true},
		{topic: "c", qos: 1, want: true, wantQoS: 0},
		{topic: "C", qos: 1},
		{topic: "d", qos: 1},
	} {
		m := &mqtt.Publish{Topic: c.topic, Payload: []byte("m"), QoS: c.qos, Retain: c.retain}
		if c.qos > 0 {
			m.ID = 3
		}
		sender.send(m)
		if c.qos > 0 {
			if ack, ok := sender.read().(*mqtt.Puback); !ok || ack.ID != 3 {
				t.Fatalf("%s: PUBACK %+v", c.topic, ack)
			}
		}
		if !c.want {
			continue
		}
		got := receiver.message("m")
		if got.Topic != c.topic || got.QoS != c.wantQoS || got.Retain || got.Dup {
			t.Errorf("%s with QoS %d: got %+v", c.topic, c.qos, got)
		}
		if got.QoS > 0 {
			receiver.send(&mqtt.Puback{ID: got.ID})
		}
	}
	receiver.send(&mqtt.Unsubscribe{ID: 4, Filters: []string{"a/+", "a/#"}})
	if ack, ok := receiver.read().(*mqtt.Unsuback); !ok || ack.ID != 4 {
		t.Fatalf("UNSUBACK %+v", ack)
	}
	sender.publish("a/b", "unsubscribed")
	sender.publish("b", "next")
	receiver.message("next")
	receiver.send(&mqtt.Pingreq{})
	if _, ok := receiver.read().(*mqtt.Pingresp); !ok {
		t.Error("no PINGRESP")
	}
	if _, err := s.dial(t, from); err != nil { // a second connection is no matter before CONNECT
		t.Error(err)
	}
	many := make([]mqtt.Subscription, gateway.MaxFilters+1)
	for i := range many {
		many[i].Filter = fmt.Sprintf("many/%d", i)
	}
	fresh := s.join(t, to)
	if codes := fresh.subscribe(many...); codes[gateway.MaxFilters-1] != 0 || codes[gateway.MaxFilters] != mqtt.SubackFailure {
		t.Errorf("SUBACK %v", codes)
	}
	receiver.ended() // taken over
}

func TestLastingSession(t *testing.T) {
	t.Parallel()
	s, from, to := pair(t, gateway.Options{})
	sender := s.join(t, from)
	present := func(want bool, change ...func(*mqtt.Connect)) *peer {
		t.Helper()
		p, err := s.dial(t, to)
		if err != nil {
			t.Fatal(err)
		}
		c := connect(to)
		for _, f := range change {
			f(c)
		}
		p.send(c)
		if ack, ok := p.read().(*mqtt.Connack); !ok || ack.SessionPresent != want {
			t.Fatalf("CONNACK %+v, want session present %v", ack, want)
		}
		return p
	}
	p := present(false, lasting)
	p.subscribe(mqtt.Subscription{Filter: "one", QoS: 1}, mqtt.Subscription{Filter: "none", QoS: 0})
	sender.publish("one", "in flight")
	first := p.message("in flight")
	p.send(&mqtt.Disconnect{})
	p.ended()
	testkit.Until(t, "the device stays connected", func() bool {
		sender.publish("none", "missed")
		return true
	})
	for i := range 3 {
		sender.publish("one", fmt.Sprint(i))
	}
	p = present(true, lasting)
	if again := p.message("in flight"); again.ID != first.ID || !again.Dup {
		t.Errorf("%+v, want identifier %d and DUP", again, first.ID)
	}
	var ids []uint16
	for i := range 3 {
		m := p.message(fmt.Sprint(i))
		if m.Dup || m.ID == first.ID {
			t.Errorf("%+v", m)
		}
		ids = append(ids, m.ID)
	}
	for _, id := range append(ids, first.ID) {
		p.send(&mqtt.Puback{ID: id})
	}
	p.send(&mqtt.Pingreq{}) // what was acknowledged was heard
	if _, ok := p.read().(*mqtt.Pingresp); !ok {
		t.Error("no PINGRESP")
	}
	p = present(true, lasting)
	sender.publish("one", "nothing comes again")
	p.message("nothing comes again")
	p = present(false)
	sender.publish("one", "a clean session has nothing")
	p.subscribe(mqtt.Subscription{Filter: "one", QoS: 0})
	sender.publish("one", "new")
	p.message("new")
	present(false, lasting)
}

func TestQueueOfOneAway(t *testing.T) {
	t.Parallel()
	s, from, to := pair(t, gateway.Options{})
	sender, p := s.join(t, from), s.join(t, to, lasting)
	p.subscribe(mqtt.Subscription{Filter: "#", QoS: 1})
	p.send(&mqtt.Disconnect{})
	p.ended()
	const most, more = 1000, 50
	for i := range most + more {
		sender.publish("t", fmt.Sprint(i))
	}
	p = s.join(t, to, lasting)
	for i := range most { // the oldest stay, and come in order
		m := p.message(fmt.Sprint(i))
		p.send(&mqtt.Puback{ID: m.ID})
	}
	sender.publish("t", "room again")
	p.message("room again")
	if n := s.log.lines("A message was dropped."); n != 1 {
		t.Errorf("%d lines in the log of %d drops within a minute", n, more)
	}
}

func TestTakeOver(t *testing.T) {
	t.Parallel()
	s, from, to := pair(t, gateway.Options{})
	watcher := s.join(t, to)
	watcher.subscribe(mqtt.Subscription{Filter: "will", QoS: 1})
	will := func(c *mqtt.Connect) {
		c.Will = &mqtt.Publish{Topic: "will", Payload: []byte("gone"), QoS: 1, Retain: true}
	}
	old := s.join(t, from, will)
	fresh := s.join(t, from, will)
	old.ended()
	if m := watcher.message("gone"); m.Retain {
		t.Error("it is retained")
	}
	fresh.publish("will", "in service")
	watcher.message("in service")
	fresh.send(&mqtt.Disconnect{})
	fresh.ended()
	s.join(t, from, will).conn.NetConn().Close()
	watcher.message("gone") // and none for the DISCONNECT
}

// TestDevicesThatGo: what changes of the devices ends the connections that it
// concerns, and no others.
func TestDevicesThatGo(t *testing.T) {
	t.Parallel()
	s, from, to := pair(t, gateway.Options{})
	other := device(t, "other")
	s.SetDevices(listed(from, to, other))
	sender, receiver, third := s.join(t, from), s.join(t, to, lasting), s.join(t, other)
	receiver.subscribe(mqtt.Subscription{Filter: "#", QoS: 1})
	passes := func(what string) {
		t.Helper()
		sender.publish("t", what)
		m := receiver.message(what)
		receiver.send(&mqtt.Puback{ID: m.ID})
	}
	s.SetDevices(listed(to, from, other))
	passes("the same devices")
	s.SetDevices(listed(from, to))
	third.ended()
	passes("without the third")
	refused(t, s, other, "removed")
	s.SetDevices(listed(from, to, other))
	third = s.join(t, other)
	s.Revoke([]string{other.listed().CertificateID})
	third.ended()
	passes("the third's certificate is deactivated")
	refused(t, s, other, "deactivated")
	s.Revoke(nil)
	third = s.join(t, other)
	renewed := device(t, "other")
	s.SetDevices(listed(from, to, renewed))
	third.ended()
	passes("the third has another certificate")
	refused(t, s, other, "replaced")
	s.join(t, renewed)
	s.SetDevices(listed(from, to, renewed, other))
	s.join(t, other)
	s.SetDevices(nil)
	sender.ended()
	receiver.ended()
	s.SetDevices(listed(from, to))
	sender = s.join(t, from)
	p, err := s.dial(t, to)
	if err != nil {
		t.Fatal(err)
	}
	c := connect(to)
	c.CleanSession = false
	p.send(c)
	if ack := p.read().(*mqtt.Connack); ack.SessionPresent {
		t.Error("the session of a device that was removed is there again")
	}
}

// refused asserts that a device gets no connection. TLS 1.3 tells the client after its
// own side is done.
func refused(t testing.TB, s *site, id identity, why string) {
	t.Helper()
	p, err := s.dial(t, id)
	if err != nil {
		return
	}
	var buf bytes.Buffer
	if err := mqtt.Encode(&buf, connect(id)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.conn.Write(buf.Bytes()); err != nil {
		return
	}
	if packet, err := p.r.Read(); err == nil {
		t.Errorf("%s: got %+v", why, packet)
	}
}

// TestAttackers: what strangers and devices may not do is refused, said in the log at
// most once a minute, and disturbs nobody.
func TestAttackers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const tries = 3
	raw := func(text string) func(*testing.T, *site, identity) {
		return func(t *testing.T, s *site, id identity) {
			p := s.join(t, id)
			p.write([]byte(text))
			p.ended()
		}
	}
	will := func(topic string) func(*testing.T, *site, identity) {
		return func(t *testing.T, s *site, id identity) {
			p := s.join(t, id, func(c *mqtt.Connect) {
				c.Will = &mqtt.Publish{Topic: topic, Payload: []byte("astray"), QoS: 1, Retain: true}
			})
			p.write([]byte("\xf0\x00")) // no packet: it is due when the connection has ended
			p.ended()
		}
	}
	message := func(topic string, payload []byte) string {
		var buf bytes.Buffer
		if err := mqtt.Encode(&buf, &mqtt.Publish{Topic: topic, Payload: payload}); err != nil {
			t.Fatal(err)
		}
		return buf.String()
	}
	for _, c := range []struct {
		name string
		do   func(*testing.T, *site, identity)
		// log is said once.
		log string
	}{
		{"no certificate", func(t *testing.T, s *site, _ identity) { refused(t, s, identity{thing: "from"}, "no certificate") }, "handshake"},
		{"another group's certificate", func(t *testing.T, s *site, _ identity) { refused(t, s, device(t, "from"), "another's") }, "is of no client device"},
		{"an expired certificate", func(t *testing.T, s *site, _ identity) {
			id := newIdentity(t, "late", now.Add(-2*time.Hour), now.Add(-time.Hour))
			s.SetDevices(append(s.known, id.listed()))
			refused(t, s, id, "expired")
		}, gateway.ErrExpired.Error()},
		{"a certificate of the future", func(t *testing.T, s *site, _ identity) {
			id := newIdentity(t, "early", now.Add(time.Hour), now.Add(2*time.Hour))
			s.SetDevices(append(s.known, id.listed()))
			refused(t, s, id, "not yet valid")
		}, gateway.ErrExpired.Error()},
		{"a revoked certificate", func(t *testing.T, s *site, id identity) {
			s.Revoke([]string{id.listed().CertificateID})
			defer s.Revoke(nil)
			refused(t, s, id, "revoked")
		}, "is of no client device"},
		{"a borrowed client id", func(t *testing.T, s *site, id identity) {
			p, err := s.dial(t, id)
			if err != nil {
				t.Fatal(err)
			}
			c := connect(id)
			c.ClientID = "from"
			p.send(c)
			if ack, ok := p.read().(*mqtt.Connack); !ok || ack.Code != mqtt.RefusedNotAuthorized {
				t.Errorf("CONNACK %+v", ack)
			}
			p.ended()
		}, `not the one of client device \"from\"`},
		{"a client id that is none", func(t *testing.T, s *site, id identity) {
			p, err := s.dial(t, id)
			if err != nil {
				t.Fatal(err)
			}
			c := connect(id)
			c.ClientID = "nobody"
			p.send(c)
			if ack, ok := p.read().(*mqtt.Connack); !ok || ack.Code != mqtt.RefusedNotAuthorized {
				t.Errorf("CONNACK %+v", ack)
			}
		}, `the group has no client device \"nobody\"`},
		{"MQTT 5", func(t *testing.T, s *site, id identity) {
			p, err := s.dial(t, id)
			if err != nil {
				t.Fatal(err)
			}
			p.write([]byte("\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00"))
			if ack, ok := p.read().(*mqtt.Connack); !ok || ack.Code != mqtt.RefusedVersion {
				t.Errorf("CONNACK %+v", ack)
			}
		}, "level 5"},
		{"HTTP", func(t *testing.T, s *site, id identity) {
			p, err := s.dial(t, id)
			if err != nil {
				t.Fatal(err)
			}
			p.write([]byte("GET / HTTP/1.1\r\n\r\n"))
			p.ended()
		}, mqtt.ErrProtocol.Error()},
		{"an oversized packet", raw("\x30\xff\xff\xff\x7f"), mqtt.ErrTooLarge.Error()},
		{"an oversized payload", raw(message("t", make([]byte, gateway.MaxPayload+1))), "a payload of 131073 bytes"},
		{"a topic that is too long", raw(message(strings.Repeat("t", 257), nil)), "is too long"},
		{"a topic that is too deep", raw(message("1/2/3/4/5/6/7/8/9", nil)), "too many levels"},
		{"a topic with NUL", raw("\x30\x03\x00\x01\x00"), mqtt.ErrMalformed.Error()},
		{"a topic that is not UTF-8", raw("\x30\x03\x00\x01\xff"), mqtt.ErrMalformed.Error()},
		{"a topic with a wildcard", raw("\x30\x03\x00\x01#"), mqtt.ErrMalformed.Error()},
		{"QoS 2", raw("\x34\x05\x00\x01t\x00\x01"), "QoS 2"},
		{"a second CONNECT", raw("\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x"), mqtt.ErrProtocol.Error()},
		{"an answer of the shadow service", func(t *testing.T, s *site, id identity) {
			s.join(t, id).publish("$aws/things/to/shadow/update/accepted", "forged")
		}, "is for the shadow service to publish to"},
		{"another's shadow without a row", func(t *testing.T, s *site, id identity) {
			s.join(t, id).publish("$aws/things/to/shadow/update", "forged")
		}, ""},
		{"reserved topics without a row", func(t *testing.T, s *site, id identity) {
			p := s.join(t, id)
			for _, topic := range []string{"$aws/events/presence/connected/to", "$aws/rules/r/t", "$SYS/broker", "$aws/things/to/jobs/get", "$share/g/t"} {
				p.publish(topic, "forged")
			}
		}, ""},
		{"a message of the jobs service", func(t *testing.T, s *site, id identity) {
			s.join(t, id).publish("$aws/things/to/jobs/notify", "forged")
		}, "is for the jobs service to publish to"},
		{"a message to be retained, without a row", func(t *testing.T, s *site, id identity) {
			p := s.join(t, id)
			p.send(&mqtt.Publish{Topic: "t", Payload: []byte("astray"), QoS: 1, ID: 7, Retain: true})
			if ack, ok := p.read().(*mqtt.Puback); !ok || ack.ID != 7 {
				t.Errorf("PUBACK %+v", ack)
			}
		}, ""},
		{"a last will without a row", will("t"), ""},
		{"a last will to another's shadow without a row", will("$aws/things/to/shadow/update"), ""},
		{"a last will as the shadow service", will("$aws/things/to/shadow/update/accepted"), "is for the shadow service to publish to"},
		{"a last will on a topic that is too long", will(strings.Repeat("t", 257)), "is too long"},
		{"CONNECT again and again", func(t *testing.T, s *site, id identity) {
			for range 10 {
				s.join(t, id)
			}
		}, "connected anew"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, from, to := pair(t, gateway.Options{})
			attacker := device(t, "attacker")
			s.known = listed(from, to, attacker)
			s.SetDevices(s.known)
			sender, receiver := s.join(t, from), s.join(t, to)
			receiver.subscribe(mqtt.Subscription{Filter: "#", QoS: 1}, mqtt.Subscription{Filter: "$aws/#", QoS: 1})
			for range tries {
				c.do(t, s, attacker)
			}
			sender.publish("t", "undisturbed")
			m := receiver.message("undisturbed")
			receiver.send(&mqtt.Puback{ID: m.ID})
			if c.log == "" {
				return
			}
			testkit.Until(t, "the log does not have "+c.log+":\n"+s.log.String(), func() bool { return s.log.lines(c.log) > 0 })
			s.wait(2 * time.Minute)
			c.do(t, s, attacker)
			testkit.Until(t, "the log does not have it again", func() bool { return s.log.lines(c.log) > 1 })
			if n := s.log.lines(c.log); n != 2 || !strings.Contains(s.log.String(), "othersSince=") {
				t.Errorf("the log has it %d times:\n%s", n, s.log)
			}
		})
	}
}

// TestExpiryOfConnected: a connection ends with its certificate.
func TestExpiryOfConnected(t *testing.T) {
	t.Parallel()
	s := open(t, gateway.Options{})
	id := newIdentity(t, "short", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	s.SetDevices(listed(id))
	p := s.join(t, id)
	s.wait(2 * time.Hour)
	s.Revoke(nil) // looks at everybody, as the clock's minute does
	p.ended()
}

// TestSlowReader: a subscriber that stops reading costs the others neither a message
// nor time, and loses its connection.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	s := open(t, gateway.Options{Session: mqtt.Options{WriteTimeout: time.Second}})
	from, slow, good := device(t, "from"), device(t, "slow"), device(t, "good")
	s.SetDevices(listed(from, slow, good))
	s.routes(t, "from slow #", "from good #")
	sender, deaf, receiver := s.join(t, from), s.join(t, slow), s.join(t, good)
	for _, p := range []*peer{deaf, receiver} {
		p.subscribe(mqtt.Subscription{Filter: "once", QoS: 0}, mqtt.Subscription{Filter: "acknowledged", QoS: 1})
	}
	payload := strings.Repeat("x", 100<<10)
	for i := range 130 { // 13 MB: more than all buffers have
		topic := []string{"once", "acknowledged"}[i%2]
		sender.publish(topic, payload)
		m := receiver.message(payload)
		if m.QoS > 0 {
			receiver.send(&mqtt.Puback{ID: m.ID}, &mqtt.Pingreq{})
			receiver.read() // what was acknowledged waits no more
		}
	}
	testkit.Until(t, "the slow reader keeps its connection", func() bool { return s.log.lines(mqtt.ErrStalled.Error()) == 1 })
}

// TestSilence: who connects and says nothing, and who stops saying anything, is
// disconnected.
func TestSilence(t *testing.T) {
	t.Parallel()
	// closes asserts that the gateway ends a connection.
	closes := func(t *testing.T, what string, conn net.Conn) {
		t.Helper()
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: it stays", what)
		}
	}
	t.Run("before the handshake", func(t *testing.T) {
		t.Parallel()
		s := open(t, gateway.Options{HandshakeTimeout: 100 * time.Millisecond})
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		closes(t, "no handshake", conn)
	})
	t.Run("before CONNECT", func(t *testing.T) {
		t.Parallel()
		s, from, _ := pair(t, gateway.Options{Session: mqtt.Options{ConnectTimeout: 100 * time.Millisecond}})
		p, err := s.dial(t, from)
		if err != nil {
			t.Fatal(err)
		}
		closes(t, "no CONNECT", p.conn)
	})
	t.Run("for longer than its keep-alive", func(t *testing.T) {
		t.Parallel()
		s, from, _ := pair(t, gateway.Options{})
		p := s.join(t, from, func(c *mqtt.Connect) { c.KeepAlive = time.Second })
		began := time.Now()
		closes(t, "no sign of life", p.conn)
		if passed := time.Since(began); passed < time.Second {
			t.Errorf("it ended after %v, want one and a half times its keep-alive", passed)
		}
	})
}

// TestFlood: connections that say nothing keep no device out.
func TestFlood(t *testing.T) {
	t.Parallel()
	s, from, to := pair(t, gateway.Options{MaxConnections: 20})
	sender, receiver := s.join(t, from), s.join(t, to)
	receiver.subscribe(mqtt.Subscription{Filter: "#"})
	for range 100 {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	sender.publish("t", "through it")
	receiver.message("through it")
	s.join(t, from).publish("t", "and anew")
	receiver.message("and anew")
}

// TestAllOrNothing: a publisher that wants every target to have its message gets an
// error when a device has no room.
func TestAllOrNothing(t *testing.T) {
	t.Parallel()
	s, _, to := pair(t, gateway.Options{})
	p := s.join(t, to, lasting)
	p.subscribe(mqtt.Subscription{Filter: "#", QoS: 1})
	p.send(&mqtt.Disconnect{})
	p.ended()
	m := router.Message{Source: arn("from"), Topic: "t", Payload: make([]byte, 100<<10)}
	var err error
	for n := 0; err == nil && n < 100; n++ {
		err = s.router.Publish(t.Context(), m, true)
	}
	if !errors.Is(err, gateway.ErrFull) {
		t.Errorf("got %v", err)
	}
	if err := s.router.Publish(t.Context(), m, false); err != nil {
		t.Errorf("with best effort: %v", err)
	}
}
