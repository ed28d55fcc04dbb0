package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

// When nodes lose what servers have read already, as all of them lose power, sessions begin where
// the rest ends, also when others have published as much since.
func TestRewind(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]time.Duration{"the stream stays short": time.Second, "the stream grows past it": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := natstest.Start(t, 1)[0]
			var both []*Broker
			for range 2 {
				b, err := Start(Options{Remote: &Remote{URL: natstest.URL(node), rewindAfter: after}, Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(b.Shutdown)
				both = append(both, b)
			}
			b := both[0]
			here, away, early := openIn(t, b, home, "here"), openIn(t, b, home, "away"), openIn(t, b, home, "early")
			for _, c := range []*client{here, away, early} {
				c.subscribe(t, "q", 1)
			}
			publishMany(t, b, home, "q", 0, 10, 100)
			here.numbers(t, 9)

			stream, kept := filepath.Join(node.Dir, "jetstream", "$G", "streams", messagesStream), filepath.Join(t.TempDir(), "kept")
			node.Kill()
			if err := os.CopyFS(kept, os.DirFS(stream)); err != nil {
				t.Fatal(err)
			}
			if err := node.Start(); err != nil {
				t.Fatal(err)
			}
			connected := func() {
				t.Helper()
				for _, b := range both {
					testkit.Until(t, "the connections are back", b.Connected)
				}
			}
			connected()
			publishMany(t, both[1], home, "q", 10, 20, 100)
			for _, c := range []*client{here, away, early} {
				c.numbers(t, 29)
			}
			away.close(t)
			early.close(t)
			allRead(t, both[1])
			testkit.Until(t, "it is on record that they came", func() bool {
				r, _, err := b.read(t.Context(), here.session.key)
				return err == nil && r.Handed == 30 && len(r.Unacked) == 0
			})

			node.Kill()
			if err := os.RemoveAll(stream); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(stream, os.DirFS(kept)); err != nil {
				t.Fatal(err)
			}
			if err := node.Start(); err != nil {
				t.Fatal(err)
			}
			connected()
			more := 15
			if after == time.Hour {
				more = 40
			}
			publishMany(t, both[1], home, "q", 100, more, 100)
			select {
			case err := <-here.fault:
				if !errors.Is(err, ErrLost) {
					t.Errorf("it ends with %v", err)
				}
			case <-time.After(testkit.Patience):
				t.Fatal("the session goes on")
			}
			here.close(t)
			expect := func(c *client, last int) {
				t.Helper()
				got := c.numbers(t, last)
				if at := slices.Index(got, 100); at < 0 || !rising(got[at:]) {
					t.Errorf("%s got %d", c.session.key, got)
				}
				c.close(t)
			}
			// One whose record is not set back yet.
			expect(openIn(t, b, home, "early"), 99+more)
			testkit.Until(t, "no record is ahead", func() bool {
				r, _, err := b.read(t.Context(), away.session.key)
				return err == nil && r.Handed <= 10
			})
			for i, id := range []string{"here", "away", "early"} {
				publishMany(t, b, home, "q", 100+more+i, 1, 100)
				c := openIn(t, both[i%2], home, id)
				if id == "early" {
					c.numbers(t, 100+more+i)
					continue
				}
				expect(c, 100+more+i)
			}
		})
	}
}

// When the stream has gone back, records are set back as soon as the sessions that were here have written
// theirs, and not before.
func TestRewindAwaitsRecords(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	var list []*Session
	var clients []*client
	for _, id := range []string{"one", "two"} {
		c := open(t, b, id, true, false)
		clients, list = append(clients, c), append(list, c.session)
	}
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		awaitEnded(t.Context(), list)
	}()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_ = clients[1].session.Close(gone) // it is recorded later
	testkit.Receive(t, "its record", list[1].ended)
	if r, _, err := b.read(t.Context(), list[1].key); err != nil || r == nil || r.Owner != "" {
		t.Errorf("the record is %+v, %v", r, err)
	}
	select {
	case <-waited:
		t.Error("one that has not ended is not waited for")
	default:
	}
	clients[0].close(t)
	testkit.Receive(t, "the end of waiting", waited)
}

// Of a client that has no persistent session the later connection stays, whatever the clocks of
// its servers say.
func TestClocksThatDiffer(t *testing.T) {
	t.Parallel()
	list := natstest.Start(t, 1)
	var both []*Broker
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		b, err := Start(Options{Remote: &Remote{URL: natstest.URL(list...)}, Now: func() time.Time { return time.Now().Add(off) }, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Shutdown)
		both = append(both, b)
	}
	for i, b := range both {
		other := both[1-i]
		for _, unheard := range []bool{false, true} {
			id := fmt.Sprint("c", i, unheard)
			first := open(t, b, id, false, false)
			testkit.Until(t, "the other server has heard of it", func() bool { return other.stamps.Load() >= first.session.opened })
			if unheard {
				// It has started since, and the first connection has lasted for a while.
				other.stamps.Store(0)
				b.mu.Lock()
				first.session.here = time.Now().Add(-time.Hour)
				b.mu.Unlock()
			}
			second := open(t, other, id, false, false)
			select {
			case err := <-first.fault:
				if !errors.Is(err, ErrTaken) {
					t.Errorf("%s: the first ends with %v", id, err)
				}
			case <-time.After(testkit.Patience):
				t.Errorf("%s: the first goes on", id)
			}
			if len(second.fault) > 0 {
				t.Errorf("%s: the second ends with %v", id, <-second.fault)
			}
			first.close(t)
			second.close(t)
		}
	}
}

// Who opens a session slowly does not take it from the connection that its client has made elsewhere
// since, whether it hears of that or reads it.
func TestSlowOpen(t *testing.T) {
	t.Parallel()
	for name, lasting := range map[string]bool{"persistent": true, "not persistent": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := natstest.Start(t, 1)
			slow, quick := joined(t, list...), joined(t, list...)
			open(t, quick, "c", true, false).close(t)
			// It waits for the record of a connection before.
			key := Key(home, "c")
			before := &Session{b: slow, key: key, lasting: true, closed: true, ended: make(chan struct{}), client: &client{fault: make(chan error, 10)}}
			before.writing.Lock()
			slow.mu.Lock()
			slow.closing[key] = before
			slow.mu.Unlock()
			failed := make(chan error, 1)
			go func() {
				c := &client{fault: make(chan error, 10), arrived: make(chan struct{}, 1)}
				_, _, err := slow.Open(t.Context(), Opening{Partition: home, ClientID: "c", Lasting: true}, c)
				failed <- err
			}()
			var first *Session
			testkit.Until(t, "it is being opened", func() bool {
				slow.mu.RLock()
				defer slow.mu.RUnlock()
				first = slow.opening[key]
				return first != nil
			})
			second := open(t, quick, "c", lasting, lasting)
			testkit.Until(t, "it has heard", func() bool { return slow.stamps.Load() >= second.session.opened })
			before.writing.Unlock()
			if err := testkit.Receive(t, "the end of opening", failed); !errors.Is(err, ErrTaken) {
				t.Errorf("it was opened: %v", err)
			}
			if lasting {
				// It has not heard.
				again := &Session{b: slow, key: key, lasting: true, opened: first.opened, client: first.client}
				if _, err := again.resume(t.Context()); !errors.Is(err, ErrTaken) {
					t.Errorf("it was opened: %v", err)
				}
				// The clock of the other is ahead, and it has not heard of that one either.
				slow.stamps.Store(0)
				again.opened = 1
				if err := again.precedes(&record{Owner: second.session.owner, Opened: time.Now().Add(time.Hour).UnixNano()}); !errors.Is(err, ErrTaken) {
					t.Error(err)
				}
			}
			if len(second.fault) > 0 {
				t.Errorf("the later connection ends with %v", <-second.fault)
			}
			parted := make(chan error, 1)
			go func() {
				err := <-second.fault
				parted <- errors.Join(err, second.session.Close(context.Background()))
			}()
			third := open(t, slow, "c", lasting, lasting)
			if err := testkit.Receive(t, "the end of the connection before", parted); !errors.Is(err, ErrTaken) {
				t.Error(err)
			}
			third.close(t)
		})
	}
}

// A session whose client has gone when its record is written is left to the next connection.
func TestOpenIsGivenBack(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	key := Key(home, "c")
	type attempt struct {
		after int64 // its stamp is greater
		gone  context.CancelFunc
	}
	var last atomic.Pointer[attempt]
	if _, err := b.conn.Subscribe(sessionPrefix+key, func(m *nats.Msg) {
		if r, a := parseRecord(m.Data), last.Load(); r != nil && r.Opened > a.after {
			a.gone()
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	c := &client{fault: make(chan error, 10), arrived: make(chan struct{}, 1)}
	will := &Will{Message: &mqtt.Publish{Topic: "w", QoS: 1}}
	for failed := 0; failed < 5; { // it may be through before that is heard
		ctx, gone := context.WithCancel(t.Context())
		last.Store(&attempt{b.stamps.Load(), gone})
		s, _, err := b.Open(ctx, Opening{Partition: home, ClientID: "c", Lasting: true, Will: will}, c)
		switch {
		case errors.Is(err, context.Canceled):
			failed++
		case err != nil:
			t.Fatal(err)
		default:
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		gone()
	}
	testkit.Until(t, "it is nobody's", func() bool {
		r, _, err := b.read(t.Context(), key)
		return err == nil && r != nil && r.Owner == ""
	})
	b.mu.RLock()
	if n := len(b.opening) + len(b.sessions); n > 0 {
		t.Errorf("%d are open", n)
	}
	b.mu.RUnlock()
	noWillIsLeft(t, b)
	open(t, b, "c", true, true).close(t)
}

// An opening that fails before it has claimed its record leaves that as it is, also where the stream of
// messages has gone back meanwhile.
func TestOpenThatFailsLeavesTheRecord(t *testing.T) {
	t.Parallel()
	for name, opened := range map[string]time.Time{
		"the session was opened later elsewhere":       time.Now().Add(time.Hour),
		"the client goes while the owner ends its own": time.Now().Add(-time.Hour),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := joined(t, natstest.Start(t, 1)...)
			ctx, gone := context.WithCancel(t.Context())
			defer gone()
			// The owner does not answer before.
			if _, err := b.conn.Subscribe(partPrefix+"other", func(*nats.Msg) { gone() }); err != nil {
				t.Fatal(err)
			}
			subject := sessionPrefix + Key(home, "c")
			text, err := json.Marshal(record{Owner: "other/1", Opened: opened.UnixNano(), Handed: 7, Live: true, Unacked: []uint64{3}, Filters: map[string]grant{"q": {QoS: 1}}})
			if err != nil {
				t.Fatal(err)
			}
			written, err := b.put(t.Context(), &nats.Msg{Subject: subject, Data: text}, 0)
			if err != nil {
				t.Fatal(err)
			}
			b.mu.Lock()
			b.rewound = rewound{to: []uint64{10}, due: true}
			b.mu.Unlock()
			c := &client{fault: make(chan error, 10), arrived: make(chan struct{}, 1)}
			if _, _, err := b.Open(ctx, Opening{Partition: home, ClientID: "c", Lasting: true}, c); !errors.Is(err, ErrTaken) && !errors.Is(err, context.Canceled) {
				t.Fatalf("it was opened: %v", err)
			}
			if err := b.writeChanged(); err != nil {
				t.Fatal(err)
			}
			m, ok, err := last(t.Context(), b.filing, subject)
			if err != nil || !ok {
				t.Fatalf("the record is there: %v, %v", ok, err)
			}
			if m.Sequence != written.Sequence || !bytes.Equal(m.Data, text) {
				t.Errorf("the record is %s", m.Data)
			}
		})
	}
}

// Which of two openings began first is told by their stamps, unless one is seconds older.
func TestBefore(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		stamp int64
		here  time.Duration // for how long it is
		took  time.Duration
		want  bool
	}{{1, 0, 0, true}, {3, 0, 0, false}, {3, time.Hour, 0, true}, {3, time.Hour, 2 * time.Hour, false}, {3, time.Hour, time.Minute, true}, {1, 0, time.Hour, true}} {
		s := &Session{opened: tc.stamp, here: time.Now().Add(-tc.here)}
		if got := s.before(2, tc.took); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

// lines is a log that may be read meanwhile.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A node that does not take the password any more is tried until it does again.
func TestRemoteAuthentication(t *testing.T) {
	t.Parallel()
	node := natstest.New(t.TempDir(), 1)[0]
	t.Cleanup(node.Kill)
	node.Password = "first"
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	with := func(password string) string {
		return strings.Replace(natstest.URL(node), "nats://", "nats://fescue:"+password+"@", 1)
	}
	if _, err := Start(Options{Remote: &Remote{URL: with("another")}, Logger: slog.New(slog.DiscardHandler)}); !errors.Is(err, nats.ErrAuthorization) || strings.Contains(err.Error(), "another@") || !strings.Contains(err.Error(), "account") {
		t.Errorf("with another password: %v", err)
	}
	log := &lines{}
	b, err := Start(Options{Remote: &Remote{URL: with("first")}, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Shutdown)
	c := open(t, b, "c", true, false)
	c.subscribe(t, "q", 1)
	restart := func(password string) {
		t.Helper()
		node.Kill()
		node.Password = password
		if err := node.Start(); err != nil {
			t.Fatal(err)
		}
	}
	restart("second")
	// The library itself gives up after the second.
	testkit.Until(t, "it is tried again", func() bool { return strings.Count(strings.ToLower(log.String()), "authorization violation") > 4 })
	if b.Connected() {
		t.Error("it is connected")
	}
	restart("first")
	testkit.Until(t, "the connection is back", b.Connected)
	publish(t, b, "q", "x", 1, false)
	c.expect(t, "x")
	if len(c.fault) > 0 {
		t.Errorf("the session ended with %v", <-c.fault)
	}
	if strings.Contains(log.String(), "fescue:first") {
		t.Error("the log has the password")
	}
}

// Of many that write a record at the same time one has written it, and the others are told so,
// though a cluster also says that a write is under way.
func TestOneWrites(t *testing.T) {
	t.Parallel()
	list := natstest.Start(t, 3)
	both := []*Broker{joined(t, list...), joined(t, list[2], list[1], list[0])}
	revision := uint64(0)
	for round := range 20 {
		const writers = 8
		errs, revisions := make([]error, writers), make([]uint64, writers)
		var writing sync.WaitGroup
		for i := range writers {
			writing.Go(func() {
				m := &nats.Msg{Subject: sessionPrefix + "1:r:c", Data: fmt.Append(nil, round, i)}
				ack, err := both[i%2].put(context.Background(), m, revision)
				if errs[i] = err; err == nil {
					revisions[i] = ack.Sequence
				}
			})
		}
		writing.Wait()
		wrote := 0
		for i, err := range errs {
			switch {
			case err == nil:
				wrote++
				revision = revisions[i]
			case !wrongSequence(err):
				t.Errorf("round %d: %v", round, err)
			}
		}
		if wrote != 1 {
			t.Fatalf("round %d: %d have written: %v", round, wrote, errs)
		}
	}
}

// Who waits for each acknowledgement has its messages in their order when the node that
// leads dies.
func TestOrderWithoutTheLeader(t *testing.T) {
	t.Parallel()
	list := natstest.Start(t, 3)
	b := joined(t, list...)
	c := open(t, b, "c", true, false)
	c.subscribe(t, "q", 1)
	s, err := b.api.Stream(t.Context(), messagesStream)
	if err != nil {
		t.Fatal(err)
	}
	const messages = 300
	for i := range messages {
		if i == messages/3 {
			for _, n := range list {
				if n.Name == s.CachedInfo().Cluster.Leader {
					if err := n.Signal(syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		stored := make(chan error, 1)
		if err := b.Publish(t.Context(), Publication{Partition: home, Message: &mqtt.Publish{Topic: "q", Payload: fmt.Append(nil, i, " "), QoS: 1}, Stored: func(err error) { stored <- err }}); err != nil {
			t.Fatal(err)
		}
		if err := <-stored; err != nil {
			t.Fatal(err)
		}
	}
	if got := c.numbers(t, messages-1); len(got) != messages || !rising(got) {
		t.Errorf("%d came", got)
	}
}

// What is sent again is stored once: it is not sent any more when the streams may have forgotten its id.
func TestSentAgain(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	m := &nats.Msg{Subject: messagePrefix + spaceOf(home).subject("q"), Data: []byte("x"), Header: nats.Header{jetstream.MsgIDHeader: {"id"}}}
	ack, err := b.sendAgain(m, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.sendAgain(m, time.Now().Add(-storedWithin-storedAtLast))
	if err != nil || !again.Duplicate || again.Sequence != ack.Sequence {
		t.Errorf("within the time: %+v, %v", again, err)
	}
	m.Header.Set(jetstream.MsgIDHeader, "forgotten")
	if again, err := b.sendAgain(m, time.Now().Add(answerTime-idsLast)); !errors.Is(err, ErrLost) || !errors.Is(err, errForgotten) {
		t.Errorf("after it: %+v, %v", again, err)
	}
	if end, err := b.lastMessage(t.Context()); err != nil || end != ack.Sequence {
		t.Errorf("the stream ends with %d, %v", end, err)
	}
}

// A session that is being opened while the stream goes back, once or twice, is held back to the least
// place whose records may not have been set back when it was read, and to no earlier one.
func TestGoesBackWhileOpening(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	for name, tc := range map[string]struct {
		before rewound
		then   []uint64
		want   uint64
	}{
		"not since":                            {rewound{to: []uint64{300}}, nil, 900},
		"once since":                           {rewound{to: []uint64{300}}, []uint64{500}, 500},
		"twice since":                          {rewound{to: []uint64{100}}, []uint64{300, 500}, 300},
		"before, while records are ahead":      {rewound{to: []uint64{100, 300}, due: true}, nil, 300},
		"before and since, while they are":     {rewound{to: []uint64{100, 300}, due: true}, []uint64{500}, 300},
		"for the first time, when it has come": {rewound{}, []uint64{500}, 500},
	} {
		s := &Session{b: b, at: 900}
		b.mu.Lock()
		was := b.rewound
		b.rewound = tc.before
		rewinds := b.rewound.known()
		b.rewound = rewound{to: slices.Concat(tc.before.to, tc.then)} // and all records are set back
		b.catchRewind(s, rewinds)
		b.rewound = was
		b.mu.Unlock()
		if s.at != tc.want {
			t.Errorf("%s: held back to %d, want %d", name, s.at, tc.want)
		}
	}
}
