package lifecycle

import (
	"cmp"
	"slices"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// counted is something that happens to a function.
type counted int

const (
	// restarts are processes that ended without being asked to, outOfMemory those of
	// them that the kernel killed for it or that had no more for objects, ungraceful those that ended so for no reason
	// that the core knows of, or had to be killed because they did not stop.
	restarts counted = iota
	outOfMemory
	ungraceful
	// timeouts and failures are calls: those that took too long, and all that ended
	// with an error.
	timeouts
	failures

	kinds
)

// counts are how often each happened.
type counts [kinds]int64

// count notes that something happened to the function. The supervisor's mu is held.
func (f *function) count(what counted) {
	f.counts[what]++
	if total := f.supervisor.totals[unqualified(f.spec.ARN)]; total != nil {
		total[what]++
	}
}

// unqualified is a function's ARN without its version.
func unqualified(arn string) string {
	parsed, err := fescue.ParseARN(arn)
	if name, _, ok := parsed.Function(); err == nil && ok {
		parsed.Resource = "function:" + name
		return parsed.String()
	}
	return arn
}

// Totals are how often something happened to a function, in whatever version, since it
// was first in the group while this core ran.
type Totals struct {
	// ARN has no version.
	ARN string
	// Timeouts are calls that took too long, Errors all that ended with an error.
	// OutOfMemory are processes that the kernel killed for it, or that had no more for
	// objects, Ungraceful those that
	// ended without being asked to for no known reason, or had to be killed.
	Timeouts, OutOfMemory, Ungraceful, Errors int64
}

// Totals are those of the group's functions, by ARN.
func (s *Supervisor) Totals() []Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Totals, 0, len(s.totals))
	for arn, c := range s.totals {
		list = append(list, Totals{arn, c[timeouts], c[outOfMemory], c[ungraceful], c[failures]})
	}
	slices.SortFunc(list, func(a, b Totals) int { return cmp.Compare(a.ARN, b.ARN) })
	return list
}

// keepTotals keeps those of the functions that there are. mu is held.
func (s *Supervisor) keepTotals() {
	kept := make(map[string]*counts, len(s.functions))
	for arn := range s.functions {
		arn = unqualified(arn)
		kept[arn] = cmp.Or(s.totals[arn], kept[arn], new(counts))
	}
	s.totals = kept
}

// Activity is what all functions do, but for their memory, by ARN.
func (s *Supervisor) Activity() []corelink.FunctionActivity {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]corelink.FunctionActivity, 0, len(s.functions))
	for arn, f := range s.functions {
		a := corelink.FunctionActivity{
			ARN: arn, Pinned: f.spec.Pinned, Queued: len(f.queue),
			Restarts: f.counts[restarts], OutOfMemory: f.counts[outOfMemory], Timeouts: f.counts[timeouts], Errors: f.counts[failures],
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
