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

	"github.com/fescue-edge/fescue/core/invoke"
)

// errStopping ends a poll of a worker that is to get no more work.
var errStopping = errors.New("the worker is being stopped")

// Authenticate finds the worker of a token. The lookup goes by the token's
// hash, so its time says nothing about how much of a guess is right.
func (s *Supervisor) Authenticate(authorization string) (invoke.Worker, bool) {
	hash := sha256.Sum256([]byte(authorization))
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.tokens[hash]
	if w == nil || subtle.ConstantTimeCompare([]byte(w.token), []byte(authorization)) != 1 {
		return invoke.Worker{}, false
	}
	return w.identity(), true
}

// Invoke implements invoke.Target for every function of the group: it queues the
// call.
func (s *Supervisor) Invoke(_ context.Context, i *invoke.Invocation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, err := s.reserve(i)
	if err != nil {
		return err
	}
	s.enqueue(item)
	return nil
}

// ReserveEvent takes a place for an Event in a function's queue, of the share of
// the source that its message came from. settle, called once, uses it or gives it
// back.
func (s *Supervisor) ReserveEvent(arn, source, clientContext string, payload []byte) (settle func(deliver bool), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, err := s.reserve(invoke.NewEvent(source, invoke.Call{ARN: arn, ClientContext: clientContext, Payload: payload}))
	if err != nil {
		return nil, err
	}
	return func(deliver bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		// The function may have been replaced or removed meanwhile.
		f := s.functions[arn]
		if !deliver || f == nil || s.closing {
			s.end(item, invoke.Outcome{})
			return
		}
		item.function = f
		s.enqueue(item)
	}, nil
}

// NextWork waits for an item. A worker that is being stopped waits in vain: its
// process is about to get a signal.
func (s *Supervisor) NextWork(ctx context.Context, caller invoke.Worker) (invoke.Work, error) {
	s.mu.Lock()
	w := s.workers[caller.ID]
	if w == nil {
		s.mu.Unlock()
		return invoke.Work{}, fmt.Errorf("%w: the worker is gone", invoke.ErrForbidden)
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
			return invoke.Work{}, fmt.Errorf("%w: %w", invoke.ErrShuttingDown, errStopping)
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
	return invoke.Work{}, fmt.Errorf("wait for work: %w", ctx.Err())
}

// Undelivered puts an item back that did not reach the worker.
func (s *Supervisor) Undelivered(caller invoke.Worker, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workers[caller.ID]
	if w == nil || w.held[id] == nil {
		return
	}
	s.putBack(w, w.held[id])
}

// putBack makes an item the first of its queue again.
func (s *Supervisor) putBack(w *worker, item *item) {
	if item.ended {
		return
	}
	delete(w.held, item.ID)
	item.worker = nil
	item.timer.Stop()
	item.timer = nil
	item.attempts++
	f := item.function
	if item.attempts >= maxAttempts || f.retired && s.functions[f.spec.ARN] == nil {
		s.options.Logger.Error("WorkItem reached max retry limit.", "invocationId", item.ID, "funcArn", f.spec.ARN, "workerId", w.id)
		s.end(item, invoke.Failed("the call could not be handed to the function's process"))
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
func (s *Supervisor) Complete(_ context.Context, caller invoke.Worker, id string, outcome invoke.Outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workers[caller.ID]
	if w == nil || w.held[id] == nil {
		return fmt.Errorf("%w: this worker holds no item %s; it may have timed out", invoke.ErrNotFound, strings.ToValidUTF8(id, "?"))
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
func (s *Supervisor) Initialized(_ context.Context, caller invoke.Worker, result invoke.Initialization) error {
	s.mu.Lock()
	w := s.workers[caller.ID]
	if w == nil {
		s.mu.Unlock()
		return fmt.Errorf("%w: the worker is gone", invoke.ErrForbidden)
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
func (s *Supervisor) Workers() []invoke.WorkerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []invoke.WorkerStatus
	for _, f := range s.functions {
		list = append(list, f.status()...)
	}
	slices.SortFunc(list, func(a, b invoke.WorkerStatus) int {
		if order := strings.Compare(a.FuncArn, b.FuncArn); order != 0 {
			return order
		}
		return strings.Compare(a.WorkerId, b.WorkerId)
	})
	return list
}

// AppendLog takes log lines that a worker sends by HTTP.
func (s *Supervisor) AppendLog(_ context.Context, caller invoke.Worker, lines []invoke.LogLine) error {
	s.mu.Lock()
	w := s.workers[caller.ID]
	s.mu.Unlock()
	if w == nil {
		return fmt.Errorf("%w: the worker is gone", invoke.ErrForbidden)
	}
	for _, line := range lines {
		s.logLine(w.function, line.Time, line.Level, "log", line.Text)
	}
	return nil
}
