package mqttfront_test

import (
	"bytes"
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

func TestSilenceBeforeConnect(t *testing.T) {
	t.Parallel()
	t.Run("without TLS", func(t *testing.T) {
		c := start(t, func(o *mqttfront.Options) { o.HandshakeTimeout = 100 * time.Millisecond })
		conn, err := net.Dial("tcp", c.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		closed(t, conn)
	})
	c := start(t, func(o *mqttfront.Options) { o.Session.ConnectTimeout = 100 * time.Millisecond })
	who := c.device(home, quickStart)
	for name, data := range map[string]string{"nothing": "", "half a CONNECT": "\x10\x20\x00\x04MQTT"} {
		t.Run(name, func(t *testing.T) {
			conn := c.dial(who)
			_, _ = conn.Write([]byte(data))
			closed(t, conn)
		})
	}
	testkit.Until(t, "both are counted", func() bool { return c.front.Stats().Silent == 2 })
}

func TestNoConnect(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	who := c.device(home, quickStart)
	for name, data := range map[string]string{
		"oversize CONNECT":    "\x10\xff\xff\xff\x7f",
		"length of 5 bytes":   "\x10\xff\xff\xff\xff\x01",
		"PUBLISH first":       "\x30\x05\x00\x01txx",
		"HTTP":                "GET / HTTP/1.1\r\n\r\n",
		"unknown protocol":    "\x10\x0c\x00\x04MQXX\x04\x02\x00\x00\x00\x00",
		"reserved flag":       "\x10\x0d\x00\x04MQTT\x04\x03\x00\x00\x00\x01x",
		"bytes after it":      "\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x01xyy",
		"password, no user":   "\x10\x10\x00\x04MQTT\x04\x42\x00\x00\x00\x01x\x00\x01p",
		"will flags, no will": "\x10\x0d\x00\x04MQTT\x04\x2a\x00\x00\x00\x01x",
	} {
		t.Run(name, func(t *testing.T) {
			conn := c.dial(who)
			_, _ = conn.Write([]byte(data))
			closed(t, conn)
		})
	}
	t.Run("MQTT 5 gets return code 1", func(t *testing.T) {
		conn := c.dial(who)
		_, _ = conn.Write([]byte("\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01x"))
		p, err := mqtt.NewReader(conn, 0).Read()
		if ack, ok := p.(*mqtt.Connack); err != nil || !ok || ack.Code != mqtt.RefusedVersion {
			t.Errorf("got %#v, error %v", p, err)
		}
	})
	t.Run("others go on", func(t *testing.T) {
		cl := c.connect(who, "x")
		cl.subscribe("t", 1)
		cl.publish("t", 1, "m")
		cl.expect("t m")
	})
	testkit.Until(t, "all is counted", func() bool {
		s := c.front.Stats()
		return s.Malformed == 9 && s.Silent == 0 && s.Refused == 1
	})
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	cl, _, err := c.raw(c.device(home, quickStart), mqtt.Connect{ClientID: "mute", KeepAlive: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := cl.Read(); err == nil {
		t.Fatal("got a packet")
	}
	if took := time.Since(begin); took < time.Second || took > 10*time.Second {
		t.Errorf("closed after %v, want 1.5 s", took)
	}
	testkit.Until(t, "it is counted", func() bool { return c.front.Stats().Silent == 1 })
}

// TestStalledSubscriber has one client that subscribes to everything and reads
// nothing, while others exchange messages: none of theirs may be lost or late.
func TestStalledSubscriber(t *testing.T) {
	t.Parallel()
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			// Who waited for the stalled client would wait that long.
			const stall = 30 * time.Second
			c := start(t, func(o *mqttfront.Options) {
				o.Session.WriteTimeout = stall
				o.Session.QueueBytes = 1 << 20
			})
			stalled := c.dial(c.device(home, quickStart))
			var hello bytes.Buffer
			for _, p := range []mqtt.Packet{
				&mqtt.Connect{ClientID: "stalled", Level: 4, CleanSession: true},
				&mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "load/#", QoS: qos}}},
			} {
				if err := mqtt.Encode(&hello, p); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := stalled.Write(hello.Bytes()); err != nil {
				t.Fatal(err)
			}
			r := mqtt.NewReader(stalled, 0)
			for range 2 { // CONNACK, SUBACK, and nothing more
				if _, err := r.Read(); err != nil {
					t.Fatal(err)
				}
			}

			const clients, each = 3, 100
			payload := string(make([]byte, 96<<10))
			var all sync.WaitGroup
			var worst atomic.Int64
			for i := range clients {
				cl := c.connect(c.device(home, quickStart), fmt.Sprint("busy", i))
				topic := fmt.Sprint("load/", i)
				cl.subscribe(topic, qos)
				all.Go(func() {
					for n := range each {
						begin := time.Now()
						token := cl.Publish(topic, qos, false, payload)
						if !token.WaitTimeout(patience) || token.Error() != nil {
							t.Errorf("client %d, message %d: %v", i, n, token.Error())
							return
						}
						select {
						case <-cl.got:
						case <-time.After(patience):
							t.Errorf("client %d: message %d was lost", i, n)
							return
						}
						for took := int64(time.Since(begin)); ; {
							old := worst.Load()
							if took <= old || worst.CompareAndSwap(old, took) {
								break
							}
						}
					}
				})
			}
			all.Wait()
			t.Logf("slowest round trip of the others: %v", time.Duration(worst.Load()))
			if w := time.Duration(worst.Load()); w > stall/2 {
				t.Errorf("another client waited %v", w)
			}
			if qos == 1 {
				testkit.Until(t, "the stalled client is disconnected", func() bool { return c.front.Stats().Stalled == 1 })
				return
			}
			if s := c.front.Stats(); s.Dropped == 0 || s.Connections != clients+1 {
				t.Errorf("nothing was dropped for the stalled client, or it was not there to the end: %+v", s)
			}
		})
	}
}

func TestFloodWithoutReading(t *testing.T) {
	t.Parallel()
	c := start(t, func(o *mqttfront.Options) { o.Session.WriteTimeout = 500 * time.Millisecond })
	conn := c.dial(c.device(home, quickStart))
	var hello bytes.Buffer
	if err := mqtt.Encode(&hello, &mqtt.Connect{ClientID: "flood", Level: 4}); err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write(hello.Bytes())
	pings := bytes.Repeat([]byte{0xc0, 0}, 8<<10)
	_ = conn.SetWriteDeadline(time.Now().Add(patience))
	for {
		if _, err := conn.Write(pings); err != nil {
			break
		}
	}
	testkit.Until(t, "the flooding client is disconnected", func() bool { return c.front.Stats().Stalled == 1 })
}
