package broker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimFolder); dir != "" {
		victim(dir)
	}
	if url := os.Getenv(bystanderURL); url != "" {
		bystander(url)
	}
	natstest.Main()
	os.Exit(m.Run())
}

// start starts a broker on a folder, which is stopped at the end or by the function.
func start(t testing.TB, o Options) (*Broker, func()) {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	b, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(b.Shutdown)
	t.Cleanup(stop)
	return b, stop
}

// client is a Client that notes what comes.
type client struct {
	session *Session
	fault   chan error
	arrived chan struct{}

	mu  sync.Mutex
	got []*mqtt.Publish
}

// Deliver implements Client.
func (c *client) Deliver(m *mqtt.Publish) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, m)
	select {
	case c.arrived <- struct{}{}:
	default:
	}
	return m.QoS > 0
}

// End implements Client.
func (c *client) End(cause error) { c.fault <- cause }

func open(t testing.TB, b *Broker, id string, lasting, present bool) *client {
	t.Helper()
	c := &client{fault: make(chan error, 10), arrived: make(chan struct{}, 1)}
	s, was, err := b.Open(t.Context(), Opening{Partition: home, ClientID: id, Holder: "holder-of-" + id, Lasting: lasting}, c)
	if err != nil {
		t.Fatal(err)
	}
	if was != present {
		t.Fatalf("%s: session present: %v", id, was)
	}
	c.session = s
	return c
}

func (c *client) subscribe(t testing.TB, filter string, qos byte) {
	t.Helper()
	if err := c.session.Subscribe(t.Context(), []Filter{{filter, qos}}); err != nil {
		t.Fatal(err)
	}
}

func (c *client) close(t testing.TB) {
	t.Helper()
	if err := c.session.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// payloads are what has come so far.
func (c *client) payloads() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []string{}
	for _, m := range c.got {
		list = append(list, string(m.Payload))
	}
	return list
}

// expect waits until exactly this has come.
func (c *client) expect(t testing.TB, want ...string) {
	t.Helper()
	testkit.Until(t, fmt.Sprint("messages ", want), func() bool { return len(c.payloads()) >= len(want) })
	if got := c.payloads(); !slices.Equal(got, want) {
		t.Fatalf("%d messages came, %.200q, want %d, %.200q", len(got), got, len(want), want)
	}
}

// ack acknowledges the message at a place.
func (c *client) ack(i int) {
	c.mu.Lock()
	id := c.got[i].ID
	c.mu.Unlock()
	c.session.Ack(id)
}

func publish(t testing.TB, b *Broker, topic, payload string, qos byte, retain bool) {
	t.Helper()
	stored := make(chan error, 1)
	err := b.Publish(t.Context(), Publication{Partition: home, Message: &mqtt.Publish{Topic: topic, Payload: []byte(payload), QoS: qos, Retain: retain}, Stored: func(err error) { stored <- err }})
	if err == nil && (qos > 0 || retain) {
		err = <-stored
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Two clients with filters that overlap, of which one is behind: nobody waits for it, and it
// gets everything, once and in order.
func TestWindow(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	slow, quick := open(t, b, "slow", false, false), open(t, b, "quick", true, false)
	for _, filter := range []string{"q/+", "q/#", "other"} {
		slow.subscribe(t, filter, 1)
		quick.subscribe(t, filter, 1)
	}
	var want []string
	for i := range 3*window + 7 {
		want = append(want, strconv.Itoa(i))
		publish(t, b, "q/1", want[i], 1, false)
		publish(t, b, "elsewhere", "x", 1, false)
		testkit.Until(t, "the quick one has it", func() bool { return len(quick.payloads()) == i+1 })
		quick.ack(i)
	}
	slow.expect(t, want[:window]...)
	publish(t, b, "q/1", "live", 0, false) // does not wait for acknowledgements
	slow.expect(t, append(slices.Clone(want[:window]), "live")...)
	for i := range window / 2 {
		slow.ack(i)
	}
	// The rest comes as the first are acknowledged.
	testkit.Until(t, "the rest", func() bool {
		n := len(slow.payloads())
		slow.acknowledge(n)
		return n == len(want)+1
	})
	got := slices.DeleteFunc(slow.payloads(), func(s string) bool { return s == "live" })
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	publish(t, b, "other", "and on", 1, false)
	testkit.Until(t, "live again", func() bool { return slices.Contains(slow.payloads(), "and on") })
}

// A client that leaves messages without an acknowledgement for good gets the others while the window has
// room, whether it is nearly full of those or not.
func TestHeldForGood(t *testing.T) {
	t.Parallel()
	for _, held := range []int{1, window/2 + 1, window - 1} {
		t.Run(fmt.Sprint(held), func(t *testing.T) {
			t.Parallel()
			b, _ := start(t, Options{})
			c := open(t, b, "c", true, false)
			c.subscribe(t, "q", 1)
			const messages = 3 * window
			publishMany(t, b, home, "q", 0, messages, 0)
			at := held
			testkit.Until(t, "all messages", func() bool {
				got := c.payloads()
				for ; at < len(got); at++ {
					c.ack(at)
				}
				return len(got) >= messages
			})
			for i, payload := range c.payloads() {
				if want := fmt.Sprint(i, " "); payload != want {
					t.Fatalf("%q came, want %q", payload, want)
				}
			}
		})
	}
}

// A retained message that waits for one of an earlier connection comes when the client does not want that
// any more.
func TestUnsubscribeFromWhatIsOwed(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	c := openIn(t, b, home, "c")
	c.subscribe(t, "owed", 1)
	publish(t, b, "owed", "owed", 1, true)
	publish(t, b, "new", "new", 1, true)
	allRead(t, b)
	hand := func(name string) {
		if err := c.session.Retained(t.Context(), Filter{name, 1}, c.session.Hand); err != nil {
			t.Fatal(err)
		}
	}
	hand("owed")
	c.expect(t, "owed", "owed")
	c.close(t)
	if err := b.reading.Acquire(t.Context(), maxReading); err != nil { // what is owed does not come
		t.Fatal(err)
	}
	c = openIn(t, b, home, "c")
	c.subscribe(t, "new", 1)
	hand("new")
	if err := c.session.Unsubscribe(t.Context(), []string{"owed"}); err != nil {
		t.Fatal(err)
	}
	c.expect(t, "new")
}

// Several publish, some clients read slowly, come and go: each gets what was stored, in
// the order of each publisher, and nothing twice but with DUP.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	const publishers, each, readers = 3, 250, 4
	var reading sync.WaitGroup
	for r := range readers {
		first := open(t, b, fmt.Sprint("reader-", r), true, false)
		first.subscribe(t, "q/+", 1)
		if r%2 == 0 {
			first.subscribe(t, "#", 1)
		}
		reading.Go(func() {
			seen, next := map[string]bool{}, make([]int, publishers)
			c, at := first, 0
			for total := 0; total < publishers*each; {
				select {
				case <-c.arrived:
				case <-time.After(testkit.Patience):
					t.Errorf("reader %d: %d messages came, and no more", r, total)
					return
				}
				c.mu.Lock()
				fresh := slices.Clone(c.got[at:])
				at = len(c.got)
				c.mu.Unlock()
				for _, m := range fresh {
					name := string(m.Payload)
					if !seen[name] {
						seen[name] = true
						total++
						var p, n int
						_, _ = fmt.Sscanf(name, "%d %d", &p, &n)
						if n != next[p] {
							t.Errorf("reader %d: %s came, want number %d", r, name, next[p])
							return
						}
						next[p]++
					} else if !m.Dup {
						t.Errorf("reader %d: %s came twice", r, name)
						return
					}
					if rand.IntN(20) > 0 || total == publishers*each {
						c.session.Ack(m.ID)
					} else if rand.IntN(3) == 0 || r == 0 {
						// Away, and back: what it had is to come again.
						if err := c.session.Close(context.Background()); err != nil {
							t.Error(err)
							return
						}
						c, at = open(t, b, fmt.Sprint("reader-", r), true, true), 0
						break
					}
				}
				if at == 0 {
					continue
				}
				select {
				case c.arrived <- struct{}{}: // there may be more
				default:
				}
				if len(fresh) == 0 {
					c.acknowledge(at)
				}
			}
		})
	}
	var writing sync.WaitGroup
	for p := range publishers {
		writing.Go(func() {
			for i := range each {
				publish(t, b, fmt.Sprint("q/", p), fmt.Sprint(p, " ", i), 1, false)
			}
		})
	}
	writing.Wait()
	reading.Wait()
}

// acknowledge acknowledges the first n that have come.
func (c *client) acknowledge(n int) {
	for i := range n {
		c.ack(i)
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, stop := start(t, Options{Dir: dir})
	c := open(t, b, "c", true, false)
	c.subscribe(t, "q/#", 1)
	c.subscribe(t, "zero", 0)
	publish(t, b, "q/1", "acknowledged", 1, false)
	publish(t, b, "q/1", "not acknowledged", 1, false)
	c.expect(t, "acknowledged", "not acknowledged")
	c.ack(0)
	c.close(t)
	publish(t, b, "q/1", "while away", 1, false)
	publish(t, b, "q/1", "lost", 0, false)
	publish(t, b, "zero", "not for QoS 0", 1, false)
	publish(t, b, "late", "before its filter", 1, false)
	end, err := b.lastMessage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "the reader comes to the end", func() bool { return b.done.Load() == end })
	for _, how := range []string{"at once", "after a restart"} {
		if how != "at once" {
			stop()
			b, _ = start(t, Options{Dir: dir})
		}
		c = open(t, b, "c", true, true)
		c.expect(t, "not acknowledged", "while away")
		if !c.got[0].Dup || how == "at once" && c.got[1].Dup {
			t.Errorf("%s: DUP is %v and %v", how, c.got[0].Dup, c.got[1].Dup)
		}
		c.subscribe(t, "late", 1)
		c.close(t)
	}
	c = open(t, b, "c", true, true)
	publish(t, b, "late", "after its filter", 1, false)
	c.expect(t, "not acknowledged", "while away", "after its filter")
	publish(t, b, "zero", "now", 1, false)
	c.expect(t, "not acknowledged", "while away", "after its filter", "now")
	if err := c.session.Unsubscribe(t.Context(), []string{"q/#", "never"}); err != nil {
		t.Fatal(err)
	}
	c.acknowledge(3)
	c.close(t)
	publish(t, b, "q/1", "without a filter", 1, false)
	publish(t, b, "late", "with one", 1, false)
	c = open(t, b, "c", true, true)
	c.expect(t, "with one")
	c.close(t)
	open(t, b, "c", false, false).close(t) // a clean session, which removes the other
	open(t, b, "c", true, false)
}

// A record that cannot be written when a client leaves is written later: nothing that is
// not acknowledged, or comes meanwhile, counts as served.
func TestCloseIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"at once", "later"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			b, _ := start(t, Options{})
			c := open(t, b, "c", true, false)
			c.subscribe(t, "q", 1)
			publish(t, b, "q", "not acknowledged", 1, false)
			c.expect(t, "not acknowledged")
			// The record says that the session keeps up.
			testkit.Until(t, "its record", func() bool {
				r, _, err := b.read(t.Context(), c.session.key)
				return err == nil && r.Live && len(r.Unacked) == 1
			})
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			if err := c.session.Close(gone); err == nil {
				t.Fatal("a record was written without time for it")
			}
			publish(t, b, "q", "while away", 1, false)
			if at == "later" {
				testkit.Until(t, "the last record", func() bool {
					select {
					case <-c.session.ended:
						return true
					default:
						return false
					}
				})
			}
			c = open(t, b, "c", true, true)
			publish(t, b, "q", "later", 1, false)
			c.expect(t, "not acknowledged", "while away", "later")
		})
	}
}

// nats-server ends a connection that does not take 64 MB which it has for it. Messages are
// read no faster than they are handed on.
func TestLargeMessages(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	c := open(t, b, "c", false, false)
	c.subscribe(t, "end", 1)
	payload := make([]byte, 128<<10)
	const messages = 1000
	stored := make(chan error, messages)
	b.mu.Lock() // nobody hands them on
	for range messages {
		if err := b.Publish(t.Context(), Publication{Partition: home, Message: &mqtt.Publish{Topic: "q", Payload: payload, QoS: 1}, Stored: func(err error) { stored <- err }}); err != nil {
			t.Fatal(err)
		}
	}
	for range messages {
		if err := <-stored; err != nil {
			t.Fatal(err)
		}
	}
	b.mu.Unlock()
	publish(t, b, "end", "end", 1, false)
	c.expect(t, "end")
	if !b.Connected() {
		t.Error("the connection is gone")
	}
}

// Sessions catch up while others publish what is not for them, and wait for their turns.
func TestCatchUpBesideOthers(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	const clients = 2 * maxReading
	subscribe := func(c *client) {
		var list []Filter
		for i := range 20 {
			list = append(list, Filter{fmt.Sprint("q/", i), 1})
		}
		if err := c.session.Subscribe(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	for i := range clients {
		c := open(t, b, fmt.Sprint("c", i), true, false)
		subscribe(c)
		c.close(t)
	}
	publish(t, b, "q/7", "waits", 1, false)
	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	others.Go(func() {
		for ctx.Err() == nil {
			_ = b.Publish(ctx, Publication{Partition: home, Message: &mqtt.Publish{Topic: "unrelated", QoS: 1}})
		}
	})
	for i := range clients {
		c := open(t, b, fmt.Sprint("c", i), true, true)
		defer c.close(t)
		c.expect(t, "waits")
		testkit.Until(t, "it keeps up", func() bool {
			c.session.mu.Lock()
			defer c.session.mu.Unlock()
			return !c.session.behind
		})
	}
	publish(t, b, "q/8", "live", 1, false)
	cancel()
	others.Wait()
}

// A session that another server has taken is ended, and does not write over its record.
func TestTaken(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	c := open(t, b, "c", true, false)
	theirs := record{Owner: "other/1", Filters: map[string]grant{"theirs": {QoS: 1}}}
	text, err := json.Marshal(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.api.PublishMsg(t.Context(), &nats.Msg{Subject: sessionPrefix + c.session.key, Data: text}); err != nil {
		t.Fatal(err)
	}
	if err := c.session.Subscribe(t.Context(), []Filter{{"mine", 1}}); !errors.Is(err, ErrTaken) {
		t.Errorf("a filter for a session that was taken: %v", err)
	}
	if err := <-c.fault; !errors.Is(err, ErrTaken) {
		t.Errorf("it ends with %v", err)
	}
	_ = c.session.Close(t.Context())
	if r, _, err := b.read(t.Context(), c.session.key); err != nil || r == nil || r.Owner != theirs.Owner {
		t.Errorf("the record is %+v, %v", r, err)
	}
}

func TestExpireAndWatch(t *testing.T) {
	t.Parallel()
	var now = time.Now()
	b, _ := start(t, Options{Now: func() time.Time { return now }})
	kept := make(chan string, 100)
	if err := b.Watch(t.Context(), func(key string, k *Kept) {
		if k == nil {
			kept <- key + " gone"
			return
		}
		kept <- fmt.Sprint(key, " ", k.Holder, " ", k.Filters)
	}); err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		for {
			select {
			case got := <-kept:
				if got == want {
					return
				}
			case <-time.After(testkit.Patience):
				t.Fatalf("%q was not told", want)
			}
		}
	}
	c := open(t, b, "c", true, false)
	key := Key(home, "c")
	expect(key + " holder-of-c []")
	c.subscribe(t, "q", 1)
	expect(key + " holder-of-c [q]")
	c.close(t)
	for _, step := range []struct {
		since         time.Time
		removed, none bool
	}{{now.Add(-time.Hour), false, false}, {now.Add(time.Second), true, true}, {now.Add(time.Second), false, true}} {
		if removed, none, err := b.Expire(t.Context(), key, step.since); removed != step.removed || none != step.none || err != nil {
			t.Errorf("removed: %v, none: %v, %v", removed, none, err)
		}
	}
	expect(key + " gone")
	open(t, b, "c", true, false)
}

func TestRetained(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	publish(t, b, "r/1", "one", 1, true)
	publish(t, b, "r/2", "old", 1, true)
	publish(t, b, "r/2", "two", 0, true)
	publish(t, b, "r/3", "gone", 1, true)
	publish(t, b, "r/3", "", 1, true)
	c := open(t, b, "c", false, false)
	for filter, want := range map[string][]string{
		"r/1": {"r/1 one 1"}, "r/+": {"r/1 one 1", "r/2 two 0"}, "r/3": nil, "#": {"r/1 one 1", "r/2 two 0"}, "x": nil, "x/#": nil,
	} {
		var got []string
		if err := c.session.Retained(t.Context(), Filter{filter, 1}, func(m Retained) {
			got = append(got, fmt.Sprint(m.Topic, " ", string(m.Payload), " ", m.QoS))
		}); err != nil {
			t.Fatal(err)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
}

// What is retained waits for room like everything with QoS 1, once for each topic, and not
// for ever.
func TestRetainedWaits(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	for i := range maxRetained + 1 {
		publish(t, b, fmt.Sprint("r/", i), fmt.Sprint("retained ", i), 1, true)
	}
	c := open(t, b, "c", false, false)
	c.subscribe(t, "q", 1)
	for i := range window {
		publish(t, b, "q", fmt.Sprint(i), 1, false)
	}
	testkit.Until(t, "a full window", func() bool { return len(c.payloads()) == window })
	ask := func(topic string) {
		t.Helper()
		if err := c.session.Retained(t.Context(), Filter{topic, 1}, c.session.Hand); err != nil {
			t.Fatal(err)
		}
	}
	ask("r/0")
	ask("r/1")
	ask("r/0")
	publish(t, b, "q", "last", 1, false)
	c.acknowledge(window)
	testkit.Until(t, "all that waits", func() bool { return len(c.payloads()) == window+3 })
	if got := c.payloads()[window:]; !slices.Equal(got, []string{"retained 1", "retained 0", "last"}) {
		t.Errorf("%q came", got)
	}
	for i := range window {
		publish(t, b, "q", fmt.Sprint("more ", i), 1, false)
	}
	testkit.Until(t, "a full window", func() bool { return len(c.payloads()) == 2*window })
	for i := range maxRetained {
		ask(fmt.Sprint("r/", i))
	}
	if len(c.fault) > 0 {
		t.Fatalf("it ends with %v", <-c.fault)
	}
	ask(fmt.Sprint("r/", maxRetained))
	if err := <-c.fault; !errors.Is(err, ErrUnacknowledged) {
		t.Errorf("it ends with %v", err)
	}
}

// A power cut takes messages away that were not on the disk: those that get their numbers
// are not taken for them.
func TestHoldBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, stop := start(t, Options{Dir: dir})
	c := open(t, b, "c", true, false)
	c.subscribe(t, "q", 1)
	publish(t, b, "q", "one", 1, false)
	c.expect(t, "one")
	c.close(t)
	r, _, err := b.read(t.Context(), c.session.key)
	if err != nil {
		t.Fatal(err)
	}
	r.Handed, r.Unacked, r.Filters["q"] = 500, []uint64{1, 400}, grant{1, 300}
	r.Owner, r.Live = "dead/1", true
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for subject, data := range map[string][]byte{sessionPrefix + c.session.key: text, checkpointPrefix + "dead": []byte("600")} {
		if _, err := b.api.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	b, _ = start(t, Options{Dir: dir})
	publish(t, b, "q", "two", 1, false)
	open(t, b, "c", true, true).expect(t, "one", "two")
	// It is kept no longer than another checkpoint.
	m, ok, err := last(t.Context(), b.filing, checkpointPrefix+"dead")
	if err != nil || !ok || string(m.Data) != "1" || m.Header.Get(jetstream.MsgTTLHeader) != checkpointLasts.String() {
		t.Errorf("the checkpoint is %+v, %v", m, err)
	}
}

// victimFolder names the variable that makes the test program a victim.
const victimFolder = "FESCUE_TEST_BROKER_FOLDER"

// victim publishes, receives and acknowledges until it is killed, and says what it did.
func victim(dir string) {
	b, err := Start(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	out := make(chan string, 1000)
	room := make(chan struct{}, 500) // what is published and not acknowledged
	reader := &speaking{room: room}
	if reader.session, _, err = b.Open(ctx, Opening{Partition: home, ClientID: "reader", Lasting: true}, reader); err != nil {
		panic(err)
	}
	if err := reader.session.Subscribe(ctx, []Filter{{"q/#", 1}}); err != nil {
		panic(err)
	}
	go func() {
		for i := 0; ; i++ {
			room <- struct{}{}
			err := b.Publish(ctx, Publication{Partition: home, Message: &mqtt.Publish{Topic: fmt.Sprint("q/", i%3), Payload: []byte(strconv.Itoa(i)), QoS: 1}, Stored: func(err error) {
				if err == nil {
					out <- fmt.Sprint("stored ", i)
				}
			}})
			if err != nil {
				panic(err)
			}
		}
	}()
	for line := range out {
		fmt.Println(line)
	}
}

// bystanderURL names the variable that makes the test program a bystander.
const bystanderURL = "FESCUE_TEST_BROKER_BYSTANDER"

// bystanders is how many sessions a bystander has.
const bystanders = 1000

// bystander is a server whose sessions want nothing of what is published. It answers each line
// that it reads with how far it has read the stream.
func bystander(url string) {
	b, err := Start(Options{Remote: &Remote{URL: url}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	for i := range bystanders {
		s, _, err := b.Open(context.Background(), Opening{Partition: home, ClientID: fmt.Sprint("bystander", i)}, &speaking{})
		if err != nil {
			panic(err)
		}
		if err := s.Subscribe(context.Background(), []Filter{{fmt.Sprint("things/", i, "/+"), 1}}); err != nil {
			panic(err)
		}
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(b.done.Load())
	}
	os.Exit(0)
}

// speaking is a client that acknowledges most of what comes.
type speaking struct {
	session *Session
	room    chan struct{}
}

// Deliver implements Client.
func (s *speaking) Deliver(m *mqtt.Publish) bool {
	go func() {
		<-s.room
		if n, _ := strconv.Atoi(string(m.Payload)); n%5000 != 7 { // few: a session has some dozens under way at most
			fmt.Println("acknowledged " + string(m.Payload)) // written before it is, whenever the program is killed
			s.session.Ack(m.ID)
		}
	}()
	return true
}

// End implements Client.
func (s *speaking) End(cause error) { panic(cause) }

// TestKilled kills a broker's process at several moments: what it said was stored, and the
// client did not acknowledge, comes afterwards, and what was acknowledged more than a few
// seconds before does not.
func TestKilled(t *testing.T) {
	t.Parallel()
	const long = 30_000 // and some records and checkpoints
	rounds := []int{1, 500, 3000, long}
	if testing.Short() {
		rounds = rounds[:3]
	}
	for round, after := range rounds {
		dir := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
		c := exec.CommandContext(ctx, os.Args[0])
		c.Env = append(os.Environ(), victimFolder+"="+dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		due, acknowledged, stored := map[string]bool{}, map[string]bool{}, 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			what, n, _ := strings.Cut(lines.Text(), " ")
			switch {
			case what == "acknowledged":
				acknowledged[n] = true
				delete(due, n)
			case !acknowledged[n]:
				due[n] = true
				fallthrough
			default:
				stored++
			}
			if stored >= after && (after < long || time.Since(began) > 3*writeEvery) {
				_ = c.Process.Kill()
			}
		}
		_ = c.Wait()
		cancel()
		b, stop := start(t, Options{Dir: dir})
		reader := open(t, b, "reader", true, true)
		publish(t, b, "q/end", "end", 1, false)
		again := 0
		for at := 0; ; {
			select {
			case <-reader.arrived:
			case <-time.After(testkit.Patience):
				t.Fatalf("round %d: the end does not come", round)
			}
			got := reader.payloads()
			ended := false
			for ; at < len(got); at++ {
				delete(due, got[at])
				reader.ack(at)
				if acknowledged[got[at]] {
					again++
				}
				ended = ended || got[at] == "end"
			}
			if ended {
				break
			}
		}
		if len(due) > 0 {
			t.Errorf("round %d: %d of %d stored messages did not come: %v", round, len(due), stored, due)
		}
		if after >= long && again > len(acknowledged)*9/10 {
			t.Errorf("%d of %d acknowledged messages came again", again, len(acknowledged))
		}
		stop()
	}
}
