package lifecycle

import (
	"context"
	"fmt"

	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/runtimes"
)

// Sandbox is what starts the processes of functions.
type Sandbox interface {
	Start(ctx context.Context, spec sandbox.Spec) (sandbox.Process, error)
}

// spec is the process of a function.
func (s *Supervisor) spec(f *plan.Function, c command, id, token string) sandbox.Spec {
	return sandbox.Spec{
		ID: id, Program: c.program, Args: c.args, Dir: c.places.work, Reads: c.reads,
		Env: s.environment(f, c, token), Credential: f.RunAs, Container: s.launcher.container(f),
	}
}

// start starts the process of a worker; its output goes to the log.
func (w *worker) start() (sandbox.Process, error) {
	s, f := w.function.supervisor, w.function
	spec := s.spec(&f.spec, f.command, w.id, w.token)
	for _, log := range logFDs {
		spec.Output = append(spec.Output, func(line string) {
			s.logLine(f, s.options.Now().UTC(), log.level, log.origin, line)
		})
	}
	return s.options.Sandbox.Start(context.Background(), spec)
}

// starved reports whether a process ended by itself because it had no more memory for
// objects.
func starved(f *plan.Function, end sandbox.End) bool {
	row, status := runtimes.Of(f.Runtime), end.Status.ExitStatus()
	if end.Status.Signaled() {
		status = -int(end.Status.Signal())
	}
	return row != nil && row.OutOfMemory != 0 && row.OutOfMemory == status
}

// describe says how a process ended, for logs and errors.
func describe(f *plan.Function, end sandbox.End) string {
	switch {
	case end.OutOfMemory:
		return fmt.Sprintf("killed for using more memory than its MemorySize of %d KB", f.Container.MemoryKB)
	case starved(f, end):
		text := "its objects need more memory than its interpreter takes for them"
		if f.Container != nil {
			text = fmt.Sprintf("its objects need more memory than its MemorySize of %d KB has for them", f.Container.MemoryKB)
		}
		if end.Status.Signaled() {
			return "aborted, as " + runtimes.Of(f.Runtime).Language + " does when " + text
		}
		return text
	case end.Status.Signaled():
		return fmt.Sprintf("killed by signal %d (%v)", int(end.Status.Signal()), end.Status.Signal())
	}
	return fmt.Sprintf("exited with status %d", end.Status.ExitStatus())
}
