package lifecycle

import (
	"cmp"
	"slices"

	"github.com/fescue-edge/fescue/corelink"
)

// counts are of a function since it was started in this version.
type counts struct {
	// restarts are processes that ended without being asked to, outOfMemory those of
	// them that the kernel killed for it; timeouts and errors are calls.
	restarts, outOfMemory, timeouts, errors int64
}

// Activity is what all functions do, but for their memory, by ARN.
func (s *Supervisor) Activity() []corelink.FunctionActivity {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]corelink.FunctionActivity, 0, len(s.functions))
	for arn, f := range s.functions {
		a := corelink.FunctionActivity{
			ARN: arn, Pinned: f.spec.Pinned, Queued: len(f.queue),
			Restarts: f.counts.restarts, OutOfMemory: f.counts.outOfMemory, Timeouts: f.counts.timeouts, Errors: f.counts.errors,
			Workers: []corelink.WorkerActivity{},
		}
		for w := range f.workers {
			a.Workers = append(a.Workers, corelink.WorkerActivity{ID: w.id, PID: w.pid, State: string(w.state()), Since: w.started.UTC()})
		}
		slices.SortFunc(a.Workers, func(a, b corelink.WorkerActivity) int { return a.Since.Compare(b.Since) })
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b corelink.FunctionActivity) int { return cmp.Compare(a.ARN, b.ARN) })
	return list
}
