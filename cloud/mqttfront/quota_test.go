package mqttfront_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

// No certificate takes the subscriptions that others need.
func TestManySubscriptions(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	greedy, other := c.device(home, quickStart), c.device(home, quickStart)
	for i := range 21 {
		cl := c.connect(greedy, fmt.Sprint("greedy-", i))
		for from := 0; from < 50; from += 5 {
			filters := map[string]byte{}
			for n := range 5 {
				filters[fmt.Sprintf("greedy/%d/%d", i, from+n)] = 1
			}
			cl.wait(cl.SubscribeMultiple(filters, nil), "SUBSCRIBE")
		}
	}
	cl := c.connect(other, "other")
	if code := cl.subscribe("other", 1); code != 1 {
		t.Fatalf("subscription answered with %#x", code)
	}
	cl.publish("other", 1, "is delivered")
	cl.expect("other is delivered")
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	elsewhere := home
	elsewhere.Region = "eu-west-1"
	begin := func(t *testing.T, q deploy.Quotas, perSession int) *cloud {
		t.Parallel()
		return start(t, func(o *mqttfront.Options) { o.Quotas, o.MaxSubscriptions = q, perSession })
	}
	// refused wants CONNECT to be refused, as for a server that is too busy.
	refused := func(t *testing.T, c *cloud, who keyPair, id string, clean bool) {
		t.Helper()
		if _, ack, err := c.raw(who, mqtt.Connect{ClientID: id, CleanSession: clean}); err == nil || ack.Code != mqtt.RefusedUnavailable {
			t.Errorf("%s: code %d, %v", id, ack.Code, err)
		}
	}
	leave := func(t *testing.T, c *cloud, cl *client) {
		t.Helper()
		before := c.front.Stats().Connections
		cl.Disconnect(100)
		testkit.Until(t, "the connection ends", func() bool { return c.front.Stats().Connections == before-1 })
	}

	t.Run("sessions of a certificate", func(t *testing.T) {
		c := begin(t, deploy.Quotas{mqttfront.QuotaCertificateSessions: 2}, 0)
		one, other := c.device(home, quickStart), c.device(home, quickStart)
		here, away := c.connect(one, "here"), c.connect(one, "away", persistent)
		refused(t, c, one, "third", true)
		c.connect(other, "third") // another certificate's
		leave(t, c, away)
		refused(t, c, one, "fourth", true) // one that waits counts
		c.connect(one, "away", persistent)
		leave(t, c, here)
		c.connect(one, "fourth")
		if got := c.front.Stats().OverQuota; got != 2 {
			t.Errorf("%d refusals counted", got)
		}
	})
	t.Run("what waits counts after a restart, and goes with a clean session", func(t *testing.T) {
		c := begin(t, deploy.Quotas{mqttfront.QuotaCertificateSessions: 1, mqttfront.QuotaCertificateFilters: 3}, 0)
		one := c.device(home, quickStart)
		cl := c.connect(one, "away", persistent)
		cl.subscribe("a", 1)
		cl.subscribe("b", 1)
		leave(t, c, cl)
		c.stop()
		c.up()
		testkit.Until(t, "the records are learnt", func() bool {
			_, ack, err := c.raw(one, mqtt.Connect{ClientID: "second", CleanSession: true})
			return err != nil && ack.Code == mqtt.RefusedUnavailable
		})
		cl = c.connect(one, "away", persistent)
		for filter, want := range map[string]byte{"a": 1, "b": 1, "c": 1} {
			if code := cl.subscribe(filter, 1); code != want {
				t.Errorf("%s: %#x", filter, code)
			}
		}
		if code := cl.subscribe("d", 1); code != 0x80 {
			t.Errorf("a fourth filter: %#x", code)
		}
		leave(t, c, cl)
		leave(t, c, c.connect(one, "away"))
		second := c.connect(one, "second")
		for _, filter := range []string{"a", "b", "c"} {
			if code := second.subscribe(filter, 0); code != 0 {
				t.Errorf("%s: %#x", filter, code)
			}
		}
	})
	t.Run("sessions of a partition", func(t *testing.T) {
		c := begin(t, deploy.Quotas{mqttfront.QuotaPartitionSessions: 2}, 0)
		one, other, foreign := c.device(home, quickStart), c.device(home, quickStart), c.device(elsewhere, quickStart)
		c.connect(one, "a")
		second := c.connect(other, "b")
		refused(t, c, other, "c", false)
		c.connect(foreign, "a")
		c.connect(one, "a") // takes over
		leave(t, c, second)
		c.connect(other, "c")
	})
	for quota, of := range map[deploy.Quota]string{mqttfront.QuotaCertificateFilters: "a certificate", mqttfront.QuotaPartitionFilters: "a partition"} {
		t.Run("filters of "+of, func(t *testing.T) {
			c := begin(t, deploy.Quotas{quota: 3}, 0)
			var log bytes.Buffer
			c.stop()
			c.options = func(o *mqttfront.Options) {
				o.Quotas = deploy.Quotas{quota: 3}
				o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			}
			c.up()
			one, foreign := c.device(home, quickStart), c.device(elsewhere, quickStart)
			first, second := c.connect(one, "first"), c.connect(one, "second")
			for _, step := range []struct {
				cl     *client
				filter string
				want   byte
			}{
				{first, "a", 1}, {first, "b", 1}, {second, "a", 1}, {second, "b", 0x80},
				{first, "a", 1}, // again
				{c.connect(foreign, "x"), "a", 1},
			} {
				if code := step.cl.subscribe(step.filter, 1); code != step.want {
					t.Errorf("%s: %#x, want %#x", step.filter, code, step.want)
				}
			}
			first.wait(first.Unsubscribe("b", "never"), "UNSUBSCRIBE")
			if code := second.subscribe("b", 1); code != 1 {
				t.Errorf("after one has gone: %#x", code)
			}
			leave(t, c, second)
			if code := first.subscribe("c/#", 1); code != 1 {
				t.Errorf("after a session has gone: %#x", code)
			}
			c.stop()
			if text := log.String(); !strings.Contains(text, string(quota)+" allows no more") || !strings.Contains(text, "client=second") || !strings.Contains(text, one.id) {
				t.Errorf("the log says %s", text)
			}
		})
	}
	t.Run("filters of a persistent session, whatever the connection", func(t *testing.T) {
		c := begin(t, nil, 2)
		one := c.device(home, quickStart)
		for range 3 {
			cl := c.connect(one, "lasting", persistent)
			for filter, want := range map[string]byte{"a": 1, "b": 1} {
				if code := cl.subscribe(filter, 1); code != want {
					t.Errorf("%s: %#x", filter, code)
				}
			}
			if code := cl.subscribe("c", 1); code != 0x80 {
				t.Errorf("a third filter: %#x", code)
			}
			leave(t, c, cl)
		}
	})
	t.Run("names and numbers that are none", func(t *testing.T) {
		t.Parallel()
		for _, q := range []deploy.Quotas{{"sessions": 1}, {"": 1}, {mqttfront.QuotaPartitionFilters: -1}} {
			if err := q.Validate(mqttfront.QuotaFacts); err == nil {
				t.Errorf("%v passes", q)
			}
		}
		if err := (deploy.Quotas{mqttfront.QuotaPartitionFilters: 0}).Validate(mqttfront.QuotaFacts); err != nil {
			t.Error(err)
		}
	})
}

// What waits for clients that are away is bounded: the oldest gives way, and
// publishers do not notice.
func TestWaitingIsBounded(t *testing.T) {
	t.Parallel()
	const bound = 4 << 20
	c := startWith(t, broker.Options{MaxWaiting: bound}, nil)
	cl := c.connect(c.device(home, quickStart), "away", persistent)
	cl.subscribe("q", 1)
	cl.Disconnect(100)
	testkit.Until(t, "session ends", func() bool { return c.front.Stats().Connections == 0 })
	p := c.connect(c.device(home, quickStart), "p")
	const messages = 120 // of 100 KB
	for i := range messages {
		p.publish("q", 1, fmt.Sprintf("%03d%s", i, strings.Repeat(".", 100_000)))
	}
	var size int64
	err := testkit.Walk(c.storage.Dir, func(_ string, info fs.FileInfo) error {
		if !info.IsDir() {
			size += info.Size()
		}
		return nil
	})
	if err != nil || size > 3*bound {
		t.Errorf("the folder has %d bytes, %v", size, err)
	}
	cl = c.connect(c.device(home, quickStart), "away", persistent)
	waited := 0
	for last := ""; last != fmt.Sprint(messages-1); waited++ {
		last = strings.TrimPrefix(cl.next(), "q ")[:3]
	}
	if waited > messages/2 {
		t.Errorf("%d messages waited, more than the bound allows", waited)
	}
}

// A client that is there goes on receiving while what waits for others gives way.
func TestReadingWhileOldestGivesWay(t *testing.T) {
	t.Parallel()
	c := startWith(t, broker.Options{MaxWaiting: 4 << 20}, nil)
	away := c.connect(c.device(home, quickStart), "away", persistent)
	away.subscribe("q/#", 1)
	away.Disconnect(100)
	testkit.Until(t, "session ends", func() bool { return c.front.Stats().Connections == 0 })
	reader := c.connect(c.device(home, quickStart), "reader", persistent)
	reader.subscribe("q/#", 1)
	p := c.connect(c.device(home, quickStart), "p")
	payload := strings.Repeat(".", 20_000)
	for i := range 1000 { // 20 MB
		p.publish(fmt.Sprint("q/", i), 1, payload)
	}
	for name := ""; name != "q/999"; {
		name, _, _ = strings.Cut(reader.next(), " ")
	}
	p.publish("q/end", 1, "end")
	reader.expect("q/end end")
	away = c.connect(c.device(home, quickStart), "away", persistent)
	for name := ""; name != "q/end"; {
		name, _, _ = strings.Cut(away.next(), " ")
	}
}

// Without room nothing is acknowledged that could not be kept.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	c := start(t, func(o *mqttfront.Options) {
		o.Room = func(fescue.Partition, *mqtt.Publish) error {
			if full.Load() {
				return errors.New("the disk is full")
			}
			return nil
		}
	})
	who := c.device(home, quickStart, allowAll)
	cl := c.connect(c.device(home, quickStart), "reader")
	cl.subscribe("#", 1)
	raw, _, err := c.raw(who, mqtt.Connect{ClientID: "writer", CleanSession: true})
	if err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	send := func(m mqtt.Publish) {
		t.Helper()
		if err := raw.Send(&m); err != nil {
			t.Fatal(err)
		}
	}
	send(mqtt.Publish{Topic: "a", QoS: 1, ID: 7, Payload: []byte("not kept")})
	send(mqtt.Publish{Topic: "b", Payload: []byte("now")})
	send(mqtt.Publish{Topic: "c", Retain: true, Payload: []byte("not retained")})
	cl.expect("b now", "c not retained")
	if err := c.front.Publish(context.Background(), home, "d", []byte("the cloud's own"), 1, false); err != nil {
		t.Error(err)
	}
	cl.expect("d the cloud's own")
	full.Store(false)
	send(mqtt.Publish{Topic: "a", QoS: 1, ID: 7, Dup: true, Payload: []byte("again")})
	if ack := read[*mqtt.Puback](t, raw); ack.ID != 7 {
		t.Errorf("acknowledged %d", ack.ID)
	}
	cl.expect("a again")
	t.Run("nothing is acknowledged over what was not", func(t *testing.T) {
		raw, _, err := c.raw(c.device(home, quickStart, allowAll), mqtt.Connect{ClientID: "orderly", CleanSession: true})
		if err != nil {
			t.Fatal(err)
		}
		send := func(m mqtt.Publish) {
			t.Helper()
			m.QoS = 1
			if err := raw.Send(&m); err != nil {
				t.Fatal(err)
			}
		}
		full.Store(true)
		for id := range uint16(3) {
			send(mqtt.Publish{Topic: "o", ID: id + 1, Payload: []byte("missed")})
		}
		testkit.Until(t, "they are missed", func() bool { return c.front.Stats().Unkept == 5 })
		full.Store(false)
		send(mqtt.Publish{Topic: "other", ID: 4, Payload: []byte("of another topic")})
		send(mqtt.Publish{Topic: "o", ID: 1, Dup: true, Payload: []byte("the first")})
		for _, want := range []uint16{4, 1} {
			if ack := read[*mqtt.Puback](t, raw); ack.ID != want {
				t.Errorf("acknowledged %d, want %d", ack.ID, want)
			}
		}
		send(mqtt.Publish{Topic: "o", ID: 3, Dup: true, Payload: []byte("over the second")})
		if p, err := raw.Read(); err == nil {
			t.Errorf("the connection goes on with %T", p)
		}
		cl.expect("other of another topic", "o the first")
	})
	late := c.connect(c.device(home, quickStart), "late")
	late.subscribe("c", 1)
	late.publish("c", 1, "end")
	late.expect("c end")
	if got := c.front.Stats().Unkept; got != 5 {
		t.Errorf("%d messages counted", got)
	}
}

// A client whose account has too much, and which publishes on and on, is answered all the same, as are
// the account's other clients and all other accounts.
func TestCrowdedAccount(t *testing.T) {
	t.Parallel()
	abroad := fescue.Partition{AWS: "aws", Account: "999999999999", Region: "us-west-2"}
	var sent forwarder
	c := startWith(t, broker.Options{MaxWaiting: 1 << 20, MaxPartitionWaiting: 1000}, func(o *mqttfront.Options) { o.Forwarder = &sent })
	// The newest message does not give way, however large it is.
	if err := c.front.Publish(t.Context(), home, "large", make([]byte, 100<<10), 1, false); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "the account is crowded", func() bool { return c.broker.Crowded(home) })
	raw, _, err := c.raw(c.device(home, quickStart), mqtt.Connect{ClientID: "writer", CleanSession: true})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for i := range uint16(60) {
		if err := raw.Send(&mqtt.Publish{Topic: fmt.Sprint("q/", i), QoS: 1, ID: i + 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := raw.Send(&mqtt.Pingreq{}); err != nil {
		t.Fatal(err)
	}
	read[*mqtt.Pingresp](t, raw)
	t.Logf("answered after %v", time.Since(begun))
	if n := c.front.Stats().Unkept; n != 60 {
		t.Errorf("%d messages counted", n)
	}
	if err := c.front.Publish(t.Context(), home, "q", nil, 1, false); !errors.Is(err, fescue.ErrCrowded) || errors.Is(err, mqttfront.ErrBrokerLost) {
		t.Errorf("the cloud's own message: %v", err)
	}
	if err := c.front.Publish(t.Context(), home, "q", nil, 0, false); err != nil {
		t.Errorf("with QoS 0: %v", err)
	}
	if err := c.front.Ask(t.Context(), home, "q", nil, 1, false); !errors.Is(err, fescue.ErrCrowded) {
		t.Errorf("the API's: %v", err)
	}
	if err := c.front.Publish(t.Context(), abroad, "q", nil, 1, false); err != nil {
		t.Errorf("in another account: %v", err)
	}
	// What is to come again is forwarded then.
	if n := sent.Load(); n != 3 {
		t.Errorf("%d messages are forwarded", n)
	}
}

// forwarder counts messages.
type forwarder struct{ atomic.Int64 }

func (f *forwarder) Forward(context.Context, fescue.Partition, string, []byte) error {
	f.Add(1)
	return nil
}

// Sessions that other servers have taken over and removed do not count any more.
func TestMovedSessionsAreForgotten(t *testing.T) {
	t.Parallel()
	storage := broker.Options{Remote: &broker.Remote{URL: natstest.URL(natstest.Start(t, 1)...)}}
	const most = 5
	quotas := func(o *mqttfront.Options) { o.Quotas = deploy.Quotas{mqttfront.QuotaCertificateSessions: most} }
	here, there := startWith(t, storage, quotas), startWith(t, storage, quotas)
	one := here.device(home, quickStart)
	there.directory.change(one.id, func(p *identity.Principal) { *p = here.directory.principals[one.id] })
	for i := range 2 * most {
		id := fmt.Sprint("moving", i)
		for _, c := range []*cloud{here, there} {
			// Until those before are forgotten, there is no room.
			testkit.Until(t, id, func() bool {
				cl, ack, err := c.raw(one, mqtt.Connect{ClientID: id, CleanSession: c == there})
				if err == nil && c == there {
					cl.Close()
				}
				return err == nil && ack.Code == mqtt.Accepted
			})
		}
	}
}

func TestRetainedIsBounded(t *testing.T) {
	t.Parallel()
	abroad := fescue.Partition{AWS: "aws", Account: "999999999999", Region: "us-west-2"}
	c := startWith(t, broker.Options{MaxRetained: 1 << 20, MaxPartitionRetained: 400_000, MaxPartitionTopics: 10}, nil)
	room := func(p fescue.Partition, topic string, size int) error {
		return c.broker.RoomToRetain(p, &mqtt.Publish{Topic: topic, Payload: make([]byte, size), Retain: true})
	}
	retain := func(p fescue.Partition, topic string, size int) {
		t.Helper()
		if err := c.front.Publish(t.Context(), p, topic, make([]byte, size), 1, true); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		if err := room(home, fmt.Sprint("r/", i), 90_000); err != nil {
			t.Fatal(err)
		}
		retain(home, fmt.Sprint("r/", i), 90_000)
	}
	if room(home, "r/more", 90_000) == nil {
		t.Error("a partition has more than it may")
	}
	if err := room(home, "r/2", 90_000); err != nil {
		t.Errorf("in the place of another one: %v", err)
	}
	for i := range 10 {
		retain(abroad, fmt.Sprint("r/", i), 1)
	}
	if room(abroad, "r/more", 1) == nil || room(abroad, "r/1", 1) != nil || room(home, "r/more", 1) != nil {
		t.Error("the number of topics is not bounded for each partition")
	}
	c.stop()
	c.up()
	t.Cleanup(func() { c.stop() })
	testkit.Until(t, "the same after a restart", func() bool { return room(abroad, "r/more", 1) != nil && room(home, "r/more", 90_000) != nil })
	for i := range 9 {
		retain(abroad, fmt.Sprint("r/", i), 100_000)
	}
	testkit.Until(t, "no room for anybody", func() bool { return room(home, "r/1", 1) != nil })
	for i := range 10 {
		retain(abroad, fmt.Sprint("r/", i), 0)
	}
	testkit.Until(t, "room again", func() bool { return room(home, "r/1", 1) == nil && room(abroad, "r/more", 100_000) == nil })
}
