package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

// A client for which more waits than is read at a time, by several filters, gets it in order,
// though it goes and comes meanwhile. What was read ahead is forgotten with the session.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) *Broker{
		"embedded":       func(t *testing.T) *Broker { b, _ := start(t, Options{}); return b },
		"a cluster":      func(t *testing.T) *Broker { return joined(t, natstest.Start(t, 3)...) },
		"by no replicas": withoutDirect,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t)
			c := openIn(t, b, home, "c")
			for _, filter := range []string{"q/+", "q/2", "large", "never"} {
				c.subscribe(t, filter, 1)
			}
			c.close(t)
			// 1,500 of two filters, one of them of both, and 40 that are more than a read may have.
			const rounds, last = 10, 10*154 - 1
			for i := range rounds {
				publishMany(t, b, home, "q/1", 154*i, 75, 100)
				publishMany(t, b, home, "large", 154*i+75, 4, aheadBytes/3)
				publishMany(t, b, home, "q/2", 154*i+79, 75, 100)
				publishMany(t, b, home, "unrelated", 0, 30, 100)
			}
			allRead(t, b)
			var got []int
			for away := range 3 {
				c = openIn(t, b, home, "c")
				end := []int{250, 900, last}[away]
				list := c.numbersUpTo(t, end)
				if !rising(list) {
					t.Errorf("%.400s came", fmt.Sprint(list))
				}
				// Those that were handed out and not acknowledged come again.
				got = append(slices.DeleteFunc(got, func(n int) bool { return n >= list[0] }), list...)
				if end < last && name != "by no replicas" && b.held() == 0 {
					t.Error("nothing was read ahead")
				}
				c.close(t)
				testkit.Until(t, "nothing is kept", func() bool { return b.held() == 0 })
			}
			if len(got) != last+1 || !rising(got) || got[0] != 0 {
				t.Errorf("%d messages came: %.400s", len(got), fmt.Sprint(got))
			}
			c = openIn(t, b, home, "c")
			publishMany(t, b, home, "q/1", last+1, 1, 0)
			c.numbers(t, last+1)
		})
	}
}

// withoutDirect is a broker whose stream nobody but the leader answers for.
func withoutDirect(t *testing.T) *Broker {
	b, _ := start(t, Options{})
	c := b.messages.CachedInfo().Config
	c.AllowDirect = false
	if _, err := b.api.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return b
}

// held is how many bytes sessions have read ahead.
func (b *Broker) held() int64 {
	b.ahead.mu.Lock()
	defer b.ahead.mu.Unlock()
	return b.ahead.all
}

// While sessions have as much as they may of what was read ahead, each goes on reading what its
// client can be given.
func TestReadAheadIsBounded(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in   space
		size int
	}{
		"all together":    {spaceOf(abroad), mostAhead},
		"its partition":   {spaceOf(home), partitionAhead},
		"another account": {spaceOf(abroad), partitionAhead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := start(t, Options{})
			c := openIn(t, b, home, "c")
			c.subscribe(t, "q", 1)
			c.close(t)
			publishMany(t, b, home, "q", 0, 500, 1000)
			allRead(t, b)
			b.ahead.hold(tc.in, tc.size)
			c = openIn(t, b, home, "c")
			testkit.Until(t, "a full window", func() bool { return len(c.payloads()) == window })
			if more := b.held() - int64(tc.size); name == "another account" && more == 0 {
				t.Error("nothing was read ahead")
			}
			testkit.Until(t, "nothing is kept for who does not acknowledge", func() bool { return b.held() == int64(tc.size) })
			if list := c.numbers(t, 499); len(list) != 500 || !rising(list) {
				t.Errorf("%.400s came", fmt.Sprint(list))
			}
			testkit.Until(t, "nothing is kept", func() bool { return b.held() == int64(tc.size) })
			b.ahead.hold(tc.in, -tc.size)
			if len(b.ahead.of) > 0 {
				t.Errorf("%v is left", b.ahead.of)
			}
		})
	}
}

// What was read ahead of a stream that then goes back is not what a session gets.
func TestReadAheadOfAStreamThatGoesBack(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	c := openIn(t, b, home, "c")
	c.subscribe(t, "q", 1)
	c.close(t)
	publishMany(t, b, home, "q", 0, 500, 1000)
	allRead(t, b)
	c = openIn(t, b, home, "c")
	testkit.Until(t, "a full window", func() bool { return len(c.payloads()) == window })
	c.session.holdBack(50)
	if list := c.numbers(t, 499); len(list) != window+450 || !rising(list[:window]) || !rising(list[window:]) || list[window] != 50 {
		t.Errorf("%.600s came", fmt.Sprint(list))
	}
}

// One session has no more of what was read ahead than it may, whatever its filters are and
// however small the messages.
func TestReadAheadOfManyFilters(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	c := openIn(t, b, home, "c")
	for i := range 20 {
		c.subscribe(t, fmt.Sprint("+/", strings.Repeat("+/", i), "#"), 1)
	}
	c.close(t)
	publishMany(t, b, home, strings.Repeat("a/", 30), 0, 5000, 0)
	allRead(t, b)
	c = openIn(t, b, home, "c")
	testkit.Until(t, "a full window", func() bool { return len(c.payloads()) == window })
	if n := b.held(); n > sessionAhead+2*aheadBytes {
		t.Errorf("%d bytes are kept", n)
	}
	var filters []string
	for filter := range c.session.filters {
		filters = append(filters, filter)
	}
	if err := c.session.Unsubscribe(t.Context(), filters); err != nil {
		t.Fatal(err)
	}
	c.acknowledge(window)
	testkit.Until(t, "nothing is kept", func() bool { return b.held() == 0 })
}

// Messages that two filters find come in their order, and all, while others are published.
func TestCatchUpWithTwoFilters(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) *Broker{
		"embedded":  func(t *testing.T) *Broker { b, _ := start(t, Options{}); return b },
		"a cluster": func(t *testing.T) *Broker { return joined(t, natstest.Start(t, 3)...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t)
			c := openIn(t, b, home, "c")
			for _, filter := range []string{"one", "two", "three", "never"} {
				c.subscribe(t, filter, 1)
			}
			c.close(t)
			const each = 3000
			var writing sync.WaitGroup
			for _, name := range []string{"one", "two", "three"} {
				writing.Go(func() {
					for i := 0; i < each; i += 10 {
						stored := make(chan error, 10)
						for n := i; n < i+10; n++ {
							_ = b.Publish(t.Context(), Publication{Partition: home, Message: &mqtt.Publish{Topic: name, Payload: fmt.Append(nil, name, " ", n), QoS: 1}, Stored: func(err error) { stored <- err }})
						}
						for range 10 {
							if err := <-stored; err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			next := map[string]int{}
			for total := 0; total < 3*each; {
				c = openIn(t, b, home, "c")
				// Slowly, so that it goes behind and comes level again and again.
				for at, end := 0, total+each; total < min(end, 3*each); {
					select {
					case <-c.arrived:
					case <-time.After(testkit.Patience):
						t.Fatalf("nothing comes any more after %v", next)
					}
					got := c.payloads()
					for ; at < len(got); at++ {
						var name string
						var n int
						_, _ = fmt.Sscan(got[at], &name, &n)
						if n > next[name] {
							t.Fatalf("%s %d came, want %d", name, n, next[name])
						}
						if n == next[name] {
							next[name]++
							total++
						}
						c.ack(at)
					}
				}
				c.close(t)
			}
			writing.Wait()
		})
	}
}

// A session that comes to the end of the stream before the reader of all does passes nothing
// over that another filter finds.
func TestCatchUpBeforeTheReader(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{})
	c := openIn(t, b, home, "c")
	for _, filter := range []string{"one", "two"} {
		c.subscribe(t, filter, 1)
	}
	c.close(t)
	publishMany(t, b, home, "two", 0, 250, 0)
	allRead(t, b)
	c = openIn(t, b, home, "c")
	testkit.Until(t, "a full window", func() bool { return len(c.payloads()) == window })
	b.mu.Lock() // the reader of all does not go on
	publishMany(t, b, home, "one", 250, 1, 0)
	publishMany(t, b, home, "two", 251, 1, 0)
	c.numbersUpTo(t, 249)
	testkit.Until(t, "the session's reader has come to the end", func() bool {
		c.session.mu.Lock()
		defer c.session.mu.Unlock()
		return !c.session.behind || c.session.at > 250
	})
	b.mu.Unlock()
	testkit.Until(t, "what came last", func() bool { return len(c.payloads()) == 252 })
	if got := c.payloads()[250:]; !slices.Equal(got, []string{"250 ", "251 "}) {
		t.Errorf("%q came", got)
	}
}

// waiting is a client that takes no message with a number before it may.
type waiting struct {
	client
	number  string
	offered chan struct{} // closed when that comes
	goOn    chan struct{}
}

// Deliver implements Client.
func (w *waiting) Deliver(m *mqtt.Publish) bool {
	if strings.HasPrefix(string(m.Payload), w.number+" ") {
		close(w.offered)
		<-w.goOn
	}
	return false
}

// A session for which there was no room for a message, and then is before others have been offered it,
// gets it.
func TestCatchUpWhileAMessageIsOffered(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ messages, size int }{
		"a window full of messages": {window, 0},
		"a window full of bytes":    {4, windowBytes / 9 * 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := start(t, Options{})
			c := openIn(t, b, home, "c")
			c.subscribe(t, "q", 1)
			other := &waiting{number: strconv.Itoa(tc.messages), offered: make(chan struct{}), goOn: make(chan struct{})}
			goOn := sync.OnceFunc(func() { close(other.goOn) })
			t.Cleanup(goOn)
			s, _, err := b.Open(t.Context(), Opening{Partition: home, ClientID: "other"}, other)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Subscribe(t.Context(), []Filter{{"q", 1}}); err != nil { // it is offered messages after c
				t.Fatal(err)
			}
			if err := b.reading.Acquire(t.Context(), maxReading); err != nil { // it reads when it is told to
				t.Fatal(err)
			}
			publishMany(t, b, home, "q", 0, tc.messages+1, tc.size)
			<-other.offered
			c.acknowledge(tc.messages)
			more, err := c.session.reader.step()
			goOn()
			allRead(t, b)
			for more && err == nil {
				more, err = c.session.reader.step()
			}
			if err != nil {
				t.Fatal(err)
			}
			publishMany(t, b, home, "q", tc.messages+1, 1, 0)
			got := c.numbers(t, tc.messages+1)
			if len(got) != tc.messages+2 || !rising(got) {
				t.Errorf("%d came", got)
			}
		})
	}
}

// A node that leads and does not have what was read already, as one that was cut off, is not
// believed that nothing waits.
func TestCatchUpFromANodeThatLags(t *testing.T) {
	t.Parallel()
	b := joined(t, natstest.Start(t, 1)...)
	served, waiting := openIn(t, b, home, "served"), openIn(t, b, home, "waiting")
	for _, c := range []*client{served, waiting} {
		c.subscribe(t, "q", 1)
	}
	publishMany(t, b, home, "q", 0, 1, 0)
	for _, c := range []*client{served, waiting} {
		c.numbers(t, 0)
		c.close(t)
	}
	// The server has read five that the node does not know of, and has handed them out to one.
	end := b.done.Load()
	b.done.Store(end + 5)
	r, revision, err := b.read(t.Context(), served.session.key)
	if err != nil {
		t.Fatal(err)
	}
	r.Handed, r.Unacked = end+5, []uint64{end + 2}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.put(t.Context(), &nats.Msg{Subject: sessionPrefix + served.session.key, Data: text}, revision); err != nil {
		t.Fatal(err)
	}
	served, waiting = openIn(t, b, home, "served"), openIn(t, b, home, "waiting")
	if err := b.awaitEnd(end + 5); !errors.Is(err, errShort) {
		t.Errorf("the node has it all: %v", err)
	}
	for _, c := range []*client{served, waiting} {
		c.session.mu.Lock()
		if !c.session.behind {
			t.Errorf("%s counts as level", c.session.key)
		}
		c.session.mu.Unlock()
	}
	publishMany(t, b, home, "q", 1, 6, 0)
	served.expect(t, "2 ", "6 ")
	if !served.got[0].Dup || served.got[1].Dup {
		t.Error("DUP is wrong")
	}
	if got := waiting.numbers(t, 6); !slices.Equal(got, []int{1, 2, 3, 4, 5, 6}) {
		t.Errorf("%d came", got)
	}
}

// A message that is missing between others that were read at a time, as where the connection
// broke meanwhile, is seen to be missing.
func TestReadWithAGap(t *testing.T) {
	t.Parallel()
	b := withoutDirect(t)
	c := openIn(t, b, home, "c")
	c.subscribe(t, "q", 1)
	c.close(t)
	publishMany(t, b, home, "q", 0, 300, 100)
	allRead(t, b)
	other, err := nats.Connect("", nats.InProcessServer(b.server))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var asked atomic.Int32
	if _, err := other.Subscribe(directSubject, func(m *nats.Msg) {
		asked.Add(1)
		var request getRequest
		_ = json.Unmarshal(m.Data, &request)
		before := uint64(0)
		for seq := request.Seq; seq < request.Seq+10; seq++ {
			if found, err := b.messageOfLeader(seq, ""); err == nil && seq != request.Seq+4 {
				answer := &nats.Msg{Subject: m.Reply, Data: found.Data, Header: nats.Header{}}
				answer.Header.Set(jetstream.SequenceHeader, strconv.FormatUint(seq, 10))
				answer.Header.Set(jetstream.SubjectHeader, found.Subject)
				answer.Header.Set(lastHeader, strconv.FormatUint(before, 10))
				_ = other.PublishMsg(answer)
			}
			before = seq
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := other.Flush(); err != nil {
		t.Fatal(err)
	}
	list, err := b.messagesOf(4, messagePrefix+spaceOf(home).subject("q"), 100, 10_000)
	if !errors.Is(err, errPart) || len(list) != 4 {
		t.Errorf("%d messages, %v", len(list), err)
	}
	c = openIn(t, b, home, "c")
	if list := c.numbers(t, 299); len(list) != 300 || !rising(list) {
		t.Errorf("%.400s came", fmt.Sprint(list))
	}
	if asked.Load() == 1 {
		t.Error("nobody was asked for several")
	}
}
