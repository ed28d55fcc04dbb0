package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

// abroad is another account's partition.
var abroad = fescue.Partition{AWS: "aws", Account: "999999999999", Region: "us-west-2"}

// long is how long tests wait for room.
const long = 10 * time.Second

func (b *Broker) publishPatiently(ctx context.Context, p fescue.Partition, m *mqtt.Publish, stored func(error)) error {
	room, err := b.Reserve(ctx, p, m, long)
	if err != nil {
		return err
	}
	return b.Publish(ctx, Publication{Partition: p, Message: m, Room: room, Stored: stored})
}

// publishMany publishes messages of a size in a partition, each with its number in front, and waits until
// they are stored.
func publishMany(t testing.TB, b *Broker, p fescue.Partition, topic string, from, count, size int) {
	t.Helper()
	stored := make(chan error, count)
	for i := from; i < from+count; i++ {
		payload := append(strconv.AppendInt(nil, int64(i), 10), ' ')
		m := &mqtt.Publish{Topic: topic, Payload: append(payload, make([]byte, max(size-len(payload), 0))...), QoS: 1}
		if err := b.publishPatiently(t.Context(), p, m, func(err error) { stored <- err }); err != nil {
			t.Fatal(err)
		}
	}
	for range count {
		if err := <-stored; err != nil {
			t.Fatal(err)
		}
	}
}

// openIn opens a persistent session in a partition.
func openIn(t testing.TB, b *Broker, p fescue.Partition, id string) *client {
	t.Helper()
	c := &client{fault: make(chan error, 10), arrived: make(chan struct{}, 1)}
	s, _, err := b.Open(t.Context(), Opening{Partition: p, ClientID: id, Lasting: true}, c)
	if err != nil {
		t.Fatal(err)
	}
	c.session = s
	return c
}

// numbers acknowledges what comes until the last has, and returns the messages' numbers.
func (c *client) numbers(t testing.TB, last int) []int {
	t.Helper()
	list := c.numbersUpTo(t, last)
	if list[len(list)-1] > last {
		t.Fatalf("%d came behind the last, %d", list[len(list)-1], last)
	}
	return list
}

// numbersUpTo is numbers where more may have come than up to one.
func (c *client) numbersUpTo(t testing.TB, one int) []int {
	t.Helper()
	var list []int
	testkit.Until(t, fmt.Sprint("message ", one), func() bool {
		got := c.payloads()
		for i := len(list); i < len(got); i++ {
			number, _, _ := strings.Cut(got[i], " ")
			n, _ := strconv.Atoi(number)
			list = append(list, n)
			c.ack(i)
		}
		return len(list) > 0 && list[len(list)-1] >= one
	})
	return list
}

// rising reports whether numbers follow each other without a gap.
func rising(list []int) bool {
	for i := range list[1:] {
		if list[i+1] != list[i]+1 {
			return false
		}
	}
	return true
}

// has is what the stream really has of a partition: messages, and the bytes of them.
func (b *Broker) has(t testing.TB, p fescue.Partition) (messages int, bytes int64) {
	t.Helper()
	var one *account
	if err := insist(t.Context(), func(ctx context.Context) error {
		one = &account{}
		end, err := b.lastMessage(ctx)
		if err != nil {
			return err
		}
		return b.eachOf(ctx, spaceOf(p), 1, end, func(m jetstream.Msg, meta *jetstream.MsgMetadata) {
			one.add(meta.Sequence.Stream, storedSize(m.Subject(), m.Headers(), len(m.Data())), 1)
		})
	}); err != nil {
		t.Fatal(err)
	}
	for _, part := range one.parts {
		messages += int(part.messages)
	}
	return messages, one.bytes
}

// An account that floods the broker pushes its own messages out, and nobody else's.
func TestOneAccountGivesWay(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"what others do not need": {MaxWaiting: 8 << 20},
		"a bound of its own":      {MaxWaiting: 64 << 20, MaxPartitionWaiting: 4 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Dir = t.TempDir()
			b, stop := start(t, o)
			for _, p := range []fescue.Partition{home, abroad} {
				c := openIn(t, b, p, "c")
				c.subscribe(t, "q/#", 1)
				c.close(t)
			}
			publishMany(t, b, home, "q/quiet", 0, 50, 1000)
			for i := range 12 { // 24 MB
				publishMany(t, b, abroad, "q/flood", 200*i, 200, 10_000)
				publishMany(t, b, home, "q/quiet", 50+i, 1, 1000)
			}
			most := cmp.Or(o.MaxPartitionWaiting, o.MaxWaiting)
			testkit.Until(t, "the flood gives way", func() bool { _, bytes := b.has(t, abroad); return bytes <= most })
			if n, _ := b.has(t, home); n != 62 {
				t.Errorf("%d messages of the quiet account are left", n)
			}
			if n, bytes := b.has(t, abroad); bytes < most/2 {
				t.Errorf("only %d messages of %d bytes of the flood are left", n, bytes)
			}
			if gone, _ := b.Dropped(); gone == 0 {
				t.Error("nothing was counted")
			}
			stop()
			b, _ = start(t, o) // and it goes on
			publishMany(t, b, abroad, "q/flood", 2400, 600, 10_000)
			testkit.Until(t, "the flood gives way", func() bool { _, bytes := b.has(t, abroad); return bytes <= most })
			quiet, flood := openIn(t, b, home, "c"), openIn(t, b, abroad, "c")
			if got := quiet.numbers(t, 61); len(got) != 62 || !rising(got) {
				t.Errorf("the quiet account's client gets %d messages: %.200s", len(got), fmt.Sprint(got))
			}
			if got := flood.numbers(t, 2999); !slices.IsSorted(got) || len(got) < 200 || len(got) > int(most/10_000) {
				t.Errorf("the other one's client gets %d messages: %.200s", len(got), fmt.Sprint(got))
			}
			_, bytes := b.has(t, abroad)
			if counted := b.tally.after(spaceOf(abroad), 0); counted < bytes {
				t.Errorf("%d bytes are counted of %d", counted, bytes)
			}
		})
	}
}

// Two servers have an account give way for what comes through either.
func TestOneAccountGivesWayOnACluster(t *testing.T) {
	t.Parallel()
	list := natstest.Start(t, 3)
	var both []*Broker
	for i := range 2 {
		b, err := Start(Options{Remote: &Remote{URL: natstest.URL(list[i:]...)}, MaxWaiting: 8 << 20, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Shutdown)
		both = append(both, b)
	}
	publishMany(t, both[0], home, "q/quiet", 0, 50, 1000)
	for i := range 6 { // 18 MB
		publishMany(t, both[i%2], abroad, "q/flood", 150*i, 150, 20_000)
	}
	for i, b := range both {
		if n, _ := b.has(t, home); n != 50 {
			t.Errorf("%d messages of the quiet account are left", n)
		}
		testkit.Until(t, "the flood gives way", func() bool { _, bytes := b.has(t, abroad); return bytes <= 8<<20 })
		if n, bytes := b.has(t, abroad); bytes < 4<<20 {
			t.Errorf("server %d: only %d messages of the flood are left", i, n)
		}
	}
	// A third server, which counts what is there, goes on with it.
	third := joined(t, list[2])
	third.tally.mu.Lock()
	third.tally.most = 8 << 20
	third.tally.mu.Unlock()
	testkit.Until(t, "it has counted", func() bool { third.tally.mu.Lock(); defer third.tally.mu.Unlock(); return third.tally.whole })
	// A node may not have removed yet what others have, and others may still remove.
	testkit.Until(t, "no less is counted than there is", func() bool {
		_, bytes := third.has(t, abroad)
		return third.tally.after(spaceOf(abroad), 0) >= bytes
	})
}

// Many clients of one account that publish at the same time have no more room than one.
func TestManyPublishersGiveWay(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{MaxWaiting: 8 << 20})
	publishMany(t, b, home, "q/quiet", 0, 50, 1000)
	allRead(t, b)
	testkit.Until(t, "all is counted", b.tally.counted)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for range 3 {
				stored := make(chan error, 1)
				err := b.publishPatiently(t.Context(), abroad, &mqtt.Publish{Topic: "q/flood", Payload: make([]byte, 128<<10), QoS: 1}, func(err error) { stored <- err })
				if err == nil {
					err = <-stored
				}
				if err != nil && !errors.Is(err, fescue.ErrCrowded) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n, _ := b.has(t, home); n != 50 {
		t.Errorf("%d messages of the quiet account are left", n)
	}
	b.tally.mu.Lock()
	defer b.tally.mu.Unlock()
	if b.tally.flying[spaceOf(abroad)] < 0 {
		t.Errorf("%d bytes are on their way", b.tally.flying[spaceOf(abroad)])
	}
}

// Who has too much is refused at once without patience, and after as much as there is with it; its wills
// wait, and nobody else does.
func TestCrowded(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{MaxPartitionWaiting: 1 << 20})
	for _, p := range []fescue.Partition{abroad, home} {
		for qos, id := range []string{"zero", "one"} {
			c := &client{fault: make(chan error, 10), arrived: make(chan struct{}, 1)}
			will := &Will{Message: &mqtt.Publish{Topic: "w", Payload: []byte(p.Account), QoS: byte(qos)}}
			s, _, err := b.Open(t.Context(), Opening{Partition: p, ClientID: id, Will: will}, c)
			if err != nil {
				t.Fatal(err)
			}
			_ = s.Leave(t.Context())
		}
	}
	testkit.Until(t, "all is counted", b.tally.counted)
	const flood = 16 << 20
	b.tally.send(spaceOf(abroad), flood)
	m := &mqtt.Publish{Topic: "q", QoS: 1}
	for _, patience := range []time.Duration{0, 100 * time.Millisecond} {
		begun := time.Now()
		_, err := b.Reserve(t.Context(), abroad, m, patience)
		if took := time.Since(begun); !errors.Is(err, fescue.ErrCrowded) || took < patience {
			t.Errorf("%v after %v", err, took)
		}
	}
	if err := b.Publish(t.Context(), Publication{Partition: abroad, Message: m}); !errors.Is(err, fescue.ErrCrowded) {
		t.Error(err)
	}
	if room, err := b.Reserve(t.Context(), home, m, 0); err != nil || b.tally.flying[spaceOf(home)] == 0 {
		t.Errorf("nothing is reserved: %v", err)
	} else if b.Release(home, room); b.tally.flying[spaceOf(home)] != 0 {
		t.Errorf("%d bytes are not given back", b.tally.flying[spaceOf(home)])
	}
	if !b.Crowded(abroad) || b.Crowded(home) {
		t.Error("the wrong one is crowded")
	}
	if err := b.Publish(t.Context(), Publication{Partition: home, Message: m}); err != nil {
		t.Error(err)
	}
	var e executor
	if err := b.Wills(func(ctx context.Context, w Will) error {
		if err := b.Publish(ctx, Publication{Partition: w.Partition, Message: w.Message}); err != nil {
			return err
		}
		return e.publish(ctx, w)
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"one w " + home.Account + " ", "zero w " + home.Account + " ", "zero w " + abroad.Account + " "}
	testkit.Until(t, "the wills that have room", func() bool { return len(e.published()) == len(want) })
	if got := e.published(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	b.tally.land(spaceOf(abroad), 0, flood)
	testkit.Until(t, "the last", func() bool { return len(e.published()) == len(want)+1 })
}

// What was removed by another server is not there any more, which no other error says.
func TestGoneAlready(t *testing.T) {
	t.Parallel()
	embedded, _ := start(t, Options{})
	for _, b := range []*Broker{embedded, joined(t, natstest.Start(t, 3)...)} {
		publishMany(t, b, home, "q", 0, 3, 10)
		end, err := b.lastMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, seq := range []uint64{end, end - 1} { // the last of a stream, and one between
			if err := b.deleteMessage(t.Context(), seq); err != nil {
				t.Fatal(err)
			}
			if err := b.deleteMessage(t.Context(), seq); !goneAlready(err) {
				t.Errorf("message %d of %d: %v", seq, end, err)
			}
		}
		if err := b.deleteMessage(t.Context(), end+1000); !goneAlready(err) {
			t.Errorf("a message that never was: %v", err)
		}
	}
	if goneAlready(&jetstream.APIError{ErrorCode: errNoLeader}) || goneAlready(&jetstream.APIError{ErrorCode: errNotDeleted, Description: "no space left on device"}) || goneAlready(context.DeadlineExceeded) {
		t.Error("nobody has answered")
	}
}

// allRead waits until everything in the stream has been read.
func allRead(t testing.TB, b *Broker) {
	t.Helper()
	end, err := b.lastMessage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "all is read", func() bool { return b.done.Load() >= end })
}

// A session for which too much waits gets the newest, and others get all.
func TestSessionSkips(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{MaxSessionWaiting: 1 << 20})
	for id, filters := range map[string][]string{"much": {"q/+", "q/#", "few"}, "little": {"few"}} {
		c := openIn(t, b, home, id)
		for _, filter := range filters {
			c.subscribe(t, filter, 1)
		}
		c.close(t)
	}
	publishMany(t, b, home, "few", 0, 10, 1000)
	publishMany(t, b, home, "q/1", 0, 300, 10_000)
	allRead(t, b)
	much, little := openIn(t, b, home, "much"), openIn(t, b, home, "little")
	if got := much.numbers(t, 299); !rising(got) || len(got) < 60 || len(got) > 105 {
		t.Errorf("%d messages came: %.200s", len(got), fmt.Sprint(got))
	}
	if got := little.numbers(t, 9); len(got) != 10 {
		t.Errorf("%d messages came: %.200s", len(got), fmt.Sprint(got))
	}
	_, skipped := b.Dropped()
	if skipped < 200 || skipped > 250 {
		t.Errorf("%d messages were counted", skipped)
	}
	// A client that is there, and does not acknowledge, is no exception.
	publishMany(t, b, home, "q/1", 300, 300, 10_000)
	allRead(t, b)
	testkit.Until(t, "level again", func() bool {
		much.acknowledge(len(much.payloads()))
		much.session.mu.Lock()
		defer much.session.mu.Unlock()
		return !much.session.behind
	})
	if _, now := b.Dropped(); now == skipped {
		t.Error("nothing was passed over")
	}
	if got := much.payloads(); !strings.HasPrefix(got[len(got)-1], "599 ") {
		t.Errorf("the last one is %.10q", got[len(got)-1])
	}
}

// What waits for many sessions of an account that come back at the same time is measured in one pass,
// for each by its own filters and from where it was.
func TestManySessionsSkip(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{MaxSessionWaiting: 1 << 20})
	ids := []string{"all", "twice", "one", "other", "little", "late", "nothing"}
	for id, filters := range map[string][]string{"all": {"#"}, "twice": {"q/+", "q/1", "#"}, "one": {"q/1"}, "other": {"q/2"}, "little": {"few"}, "late": {}, "nothing": {"never"}} {
		c := openIn(t, b, home, id)
		for _, filter := range filters {
			c.subscribe(t, filter, 1)
		}
		c.close(t)
	}
	publishMany(t, b, home, "few", 0, 10, 1000)
	publishMany(t, b, home, "q/1", 10, 200, 10_000)
	allRead(t, b)
	late := openIn(t, b, home, "late")
	late.subscribe(t, "q/2", 1)
	late.close(t)
	publishMany(t, b, home, "q/2", 210, 200, 10_000)
	allRead(t, b)
	testkit.Until(t, "all is counted", b.tally.counted)

	other, err := nats.Connect("", nats.InProcessServer(b.server))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var passes atomic.Int32
	if _, err := other.Subscribe("$JS.API.CONSUMER.CREATE."+messagesStream+".*."+messagePrefix+">", func(*nats.Msg) { passes.Add(1) }); err != nil {
		t.Fatal(err)
	}
	if err := other.Flush(); err != nil {
		t.Fatal(err)
	}
	all := &measuring{}
	b.measuring.Store(spaceOf(home), all)
	all.pass.Lock()
	clients := map[string]*client{}
	for _, id := range ids {
		clients[id] = openIn(t, b, home, id)
	}
	testkit.Until(t, "all wait to be measured", func() bool {
		all.mu.Lock()
		defer all.mu.Unlock()
		return len(all.due) == len(ids)
	})
	all.pass.Unlock()
	for id, want := range map[string]struct {
		last, least, most int
	}{
		"all": {409, 60, 105}, "twice": {409, 60, 105}, "one": {209, 60, 105}, "other": {409, 60, 105}, "late": {409, 60, 105}, "little": {9, 10, 10},
	} {
		if got := clients[id].numbers(t, want.last); !rising(got) || len(got) < want.least || len(got) > want.most {
			t.Errorf("%s: %d messages came: %.200s", id, len(got), fmt.Sprint(got))
		}
	}
	clients["nothing"].subscribe(t, "end", 1)
	publishMany(t, b, home, "end", 0, 1, 0)
	clients["nothing"].expect(t, "0 ")
	if n := passes.Load(); n != 1 {
		t.Errorf("the stream was read %d times", n)
	}
}

func TestTally(t *testing.T) {
	t.Parallel()
	a, z := space("a"), space("z")
	filled := func(most, partition int64) *tally {
		tl := newTally(most, partition)
		tl.begin(nil)
		return tl
	}
	t.Run("alone", func(t *testing.T) {
		tl := filled(1600, 0)
		for seq := range uint64(1000) {
			tl.count(a, seq+1, 10)
		}
		if _, _, _, _, ok := tl.tight(); ok || tl.reserve(a, 0) != nil {
			t.Error("a partition that is alone gives way")
		}
	})
	t.Run("the largest first, and no further than the next", func(t *testing.T) {
		tl := filled(1600, 0)
		for seq := range uint64(160) {
			tl.count(map[bool]space{true: a, false: z}[seq%4 > 0], seq+1, 10)
		}
		in, from, upTo, alone, ok := tl.tight()
		if !ok || in != a || from != 2 || upTo < 39 || upTo > 45 || alone != 0 {
			t.Errorf("%s from %d up to %d, alone up to %d: %v", in, from, upTo, alone, ok)
		}
		if tl.reserve(a, 0) == nil || tl.reserve(z, 0) != nil || tl.reserve("new", 0) != nil {
			t.Error("others wait for the largest")
		}
		tl.remove(in, upTo)
		if _, _, _, _, ok := tl.tight(); ok || tl.reserve(a, 0) != nil {
			t.Error("not enough gave way")
		}
	})
	t.Run("a bound of its own", func(t *testing.T) {
		tl := filled(16_000, 160)
		for seq := range uint64(20) {
			tl.count(a, seq+1, 10)
		}
		if in, from, upTo, alone, ok := tl.tight(); !ok || in != a || from != 1 || upTo < 5 || upTo > 6 || alone != upTo {
			t.Errorf("%s from %d up to %d, alone up to %d: %v", in, from, upTo, alone, ok)
		}
	})
	t.Run("what flies counts", func(t *testing.T) {
		tl := filled(1600, 160)
		tl.send(a, 400)
		less := tl.reserve(a, 0)
		if less == nil || tl.reserve(z, 0) != nil {
			t.Fatal("what is on its way does not count")
		}
		tl.land(a, 1, 400)
		if tl.reserve(a, 0) == nil {
			t.Error("what is there and not read yet does not count")
		}
		tl.count(z, 1, 10)
		if <-less; tl.reserve(a, 0) != nil {
			t.Error("what has landed counts")
		}
	})
	t.Run("what is before and behind", func(t *testing.T) {
		tl := newTally(1600, 0)
		for seq := range uint64(10) {
			tl.count(a, seq+11, 10)
		}
		if tl.after(a, 5) < 1<<60 || tl.after(a, 15) != 50 || tl.after(z, 5) < 1<<60 {
			t.Error("what is not counted yet counts as nothing")
		}
		old := &account{}
		for seq := range uint64(10) {
			old.add(seq+1, 10, 1)
		}
		tl.begin(map[space]*account{a: old})
		if got := []int64{tl.after(a, 5), tl.after(a, 0), tl.after(z, 0), tl.total}; !slices.Equal(got, []int64{150, 200, 0, 200}) {
			t.Errorf("%d", got)
		}
		tl.from(4)
		tl.until(18)
		if got := []int64{tl.after(a, 0), tl.total}; !slices.Equal(got, []int64{150, 150}) {
			t.Errorf("%d", got)
		}
		tl.from(30)
		if len(tl.spaces) > 0 || tl.total != 0 {
			t.Errorf("%v is left", tl.spaces)
		}
	})
	t.Run("what is behind the end, and nothing else", func(t *testing.T) {
		tl := filled(1600, 0)
		tl.count(a, 11, 10)
		if tl.until(10); len(tl.spaces) > 0 || tl.total != 0 {
			t.Errorf("%v is left", tl.spaces)
		}
	})
	t.Run("quiet partitions whose messages expire", func(t *testing.T) {
		tl := filled(1_600_000, 0)
		const partitions, kept, size = 20, 5, 100 // messages of each are kept
		for i := range uint64(100 * partitions) {
			seq := i + 1
			tl.count(space(fmt.Sprint(i%partitions)), seq, size)
			first := max(seq, kept*partitions) - kept*partitions + 1
			if tl.from(first); tl.total < int64(seq-first+1)*size {
				t.Fatalf("%d bytes count of %d", tl.total, (seq-first+1)*size)
			}
		}
		if most := int64(2 * kept * partitions * size); tl.total > most {
			t.Errorf("%d bytes count, want %d at most", tl.total, most)
		}
	})
}

// BenchmarkGiveWay measures how fast the messages of one account are removed that lie
// between those of others.
func BenchmarkGiveWay(b *testing.B) {
	const each = 20_000
	for b.Loop() {
		b.StopTimer()
		br, stop := start(b, Options{})
		for i := range 10 {
			publishMany(b, br, home, "q", 0, 1, 100)
			publishMany(b, br, abroad, "q", each/10*i, each/10, 100)
		}
		end, err := br.lastMessage(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if n, err := br.removeOldest(spaceOf(abroad), 1, end, 0); n != each || err != nil {
			b.Fatal(n, err)
		}
		b.StopTimer()
		stop()
		b.StartTimer()
	}
	b.ReportMetric(float64(each)*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// What is retained while it is read anew counts, whether that finds it or not.
func TestLedger(t *testing.T) {
	t.Parallel()
	l := &ledger{}
	l.set("a", "before", 10, false)
	fresh := l.readAnew()
	l.set("a", "meanwhile", 20, false)
	fresh.set("a", "before", 10, false)
	fresh.set("a", "from another server", 5, false)
	for _, when := range []struct {
		topics int
		bytes  int64
	}{{2, 30}, {3, 35}} {
		if topics, bytes := l.with("a", "before", 10); topics != when.topics || bytes != when.bytes {
			t.Errorf("%d topics of %d bytes", topics, bytes)
		}
		if when.topics == 2 {
			l.replace()
		}
	}
	for _, topic := range []string{"before", "meanwhile", "from another server"} {
		l.set("a", topic, 0, true)
	}
	if len(l.spaces) > 0 {
		t.Errorf("%v is left", l.spaces)
	}
}
