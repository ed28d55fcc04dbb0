package telemetry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/telemetry"
	"github.com/fescue-edge/fescue/corelink"
)

// sent are the messages of an agent.
type sent struct {
	t    *testing.T
	mu   sync.Mutex
	list []corelink.Telemetry
	err  error
}

// fail makes publishing fail from now on, or not with nil.
func (s *sent) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *sent) messages() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}

func (s *sent) publish(_ context.Context, topic string, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if topic != "$aws/things/Mill_Core-gcf/telemetry" || len(payload) > 128<<10 {
		s.t.Errorf("%d bytes to %s", len(payload), topic)
	}
	got, err := corelink.ParseTelemetry("Mill_Core", payload)
	if err != nil {
		s.t.Error(err)
	}
	s.list = append(s.list, got)
	return nil
}

// points are all that came, and forgets them.
func (s *sent) points() (list []corelink.TelemetryPoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.list {
		list = append(list, m.Points...)
	}
	s.list = nil
	return list
}

// start runs an agent, for whose source n namespaces count readings, until the test's
// bubble ends.
func start(t *testing.T, n int) (*telemetry.Agent, *sent) {
	s := &sent{t: t}
	readings := 0
	a := telemetry.New(telemetry.Options{
		Thing: "Mill_Core", Publish: s.publish, Logger: slog.New(slog.DiscardHandler),
		Sources: []telemetry.Source{func() (list []corelink.TelemetryPoint) {
			readings++
			for i := range n {
				list = append(list, corelink.TelemetryPoint{Namespace: fmt.Sprintf("arn:aws:lambda:eu-west-1:123456789012:function:F%03d", i), Metrics: []corelink.TelemetryMetric{{Name: "N", Sum: float64(readings), Unit: "Count"}}})
			}
			return list
		}},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return a, s
}

// pass lets time go by, and what is due then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAgent(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T){
		"takes figures every hour and publishes every day": func(t *testing.T) {
			a, s := start(t, 1)
			if a.Switch() != fescue.TelemetryOn || a.Set(fescue.TelemetryOn) || a.Set("") || a.Set("Auto") {
				t.Error("it is not on")
			}
			begin := time.Now()
			pass(24*time.Hour + time.Minute) // the first comes at some time in the first day
			first := s.points()
			if len(first) == 0 || len(first) > 24 {
				t.Fatalf("%d points", len(first))
			}
			pass(24 * time.Hour)
			next := s.points()
			if len(next) != 24 {
				t.Fatalf("%d points", len(next))
			}
			for i, p := range append(first, next...) {
				if p.At != begin.Add(time.Duration(i+1)*time.Hour).Unix() || p.Metrics[0].Sum != float64(i+1) {
					t.Errorf("point %d: %+v", i, p)
				}
			}
		},
		"says nothing that nobody asked for": func(t *testing.T) {
			_, s := start(t, 1)
			pass(100 * time.Hour)
			if n := s.messages(); n != 0 {
				t.Errorf("%d messages", n)
			}
		},
		"is switched": func(t *testing.T) {
			a, s := start(t, 1)
			pass(90 * time.Minute)
			if !a.Set(fescue.TelemetryOff) || a.Set(fescue.TelemetryOff) || a.Switch() != fescue.TelemetryOff {
				t.Error("not switched off")
			}
			pass(100 * time.Hour)
			if n := s.messages(); n != 0 {
				t.Errorf("%d messages", n)
			}
			if !a.Set(fescue.TelemetryOn) {
				t.Error("not switched on")
			}
			pass(24*time.Hour + time.Minute)
			if got := s.points(); len(got) == 0 || got[0].Metrics[0].Sum != 2 {
				t.Errorf("%+v", got)
			}
			a.Set(fescue.TelemetryOff)
			a.Set(fescue.TelemetryOn)
			pass(48 * time.Hour)
			if len(s.points()) < 24 {
				t.Error("it does not go on")
			}
		},
		"what cannot be sent is dropped": func(t *testing.T) {
			a, s := start(t, 1)
			a.Set(fescue.TelemetryOn)
			s.fail(errors.New("offline"))
			pass(24*time.Hour + time.Minute)
			s.fail(nil)
			pass(24 * time.Hour)
			if got := s.points(); len(got) != 24 || got[0].Metrics[0].Sum < 2 {
				t.Errorf("%d points", len(got))
			}
		},
		"large figures are several messages": func(t *testing.T) {
			a, s := start(t, 200)
			a.Set(fescue.TelemetryOn)
			pass(48*time.Hour + time.Minute)
			if n := s.messages(); n < 5 {
				t.Errorf("%d messages", n)
			}
			if n := len(s.points()); n%200 != 0 || n < 24*200 {
				t.Errorf("%d points", n)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, test)
		})
	}
}

// proc is a folder like /proc.
func proc(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestMachine(t *testing.T) {
	t.Parallel()
	t.Run("a machine's figures", func(t *testing.T) {
		t.Parallel()
		dir := proc(t, map[string]string{
			"meminfo":        "MemTotal:        2048000 kB\nMemFree:  1 kB\nMemAvailable:    1024000 kB\n",
			"stat":           "cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3\n",
			"sys/fs/file-nr": "1234\t0\t9223372036854775807\n",
		})
		read := telemetry.Machine(dir)
		write(t, filepath.Join(dir, "stat"), "cpu  150 0 100 800 150 0 0 0 90 0\n")
		want := []corelink.TelemetryPoint{{Namespace: "SystemMetrics", Metrics: []corelink.TelemetryMetric{
			{Name: "SystemMemUsage", Sum: 1000, Unit: "Megabytes"}, {Name: "CpuUsage", Sum: 25, Unit: "Percent"}, {Name: "TotalNumberOfFDs", Sum: 1234, Unit: "Count"},
		}}}
		if diff := cmp.Diff(want, read()); diff != "" {
			t.Error(diff)
		}
		if got := read()[0].Metrics[1].Sum; got != 0 {
			t.Errorf("without time between: %v %%", got)
		}
		write(t, filepath.Join(dir, "stat"), "cpu  1 0 0 1 0 0 0 0 0 0\n")
		if got := read()[0].Metrics[1].Sum; got != 0 {
			t.Errorf("after counts that fell: %v %%", got)
		}
	})
	t.Run("this machine", func(t *testing.T) {
		t.Parallel()
		got := telemetry.Machine("/proc")()
		if len(got) != 1 || len(got[0].Metrics) != 3 || got[0].Metrics[0].Sum < 1 || got[0].Metrics[2].Sum < 1 {
			t.Errorf("%+v", got)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Error(err)
		}
	})
	for name, files := range map[string]map[string]string{
		"nothing":          {},
		"empty files":      {"meminfo": "", "stat": "", "sys/fs/file-nr": ""},
		"words":            {"meminfo": "MemTotal: a\nMemAvailable: b\n", "stat": "cpu a b c d e f g\n", "sys/fs/file-nr": "x"},
		"half":             {"meminfo": "MemTotal: 1 kB\n", "stat": "cpu 1 2\n", "sys/fs/file-nr": "-1"},
		"one of something": {"meminfo": "MemTotal: " + strings.Repeat("9", 400) + " kB\n", "stat": "intr 1 2 3 4 5 6 7", "sys/fs/file-nr": "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := telemetry.Machine(proc(t, files))(); len(got) != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}
