package cloudlink_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/core/cloudlink"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

// leastBytes is the least that a group may say.
const leastBytes = 262144

// queue puts a message into a queue in memory.
func queue(l *cloudlink.Link, name string, payload []byte) error {
	taken := make(chan error, 1)
	l.KeepCloud(name, payload, false, func(err error) { taken <- err })
	return <-taken
}

func publish(t *testing.T, l *cloudlink.Link, topics ...string) {
	t.Helper()
	for _, name := range topics {
		if err := queue(l, name, []byte("payload")); err != nil {
			t.Fatal(err)
		}
	}
}

func numbered(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("t/%04d", i)
	}
	return list
}

func TestPublish(t *testing.T) {
	t.Parallel()
	t.Run("sends in order, as the core", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		l, _ := b.link(func(o *cloudlink.Options) { o.KeepAlive = 90 * time.Second })
		publish(t, l, numbered(200)...)
		b.await("all messages", func() bool { return len(b.received) == 200 })
		if diff := cmp.Diff(numbered(200), b.received); diff != "" {
			t.Error(diff)
		}
		c := b.connects[0]
		if c.ClientID != "Mill_Core" || !c.CleanSession || c.KeepAlive != 90*time.Second || c.Level != mqtt.Level311 {
			t.Errorf("CONNECT %+v", c)
		}
	})
	t.Run("has so many in flight", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		b.silent = true
		l, _ := b.link(nil)
		publish(t, l, slices.Repeat([]string{"a", "a", "b", "a"}, 50)...)
		b.await("the first", func() bool { return len(b.seen) == 64 })
		b.mu.Change(func() {
			b.silent = false
			for _, id := range b.unacked {
				if err := b.session.Send(&mqtt.Puback{ID: id}); err != nil {
					t.Error(err)
				}
			}
		})
		b.await("the rest", func() bool { return len(b.seen) == 200 })
		if diff := cmp.Diff(slices.Repeat([]string{"a", "a", "b", "a"}, 50), b.seen); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("keeps what was published before the connection", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		b.refuse = true
		l, _ := b.link(nil)
		publish(t, l, "a", "b")
		b.await("attempts", func() bool { return len(b.connects) >= 3 })
		if got := l.Stats(); got.Messages != 2 || got.Dropped != 0 || l.Connected() {
			t.Errorf("%+v", got)
		}
		b.mu.Change(func() { b.refuse = false })
		b.await("the messages", func() bool { return slices.Equal(b.received, []string{"a", "b"}) })
	})
	t.Run("connects at once when it is asked to and the line was down", func(t *testing.T) {
		t.Parallel()
		b, busy := newBroker(t), newBroker(t)
		busy.refuse = true
		var down, tried atomic.Bool
		down.Store(true)
		seldom := func(o *cloudlink.Options) { o.FirstRetry, o.MaxRetry = time.Hour, time.Hour }
		away, _ := busy.link(seldom)
		l, _ := b.link(func(o *cloudlink.Options) {
			seldom(o)
			o.Dial = func(ctx context.Context) (net.Conn, error) {
				if tried.Store(true); down.Load() {
					return nil, errors.New("the line is down")
				}
				var d net.Dialer
				return d.DialContext(ctx, "tcp", o.Address)
			}
		})
		publish(t, l, "a")
		busy.await("an attempt", func() bool { return len(busy.connects) == 1 })
		testkit.Until(t, "an attempt", tried.Load)
		down.Store(false)
		busy.mu.Change(func() { busy.refuse = false })
		b.await("the message", func() bool {
			away.Retry()
			l.Retry()
			return len(b.received) == 1
		})
		// Who was turned away does not come back for that.
		busy.mu.Change(func() {
			if len(busy.connects) != 1 {
				t.Errorf("the link that was turned away has tried %d times", len(busy.connects))
			}
		})
	})
	t.Run("sends again what was not acknowledged", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		b.silent = true
		l, _ := b.link(nil)
		publish(t, l, "a", "b")
		b.await("both messages", func() bool { return len(b.seen) == 2 })
		b.mu.Change(func() { b.silent = false })
		b.drop()
		b.await("both messages again", func() bool { return slices.Equal(b.received, []string{"a", "b"}) })
	})
	t.Run("sends once what is not to be kept, and only while it is connected", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		b.refuse = true
		l, _ := b.link(nil)
		now := func(topic string) error { return l.PublishNow(t.Context(), topic, []byte("payload")) }
		b.await("attempts", func() bool { return len(b.connects) >= 2 })
		if err := now("a"); !errors.Is(err, cloudlink.ErrOffline) {
			t.Errorf("offline: %v", err)
		}
		b.mu.Change(func() { b.refuse, b.silent = false, true }) // silent: QoS 0 is not acknowledged
		b.await("the connection", l.Connected)
		if err := now("b"); err != nil {
			t.Error(err)
		}
		if err := now("b/+"); !errors.Is(err, cloudlink.ErrTopic) {
			t.Errorf("a filter: %v", err)
		}
		if err := l.PublishNow(t.Context(), "b", make([]byte, cloudlink.MaxMessage+1)); !errors.Is(err, cloudlink.ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
		publish(t, l, "c")
		b.await("both", func() bool { return slices.Equal(b.seen, []string{"b", "c"}) })
		if b.unacked[0] != 0 || b.unacked[1] == 0 {
			t.Errorf("packet ids %v", b.unacked)
		}
	})
	t.Run("does not lose a message to a slow cloud", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		b.silent = true
		log := &lines{}
		l, _ := b.link(func(o *cloudlink.Options) {
			o.OperationTimeout = 20 * time.Millisecond
			o.Logger = slog.New(slog.NewTextHandler(log, nil))
		})
		publish(t, l, "a")
		b.await("many attempts", func() bool { return len(b.seen) > 5 })
		b.mu.Change(func() { b.silent = false })
		b.await("the message", func() bool { return len(b.received) > 0 }) // again where the acknowledgement came too late
		if want := `msg="Cloud messaging error: Error occurred while trying to publish a message." errorString="operation timed out"`; !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %s:\n%s", want, log)
		}
	})
	t.Run("drops a message at which the cloud closes the connection", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		b.poison["bad"] = true
		log := &lines{}
		l, _ := b.link(func(o *cloudlink.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
		publish(t, l, "a", "bad", "b", "bad", "a", "b")
		b.await("the others", func() bool { return l.Stats().Messages == 0 })
		if got := l.Stats(); got.Dropped != 2 || count(b.received, "a") < 2 || count(b.received, "b") < 2 {
			t.Errorf("%+v; received %v", got, b.received)
		}
		if n := count(b.seen, "bad"); n < 6 || !strings.Contains(log.String(), "level=ERROR msg=\"A message was dropped") {
			t.Errorf("tried %d times; log:\n%s", n, log)
		}
	})
	t.Run("keeps a message at which the cloud closes the connection for a while", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		b.poison["a"] = true
		l, _ := b.link(func(o *cloudlink.Options) { o.Insist = time.Hour })
		publish(t, l, "a", "b")
		b.await("some attempts", func() bool { return count(b.seen, "a") > 10 })
		b.mu.Change(func() { clear(b.poison) })
		b.await("both", func() bool {
			return l.Stats().Messages == 0 && slices.Contains(b.received, "a") && slices.Contains(b.received, "b")
		})
		if got := l.Stats(); got.Dropped != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// TestOrderOverCuts: what comes of a topic for the first time comes in its order, wherever
// connections end: at a message, or behind some that were taken and not acknowledged.
func TestOrderOverCuts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			const topics, most, window = 3, 2000, 64
			random := rand.New(rand.NewPCG(seed, 3))
			b := newBroker(t)
			var came [topics]int
			all, twice, behind := 0, 0, 0
			// So many more are acknowledged on this connection, then so many taken without.
			acked, late, alone := 0, 0, false
			fresh := func() {
				// Those in flight when a connection ended go alone at first.
				acked, late = random.IntN(2*window), 1
				if alone = acked <= window; !alone {
					late += random.IntN(20)
				}
			}
			fresh()
			b.fate = func(m *mqtt.Publish) (bool, error) {
				if most-all > 2*window && acked == 0 && late == 0 {
					fresh()
					return false, errClosed
				}
				var on, n int
				if _, err := fmt.Sscan(m.Topic+" "+string(m.Payload), &on, &n); err != nil || n > came[on] {
					t.Errorf("%d of topic %d came where %d was due; %v", n, on, came[on], err)
				}
				if n < came[on] {
					twice++
				} else {
					came[on]++
					all++
				}
				if most-all <= 2*window {
					return true, nil // the rest goes through
				}
				if acked > 0 {
					acked--
					return true, nil
				}
				if late--; late > 0 {
					behind++
				} else if alone || random.IntN(2) == 0 {
					fresh()
					return false, errClosed
				}
				return false, nil
			}
			l, _ := b.link(func(o *cloudlink.Options) { o.Insist = time.Hour })
			var pushed [topics]int
			topic := rand.New(rand.NewPCG(seed, 4)) // the broker has the other one
			for range most {
				on := topic.IntN(topics)
				if err := queue(l, fmt.Sprint(on), fmt.Append(nil, pushed[on])); err != nil {
					t.Fatal(err)
				}
				pushed[on]++
			}
			b.await("all", func() bool { return all == most })
			// What was in flight may come once more meanwhile.
			b.mu.Change(func() {
				if came != pushed || twice == 0 || behind == 0 || l.Stats().Dropped != 0 {
					t.Errorf("%v came of %v, %d twice, %d behind one without acknowledgement; %+v", came, pushed, twice, behind, l.Stats())
				}
			})
		})
	}
}

func count(list []string, s string) (n int) {
	for _, e := range list {
		if e == s {
			n++
		}
	}
	return n
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	l := cloudlink.New(cloudlink.Options{Logger: slog.New(slog.DiscardHandler)})
	for _, tc := range []struct {
		name, topic string
		size        int
		want        error
	}{
		{"a large message", "a", cloudlink.MaxMessage + 1, cloudlink.ErrTooLarge},
		{"no topic", "", 1, cloudlink.ErrTopic},
		{"a filter", "a/#", 1, cloudlink.ErrTopic},
		{"a long topic", strings.Repeat("a", 257), 1, cloudlink.ErrTopic},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := queue(l, tc.topic, make([]byte, tc.size)); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
	if got := l.Stats(); got.Messages != 0 {
		t.Errorf("%+v", got)
	}
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.refuse = true
	l, _ := b.link(nil)
	l.SetQueue(false, leastBytes)
	for i := range 10 {
		if err := queue(l, fmt.Sprintf("t/%d", i), make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.Stats(); got.Messages != 2 || got.Dropped != 8 || got.Bytes > leastBytes {
		t.Errorf("%+v", got)
	}
	l.SetQueue(false, 150_000)
	if got := l.Stats(); got.Messages != 1 || got.Dropped != 9 {
		t.Errorf("after the bound was lowered: %+v", got)
	}
	b.mu.Change(func() { b.refuse = false })
	b.await("the youngest", func() bool { return slices.Equal(b.received, []string{"t/9"}) })
	l.SetQueue(false, 0)
}

func TestQueueKeepsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.silent = true
	l, _ := b.link(nil)
	l.SetQueue(false, leastBytes)
	publish(t, l, "first")
	b.await("the first", func() bool { return len(b.seen) == 1 })
	for i := range 5 {
		if err := queue(l, fmt.Sprintf("t/%d", i), make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	b.mu.Change(func() {
		b.silent = false
		if err := b.session.Send(&mqtt.Puback{ID: b.unacked[0]}); err != nil {
			t.Error(err)
		}
	})
	b.await("the rest", func() bool { return slices.Equal(b.received, []string{"t/3", "t/4"}) })
	if got := count(b.seen, "first"); got != 1 {
		t.Errorf("the first was sent %d times", got)
	}
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	has := func(b *broker, filters ...string) func() bool {
		return func() bool {
			if len(b.filters()) != len(filters) {
				return false
			}
			for _, f := range filters {
				if qos, ok := b.filters()[f]; !ok || qos != 0 {
					return false
				}
			}
			return true
		}
	}
	t.Run("follow the deployment and survive a reconnect", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		l, _ := b.link(nil)
		sub := l.Subscribe(ignore)
		sub.SetFilters("a/#", "b/+", "a/#")
		b.await("the first", has(b, "a/#", "b/+"))
		sub.SetFilters("b/+", "c")
		b.await("the change", has(b, "b/+", "c"))
		b.drop()
		b.await("a new connection", func() bool { return len(b.connects) == 2 })
		b.await("the subscriptions again", has(b, "b/+", "c"))
	})
	t.Run("go in packets of eight", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		l, _ := b.link(nil)
		l.Subscribe(ignore).SetFilters(numbered(120)...)
		b.await("all", has(b, numbered(120)...))
		b.await("fifty on each connection", func() bool {
			return len(b.clients) == 3 && len(b.clients["Mill_Core"].filters) == 50 &&
				len(b.clients["Mill_Core-c00"].filters) == 50 && len(b.clients["Mill_Core-c01"].filters) == 20
		})
		if slices.Max(b.packets) > 8 {
			t.Errorf("packets of %v filters", b.packets)
		}
	})
	t.Run("deliver", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		got := make(chan string, 10)
		l, _ := b.link(nil)
		l.Subscribe(func(m cloudlink.Message) error {
			got <- m.Topic + "=" + string(m.Payload)
			return nil
		}).SetFilters("a/#")
		b.await("the subscription", has(b, "a/#"))
		for _, name := range []string{"a/1", "a/2"} {
			if err := b.session.Send(&mqtt.Publish{Topic: name, Payload: []byte("x")}); err != nil {
				t.Fatal(err)
			}
		}
		if first, second := <-got, <-got; first != "a/1=x" || second != "a/2=x" {
			t.Errorf("delivered %s, %s", first, second)
		}
	})
	t.Run("that are denied do not harm the others", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		b.denied["no"] = true
		log := &lines{}
		l, _ := b.link(func(o *cloudlink.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
		sub, refused := l.Subscribe(ignore), l.Subscribe(ignore)
		sub.SetFilters("a", "z")
		refused.SetFilters("no")
		b.await("the others", has(b, "a", "z"))
		publish(t, l, "t")
		b.await("a message", func() bool { return len(b.received) == 1 })
		b.await("the refusal", func() bool { return strings.Contains(log.String(), "The cloud refuses a subscription") })
		testkit.Until(t, "what is granted", sub.Active)
		if refused.Active() {
			t.Error("what is refused is active")
		}
		b.mu.Change(func() { clear(b.denied) })
		refused.SetFilters("no")
		b.await("another chance", func() bool { return has(b, "a", "no", "z")() })
		b.await("to be active", refused.Active)
	})
	t.Run("wait for a further connection that is refused", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		b.stranger = "Mill_Core-c00"
		log := &lines{}
		l, _ := b.link(func(o *cloudlink.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
		first, second := l.Subscribe(ignore), l.Subscribe(ignore)
		first.SetFilters("+/job")
		second.SetFilters("a/+")
		b.await("the first and an attempt", func() bool { return first.Active() && len(b.connects) > 1 })
		b.await("a line in the log", func() bool { return strings.Contains(log.String(), "allows iot:Connect") })
		if !l.Connected() || second.Active() || !strings.Contains(log.String(), "subscriptions=1 first=a/+") || !strings.Contains(log.String(), "clientId=Mill_Core-c00") {
			t.Errorf("connected %v, active %v; log:\n%s", l.Connected(), second.Active(), log)
		}
		b.mu.Change(func() { b.stranger = "" })
		b.await("the second", second.Active)
		second.SetFilters()
		b.await("one connection again", func() bool { return len(b.clients) == 1 && first.Active() })
		second.SetFilters("a/+")
		b.await("two again", func() bool { return len(b.clients) == 2 && second.Active() })
	})
	t.Run("at which the cloud closes the connection are left out", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		b.poisonFilters["no"] = true
		l, _ := b.link(nil)
		sub := l.Subscribe(ignore)
		sub.SetFilters("a", "no", "z")
		b.await("the others and the connection", func() bool { return has(b, "a", "z")() && l.Connected() })
		if len(b.connects) > 4 {
			t.Errorf("it took %d connections", len(b.connects))
		}
		b.mu.Change(func() { clear(b.poisonFilters) })
		// A deployment gives everything another chance.
		sub.SetFilters("a", "no")
		b.await("all", has(b, "a", "no"))
	})
}

// ignore is the Handler of tests that look at filters alone.
func ignore(cloudlink.Message) error { return nil }

// Each handler gets each message once, whatever the broker sends and however many
// of its filters match.
func TestEachMessageOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		first, second []string // the filters of two handlers
		denied        []string
		topic         string
		want          []string // of the handlers
		connections   int
	}{
		"the topic and a filter that covers it": {first: []string{"a/job"}, second: []string{"a/#"}, topic: "a/job", want: []string{"first", "second"}, connections: 1},
		"five filters":                          {first: []string{"a/job", "a/#", "#", "+/job", "a/+"}, topic: "a/job", want: []string{"first"}, connections: 1},
		"filters that overlap in part":          {first: []string{"a/+"}, second: []string{"+/job"}, topic: "a/job", want: []string{"first", "second"}, connections: 2},
		"only one of them matches":              {first: []string{"a/+"}, second: []string{"+/job"}, topic: "b/job", want: []string{"second"}, connections: 2},
		"three that overlap in part":            {first: []string{"a/+/c", "+/b/c"}, second: []string{"a/b/+"}, topic: "a/b/c", want: []string{"first", "second"}, connections: 3},
		"what covers is refused":                {first: []string{"a/job"}, second: []string{"a/#"}, denied: []string{"a/#"}, topic: "a/job", want: []string{"first", "second"}, connections: 1},
		"a filter and its parent":               {first: []string{"a"}, second: []string{"a/#"}, topic: "a", want: []string{"first"}, connections: 1},
		"reserved topics":                       {first: []string{"#"}, second: []string{"$aws/things/+/shadow/#"}, topic: "$aws/things/x/shadow/get", want: []string{"second"}, connections: 1},
	} {
		for _, copies := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, copies %v", name, copies), func(t *testing.T) {
				t.Parallel()
				b := newBroker(t)
				b.copies = copies
				for _, f := range tc.denied {
					b.denied[f] = true
				}
				got := make(chan string, 100)
				take := func(who string) cloudlink.Handler {
					return func(m cloudlink.Message) error {
						got <- string(m.Payload) + " for " + who
						return nil
					}
				}
				l, stop := b.link(nil)
				first, second, end := l.Subscribe(take("first")), l.Subscribe(take("second")), l.Subscribe(take("end"))
				end.SetFilters("$end")
				first.SetFilters(tc.first...)
				second.SetFilters(tc.second...)
				b.await("the subscriptions", func() bool {
					return len(b.clients) == tc.connections && end.Active() && first.Active() && (second.Active() || len(tc.denied) > 0)
				})
				want := []string{}
				for i := range 20 {
					b.send(tc.topic, fmt.Sprint(i))
					for _, who := range tc.want {
						want = append(want, fmt.Sprintf("%d for %s", i, who))
					}
				}
				b.send("$end", "all")
				// Whatever else came, on any connection, came before or comes now.
				var all []string
				for !slices.Contains(all, "all for end") || len(all) <= len(want) {
					select {
					case each := <-got:
						all = append(all, each)
					case <-time.After(20 * time.Second):
						t.Fatalf("got %v", all)
					}
				}
				stop()
				close(got)
				for each := range got {
					all = append(all, each)
				}
				slices.Sort(all)
				want = append(want, "all for end")
				slices.Sort(want)
				if diff := cmp.Diff(want, all); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestEnd(t *testing.T) {
	t.Parallel()
	t.Run("sends what is queued", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		b.silent = true
		l, stop := b.link(nil)
		const queued, flying = 100, 64
		publish(t, l, slices.Repeat([]string{"t"}, queued)...)
		b.await("as many as may be in flight", func() bool { return len(b.seen) == flying })
		ended := make(chan struct{})
		go func() { defer close(ended); stop() }()
		b.mu.Change(func() {
			b.silent = false
			for _, id := range b.unacked {
				if err := b.session.Send(&mqtt.Puback{ID: id}); err != nil {
					t.Error(err)
				}
			}
		})
		<-ended
		if len(b.received) != queued-flying || len(b.seen) != queued {
			t.Errorf("%d messages acknowledged after the first ones, %d seen", len(b.received), len(b.seen))
		}
	})
	t.Run("does not wait for ever", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		b.silent = true
		l, stop := b.link(func(o *cloudlink.Options) { o.Drain = 20 * time.Millisecond })
		publish(t, l, "a", "a")
		b.await("a message", func() bool { return len(b.seen) > 0 })
		stop()
		if got := l.Stats(); got.Messages != 2 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("breaks off connecting", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		dialing := make(chan struct{}, 100)
		_, stop := b.link(func(o *cloudlink.Options) {
			o.Dial = func(ctx context.Context) (net.Conn, error) {
				dialing <- struct{}{}
				<-ctx.Done()
				return nil, ctx.Err()
			}
		})
		<-dialing
		stop()
	})
}

func TestConnectedIsObservable(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	states := make(chan bool, 100)
	l, stop := b.link(func(o *cloudlink.Options) { o.Changed = func(up bool) { states <- up } })
	if !<-states || !l.Connected() {
		t.Error("the connection was not told of")
	}
	b.drop()
	if <-states {
		t.Error("its end was not told of")
	}
	if !<-states {
		t.Error("the new connection was not told of")
	}
	stop()
	if <-states || l.Connected() {
		t.Error("the end of the link was not told of")
	}
}

func TestServerMustBeTrusted(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	other := newBroker(t)
	log := &lines{}
	attempts := make(chan struct{}, 100)
	l, _ := b.link(func(o *cloudlink.Options) {
		o.TLS.RootCAs = other.roots
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
		var d net.Dialer
		o.Dial = func(ctx context.Context) (net.Conn, error) {
			attempts <- struct{}{}
			return d.DialContext(ctx, "tcp", b.listener.Addr().String())
		}
	})
	publish(t, l, "secret")
	for range 3 {
		<-attempts
	}
	if l.Connected() || !strings.Contains(log.String(), "certificate signed by unknown authority") {
		t.Errorf("connected %t; log:\n%s", l.Connected(), log)
	}
}
