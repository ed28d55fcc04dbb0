package lifecycle

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue/core/ipc"
)

// The calls of functions, as package ipc declares them.
var (
	_ ipc.Functions = (*Supervisor)(nil)
	_ ipc.Health    = (*Supervisor)(nil)
	_ ipc.LogIntake = (*Supervisor)(nil)
)

// errStopping ends a poll of a worker that is to get no more work.
var errStopping = errors.New("the worker is being stopped")

// Authenticate finds the worker of a token. The lookup goes by the token's
// hash, so its time says nothing about how much of a guess is right.
func (s *Supervisor) Authenticate(authorization string) (ipc.Worker, bool) {
	hash := sha256.Sum256([]byte(authorization))
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.tokens[hash]
	if w == nil || subtle.ConstantTimeCompare([]byte(w.token), []byte(authorization)) != 1 {
		return ipc.Worker{}, false
	}
	return w.ipcWorker(), true
}

// Invoke queues a call. The target must be a function of the group, with the
// very version that runs.
func (s *Supervisor) Invoke(_ context.Context, caller ipc.Worker, call ipc.Call) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, err := s.reserve(call.ARN, caller, cmp.Or(caller.FunctionARN, coreCaller), call)
	if err != nil {
		return "", err
	}
	s.enqueue(item)
	return item.id, nil
}

// ReserveEvent takes a place for an Event in a function's queue, of the share of
// the source that its message came from. settle, called once, uses it or gives it
// back.
func (s *Supervisor) ReserveEvent(arn, source, clientContext string, payload []byte) (settle func(deliver bool), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	call := ipc.Call{ARN: arn, Type: ipc.Event, ClientContext: clientContext, Payload: payload}
	item, err := s.reserve(arn, ipc.Worker{}, source, call)
	if err != nil {
		return nil, err
	}
	return func(deliver bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		// The function may have been replaced or removed meanwhile.
		f := s.functions[arn]
		if !deliver || f == nil || s.closing {
			s.end(item, ipc.Outcome{})
			return
		}
		item.function = f
		s.enqueue(item)
	}, nil
}

// Result waits for a call to end.
func (s *Supervisor) Result(ctx context.Context, caller ipc.Worker, arn, id string) (ipc.Outcome, error) {
	missing := fmt.Errorf("%w: no invocation %s of %s by this worker", ipc.ErrNotFound, strings.ToValidUTF8(id, "?"), arn)
	s.mu.Lock()
	item := s.invocations[id]
	if item == nil || item.caller.ID != caller.ID || item.function.spec.ARN != arn || item.kind != ipc.RequestResponse {
		s.mu.Unlock()
		return ipc.Outcome{}, missing
	}
	s.mu.Unlock()
	select {
	case <-item.done:
	case <-ctx.Done():
		return ipc.Outcome{}, fmt.Errorf("wait for invocation %s: %w", id, ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.invocations[id] != item {
		return ipc.Outcome{}, missing
	}
	s.drop(item)
	return item.outcome, nil
}

// NextWork waits for an item. A worker that is being stopped waits in vain: its
// process is about to get a signal.
func (s *Supervisor) NextWork(ctx context.Context, caller ipc.Worker) (ipc.Work, error) {
	s.mu.Lock()
	w := s.workers[caller.ID]
	if w == nil {
		s.mu.Unlock()
		return ipc.Work{}, fmt.Errorf("%w: the worker is gone", ipc.ErrForbidden)
	}
	poll := make(chan delivery, 1)
	w.polls = append(w.polls, poll)
	if !w.asked {
		w.asked = true
		if w.initTimer != nil {
			w.initTimer.Stop()
		}
		w.function.gate.ready()
	}
	if len(w.held) == 0 {
		w.rest()
	}
	w.function.dispatch()
	s.mu.Unlock()

	select {
	case got, ok := <-poll:
		if !ok {
			return ipc.Work{}, fmt.Errorf("%w: %w", ipc.ErrShuttingDown, errStopping)
		}
		return got.work, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.polls = slices.DeleteFunc(w.polls, func(other chan delivery) bool { return other == poll })
	select {
	case got, ok := <-poll:
		if ok {
			s.putBack(w, got.item)
		}
	default:
	}
	return ipc.Work{}, fmt.Errorf("wait for work: %w", ctx.Err())
}

// Undelivered puts an item back that did not reach the worker.
func (s *Supervisor) Undelivered(caller ipc.Worker, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workers[caller.ID]
	if w == nil || w.held[id] == nil {
		return
	}
	s.putBack(w, w.held[id])
}

// putBack makes an item the first of its queue again.
func (s *Supervisor) putBack(w *worker, item *invocation) {
	if item.ended {
		return
	}
	delete(w.held, item.id)
	item.worker = nil
	item.timer.Stop()
	item.timer = nil
	item.attempts++
	f := item.function
	if item.attempts >= maxAttempts || f.retired && s.functions[f.spec.ARN] == nil {
		s.options.Logger.Error("WorkItem reached max retry limit.", "invocationId", item.id, "funcArn", f.spec.ARN, "workerId", w.id)
		s.end(item, unhandled("the call could not be handed to the function's process"))
		return
	}
	if current := s.functions[f.spec.ARN]; current != nil {
		item.function = current
	}
	s.count(item, usage{1, item.counted.bytes})
	item.function.queue = slices.Insert(item.function.queue, 0, item)
	item.function.dispatch()
}

// Complete ends an item with what the function says.
func (s *Supervisor) Complete(_ context.Context, caller ipc.Worker, id string, outcome ipc.Outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workers[caller.ID]
	if w == nil || w.held[id] == nil {
		return fmt.Errorf("%w: this worker holds no item %s; it may have timed out", ipc.ErrNotFound, strings.ToValidUTF8(id, "?"))
	}
	s.end(w.held[id], outcome)
	if len(w.held) == 0 {
		w.rest()
	}
	return nil
}

// Initialized records what a process says about its start. Only the first
// failure of a process counts. Its reason stands elsewhere in one sentence; what
// is longer goes into the function's own log.
func (s *Supervisor) Initialized(_ context.Context, caller ipc.Worker, result ipc.Initialization) error {
	s.mu.Lock()
	w := s.workers[caller.ID]
	if w == nil {
		s.mu.Unlock()
		return fmt.Errorf("%w: the worker is gone", ipc.ErrForbidden)
	}
	if result.Success || w.failure != "" {
		w.initialized = w.initialized || result.Success
		s.mu.Unlock()
		return nil
	}
	reason := cmp.Or(sentence(result.Response), "it gave no reason")
	w.failure = "it failed to initialize: " + reason
	s.mu.Unlock()

	s.options.Logger.Error(fmt.Sprintf("worker with %s failed to initialize with reason %s", w.id, reason),
		"funcArn", w.function.spec.ARN, "workerId", w.id)
	if strings.TrimSpace(result.Response) != reason {
		for line := range strings.Lines(ends(result.Response, maxReasonLog)) {
			s.logLine(w.function, s.options.Now().UTC(), "ERROR", "initialized", strings.TrimRight(line, "\r\n"))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.function.gate.fail(w.failure)
	return nil
}

// Workers lists all workers for the health API, by function.
func (s *Supervisor) Workers() []ipc.WorkerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []ipc.WorkerStatus
	for _, f := range s.functions {
		list = append(list, f.status()...)
	}
	slices.SortFunc(list, func(a, b ipc.WorkerStatus) int {
		if order := strings.Compare(a.FuncArn, b.FuncArn); order != 0 {
			return order
		}
		return strings.Compare(a.WorkerId, b.WorkerId)
	})
	return list
}

// AppendLog takes log lines that a worker sends by HTTP.
func (s *Supervisor) AppendLog(_ context.Context, caller ipc.Worker, lines []ipc.LogLine) error {
	s.mu.Lock()
	w := s.workers[caller.ID]
	s.mu.Unlock()
	if w == nil {
		return fmt.Errorf("%w: the worker is gone", ipc.ErrForbidden)
	}
	for _, line := range lines {
		s.logLine(w.function, line.Time, line.Level, "log", line.Text)
	}
	return nil
}
