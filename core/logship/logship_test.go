package logship_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fescue-edge/fescue/core/logs"
	"github.com/fescue-edge/fescue/core/logship"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
)

// sink takes batches, unless it is closed.
type sink struct {
	mu      testkit.Monitor
	err     error
	batches []logship.Batch
	tried   int
}

func (s *sink) String() string { return "the sink" }

func (s *sink) Send(_ context.Context, b *logship.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried++
	if s.err != nil {
		return s.err
	}
	s.batches = append(s.batches, *b)
	return nil
}

func (s *sink) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// await waits until the condition holds of the sink.
func (s *sink) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	s.mu.Await(t, what, holds, func() string { return fmt.Sprintf("%+v", s.batches) })
}

// lines are all that came of a log, and how many were said to be lost.
func (s *sink) lines(name string) (texts []string, lost int) {
	for _, b := range s.batches {
		for _, l := range b.Logs {
			if l.Name == name {
				lost += l.Lost
				for _, line := range l.Lines {
					texts = append(texts, line.Text)
				}
			}
		}
	}
	return texts, lost
}

func source(name string) logs.Source {
	return logs.Source{Component: logs.FunctionComponent, Name: name, Region: "eu-west-1", Account: "123456789012"}
}

func line(text string) logs.Line { return logs.Line{At: time.Now(), Level: logs.Info, Text: text} }

// start runs a shipper of group g until the test ends.
func start(t *testing.T, to logship.Destination) (s *logship.Shipper, stop func()) {
	t.Helper()
	s = logship.New(to)
	s.SetGroup("g")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, slog.New(slog.DiscardHandler))
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return s, stop
}

func TestLinesArrive(t *testing.T) {
	t.Parallel()
	to := new(sink)
	s, stop := start(t, to)
	s.Add(source("F"), line("one"))
	s.Add(source("G"), line("bad \xff text"))
	s.Add(source("F"), line("two"))
	to.await(t, "the lines come", func() bool { return len(to.batches) > 0 })
	s.Add(source("F"), line("last words"))
	stop()
	f, _ := to.lines("F")
	g, _ := to.lines("G")
	if fmt.Sprint(f) != "[one two last words]" || fmt.Sprint(g) != "[bad \uFFFD text]" {
		t.Errorf("F %q, G %q", f, g)
	}
	if b := to.batches[0]; b.GroupID != "g" || len(b.ID) != 36 {
		t.Errorf("batch %q of group %q", b.ID, b.GroupID)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	to := new(sink)
	s := logship.New(to)
	s.Add(source("F"), line("before any"))
	s.SetGroup("g")
	s.Add(source("F"), line("of g"))
	s.SetGroup("h")
	s.Add(source("F"), line("of h"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Run(ctx, slog.New(slog.DiscardHandler))
	if f, _ := to.lines("F"); fmt.Sprint(f) != "[of h]" || to.batches[0].GroupID != "h" {
		t.Errorf("%q", f)
	}
}

// TestLine: what cannot be sent waits, the newest as far as there is room; what is
// lost is counted, and a log that says little does not lose by one that says much.
func TestLine(t *testing.T) {
	t.Parallel()
	to := &sink{err: errors.New("no route")}
	s, stop := start(t, to)
	s.Add(source("quiet"), line("first"))
	to.await(t, "it is tried", func() bool { return to.tried > 0 })
	const each, count = 1000, 100_000 // 100 MB
	text := strings.Repeat("x", each)
	began := time.Now()
	for i := range count {
		s.Add(source("loud"), line(fmt.Sprint(i, " ", text)))
	}
	t.Logf("100 MB were taken in %v", time.Since(began))
	s.Add(source("quiet"), line("second"))
	to.set(nil)
	to.await(t, "the quiet one's lines come", func() bool { quiet, _ := to.lines("quiet"); return len(quiet) == 2 })
	stop()
	quiet, lost := to.lines("quiet")
	if fmt.Sprint(quiet) != "[first second]" || lost != 0 {
		t.Errorf("quiet: %q, %d lost", quiet, lost)
	}
	loud, lost := to.lines("loud")
	if len(loud)+lost != count {
		t.Errorf("loud: %d lines came and %d were said to be lost, of %d", len(loud), lost, count)
	}
	if len(loud) < 900 || !strings.HasPrefix(loud[len(loud)-1], fmt.Sprint(count-1)) {
		t.Errorf("loud: %d lines came, the last is %.10q", len(loud), loud[len(loud)-1])
	}
	for _, b := range to.batches {
		size := 0
		for _, l := range b.Logs {
			for _, line := range l.Lines {
				size += len(line.Text)
			}
		}
		if size > corelink.MaxBatch {
			t.Errorf("a batch has %d bytes", size)
		}
	}
}

func TestManyLogs(t *testing.T) {
	t.Parallel()
	to := new(sink)
	s, stop := start(t, to)
	const count = 3 * corelink.MaxBatchLogs
	for i := range count {
		for range 20 {
			s.Add(source(fmt.Sprint("F", i)), line(strings.Repeat("<", 1000)))
		}
	}
	stop()
	seen := make(map[string]int)
	for _, b := range to.batches {
		if len(b.Logs) > corelink.MaxBatchLogs {
			t.Errorf("a batch has %d logs", len(b.Logs))
		}
		for _, l := range b.Logs {
			seen[l.Name] += len(l.Lines) + l.Lost
		}
	}
	if len(seen) != count {
		t.Errorf("lines of %d logs came", len(seen))
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	to := &sink{err: fmt.Errorf("%w: not yours", logship.ErrRefused)}
	s, stop := start(t, to)
	s.Add(source("F"), line("refused"))
	to.await(t, "it is tried", func() bool { return to.tried == 1 })
	to.set(nil)
	s.Add(source("F"), line("taken"))
	to.await(t, "what comes later is sent soon", func() bool { f, _ := to.lines("F"); return len(f) == 1 })
	stop()
	if f, _ := to.lines("F"); fmt.Sprint(f) != "[taken]" {
		t.Errorf("%q", f)
	}
}

// gated denies lines of one log until it is opened.
type gated struct {
	sink
	open bool
}

func (g *gated) Send(ctx context.Context, b *logship.Batch) error {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	taken := *b
	taken.Logs = nil
	for _, l := range b.Logs {
		if l.Name == "closed" && !open {
			b.Denied, b.Denial = append(b.Denied, l), errors.New("no right")
			continue
		}
		taken.Logs = append(taken.Logs, l)
	}
	b.Logs = nil
	return g.sink.Send(ctx, &taken)
}

// TestDenied: lines that may not be written are kept for five minutes and keep no others
// back.
func TestDenied(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		after time.Duration
		want  string
	}{
		"the role is given the right in time": {3 * time.Minute, "[first second third]"},
		"too late":                            {20 * time.Minute, "[third]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				to := new(gated)
				s, stop := start(t, to)
				s.Add(source("closed"), line("first"))
				s.Add(source("F"), line("one"))
				time.Sleep(10 * time.Second)
				s.Add(source("closed"), line("second"))
				s.Add(source("F"), line("two"))
				time.Sleep(10 * time.Second)
				to.mu.Lock()
				if f, _ := to.lines("F"); fmt.Sprint(f) != "[one two]" {
					t.Errorf("others were kept back: %q", f)
				}
				to.mu.Unlock()
				time.Sleep(tc.after)
				to.mu.Lock()
				to.open = true
				to.mu.Unlock()
				s.Add(source("closed"), line("third"))
				time.Sleep(2 * time.Minute)
				to.mu.Lock()
				if got, _ := to.lines("closed"); fmt.Sprint(got) != tc.want {
					t.Errorf("%q, want %s", got, tc.want)
				}
				to.mu.Unlock()
				stop()
			})
		})
	}
}
