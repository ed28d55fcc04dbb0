package mqttfront_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

func TestDrain(t *testing.T) {
	t.Parallel()
	for _, most := range []time.Duration{patience, time.Nanosecond, 0} {
		t.Run(fmt.Sprintf("within %s", most), func(t *testing.T) {
			t.Parallel()
			c := start(t, nil)
			who := c.device(home, allowAll)
			watch := c.connect(who, "watch")
			watch.subscribe("wills", 1)
			var here []*client
			for i := range 10 {
				here = append(here, c.connect(who, fmt.Sprint("c", i)))
			}
			c.front.Drain(most)
			if _, err := c.try(who, "late", nil); err == nil {
				t.Error("a client was let in that came after the drain began")
			}
			if most == 0 { // all go when the front is closed
				watch.publish("wills", 1, "still here")
				watch.expect("wills still here")
				c.front.Close()
			}
			for _, cl := range append(here, watch) {
				cl.ended()
			}
			testkit.Until(t, "the front counts nobody", func() bool { return c.front.Stats().Connections == 0 })
		})
	}
}

// heldBroker is a broker whose answers wait, and that knows how many SUBSCRIBEs with QoS 1
// have none yet.
type heldBroker struct {
	mqttfront.Upstream
	release chan struct{}

	mu         sync.Mutex
	open, most int
}

func (b *heldBroker) Dial(ctx context.Context) (net.Conn, error) {
	c, err := b.Upstream.Dial(ctx)
	return &heldConn{Conn: c, of: b}, err
}

func (b *heldBroker) count(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open += n
	b.most = max(b.most, b.open)
}

func (b *heldBroker) asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// heldConn takes each write and read for a packet: on a connection that is used for one
// SUBSCRIBE it is.
type heldConn struct {
	net.Conn
	of    *heldBroker
	asked atomic.Bool
}

func (c *heldConn) Write(p []byte) (int, error) {
	// The front subscribes for itself, too. The QoS comes last.
	if p[0] == 0x82 && bytes.Contains(p, []byte("held")) && p[len(p)-1] > 0 {
		c.asked.Store(true)
		c.of.count(1)
	}
	return c.Conn.Write(p)
}

func (c *heldConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && p[0] == 0x90 && c.asked.Load() {
		<-c.of.release
		c.of.count(-1)
	}
	return n, err
}

// However many ask for filters with QoS 1 at once, the broker has so many to grant.
func TestGrantsAreBounded(t *testing.T) {
	t.Parallel()
	held := &heldBroker{release: make(chan struct{})}
	release := sync.OnceFunc(func() { close(held.release) })
	c := start(t, func(o *mqttfront.Options) { held.Upstream, o.Broker = o.Broker, held })
	t.Cleanup(release)
	who := c.device(home, allowAll)
	subscribe := func(id string, qos byte) *mqtt.Client {
		t.Helper()
		cl, _, err := c.raw(who, mqtt.Connect{ClientID: id, CleanSession: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.Send(&mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "held/" + id, QoS: qos}}}); err != nil {
			t.Fatal(err)
		}
		return cl
	}
	var asking []*mqtt.Client
	for i := range mqttfront.MaxGranting + 20 {
		asking = append(asking, subscribe(fmt.Sprint("c", i), 1))
	}
	testkit.Until(t, "the broker has all that it may have", func() bool { return held.asked() == mqttfront.MaxGranting })
	// What takes no consumer does not wait, and who leaves takes its SUBSCRIBE along.
	if ack := read[*mqtt.Suback](t, subscribe("light", 0)); ack.Codes[0] != 0 {
		t.Errorf("QoS 0 is answered %#x", ack.Codes[0])
	}
	for _, i := range []int{0, len(asking) - 1} {
		asking[i].Close()
	}
	release()
	for _, cl := range asking[1 : len(asking)-1] {
		if ack := read[*mqtt.Suback](t, cl); ack.Codes[0] != 1 {
			t.Errorf("QoS 1 is answered %#x", ack.Codes[0])
		}
	}
	held.mu.Lock()
	defer held.mu.Unlock()
	if held.most > mqttfront.MaxGranting {
		t.Errorf("the broker had %d to grant at once", held.most)
	}
}
