package lifecycle

import (
	"fmt"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
)

// item is an invocation in a function's queue or in a process's hands. Fields and
// methods are for holders of the supervisor's mu.
type item struct {
	*invoke.Invocation
	sequence uint64
	function *function
	// counted is its part in Supervisor.shares.
	counted  usage
	attempts int

	// worker holds the item; timer is its time limit.
	worker *worker
	timer  *time.Timer
	ended  bool
}

// reserve makes an item that has its place in the queue of a function.
func (s *Supervisor) reserve(i *invoke.Invocation) (*item, error) {
	f := s.functions[i.ARN]
	switch {
	case f == nil:
		return nil, fmt.Errorf("%w: no function %s in this group", invoke.ErrNotFound, i.ARN)
	case s.closing:
		return nil, invoke.ErrShuttingDown
	}
	if err := s.shares.check(i.ARN, i.Source, i.Size()); err != nil {
		return nil, err
	}
	s.sequence++
	placed := &item{Invocation: i, sequence: s.sequence, function: f}
	s.count(placed, usage{1, i.Size()})
	return placed, nil
}

// count sets what an item counts for.
func (s *Supervisor) count(i *item, now usage) {
	s.shares.add(i.ARN, i.Source, now.minus(i.counted))
	i.counted = now
}

// leftQueue counts an item that waits no longer.
func (s *Supervisor) leftQueue(i *item) { s.count(i, usage{0, i.counted.bytes}) }

// enqueue puts an item that has its place into its function's queue.
func (s *Supervisor) enqueue(item *item) {
	if item.function.problem != nil {
		s.end(item, invoke.Failed(item.function.problem.Error()))
		return
	}
	item.function.push(item)
}

// hand starts the time limit of an item that a worker gets.
func (i *item) hand(w *worker) {
	i.worker = w
	s := i.function.supervisor
	limit := i.function.spec.Timeout
	var timer *time.Timer
	timer = time.AfterFunc(limit, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if i.ended || i.timer != timer {
			return
		}
		i.function.count(timeouts)
		s.options.Logger.Error("Timing out work item.", "invoker", i.Source,
			"invocationId", i.ID, "funcArn", i.function.spec.ARN, "workerId", w.id)
		s.end(i, invoke.Failed(fmt.Sprintf("%s timed out after %v seconds", i.function.spec.ARN, limit.Seconds())))
		if w.reason == "" {
			w.reason = fmt.Sprintf("a call timed out after %v seconds", limit.Seconds())
		}
		w.kill()
	})
	i.timer = timer
}

// end settles an item that is in no queue any more.
func (s *Supervisor) end(i *item, outcome invoke.Outcome) {
	if i.ended {
		return
	}
	i.ended = true
	if i.timer != nil {
		i.timer.Stop()
		i.timer = nil
	}
	if i.worker != nil {
		delete(i.worker.held, i.ID)
	}
	if outcome.Error != "" {
		i.function.count(failures)
	}
	if outcome.Error == invoke.Unhandled {
		s.options.Logger.Warn("An invocation failed.", "invoker", i.Source, "invocationId", i.ID,
			"funcArn", i.function.spec.ARN, "errorString", string(outcome.Payload))
	}
	i.Payload = nil
	s.count(i, usage{})
	i.End(outcome)
}
