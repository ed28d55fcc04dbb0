package lifecycle

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/sandbox"
)

// Supervisor runs the functions of one core. Make one with New.
type Supervisor struct {
	options  Options
	launcher *launcher

	// applying makes one Apply or Shutdown follow the other.
	applying sync.Mutex
	// running counts the goroutines that own a process.
	running sync.WaitGroup

	// mu guards everything below, and what functions, workers and items
	// hold. Nothing is waited for while it is held.
	mu        sync.Mutex
	closing   bool
	functions map[string]*function
	// totals are by ARN without version.
	totals  map[string]*counts
	workers map[string]*worker
	tokens  map[[sha256.Size]byte]*worker
	// shares are what MaxWorkItems and MaxBytes bound.
	shares *shares
	// onDemand counts the processes that MaxConcurrent bounds.
	onDemand int
	sequence uint64
}

// New makes a supervisor without functions.
func New(o Options) *Supervisor {
	o = o.withDefaults()
	return &Supervisor{
		options:   o,
		functions: make(map[string]*function),
		workers:   make(map[string]*worker),
		tokens:    make(map[[sha256.Size]byte]*worker),
		shares:    newShares(o.MaxWorkItems, o.MaxBytes),
		launcher: &launcher{
			runtimeDir: o.RuntimeDir, hidden: o.Hidden, memoryKB: machineKB(),
			interpreters: newInterpreters(o.SearchPath, o.Logger.Warn),
		},
	}
}

// Report says what Apply did, by function ARN.
type Report struct {
	Started, Stopped, Restarted, Unchanged []string
	// Problems are functions that cannot run on this machine. They are known
	// all the same: calling them yields the reason.
	Problems []Problem
}

// Apply makes these the functions that run: it starts long-lived ones that are
// new, stops what is gone, restarts what has another Hash and leaves everything
// else alone. It returns when stopped processes have ended and new ones are
// being started; WaitReady reports how those fare. The error is that of a
// supervisor that is shutting down, or of ctx before anything was done.
func (s *Supervisor) Apply(ctx context.Context, specs []plan.Function) (Report, error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	if err := ctx.Err(); err != nil {
		return Report{}, fmt.Errorf("apply functions: %w", err)
	}
	next := make(map[string]*function, len(specs))
	for _, spec := range specs {
		f := &function{spec: spec, supervisor: s, workers: make(map[*worker]struct{})}
		f.spec.Environment = maps.Clone(spec.Environment)
		f.command, f.problem = s.resolve(ctx, &f.spec, true)
		next[spec.ARN] = f
	}

	var report Report
	var ending []*worker
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return Report{}, fmt.Errorf("apply functions: %w", invoke.ErrShuttingDown)
	}
	for arn, old := range s.functions {
		f, stays := next[arn]
		switch {
		case !stays:
			report.Stopped = append(report.Stopped, arn)
			ending = append(ending, old.retire()...)
			old.failQueue("the function was removed from the group")
			delete(s.functions, arn)
			s.options.Registry.Unregister(arn)
		case old.spec.Hash == f.spec.Hash && (old.problem == nil) == (f.problem == nil):
			report.Unchanged = append(report.Unchanged, arn)
			old.gate = nil
			next[arn] = old
			if old.problem != nil {
				old.gate = newGate()
				old.gate.fail(old.problem.Error())
			}
		default:
			report.Restarted = append(report.Restarted, arn)
			ending = append(ending, old.retire()...)
			f.adopt(old)
			s.functions[arn] = f
		}
	}
	var fresh []*function
	for arn, f := range next {
		if f.problem != nil {
			report.Problems = append(report.Problems, Problem{arn, f.problem})
		}
		if s.functions[arn] == nil {
			report.Started = append(report.Started, arn)
			s.functions[arn] = f
			s.options.Registry.Register(arn, s)
		}
		if !slices.Contains(report.Unchanged, arn) {
			fresh = append(fresh, f)
			if f.spec.Pinned || f.problem != nil {
				f.gate = newGate()
			}
		}
	}
	s.keepTotals()
	s.mu.Unlock()

	// The old process goes before the new one comes: they may need the same
	// port, device or file.
	s.await(ending)

	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(fresh, func(a, b *function) int { return strings.Compare(a.spec.ARN, b.spec.ARN) })
	for _, f := range fresh {
		f.begin()
	}
	s.dispatchAll()
	for _, list := range [][]string{report.Started, report.Stopped, report.Restarted, report.Unchanged} {
		slices.Sort(list)
	}
	slices.SortFunc(report.Problems, func(a, b Problem) int { return strings.Compare(a.ARN, b.ARN) })
	return report, nil
}

// Shutdown stops all functions and waits for their processes. When ctx ends
// before, they are killed.
func (s *Supervisor) Shutdown(ctx context.Context) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	already := s.closing
	s.closing = true
	for _, f := range s.functions {
		f.retire()
		f.failQueue(invoke.ErrShuttingDown.Error())
	}
	s.mu.Unlock()
	if already {
		return nil
	}

	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for _, w := range s.workers {
		w.kill()
	}
	s.mu.Unlock()
	err := fmt.Errorf("stop functions: they had to be killed: %w", context.Cause(ctx))
	timer := time.NewTimer(sandbox.EndTime + unkillable)
	defer timer.Stop()
	select {
	case <-ended:
		return err
	case <-timer.C:
		return fmt.Errorf("%w; some processes do not end", err)
	}
}

// unkillable is how long a process may take to vanish after SIGKILL before the
// core goes on without it: one that hangs in the kernel does not end.
const unkillable = 10 * time.Second

// await waits for workers that were asked to stop.
func (s *Supervisor) await(ending []*worker) {
	timer := time.NewTimer(s.options.StopGrace + sandbox.EndTime + unkillable)
	defer timer.Stop()
	for _, w := range ending {
		select {
		case <-w.done:
		case <-timer.C:
			s.options.Logger.Error("A function's process does not end, even when killed; going on without it.",
				"funcArn", w.function.spec.ARN, "workerId", w.id)
			return
		}
	}
}
