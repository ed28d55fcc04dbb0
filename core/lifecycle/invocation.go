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
	// caller is the worker that called, zero for the core itself; source is what
	// it counts as: the worker's function, or where a message came from.
	caller  ipc.Worker
	source  string
	kind    ipc.InvocationType
	context string
	payload []byte
	// counted is its part in Supervisor.shares.
	counted  usage
	attempts int

	// worker holds the item; timer is its time limit, later the time after
	// which an unfetched result is dropped.
	worker  *worker
	timer   *time.Timer
	ended   bool
	outcome ipc.Outcome
	done    chan struct{}
}

// reserve makes an invocation that has its place in the queue of a function.
func (s *Supervisor) reserve(arn string, caller ipc.Worker, source string, call ipc.Call) (*invocation, error) {
	f := s.functions[arn]
	switch {
	case f == nil:
		return nil, fmt.Errorf("%w: no function %s in this group; name it with the version that is deployed", ipc.ErrNotFound, arn)
	case s.closing:
		return nil, ipc.ErrShuttingDown
	}
	size := int64(len(call.Payload) + len(call.ClientContext))
	if err := s.shares.check(arn, source, size); err != nil {
		return nil, err
	}
	s.sequence++
	i := &invocation{
		id: uuid.NewString(), sequence: s.sequence, function: f, caller: caller, source: source, kind: call.Type,
		context: call.ClientContext, payload: call.Payload, done: make(chan struct{}),
	}
	s.count(i, usage{1, size})
	s.invocations[i.id] = i
	return i, nil
}

// count sets what an invocation counts for.
func (s *Supervisor) count(i *invocation, now usage) {
	s.shares.add(i.function.spec.ARN, i.source, now.minus(i.counted))
	i.counted = now
}

// leftQueue counts an item that waits no longer.
func (s *Supervisor) leftQueue(i *invocation) { s.count(i, usage{0, i.counted.bytes}) }

// enqueue puts an item that has its place into its function's queue.
func (s *Supervisor) enqueue(item *invocation) {
	if item.function.problem != nil {
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
		s.options.Logger.Error("Timing out work item.", "invoker", i.source,
			"invocationId", i.id, "funcArn", i.function.spec.ARN, "workerId", w.id)
		s.end(i, unhandled(fmt.Sprintf("%s timed out after %v seconds", i.function.spec.ARN, limit.Seconds())))
		if w.reason == "" {
			w.reason = fmt.Sprintf("a call timed out after %v seconds", limit.Seconds())
		}
		w.kill()
	})
	i.timer = timer
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
		s.options.Logger.Warn("An invocation failed.", "invoker", i.source, "invocationId", i.id,
			"funcArn", i.function.spec.ARN, "errorString", string(outcome.Payload))
	}
	i.payload = nil
	s.count(i, usage{})
	close(i.done)
	if i.kind != ipc.RequestResponse {
		delete(s.invocations, i.id)
		return
	}
	if size := int64(len(outcome.Payload)); !s.results.take(i.source, size) {
		outcome = unhandled(fmt.Sprintf("there is no room for the result of %d bytes: too many others of %s and all wait to be fetched", size, i.source))
		s.results.add(i.source, int64(len(outcome.Payload)))
	}
	i.outcome = outcome
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
	s.results.add(i.source, -int64(len(i.outcome.Payload)))
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
