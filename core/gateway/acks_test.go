package gateway_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/gateway"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

// spool is the way to the cloud, which keeps messages when the test has it do so.
type spool struct {
	mu   testkit.Monitor
	kept []func(error)
	// strict says of each message whether it is dropped when it cannot be kept.
	strict []bool
}

func (s *spool) KeepCloud(_ string, _ []byte, strict bool, kept func(error)) {
	s.mu.Change(func() { s.kept, s.strict = append(s.kept, kept), append(s.strict, strict) })
}

// holds waits until n messages have come.
func (s *spool) holds(t *testing.T, n int) {
	t.Helper()
	s.mu.Await(t, "the messages", func() bool { return len(s.kept) == n }, func() string { return "" })
}

// A device gets its PUBACKs when the disk has the messages, in their order.
func TestAcknowledgements(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T) (*site, identity) {
		s, from, to := pair(t, gateway.Options{})
		table, err := router.NewTable([]fescue.Subscription{
			{Id: "1", Source: arn(from.thing), Target: fescue.CloudEndpoint, Subject: "up/#"},
			{Id: "2", Source: arn(from.thing), Target: arn(to.thing), Subject: "#"},
		})
		if err != nil {
			t.Fatal(err)
		}
		s.router.SetTable(table)
		return s, from
	}
	message := func(topic string, id uint16) *mqtt.Publish { return &mqtt.Publish{Topic: topic, QoS: 1, ID: id} }
	wantAcks := func(t *testing.T, p *peer, ids ...uint16) {
		t.Helper()
		for _, id := range ids {
			if ack, ok := p.read().(*mqtt.Puback); !ok || ack.ID != id {
				t.Fatalf("got %+v, want the PUBACK of %d", ack, id)
			}
		}
	}
	t.Run("in order", func(t *testing.T) {
		t.Parallel()
		s, from := begin(t)
		p := s.join(t, from)
		p.send(message("before", 1), message("up/a", 2), message("up/b", 3), message("else", 4), &mqtt.Publish{Topic: "up/c"})
		s.spool.holds(t, 3)
		wantAcks(t, p, 1)
		s.spool.kept[1](nil)
		// Nothing but an answer to this has come after the one: 2 is not kept yet.
		if codes := p.subscribe(mqtt.Subscription{Filter: "x"}); len(codes) != 1 {
			t.Errorf("SUBACK %v", codes)
		}
		s.spool.kept[2](nil)
		s.spool.kept[0](nil)
		wantAcks(t, p, 2, 3, 4)
		if !s.spool.strict[0] || s.spool.strict[2] {
			t.Errorf("strict are %v: want QoS 1 and not QoS 0", s.spool.strict)
		}
		p.send(message("up/d", 5))
		s.spool.holds(t, 4)
		s.spool.kept[3](nil)
		wantAcks(t, p, 5)
	})
	t.Run("a last will that is not kept is in the log", func(t *testing.T) {
		t.Parallel()
		s, from := begin(t)
		p := s.join(t, from, func(c *mqtt.Connect) { c.Will = &mqtt.Publish{Topic: "up/will", QoS: 1} })
		p.conn.NetConn().Close()
		s.spool.holds(t, 1)
		s.spool.kept[0](errors.New("no room"))
		if log := s.log.String(); !strings.Contains(log, "last will") || !strings.Contains(log, "no room") || !strings.Contains(log, from.thing) {
			t.Errorf("log:\n%s", log)
		}
	})
	t.Run("none for what is not kept", func(t *testing.T) {
		t.Parallel()
		s, from := begin(t)
		p := s.join(t, from)
		p.send(message("up/a", 1), message("up/b", 2))
		s.spool.holds(t, 2)
		s.spool.kept[0](errors.New("no room"))
		s.spool.kept[1](nil)
		for {
			packet, err := p.r.Read()
			if err != nil {
				break
			}
			t.Errorf("got %+v", packet)
		}
		if log := s.log.String(); !strings.Contains(log, "no room") || !strings.Contains(log, "client device from") {
			t.Errorf("log:\n%s", log)
		}
		// The device goes on with its next connection.
		p = s.join(t, from)
		p.send(message("up/a", 1))
		s.spool.holds(t, 3)
		s.spool.kept[2](nil)
		wantAcks(t, p, 1)
	})
}
