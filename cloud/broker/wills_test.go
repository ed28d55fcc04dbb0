package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

// awaitNoWill waits until the broker knows of no will.
func (b *Broker) awaitNoWill(t *testing.T) {
	t.Helper()
	testkit.Until(t, "no will is left", func() bool {
		b.wills.mu.Lock()
		defer b.wills.mu.Unlock()
		return b.wills.whole && len(b.wills.kept)+len(b.wills.open)+len(b.wills.settled) == 0
	})
}

// executor notes the wills that it is to publish.
type executor struct {
	mu   sync.Mutex
	list []string
	// failures is how often it fails first.
	failures int
}

func (e *executor) publish(_ context.Context, w Will) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failures > 0 {
		e.failures--
		return errors.New("not now")
	}
	e.list = append(e.list, fmt.Sprint(w.ClientID, " ", w.Message.Topic, " ", string(w.Message.Payload), " ", string(w.Note)))
	return nil
}

func (e *executor) published() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := slices.Clone(e.list)
	slices.Sort(list)
	return list
}

// openWithWill opens a session that is not persistent; without a topic it has no will.
func openWithWill(t testing.TB, b *Broker, id, topic string) *client {
	t.Helper()
	c := &client{fault: make(chan error, 10), arrived: make(chan struct{}, 1)}
	o := Opening{Partition: home, ClientID: id}
	if topic != "" {
		o.Will = &Will{Message: &mqtt.Publish{Topic: topic, Payload: []byte("gone"), QoS: 1}, Note: []byte(`"note"`)}
	}
	s, _, err := b.Open(t.Context(), o, c)
	if err != nil {
		t.Fatal(err)
	}
	c.session = s
	return c
}

// knows waits until a server knows of wills.
func (b *Broker) knows(t testing.TB, ids ...string) {
	t.Helper()
	testkit.Until(t, fmt.Sprint("the wills of ", ids), func() bool {
		return !slices.ContainsFunc(ids, func(id string) bool { _, known, _ := b.wills.of(Key(home, id)); return !known })
	})
}

// A server that was killed has its clients' wills published when it starts.
func TestWillsAfterTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, stop := start(t, Options{Dir: dir})
	openWithWill(t, b, "lost", "w/1")
	openWithWill(t, b, "polite", "w/2").close(t)
	openWithWill(t, b, "twice", "w/3").close(t)
	openWithWill(t, b, "twice", "w/4")
	openWithWill(t, b, "changed its mind", "w/5").close(t)
	openWithWill(t, b, "changed its mind", "")
	openWithWill(t, b, "other", "w/6").session.Leave(t.Context())
	openWithWill(t, b, "back before it looks", "w/7")
	openWithWill(t, b, "back with another before it looks", "w/8")
	stop() // with sessions open
	for i, want := range [][]string{{`lost w/1 gone "note"`, `other w/6 gone "note"`, `twice w/4 gone "note"`}, {}} {
		b, stop = start(t, Options{Dir: dir})
		if e := openWithWill(t, b, "back before it looks", ""); i == 0 {
			e.close(t)
			openWithWill(t, b, "back with another before it looks", "w").close(t)
		}
		e := &executor{failures: 2}
		if err := b.Wills(e.publish); err != nil {
			t.Fatal(err)
		}
		testkit.Until(t, "the wills", func() bool { return len(e.published()) >= len(want) })
		openWithWill(t, b, "new", fmt.Sprint("w/", i)).close(t)
		testkit.Until(t, "nothing is left", func() bool {
			b.wills.mu.Lock()
			defer b.wills.mu.Unlock()
			return len(b.wills.kept) == 0
		})
		if got := e.published(); !slices.Equal(got, want) {
			t.Errorf("%q were published, want %q", got, want)
		}
		stop()
	}
}

// The wills of a server that dies are published by one of the others, but those of clients
// that have come back.
func TestWillsOfAnotherServer(t *testing.T) {
	t.Parallel()
	list := natstest.Start(t, 3)
	var e executor
	var others []*Broker
	for range 2 {
		b := joined(t, list...)
		if err := b.Wills(e.publish); err != nil {
			t.Fatal(err)
		}
		others = append(others, b)
	}
	dying, err := Start(Options{Remote: &Remote{URL: natstest.URL(list...)}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{}
	for i := range 10 {
		openWithWill(t, dying, fmt.Sprint("c", i), "w")
		want = append(want, fmt.Sprintf(`c%d w gone "note"`, i))
	}
	openWithWill(t, dying, "back", "w")
	openWithWill(t, dying, "back with another", "w")
	openWithWill(t, others[1], "alive", "w")
	for _, b := range others {
		b.knows(t, "c9", "back", "back with another", "alive")
	}
	died := time.Now()
	dying.Shutdown()
	openWithWill(t, others[0], "back", "")
	last := openWithWill(t, others[1], "back with another", "w")
	// Nobody is thought to be dead before deadAfter.
	if err := testkit.Within(t.Context(), deadAfter+testkit.Patience, func() error {
		if n := len(e.published()); n < len(want) {
			return fmt.Errorf("%d of %d wills were published", n, len(want))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("published after %v", time.Since(died))
	if time.Since(died) < deadAfter {
		t.Error("nobody was waited for")
	}
	last.close(t)
	for _, b := range others {
		testkit.Until(t, "only who is alive has one", func() bool {
			b.wills.mu.Lock()
			defer b.wills.mu.Unlock()
			return len(b.wills.kept) == 1
		})
	}
	if got := e.published(); !slices.Equal(got, want) {
		t.Errorf("%q were published, want %q", got, want)
	}
}

// The will of a client that breaks off is published by who may, and later if it cannot be now.
func TestWillIsSentOnce(t *testing.T) {
	t.Parallel()
	b := joined(t, natstest.Start(t, 1)...)
	var e executor
	if err := b.Wills(e.publish); err != nil {
		t.Fatal(err)
	}
	b.knows(t)
	here := func(context.Context, string) error {
		return e.publish(t.Context(), Will{ClientID: "here", Message: &mqtt.Publish{}})
	}
	now, later, taken, back := openWithWill(t, b, "now", "w"), openWithWill(t, b, "later", "w"), openWithWill(t, b, "taken", "w"), openWithWill(t, b, "back", "w")
	if err := now.session.SendWill(t.Context(), here); err != nil {
		t.Error(err)
	}
	want := []string{"here   "}
	// Another server takes this one for dead.
	if err := b.sendWill(t.Context(), taken.session.key, *taken.session.will, e.publish); err != nil {
		t.Error(err)
	}
	want = append(want, `taken w gone "note"`)
	if err := taken.session.SendWill(t.Context(), here); err != nil {
		t.Error(err)
	}
	// The client is back, and its new will is another.
	_ = back.session.Leave(t.Context())
	again := openWithWill(t, b, "back", "w")
	if err := b.sendWill(t.Context(), back.session.key, *back.session.will, e.publish); err != nil {
		t.Error(err)
	}
	failure := errors.New("not now")
	if err := later.session.SendWill(t.Context(), func(context.Context, string) error { return failure }); !errors.Is(err, failure) {
		t.Error(err)
	}
	for _, c := range []*client{now, later, taken} {
		c.close(t)
	}
	want = append(want, `later w gone "note"`)
	slices.Sort(want)
	testkit.Until(t, "that of later", func() bool { return len(e.published()) >= len(want) })
	again.close(t)
	testkit.Until(t, "nothing is left", func() bool {
		b.wills.mu.Lock()
		defer b.wills.mu.Unlock()
		return len(b.wills.kept)+len(b.wills.open)+len(b.wills.settled) == 0
	})
	if got := e.published(); !slices.Equal(got, want) {
		t.Errorf("%q were published, want %q", got, want)
	}
}

// A will that was stored when nobody waited for that any more is not stored again, whoever publishes it
// then.
func TestWillIsStoredOnce(t *testing.T) {
	t.Parallel()
	list := natstest.Start(t, 1)
	b, other := joined(t, list...), joined(t, list...)
	reader := openIn(t, b, home, "reader")
	reader.subscribe(t, "w", 1)
	late := errors.New("nobody waited")
	var ids []string
	publish := func(b *Broker, w Will, answer error) error {
		ids = append(ids, w.ID)
		stored := make(chan error, 1)
		if err := b.Publish(t.Context(), Publication{Partition: home, Message: w.Message, ID: w.ID, Stored: func(err error) { stored <- err }}); err != nil {
			return err
		}
		if err := <-stored; err != nil {
			return err
		}
		return answer
	}
	send := func(b *Broker, key string, answer error) {
		t.Helper()
		r, revision, err := b.readWill(t.Context(), key)
		if err != nil || r == nil {
			t.Fatal("no will is there", err)
		}
		if err := b.sendWill(t.Context(), key, r.kept(revision), func(_ context.Context, w Will) error { return publish(b, w, answer) }); !errors.Is(err, answer) {
			t.Error(err)
		}
	}
	for range 2 { // the next one of the same client is another
		c := openWithWill(t, b, "c", "w")
		if err := c.session.SendWill(t.Context(), func(_ context.Context, id string) error {
			return publish(b, Will{Message: &mqtt.Publish{Topic: "w", Payload: []byte("gone"), QoS: 1}, ID: id}, late)
		}); !errors.Is(err, late) {
			t.Error(err)
		}
		c.close(t)
		send(b, c.session.key, late)
		send(other, c.session.key, nil)
	}
	if len(ids) != 6 || ids[0] != ids[1] || ids[0] != ids[2] || ids[0] == ids[3] || ids[0] == "" {
		t.Errorf("published under %q", ids)
	}
	publishMany(t, b, home, "w", 0, 1, 0)
	testkit.Until(t, "the end", func() bool { return slices.Contains(reader.payloads(), "0 ") })
	if got := reader.payloads(); !slices.Equal(got, []string{"gone", "gone", "0 "}) {
		t.Errorf("%q came", got)
	}
}

// Wills of a client that may have been stored, each by another attempt to connect, are removed, and not
// sent.
func TestWillsOfOpeningsThatFail(t *testing.T) {
	t.Parallel()
	b := joined(t, natstest.Start(t, 1)...)
	key := Key(home, "c")
	for i := range 3 {
		r := &willRecord{Owner: fmt.Sprint(b.run, "/", i), Partition: home, ClientID: "c", Topic: "w"}
		b.wills.begin(r.Owner)
		if i != 1 { // the second attempt came to nothing
			if _, err := b.putWill(t.Context(), key, r, 0, true); err != nil {
				t.Fatal(err)
			}
		}
		b.settle(key, r.Owner)
	}
	noWillIsLeft(t, b)
}

// When a client goes for good before its session is open its will is published only where it has come in
// the place of one that was due.
func TestWillOfAnOpeningThatIsGivenBack(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		former, tooLarge bool
		want             []string
	}{
		"no will was due":                    {false, false, nil},
		"one was due":                        {true, false, []string{"c new  "}},
		"no will was due, the new one fails": {false, true, nil},
		"one was due, the new one fails":     {true, true, []string{"c former  "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := start(t, Options{})
			key := Key(home, "c")
			if tc.former {
				former := &willRecord{Owner: "another/1", Partition: home, ClientID: "c", Topic: "former", QoS: 1}
				if _, err := b.putWill(t.Context(), key, former, 0, false); err != nil {
					t.Fatal(err)
				}
			}
			will := &Will{Partition: home, ClientID: "c", Message: &mqtt.Publish{Topic: "new", QoS: 1}}
			if tc.tooLarge {
				will.Message.Payload = make([]byte, 2<<20) // more than nats-server takes
			}
			b.mu.Lock()
			b.lost = true // nobody is admitted
			b.mu.Unlock()
			c := &client{fault: make(chan error, 10), arrived: make(chan struct{}, 1)}
			if _, _, err := b.Open(t.Context(), Opening{Partition: home, ClientID: "c", Lasting: true, Will: will}, c); err == nil {
				t.Fatal("it was opened")
			}
			var e executor
			if err := b.Wills(e.publish); err != nil {
				t.Fatal(err)
			}
			b.awaitNoWill(t)
			if got := e.published(); !slices.Equal(got, tc.want) {
				t.Errorf("%q were published, want %q", got, tc.want)
			}
		})
	}
}

// A server is dead that was asked several times for half a minute and did not answer, by one
// that hears itself.
func TestDead(t *testing.T) {
	t.Parallel()
	list := natstest.Start(t, 1)
	b, other := joined(t, list...), joined(t, list...)
	long := time.Now().Add(-time.Hour)
	for _, step := range []struct {
		name  string
		known silence
		asked []string
		dead  bool
		left  int
	}{
		{"silent for the first time", silence{}, []string{"gone"}, false, 1},
		{"not often enough", silence{long, deadFailures - 2}, []string{"gone"}, false, deadFailures - 1},
		{"not long enough", silence{time.Now(), 2 * deadFailures}, []string{"gone"}, false, 2*deadFailures + 1},
		{"dead", silence{long, deadFailures - 1}, []string{"gone"}, true, deadFailures},
		{"not asked meanwhile", silence{long, deadFailures}, []string{other.run}, false, 0},
	} {
		b.wills.silent = map[string]silence{"gone": step.known}
		if step.known.failures == 0 {
			b.wills.silent = nil
		}
		gone := b.dead(append(step.asked, b.run))
		if gone["gone"] != step.dead || !gone[b.run] || gone[other.run] || b.wills.silent["gone"].failures != step.left {
			t.Errorf("%s: %v are dead, %v silent", step.name, gone, b.wills.silent)
		}
	}
	b.wills.silent = map[string]silence{"gone": {long, deadFailures}}
	list[0].Kill()
	if gone := b.dead([]string{"gone", other.run}); len(gone) > 0 {
		t.Errorf("without nats-server %v are dead", gone)
	}
}

// A server that cannot reach nats-server for so long that others take it for dead ends the
// sessions whose wills they publish, and no others.
func TestWillsOfAServerApart(t *testing.T) {
	t.Parallel()
	list := natstest.Start(t, 1)
	b := joined(t, list...)
	var e executor
	if err := b.Wills(e.publish); err != nil {
		t.Fatal(err)
	}
	with, without := openWithWill(t, b, "with", "w"), openWithWill(t, b, "without", "")
	list[0].Kill()
	select {
	case err := <-with.fault:
		if !errors.Is(err, ErrApart) {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(testkit.Patience):
		t.Fatal("it goes on")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_ = with.session.Leave(gone)
	if err := list[0].Start(); err != nil {
		t.Fatal(err)
	}
	// There is no other: it does it itself.
	testkit.Until(t, "the will", func() bool { return len(e.published()) == 1 })
	if len(without.fault) > 0 {
		t.Errorf("the other session ends with %v", <-without.fault)
	}
}

// An answer that comes late counts for when it was asked, and who came back since contact was lost
// is not sent away again.
func TestContact(t *testing.T) {
	t.Parallel()
	list := natstest.Start(t, 1)
	b := joined(t, list...)
	if !b.inContact() {
		t.Error("it is not in contact")
	}
	old := openWithWill(t, b, "old", "w")
	since := time.Now()
	young, none := openWithWill(t, b, "young", "w"), openWithWill(t, b, "none", "")
	b.leaveWills(since)
	if len(old.fault) != 1 || len(young.fault)+len(none.fault) > 0 {
		t.Errorf("%d sessions of before end, %d of since, %d without a will", len(old.fault), len(young.fault), len(none.fault))
	}
	list[0].Kill()
	if b.inContact() {
		t.Error("it is in contact without nats-server")
	}
	c := &contact{at: since}
	asked := since.Add(apartAfter - time.Second)
	if c.lost(asked) || !c.lost(since.Add(apartAfter)) {
		t.Error("contact is lost too early, or never")
	}
	for _, at := range []time.Time{asked, since} { // in any order
		c.learn(at)
	}
	if now := asked.Add(apartAfter); c.lost(now.Add(-1)) || !c.lost(now) {
		t.Error("an answer counts for another time than it was asked at")
	}
}

// What was retained and is not acknowledged when the client leaves comes again, and what
// had not had room yet.
func TestRetainedComesAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, stop := start(t, Options{Dir: dir})
	for _, name := range []string{"acknowledged", "not acknowledged", "removed", "changed", "left", "zero", "without room"} {
		publish(t, b, name, name, 1, true)
	}
	allRead(t, b) // or the first might come as a message, too
	c := open(t, b, "c", true, false)
	hand := func(name string) {
		t.Helper()
		c.subscribe(t, name, 1)
		if err := c.session.Retained(t.Context(), Filter{name, 1}, c.session.Hand); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"acknowledged", "not acknowledged", "removed", "changed", "left", "zero"} {
		hand(name)
	}
	c.expect(t, "acknowledged", "not acknowledged", "removed", "changed", "left", "zero")
	c.ack(0)
	c.subscribe(t, "q", 1)
	for i := range window {
		publish(t, b, "q", fmt.Sprint(i), 1, false)
	}
	testkit.Until(t, "a full window", func() bool { return len(c.payloads()) == window+1 })
	hand("without room")
	for i := 6; i < window+1; i++ {
		c.ack(i)
	}
	testkit.Until(t, "the rest", func() bool { return len(c.payloads()) == window+7 })
	if err := c.session.Unsubscribe(t.Context(), []string{"left"}); err != nil {
		t.Fatal(err)
	}
	c.close(t)
	publish(t, b, "removed", "", 1, true)
	publish(t, b, "changed", "to this", 1, true)
	publish(t, b, "left", "nobody's", 1, true)
	publish(t, b, "zero", "with QoS 0", 0, true)
	stop()
	b, stop = start(t, Options{Dir: dir})
	again := open(t, b, "c", true, true)
	testkit.Until(t, "all that was not acknowledged", func() bool { return len(again.payloads()) == 11 })
	got := again.payloads()
	slices.Sort(got[:5])
	slices.Sort(got[5:9])
	// What was retained meanwhile comes as a message, too.
	if want := []string{"95", "96", "97", "98", "99", "not acknowledged", "to this", "with QoS 0", "without room", "", "to this"}; !slices.Equal(got, want) {
		t.Errorf("%q came, want %q", got, want)
	}
	for i, m := range again.got {
		zero := string(m.Payload) == "with QoS 0"
		again := i < 5 || m.Retain && slices.Contains([]string{"not acknowledged", "without room"}, string(m.Payload))
		if m.Dup != again || m.Retain != (i >= 5 && i < 9) || m.QoS > 0 == zero {
			t.Errorf("%s: DUP %v, RETAIN %v, QoS %d", m.Payload, m.Dup, m.Retain, m.QoS)
		}
	}
	again.acknowledge(11)
	again.close(t)
	stop()
	b, _ = start(t, Options{Dir: dir})
	last := open(t, b, "c", true, true)
	publish(t, b, "q", "nothing else", 1, false)
	last.expect(t, "nothing else")
}

// A retained message has DUP when the same one was handed out before, and only then: not where it had no
// room, nor where another one has replaced it.
func TestRetainedIsADuplicate(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	publish(t, b, "r", "first", 1, true)
	allRead(t, b)
	c := open(t, b, "c", true, false)
	c.subscribe(t, "q", 1)
	publishMany(t, b, home, "q", 0, window, 0)
	testkit.Until(t, "a full window", func() bool { return len(c.payloads()) == window })
	c.subscribe(t, "r", 1)
	if err := c.session.Retained(t.Context(), Filter{"r", 1}, c.session.Hand); err != nil {
		t.Fatal(err)
	}
	c.close(t)
	for i, want := range []struct {
		payload string
		dup     bool
	}{{"first", false}, {"first", true}, {"second", false}, {"second", true}} {
		if i == 2 {
			publish(t, b, "r", "second", 1, true)
			allRead(t, b)
		}
		c = open(t, b, "c", true, true)
		if i == 0 {
			testkit.Until(t, "a full window", func() bool { return len(c.payloads()) == window })
			c.ack(0)
		}
		var m *mqtt.Publish
		testkit.Until(t, "the retained message", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			i := slices.IndexFunc(c.got, func(m *mqtt.Publish) bool { return m.Retain })
			if i >= 0 {
				m = c.got[i]
			}
			return i >= 0
		})
		if string(m.Payload) != want.payload || m.Dup != want.dup {
			t.Errorf("connection %d: %s with DUP %v, want %+v", i, m.Payload, m.Dup, want)
		}
		c.close(t)
	}
}

// Who never acknowledges retained messages does not have ever more of them on record.
func TestRetainedOnRecordIsBounded(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	for i := range 2 * window {
		publish(t, b, fmt.Sprint("r/", i), "x", 1, true)
	}
	for round := range 10 {
		c := open(t, b, "c", true, round > 0)
		for i := range 2 * window {
			if len(c.fault) > 0 {
				break
			}
			name := fmt.Sprint("r/", (round*37+i)%(2*window))
			c.subscribe(t, name, 1)
			if err := c.session.Retained(t.Context(), Filter{name, 1}, c.session.Hand); err != nil {
				t.Fatal(err)
			}
		}
		c.close(t)
		r, _, err := b.read(t.Context(), c.session.key)
		if err != nil || len(r.Retained) > window+2*maxRetained {
			t.Fatalf("%d are on record, %v", len(r.Retained), err)
		}
	}
}

// noWillIsLeft has the wills published that are due, and checks that none is.
func noWillIsLeft(t *testing.T, b *Broker) {
	t.Helper()
	var e executor
	if err := b.Wills(e.publish); err != nil {
		t.Fatal(err)
	}
	b.awaitNoWill(t)
	if got := e.published(); len(got) > 0 {
		t.Errorf("%q were published", got)
	}
}
