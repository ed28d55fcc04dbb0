package lifecycle

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/sandbox"
)

// worker is one process of a function. Fields and methods, but for run, are for
// holders of the supervisor's mu.
type worker struct {
	id       string
	function *function
	token    string
	pid      int
	started  time.Time

	// asked is set by the first poll for work, initialized by what the process
	// says about its start. failure is why it could not start, reason why the
	// core ended it all the same.
	asked, initialized bool
	failure, reason    string
	// polls wait for work, held is what was handed out and not answered.
	polls     []chan delivery
	held      map[string]*item
	idleSince time.Time
	// idleTimer ends an on-demand process that has nothing to do, initTimer one
	// that never asks.
	idleTimer, initTimer *time.Timer

	// outOfMemory says that the kernel killed it for its memory, or that it had no more
	// for objects.
	outOfMemory       bool
	stopping, killing bool
	stopped, killed   chan struct{}
	// done is closed when the process is gone and settled.
	done chan struct{}
}

// delivery is an item on its way to a poll, with what may be read of it without
// holding mu.
type delivery struct {
	item *item
	work invoke.Work
}

// newWorker makes a worker that has its token and its place, but no process.
func newWorker(f *function) *worker {
	secret := make([]byte, 32)
	// It never fails: crypto/rand ends the program instead.
	_, _ = rand.Read(secret)
	s := f.supervisor
	w := &worker{
		id: uuid.NewString(), function: f, token: "Basic " + base64.StdEncoding.EncodeToString(secret),
		started: s.options.Now(), held: make(map[string]*item),
		stopped: make(chan struct{}), killed: make(chan struct{}), done: make(chan struct{}),
	}
	f.workers[w] = struct{}{}
	s.workers[w.id] = w
	s.tokens[sha256.Sum256([]byte(w.token))] = w
	if !f.spec.Pinned {
		s.onDemand++
	}
	return w
}

// begin starts the process in a goroutine that owns it until its end.
func (w *worker) begin() {
	s := w.function.supervisor
	if !w.function.spec.Pinned {
		w.initTimer = time.AfterFunc(s.options.InitTimeout, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !w.asked {
				w.fail(fmt.Sprintf("it did not ask for work within %v", s.options.InitTimeout))
				w.kill()
			}
		})
	}
	s.running.Go(w.run)
}

// run is the life of the process.
func (w *worker) run() {
	s, f := w.function.supervisor, w.function
	p, err := w.start()
	if err != nil {
		w.settle(err.Error())
		return
	}
	s.mu.Lock()
	w.pid = p.PID()
	s.mu.Unlock()
	s.options.Logger.Info("A function's process started.", "funcArn", f.spec.ARN, "workerId", w.id, "pid", p.PID())

	ended := make(chan string, 1)
	go func() {
		end := p.Wait()
		if end.OutOfMemory || starved(&f.spec, end) {
			s.mu.Lock()
			w.outOfMemory = true
			f.count(outOfMemory)
			s.mu.Unlock()
		}
		ended <- describe(&f.spec, end)
	}()
	w.settle(w.see(p, ended))
}

// see waits for the end of the process and brings it about when it is asked to.
func (w *worker) see(p sandbox.Process, ended <-chan string) string {
	s := w.function.supervisor
	send := func(signal syscall.Signal) {
		if err := p.Signal(signal); err != nil {
			s.options.Logger.Error("A function's process cannot be signalled.", "funcArn", w.function.spec.ARN, "errorString", err.Error())
		}
	}
	select {
	case cause := <-ended:
		return cause
	case <-w.killed:
		send(syscall.SIGKILL)
		return <-ended
	case <-w.stopped:
	}
	send(syscall.SIGTERM)
	grace := time.NewTimer(s.options.StopGrace)
	defer grace.Stop()
	select {
	case cause := <-ended:
		return cause
	case <-w.killed:
	case <-grace.C:
		s.mu.Lock()
		w.function.count(ungraceful)
		s.mu.Unlock()
		s.options.Logger.Warn("A function did not end after SIGTERM and is killed.",
			"funcArn", w.function.spec.ARN, "workerId", w.id, "after", s.options.StopGrace.String())
	}
	send(syscall.SIGKILL)
	return <-ended
}

// settle removes the worker; from here on its token is worth nothing.
func (w *worker) settle(cause string) {
	s := w.function.supervisor
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(w.done)
	for _, timer := range []*time.Timer{w.idleTimer, w.initTimer} {
		if timer != nil {
			timer.Stop()
		}
	}
	delete(s.tokens, sha256.Sum256([]byte(w.token)))
	delete(s.workers, w.id)
	for _, poll := range w.polls {
		close(poll)
	}
	w.polls = nil
	if why := cmp.Or(w.failure, w.reason); why != "" {
		cause = why + "; " + cause
	}
	w.function.ended(w, cause)
	s.options.Registry.Forget(w.id)
}

// stop ends the process with SIGTERM, and SIGKILL after the grace.
func (w *worker) stop() {
	if !w.stopping {
		w.stopping = true
		close(w.stopped)
	}
}

// kill ends the process at once.
func (w *worker) kill() {
	if !w.killing {
		w.stopping, w.killing = true, true
		close(w.killed)
	}
}

// fail records why the process could not start; the first reason counts.
func (w *worker) fail(reason string) {
	if w.failure == "" {
		w.failure = reason
	}
	w.function.gate.fail(w.failure)
}

// idle says whether an on-demand process has nothing to do.
func (w *worker) idle() bool { return w.asked && len(w.held) == 0 && !w.stopping }

// rest starts the time after which an idle on-demand process ends.
func (w *worker) rest() {
	s := w.function.supervisor
	w.idleSince = s.options.Now()
	if w.function.spec.Pinned {
		return
	}
	if w.idleTimer != nil {
		w.idleTimer.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(s.options.Idle, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		// A timer that fired while it was being replaced counts no more.
		if w.idleTimer == timer && w.idle() {
			w.stop()
		}
	})
	w.idleTimer = timer
}

// assign hands an item to the latest poll.
func (w *worker) assign(item *item) {
	poll := w.polls[len(w.polls)-1]
	w.polls = w.polls[:len(w.polls)-1]
	w.held[item.ID] = item
	item.hand(w)
	poll <- delivery{item, invoke.Work{ID: item.ID, ClientContext: item.ClientContext, Payload: item.Payload}}
}

// heldItems are the unanswered items, in the order of the queue.
func (w *worker) heldItems() []*item {
	list := make([]*item, 0, len(w.held))
	for _, item := range w.held {
		list = append(list, item)
	}
	slices.SortFunc(list, func(a, b *item) int { return cmp.Compare(a.sequence, b.sequence) })
	return list
}

func (w *worker) state() invoke.WorkerState {
	switch {
	case w.failure != "":
		return invoke.FailedInitialization
	case w.stopping:
		return invoke.Terminated
	case len(w.held) > 0:
		return invoke.Working
	case w.asked:
		return invoke.Waiting
	case w.initialized:
		return invoke.Initialized
	}
	return invoke.Starting
}

func (w *worker) status() invoke.WorkerStatus {
	return invoke.WorkerStatus{
		FuncArn: w.function.spec.ARN, WorkerId: w.id, ProcessId: strconv.Itoa(w.pid), WorkerState: w.state(),
	}
}

// identity is how others know the worker.
func (w *worker) identity() invoke.Worker {
	return invoke.Worker{ID: w.id, FunctionARN: w.function.spec.ARN}
}
