package sandbox_test

import (
	"log/slog"
	"os/exec"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue/core/sandbox"
)

// BenchmarkStart is the whole life of a process that does nothing.
func BenchmarkStart(b *testing.B) {
	b.Run("without a sandbox", func(b *testing.B) {
		for b.Loop() {
			if err := exec.Command("/bin/true").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, tracking := range []sandbox.Tracking{sandbox.CgroupV2, sandbox.CgroupV1, sandbox.Tree} {
		b.Run(string(tracking), func(b *testing.B) {
			s, err := sandbox.Open(sandbox.Options{Logger: slog.New(slog.DiscardHandler), Tracking: []sandbox.Tracking{tracking}})
			if err != nil {
				b.Skip(err)
			}
			defer s.Close()
			for b.Loop() {
				p, err := s.Start(b.Context(), sandbox.Spec{ID: uuid.NewString(), Program: "/bin/true", Dir: "/"})
				if err != nil {
					b.Fatal(err)
				}
				p.Wait()
			}
		})
	}
	b.Run("container", func(b *testing.B) {
		s, err := sandbox.Open(sandbox.Options{Folder: b.TempDir(), Init: "/proc/self/exe", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		if missing := s.Missing(); len(missing) > 0 {
			b.Skip(missing)
		}
		for b.Loop() {
			p, err := s.Start(b.Context(), sandbox.Spec{
				ID: uuid.NewString(), Program: "/bin/true", Dir: "/", Credential: user, Container: &sandbox.Container{Memory: 16 << 20},
			})
			if err != nil {
				b.Fatal(err)
			}
			p.Wait()
		}
	})
}

// BenchmarkOutOfMemory is the time from the start of a function in a container that takes
// 16 MB, and more, as fast as it can until all of it is gone: of one that does so itself,
// and of one whose child does.
func BenchmarkOutOfMemory(b *testing.B) {
	s, err := sandbox.Open(sandbox.Options{Folder: b.TempDir(), Init: "/proc/self/exe", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if missing := s.Missing(); len(missing) > 0 {
		b.Skip(missing)
	}
	for name, script := range map[string]string{"itself": "exec tail /dev/zero", "a child alone": "tail /dev/zero & sleep 1000"} {
		b.Run(name, func(b *testing.B) {
			var most time.Duration
			for b.Loop() {
				p, err := s.Start(b.Context(), sandbox.Spec{
					ID: uuid.NewString(), Program: "/bin/sh", Args: []string{"-c", script}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"},
					Credential: user, Container: &sandbox.Container{Memory: 16 << 20},
				})
				if err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				if end := p.Wait(); !end.OutOfMemory {
					b.Fatalf("it ended with %+v", end)
				}
				most = max(most, time.Since(start))
			}
			b.ReportMetric(float64(most.Microseconds())/1000, "longest-ms")
		})
	}
}
