package lifecycle

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue/core/ipc"
)

// invocation is one call of a function, from the queue to the fetched result.
// Fields and methods are for holders of the supervisor's mu.
type invocation struct {
	id       string
	sequence uint64
	function *function
	// caller is the worker that called; zero for the router.
	caller  ipc.Worker
	kind    ipc.InvocationType
	context string
	payload []byte
	// size is what the invocation counts for in Supervisor.bytes.
	size     int64
	attempts int

	// worker holds the item; timer is its time limit, later the time after
	// which an unfetched result is dropped.
	worker  *worker
	timer   *time.Timer
	ended   bool
	outcome ipc.Outcome
	done    chan struct{}
}

func (s *Supervisor) newInvocation(f *function, caller ipc.Worker, kind ipc.InvocationType, context string, payload []byte) *invocation {
	s.sequence++
	return &invocation{
		id: uuid.NewString(), sequence: s.sequence, function: f, caller: caller, kind: kind,
		context: context, payload: payload, size: int64(len(payload) + len(context)), done: make(chan struct{}),
	}
}

// room says whether one more item of some size can be queued.
func (s *Supervisor) room(size int64) error {
	switch {
	case s.closing:
		return ipc.ErrShuttingDown
	case size > s.options.MaxBytes:
		return fmt.Errorf("%w: %d bytes, all queues together hold %d", ipc.ErrTooLarge, size, s.options.MaxBytes)
	case s.items >= s.options.MaxWorkItems:
		return fmt.Errorf("%w: it holds %d items; raise runtime.maxWorkItemCount or publish more slowly", ipc.ErrQueueFull, s.items)
	case s.bytes+size > s.options.MaxBytes:
		return fmt.Errorf("%w: it holds %d bytes of %d", ipc.ErrQueueFull, s.bytes, s.options.MaxBytes)
	}
	return nil
}

// reserve takes the place that room promised.
func (s *Supervisor) reserve(item *invocation) {
	s.items++
	s.bytes += item.size
	s.invocations[item.id] = item
}

// enqueue puts an item that has its place into its function's queue.
func (s *Supervisor) enqueue(item *invocation) {
	if item.function.problem != nil {
		s.items--
		s.end(item, unhandled(item.function.problem.Error()))
		return
	}
	item.function.push(item)
}

// hand starts the time limit of an item that a worker gets.
func (i *invocation) hand(w *worker) {
	i.worker = w
	s := i.function.supervisor
	limit := i.function.spec.timeout()
	var timer *time.Timer
	timer = time.AfterFunc(limit, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if i.ended || i.timer != timer {
			return
		}
		s.options.Logger.Error("Timing out work item.", "invoker", i.invoker(),
			"invocationId", i.id, "funcArn", i.function.spec.ARN, "workerId", w.id)
		s.end(i, unhandled(fmt.Sprintf("%s timed out after %v seconds", i.function.spec.ARN, limit.Seconds())))
		if w.reason == "" {
			w.reason = fmt.Sprintf("a call timed out after %v seconds", limit.Seconds())
		}
		w.kill()
	})
	i.timer = timer
}

func (i *invocation) invoker() string {
	if i.caller.FunctionARN == "" {
		return "router"
	}
	return i.caller.FunctionARN
}

// end settles an invocation that is in no queue any more.
func (s *Supervisor) end(i *invocation, outcome ipc.Outcome) {
	if i.ended {
		return
	}
	i.ended = true
	if i.timer != nil {
		i.timer.Stop()
		i.timer = nil
	}
	if i.worker != nil {
		delete(i.worker.held, i.id)
	}
	if outcome.Error == ipc.Unhandled {
		s.options.Logger.Warn("An invocation failed.", "invoker", i.invoker(), "invocationId", i.id,
			"funcArn", i.function.spec.ARN, "errorString", string(outcome.Payload))
	}
	s.bytes -= i.size
	i.payload, i.size = nil, 0
	close(i.done)
	if i.kind != ipc.RequestResponse {
		delete(s.invocations, i.id)
		return
	}
	i.outcome = outcome
	i.size = int64(len(outcome.Payload))
	s.bytes += i.size
	i.timer = time.AfterFunc(i.function.spec.timeout()+s.options.KeepResult, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(i)
	})
	if i.caller.ID != "" && s.workers[i.caller.ID] == nil {
		s.drop(i)
	}
}

// drop forgets an ended invocation with its result.
func (s *Supervisor) drop(i *invocation) {
	if s.invocations[i.id] != i || !i.ended {
		return
	}
	if i.timer != nil {
		i.timer.Stop()
	}
	delete(s.invocations, i.id)
	s.bytes -= i.size
	i.size = 0
}

// forget drops the results that a worker, now gone, will not fetch.
func (s *Supervisor) forget(workerID string) {
	for _, i := range s.invocations {
		if i.caller.ID == workerID {
			s.drop(i)
		}
	}
}

// unhandled is the outcome of a call that the core, not the function, ended.
func unhandled(message string) ipc.Outcome {
	// A map of text always encodes.
	body, _ := json.Marshal(map[string]string{"errorMessage": message})
	return ipc.Outcome{Payload: body, Error: ipc.Unhandled}
}
