package cloudlink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/core/store"
	"github.com/fescue-edge/fescue/testkit"
)

// queue is a Queue that runs, and what it stands on.
type queue struct {
	*Queue
	t    testing.TB
	file string
	db   *store.DB
	disk *faulty
	stop func()
}

// faulty is a spool that fails when it is asked to.
type faulty struct {
	Spool
	mu   sync.Mutex
	err  error
	sets int // how many changes were tried
	// reads is how many times it was read, unread the error of that.
	reads  int
	unread error
	// done is called after a change, before the queue learns of it.
	done func()
}

func (f *faulty) Read(ctx context.Context, after uint64, bytes int64) ([]store.Numbered, error) {
	f.mu.Lock()
	err := f.unread
	f.reads++
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return f.Spool.Read(ctx, after, bytes)
}

func (f *faulty) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *faulty) Apply(ctx context.Context, c store.Change) (store.Queued, error) {
	f.mu.Lock()
	err := f.err
	f.sets++
	f.mu.Unlock()
	if err != nil {
		return store.Queued{}, err
	}
	now, err := f.Spool.Apply(ctx, c)
	f.mu.Lock()
	done := f.done
	f.mu.Unlock()
	if done != nil {
		done()
	}
	return now, err
}

// Settle ends the flight of the oldest: it is done with, or stays.
func (q *queue) Settle(done bool) {
	q.t.Helper()
	if !done {
		q.Ground(false, 0)
		return
	}
	q.mu.Lock()
	number := q.flying[0].serial
	q.mu.Unlock()
	q.Queue.Settle(number)
}

func openQueue(t testing.TB, file string, onDisk bool, limit int64) *queue {
	t.Helper()
	q := &queue{t: t, file: file, db: store.New(file, slog.New(slog.DiscardHandler))}
	q.disk = &faulty{Spool: q.db.Queue()}
	q.Queue = NewQueue(q.disk, slog.New(slog.DiscardHandler))
	if limit > 0 {
		q.Set(onDisk, limit)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); q.run(ctx) }()
	q.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		if err := q.db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(q.stop)
	return q
}

// A message of these tests has 100 bytes with what it costs beside its content.
const each = 100

func numbered(n int) Message {
	return Message{Topic: fmt.Sprintf("t/%04d", n), Payload: make([]byte, 30)}
}

// push adds messages, and waits until they are taken.
func (q *queue) push(from, to int) {
	q.t.Helper()
	taken := make(chan error, to-from)
	for n := from; n < to; n++ {
		q.Push(numbered(n), true, func(err error) { taken <- err })
	}
	for range to - from {
		if err := <-taken; err != nil {
			q.t.Fatal(err)
		}
	}
}

// takes wants these messages, in order, and no more.
func (q *queue) takes(want ...string) {
	q.t.Helper()
	var got []string
	testkit.Eventually(q.t, "the messages", func() error {
		for m, _, ok := q.Take(); ok; m, _, ok = q.Take() {
			got = append(got, m.Topic)
			q.Settle(true)
		}
		if n, _, _ := q.Waiting(); n > 0 {
			return fmt.Errorf("%d wait", n)
		}
		return nil
	})
	if diff := cmp.Diff(want, got); diff != "" {
		q.t.Error(diff)
	}
}

func topics(from, to int) (list []string) {
	for n := from; n < to; n++ {
		list = append(list, numbered(n).Topic)
	}
	return list
}

// first waits for the first message.
func (q *queue) first() (m Message, number uint64) {
	q.t.Helper()
	testkit.Eventually(q.t, "a message", func() error {
		var ok bool
		if m, number, ok = q.Take(); !ok {
			return errors.New("none")
		}
		return nil
	})
	return m, number
}

// waits waits until so many messages are there, and so many gave way.
func (q *queue) waits(messages int, dropped uint64) {
	q.t.Helper()
	testkit.Eventually(q.t, "the queue", func() error {
		if n, bytes, gone := q.Waiting(); n != messages || gone != dropped || bytes != int64(messages)*each {
			return fmt.Errorf("%d messages of %d bytes wait, %d were dropped; want %d and %d", n, bytes, gone, messages, dropped)
		}
		return nil
	})
}

// The places of a queue keep the same promises.
func TestQueue(t *testing.T) {
	t.Parallel()
	for what, run := range map[string]func(q *queue, onDisk bool){
		"an empty one has nothing": func(q *queue, _ bool) {
			if _, _, ok := q.Take(); ok {
				q.t.Error("something was taken")
			}
			q.waits(0, 0)
		},
		"first in, first out": func(q *queue, _ bool) {
			q.push(0, 3)
			q.takes(topics(0, 3)...)
			q.waits(0, 0)
		},
		"the same again until it is done with": func(q *queue, _ bool) {
			q.push(0, 2)
			_, number := q.first()
			q.Settle(false)
			if m, again := q.first(); again != number || m.Topic != "t/0000" {
				q.t.Errorf("took %s, number %d after %d", m.Topic, again, number)
			}
			q.Settle(true)
			if m, next := q.first(); next == number || m.Topic != "t/0001" {
				q.t.Errorf("took %s, number %d after %d", m.Topic, next, number)
			}
		},
		"the oldest gives way": func(q *queue, _ bool) {
			q.push(0, 12)
			q.waits(10, 2)
			q.takes(topics(2, 12)...)
		},
		"but not the one in flight": func(q *queue, _ bool) {
			q.push(0, 1)
			q.first()
			q.push(1, 12)
			q.waits(10, 2)
			q.Settle(true)
			q.waits(9, 2)
			q.takes(topics(3, 12)...)
		},
		"nor before its flight has ended": func(q *queue, onDisk bool) {
			q.push(0, 10)
			_, number := q.first()
			q.Set(onDisk, 5*each)
			q.waits(5, 5)
			q.Set(onDisk, each/2)
			q.waits(1, 9)
			q.Settle(false)
			q.waits(0, 10)
			q.Set(onDisk, 10*each)
			q.push(20, 21)
			if m, next := q.first(); next == number || m.Topic != "t/0020" {
				q.t.Errorf("took %s, number %d after %d", m.Topic, next, number)
			}
		},
		"a message larger than the bound gives way itself": func(q *queue, _ bool) {
			q.push(0, 1)
			taken := make(chan error, 1)
			q.Push(Message{Topic: "t", Payload: make([]byte, 11*each)}, false, func(err error) { taken <- err })
			<-taken
			q.waits(0, 2)
		},
		"nothing after the end": func(q *queue, _ bool) {
			q.stop()
			var got error
			q.Push(numbered(0), true, func(err error) { got = err })
			if !errors.Is(got, ErrEnded) {
				q.t.Error(got)
			}
		},
	} {
		for _, onDisk := range []bool{false, true} {
			t.Run(fmt.Sprintf("on the disk %v, %s", onDisk, what), func(t *testing.T) {
				t.Parallel()
				run(openQueue(t, filepath.Join(t.TempDir(), "db"), onDisk, 10*each), onDisk)
			})
		}
	}
}

func TestQueueOnDisk(t *testing.T) {
	t.Parallel()
	const large = 1 << 20
	t.Run("outlives its process, and more than fits into memory", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "db")
		q := openQueue(t, file, true, large)
		q.push(0, 5000)
		if n := len(q.front); n == 0 || n == 5000 {
			t.Errorf("%d messages of 5000 are in memory", n)
		}
		q.stop()
		// What its bound is, is not known at first.
		q = openQueue(t, file, true, 0)
		q.waits(5000, 0)
		q.first()
		q.Settle(true)
		q.Set(true, large)
		q.push(5000, 5003)
		q.takes(topics(1, 5003)...)
		q.stop()
		openQueue(t, file, true, large).waits(0, 0)
	})
	t.Run("goes on in memory, and from there", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "db")
		q := openQueue(t, file, false, large)
		q.push(0, 10)
		if there, err := q.db.Exists(); there || err != nil {
			t.Errorf("a file was made for a queue in memory: %v", err)
		}
		q.first()
		q.Set(true, large)
		q.push(10, 20)
		q.Settle(true)
		q.Set(false, large)
		q.push(20, 30)
		q.waits(29, 0)
		if n := q.inMemory(); n != 10 {
			t.Errorf("%d messages are in memory alone, want 10", n)
		}
		q.takes(topics(1, 30)...)
		q.push(30, 31)
		q.stop()
		// What was in memory is lost, as documented.
		openQueue(t, file, true, large).waits(0, 0)
	})
	t.Run("a smaller bound, in memory", func(t *testing.T) {
		t.Parallel()
		q := openQueue(t, filepath.Join(t.TempDir(), "db"), true, large)
		q.push(0, 20)
		q.Set(false, 10*each)
		q.waits(10, 10)
		q.push(20, 25)
		q.waits(10, 15)
		q.takes(topics(15, 25)...)
	})
	t.Run("a disk that fails", func(t *testing.T) {
		t.Parallel()
		q := openQueue(t, filepath.Join(t.TempDir(), "db"), true, 20*each)
		q.push(0, 2)
		broken := errors.New("broken")
		q.disk.fail(broken)
		taken := make(chan error, 1)
		q.Push(numbered(50), true, func(err error) { taken <- err })
		if err := <-taken; !errors.Is(err, broken) {
			t.Errorf("a strict message: %v", err)
		}
		for n := 2; n < 5; n++ {
			q.Push(numbered(n), false, func(err error) { taken <- err })
			if err := <-taken; err != nil {
				t.Errorf("another one: %v", err)
			}
		}
		q.waits(5, 0)
		for n := 5; n < 40; n++ {
			q.Push(numbered(n), false, func(err error) { taken <- err })
			<-taken
		}
		// Those on the disk cannot give way now; the memory has its bound.
		if n := q.inMemory(); n != 20 {
			t.Errorf("%d messages are in memory", n)
		}
		// Messages go on to the cloud.
		if m, _ := q.first(); m.Topic != "t/0000" {
			t.Errorf("took %s", m.Topic)
		}
		q.Settle(true)
		q.disk.fail(nil)
		q.push(40, 41)
		q.waits(20, 20)
		if n := q.inMemory(); n != 0 {
			t.Errorf("%d messages are in memory", n)
		}
		q.takes(topics(21, 41)...)
	})
	t.Run("a disk that fails while a message is in flight", func(t *testing.T) {
		t.Parallel()
		q := openQueue(t, filepath.Join(t.TempDir(), "db"), true, large)
		q.disk.fail(errors.New("broken"))
		taken := make(chan error, 1)
		for n := range 3 {
			q.Push(numbered(n), false, func(err error) { taken <- err })
			<-taken
		}
		q.first() // from memory
		q.disk.fail(nil)
		q.push(3, 5)
		q.Settle(true)
		q.takes(topics(1, 5)...)
		q.stop()
		openQueue(t, q.file, true, large).waits(0, 0)
	})
	t.Run("writes together what comes together", func(t *testing.T) {
		t.Parallel()
		q := openQueue(t, filepath.Join(t.TempDir(), "db"), true, large)
		q.push(0, 3000)
		q.takes(topics(0, 3000)...)
		q.stop()
		// In batches of at most 1000 and 64 it cannot be less than these.
		if n := q.disk.sets; n < 3 || n > 400 {
			t.Errorf("%d transactions for 3000 messages", n)
		}
	})
	t.Run("many at once, in order each", func(t *testing.T) {
		t.Parallel()
		q := openQueue(t, filepath.Join(t.TempDir(), "db"), true, large)
		var all sync.WaitGroup
		for who := range 4 {
			all.Go(func() {
				for n := range 200 {
					taken := make(chan error, 1)
					q.Push(Message{Topic: fmt.Sprint(who), Payload: fmt.Append(nil, n)}, true, func(err error) { taken <- err })
					if err := <-taken; err != nil {
						t.Error(err)
					}
				}
			})
		}
		got := make(map[string][]string)
		for n := 0; n < 800; n++ {
			m, _ := q.first()
			got[m.Topic] = append(got[m.Topic], string(m.Payload))
			q.Settle(true)
		}
		all.Wait()
		for who, list := range got {
			for i, text := range list {
				if text != fmt.Sprint(i) {
					t.Fatalf("%s: %v", who, list)
				}
			}
		}
	})
	t.Run("what is written while the rest is read is sent once, in order", func(t *testing.T) {
		t.Parallel()
		q := openQueue(t, filepath.Join(t.TempDir(), "db"), true, large)
		q.push(0, 3000)
		var got []string
		for range len(q.front) {
			m, _ := q.first()
			got = append(got, m.Topic)
			q.Settle(true)
		}
		if n := len(got); n == 0 || n == 3000 {
			t.Fatalf("%d messages of 3000 were in memory", n)
		}
		// The next batch is on the disk, and the queue has not learned of it.
		written, learn := make(chan struct{}), make(chan struct{})
		q.disk.mu.Lock()
		q.disk.done = func() {
			if newest(t, q) == 3010 {
				q.disk.mu.Lock()
				q.disk.done = nil
				q.disk.mu.Unlock()
				close(written)
				<-learn
			}
		}
		q.disk.mu.Unlock()
		taken := make(chan error, 10)
		for n := 3000; n < 3010; n++ {
			q.Push(numbered(n), true, func(err error) { taken <- err })
		}
		<-written
		m, _ := q.first()
		got = append(got, m.Topic)
		q.Settle(true)
		close(learn)
		for range 10 {
			if err := <-taken; err != nil {
				t.Fatal(err)
			}
		}
		testkit.Eventually(t, "the rest", func() error {
			for m, _, ok := q.Take(); ok; m, _, ok = q.Take() {
				got = append(got, m.Topic)
				q.Settle(true)
			}
			if n, _, _ := q.Waiting(); n != 0 {
				return fmt.Errorf("%d wait", n)
			}
			return nil
		})
		if diff := cmp.Diff(topics(0, 3010), got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a disk that cannot be read is left alone for a while, and tried again", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "db")
		q := openQueue(t, file, true, large)
		q.push(0, 10)
		q.stop()
		q = openQueue(t, file, true, large)
		q.waits(10, 0)
		q.disk.mu.Lock()
		q.disk.unread = errors.New("broken")
		q.disk.mu.Unlock()
		for range 100 {
			if _, _, ok := q.Take(); ok {
				t.Fatal("something was taken")
			}
		}
		q.disk.mu.Lock()
		if q.disk.reads != 1 {
			t.Errorf("it was read %d times", q.disk.reads)
		}
		q.disk.unread = nil
		q.disk.mu.Unlock()
		q.mu.Lock()
		q.retry = time.Now() // nothing is pushed meanwhile
		q.mu.Unlock()
		signal(q.work)
		q.takes(topics(0, 10)...)
	})
	t.Run("damage", func(t *testing.T) {
		t.Parallel()
		q := openQueue(t, filepath.Join(t.TempDir(), "db"), true, large)
		q.push(0, 4)
		q.first()
		damage(t, q)
		q.push(4, 6)
		// What was in memory of it is sent all the same, after the others.
		q.Settle(true)
		got := []string{}
		testkit.Eventually(t, "the rest", func() error {
			for m, _, ok := q.Take(); ok; m, _, ok = q.Take() {
				got = append(got, m.Topic)
				q.Settle(true)
			}
			if n, _, _ := q.Waiting(); n > 0 {
				return fmt.Errorf("%d wait", n)
			}
			return nil
		})
		slices.Sort(got)
		if diff := cmp.Diff(topics(1, 6), got); diff != "" {
			t.Error(diff)
		}
	})
}

// Whatever is acknowledged, and whenever connections end: what comes for the first time of
// a topic comes in its order, with nothing left out.
func TestQueueOrder(t *testing.T) {
	t.Parallel()
	for _, onDisk := range []bool{false, true} {
		for seed := range uint64(8) {
			t.Run(fmt.Sprintf("on the disk %v, seed %d", onDisk, seed), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(seed, 14))
				q := openQueue(t, filepath.Join(t.TempDir(), "db"), onDisk, 16<<20)
				const topics, most = 20, 1500
				pushed, came := make([]int, topics), make([]int, topics)
				var flying []uint64
				left := most
				for all := 0; all < most; {
					switch random.IntN(40) {
					case 0:
						q.Ground(random.IntN(2) == 0, time.Hour)
						flying = nil
					case 1, 2, 3, 4, 5:
						for range min(left, random.IntN(30)) {
							on := random.IntN(topics) * random.IntN(topics) / topics // some have many
							size := random.IntN(500)
							if random.IntN(50) == 0 {
								size = 40_000 // now and then there is room for one alone
							}
							q.Push(Message{Topic: fmt.Sprint(on), Payload: append(fmt.Appendf(nil, "%d ", pushed[on]), make([]byte, size)...)}, false, func(error) {})
							pushed[on]++
							left--
						}
					case 6, 7, 8, 9, 10, 11, 12, 13, 14:
						if len(flying) > 0 {
							i := random.IntN(len(flying))
							q.Queue.Settle(flying[i])
							flying = slices.Delete(flying, i, i+1)
							all++
						}
					default:
						m, number, ok := q.Take()
						if !ok {
							if len(flying) == 0 && onDisk {
								runtime.Gosched() // it is being written
							}
							continue
						}
						flying = append(flying, number)
						var on, n int
						if _, err := fmt.Sscan(m.Topic+" "+string(m.Payload[:min(6, len(m.Payload))]), &on, &n); err != nil {
							t.Fatal(err)
						}
						if n > came[on] {
							t.Fatalf("%d of topic %d came before %d", n, on, came[on])
						}
						came[on] = max(came[on], n+1)
					}
					if _, _, gone := q.Waiting(); gone > 0 {
						t.Fatal("messages gave way; the bound is to be larger")
					}
				}
				if diff := cmp.Diff(pushed, came); diff != "" {
					t.Error(diff)
				}
				q.waits(0, 0)
			})
		}
	}
}

func TestFlights(t *testing.T) {
	t.Parallel()
	q := openQueue(t, filepath.Join(t.TempDir(), "db"), false, 1<<20)
	push := func(topic string, size int) {
		q.Push(Message{Topic: topic, Payload: make([]byte, size)}, false, func(error) {})
	}
	take := func(want ...string) (numbers []uint64) {
		t.Helper()
		var got []string
		for m, number, ok := q.Take(); ok; m, number, ok = q.Take() {
			got, numbers = append(got, m.Topic), append(numbers, number)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		return numbers
	}
	for _, topic := range []string{"a", "a", "b", "a", "c"} {
		push(topic, 100)
	}
	push("large", 64<<10)
	push("d", 100)
	flights := take("a", "a", "b", "a", "c") // the large one goes alone, and what came later waits for it
	q.Queue.Settle(flights[1])
	take()
	if given, _ := q.Ground(true, 0); given != nil {
		t.Errorf("%s was given up, which had not been alone", given.Topic)
	}
	for _, want := range []string{"a", "b", "a", "c"} { // each alone, until it is known which it was
		q.Queue.Settle(take(want)[0])
	}
	take("large")
	for i := range maxClosesInFlight {
		given, attempts := q.Ground(true, 0)
		if attempts != i+1 || (given != nil) != (attempts == maxClosesInFlight) {
			t.Errorf("given up: %v, after %d attempts", given != nil, attempts)
		}
		if given == nil {
			take("large")
		}
	}
	take("d")
}

// newest is the highest number on the disk.
func newest(t *testing.T, q *queue) (number uint64) {
	list, err := q.db.Queue().Read(t.Context(), 0, 1<<30)
	if err != nil {
		t.Error(err)
	}
	for _, m := range list {
		number = m.Number
	}
	return number
}

// damage has the spool begin a new file, as store does when the old one is damaged.
func damage(t *testing.T, q *queue) {
	t.Helper()
	content, err := os.ReadFile(q.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(q.file, bytes.Repeat([]byte{0xa5}, len(content)), 0o600), os.Truncate(q.file+"-wal", 0)); err != nil {
		t.Fatal(err)
	}
}
