package lifecycle

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/plan"
)

// maxAttempts is how often an item is offered to a process before it is given
// up: either the process did not come up, or the item did not reach it.
const maxAttempts = 3

// function is a function's queue and its processes. Its methods are called with
// the supervisor's mu held.
type function struct {
	spec       plan.Function
	command    command
	supervisor *Supervisor
	// problem is why it cannot run; calls are answered with it.
	problem error
	// begun is set when processes may be started, retired when none may any more.
	begun, retired bool

	queue   []*item
	workers map[*worker]struct{}
	counts  counts
	// failures counts the attempts in a row that went wrong.
	failures int
	retry    *time.Timer
	// last is the id of the process that ended last, for the health API.
	last string
	tail tail
	gate *gate
}

// begin lets processes start; a long-lived function gets its one at once.
func (f *function) begin() {
	f.begun = true
	switch {
	case f.retired:
	case f.problem != nil:
		f.gate.fail(f.problem.Error())
		f.failQueue(f.problem.Error())
	case f.spec.Pinned && len(f.workers) == 0:
		f.start()
	}
}

// retire stops all processes for good and returns them.
func (f *function) retire() []*worker {
	f.retired = true
	if f.retry != nil {
		f.retry.Stop()
		f.retry = nil
	}
	var ending []*worker
	for w := range f.workers {
		w.stop()
		ending = append(ending, w)
	}
	return ending
}

// adopt takes over the queue of the function's earlier version.
func (f *function) adopt(old *function) {
	f.queue, old.queue = old.queue, nil
	for _, item := range f.queue {
		item.function = f
	}
}

// failQueue ends everything that waits.
func (f *function) failQueue(reason string) {
	queue := f.queue
	f.queue = nil
	for _, item := range queue {
		f.supervisor.end(item, invoke.Failed(reason))
	}
}

// push puts an item into the queue; its place is counted already.
func (f *function) push(item *item) {
	f.queue = append(f.queue, item)
	f.dispatch()
}

// dispatch hands waiting items to waiting processes, and starts on-demand ones
// for the rest.
func (f *function) dispatch() {
	f.assign()
	if f.needs() {
		f.supervisor.startOnDemand()
	}
}

// assign hands waiting items to waiting processes.
func (f *function) assign() {
	s := f.supervisor
	for len(f.queue) > 0 {
		w := f.waiting()
		if w == nil {
			break
		}
		if s.owes(w) {
			w.stop()
			continue
		}
		item := f.queue[0]
		f.queue[0] = nil
		f.queue = f.queue[1:]
		s.leftQueue(item)
		w.assign(item)
	}
}

// waiting is the process that asked for work and has done some most recently:
// the others get old and end.
func (f *function) waiting() *worker {
	var best *worker
	for w := range f.workers {
		if len(w.polls) > 0 && !w.stopping && (best == nil || w.idleSince.After(best.idleSince)) {
			best = w
		}
	}
	return best
}

// coming counts the processes that will ask for work soon: those that have not
// asked yet, and those that have just answered.
func (f *function) coming() int {
	count := 0
	for w := range f.workers {
		if !w.stopping && len(w.polls) == 0 && (!w.asked || len(w.held) == 0) {
			count++
		}
	}
	return count
}

// start makes a new process; whether that succeeds turns out later.
func (f *function) start() {
	if f.retry != nil {
		f.retry.Stop()
		f.retry = nil
	}
	newWorker(f).begin()
}

// again starts the next process after a pause that grows with every failure.
func (f *function) again() {
	s := f.supervisor
	if f.retired || s.closing || f.retry != nil || !f.spec.Pinned && len(f.queue) == 0 {
		return
	}
	f.failures++
	pause := s.options.Backoff.Pause(f.failures)
	var timer *time.Timer
	timer = time.AfterFunc(pause, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if f.retry != timer || f.retired || s.closing {
			return
		}
		f.retry = nil
		if f.spec.Pinned {
			f.start()
		} else {
			f.dispatch()
		}
	})
	f.retry = timer
	s.options.Logger.Info("A function will be started again.", "funcArn", f.spec.ARN, "after", pause.String(), "failures", f.failures)
}

// ended settles what follows from the end of a process.
func (f *function) ended(w *worker, cause string) {
	s := f.supervisor
	delete(f.workers, w)
	f.last = w.id
	if !f.spec.Pinned {
		s.onDemand--
	}
	for _, item := range w.heldItems() {
		s.end(item, invoke.Failed(fmt.Sprintf("the function's process ended before it answered: %s", cause)))
	}
	level, expected := slog.LevelError, w.stopping && w.failure == "" && w.reason == ""
	if expected {
		level = slog.LevelInfo
	}
	s.options.Logger.Log(context.Background(), level, "A function's process ended.",
		"funcArn", f.spec.ARN, "workerId", w.id, "pid", w.pid, "cause", cause)
	if !expected {
		f.count(restarts)
		if !w.outOfMemory && w.reason == "" {
			f.count(ungraceful)
		}
		f.gate.fail(f.why(w, cause))
	}
	if s.closing {
		return
	}
	defer s.dispatchAll()
	if f.retired {
		return
	}
	if s.options.Now().Sub(w.started) >= s.options.Backoff.Reset || !f.spec.Pinned && w.asked {
		f.failures = 0
	}
	switch {
	case f.spec.Pinned:
		f.again()
	case w.asked || expected:
		// It ran well enough; the next item deserves a process at once.
	default:
		f.giveUp(w, cause)
		f.again()
	}
}

// giveUp counts a failed start against everything that waits, and ends what has
// waited for too many.
func (f *function) giveUp(w *worker, cause string) {
	s := f.supervisor
	var given []*item
	f.queue = slices.DeleteFunc(f.queue, func(item *item) bool {
		item.attempts++
		if item.attempts >= maxAttempts {
			given = append(given, item)
		}
		return item.attempts >= maxAttempts
	})
	for _, item := range given {
		s.options.Logger.Error("WorkItem reached max retry limit.",
			"invocationId", item.ID, "funcArn", f.spec.ARN, "workerId", w.id)
		s.end(item, invoke.Failed(fmt.Sprintf("worker with %s failed to initialize with reason %s", w.id, cause)))
	}
}

// status lists a function's entries for the health API.
func (f *function) status() []invoke.WorkerStatus {
	var list []invoke.WorkerStatus
	for w := range f.workers {
		list = append(list, w.status())
	}
	if len(list) == 0 && f.spec.Pinned {
		list = append(list, invoke.WorkerStatus{
			FuncArn: f.spec.ARN, WorkerId: f.last, ProcessId: "0", WorkerState: invoke.NotStarted,
		})
	}
	return list
}
