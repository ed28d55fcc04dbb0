//go:build linux

package broker

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

// BenchmarkCatchUp measures how long it takes to hand a client that comes back all that
// waits for it, each acknowledged at once, one among messages of others.
func BenchmarkCatchUp(b *testing.B) {
	const messages = 10_000
	for name, start := range map[string]func(b *testing.B) *Broker{
		"embedded": func(b *testing.B) *Broker { br, _ := start(b, Options{}); return br },
		"cluster":  func(b *testing.B) *Broker { return joined(b, natstest.Start(b, 3)...) },
	} {
		b.Run(name, func(b *testing.B) {
			br := start(b)
			c := openIn(b, br, home, "c")
			c.subscribe(b, "q/+", 1)
			c.subscribe(b, "other", 1)
			c.close(b)
			for i := range 10 {
				publishMany(b, br, home, "q/1", messages/10*i, messages/10, 200)
				publishMany(b, br, home, "unrelated", 0, messages/10, 200)
			}
			allRead(b, br)
			for b.Loop() {
				c := &counting{last: messages, done: make(chan struct{})}
				s, _, err := br.Open(b.Context(), Opening{Partition: home, ClientID: "c", Lasting: true}, c)
				if err != nil {
					b.Fatal(err)
				}
				c.session.Store(s)
				<-c.done
				b.StopTimer()
				// It is to have all of them again.
				if err := s.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
				r, revision, err := br.read(b.Context(), s.key)
				if err != nil {
					b.Fatal(err)
				}
				r.Handed, r.Unacked = 0, nil
				again := &Session{b: br, key: s.key, revision: revision, filters: r.Filters, closed: true, lasting: true, ended: make(chan struct{}), client: c}
				if err := again.write(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(messages*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkMeasure measures how long it takes until it is known of each of an account's sessions that come
// back at the same time how much waits for it.
func BenchmarkMeasure(b *testing.B) {
	const messages, sessions = 50_000, 100
	br, _ := start(b, Options{MaxSessionWaiting: 1 << 20})
	for i := range sessions {
		c := openIn(b, br, home, fmt.Sprint(i))
		c.subscribe(b, fmt.Sprint("q/", i, "/+"), 1)
		c.close(b)
	}
	for i := range sessions {
		publishMany(b, br, home, fmt.Sprint("q/", i, "/x"), 0, messages/sessions, 200)
	}
	allRead(b, br)
	for b.Loop() {
		var list []*client
		for i := range sessions {
			list = append(list, openIn(b, br, home, fmt.Sprint(i)))
		}
		for _, c := range list {
			testkit.Until(b, "it is measured", func() bool {
				c.session.mu.Lock()
				defer c.session.mu.Unlock()
				return c.session.measured > 0
			})
		}
		b.StopTimer()
		for _, c := range list {
			c.close(b)
		}
		b.StartTimer()
	}
}

// BenchmarkUnwanted measures how many messages a server reads and matches that none of its
// thousand sessions wants, as those that came through others.
func BenchmarkUnwanted(b *testing.B) {
	const messages, sessions = 50_000, 1000
	for name, start := range map[string]func(b *testing.B) *Broker{
		"embedded": func(b *testing.B) *Broker { br, _ := start(b, Options{}); return br },
		"cluster":  func(b *testing.B) *Broker { return joined(b, natstest.Start(b, 3)...) },
	} {
		b.Run(name, func(b *testing.B) {
			br := start(b)
			for i := range sessions {
				c := openWithWill(b, br, fmt.Sprint("c", i), "")
				c.subscribe(b, fmt.Sprint("things/", i, "/+"), 1)
			}
			for i := range 50 {
				publishMany(b, br, home, fmt.Sprint("things/x/", i), 0, messages/50, 200)
			}
			allRead(b, br)
			var before, after syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			for b.Loop() {
				err := br.consume(b.Context(), messagesStream, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}, true, br.handStored)
				if err != nil {
					b.Fatal(err)
				}
			}
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			total := float64(messages * b.N)
			b.ReportMetric(total/b.Elapsed().Seconds(), "messages/s")
			used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
			b.ReportMetric(float64(used.Nanoseconds())/total/1e3, "µs-CPU/message")
		})
	}
}

// BenchmarkBystander measures what a server of a cluster pays for messages that come through another
// one and that none of its thousand sessions wants, beside what that other pays, and what the
// bystander pays in the same time when there are none.
func BenchmarkBystander(b *testing.B) {
	const messages = 50_000
	list := natstest.Start(b, 3)
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), bystanderURL+"="+natstest.URL(list[1:]...))
	other.Stderr = os.Stderr
	in, err := other.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := other.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = other.Wait()
	})
	answers := bufio.NewScanner(out)
	read := func() (seq uint64) {
		_, _ = fmt.Fprintln(in)
		if !answers.Scan() {
			b.Fatal("the bystander is gone")
		}
		_, _ = fmt.Sscan(answers.Text(), &seq)
		return seq
	}
	here := joined(b, list...)
	read()
	var seen, spoken, idle, took time.Duration
	for b.Loop() {
		begin, before, mine := time.Now(), processorTime(b, other.Process.Pid), processorTime(b, os.Getpid())
		for i := range 50 {
			publishMany(b, here, home, fmt.Sprint("things/x/", i), 0, messages/50, 200)
		}
		end, err := here.lastMessage(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		testkit.Until(b, "the bystander has read all", func() bool { return read() >= end })
		seen += processorTime(b, other.Process.Pid) - before
		spoken += processorTime(b, os.Getpid()) - mine
		last := time.Since(begin)
		took += last
		b.StopTimer()
		begin, before = time.Now(), processorTime(b, other.Process.Pid)
		testkit.Until(b, "as much time", func() bool { return time.Since(begin) >= last })
		idle += processorTime(b, other.Process.Pid) - before
		b.StartTimer()
	}
	total := float64(messages) * float64(b.N) * 1e3
	b.ReportMetric(float64(seen.Nanoseconds())/total, "µs-bystander/message")
	b.ReportMetric(float64(idle.Nanoseconds())/total, "µs-idle/message")
	b.ReportMetric(float64(spoken.Nanoseconds())/total, "µs-publisher/message")
	b.ReportMetric(float64(messages)*float64(b.N)/took.Seconds(), "messages/s")
}

// processorTime is what a process has used so far.
func processorTime(b *testing.B, pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// Behind the name in parentheses; the 14th and 15th in all, in hundredths of a second.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// counting is a Client that acknowledges what comes, and counts it.
type counting struct {
	session atomic.Pointer[Session]
	last    int
	done    chan struct{}

	n int
}

// Deliver implements Client.
func (c *counting) Deliver(m *mqtt.Publish) bool {
	if c.n++; c.n == c.last {
		close(c.done)
	}
	go func() {
		for c.session.Load() == nil {
			runtime.Gosched()
		}
		c.session.Load().Ack(m.ID)
	}()
	return true
}

// End implements Client.
func (c *counting) End(cause error) { panic(cause) }
