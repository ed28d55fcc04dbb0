package sandbox_test

import (
	"log/slog"
	"os/exec"
	"testing"

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
