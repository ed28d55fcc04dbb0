package lifecycle

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/runtimes"
)

// Readiness is how a long-lived function fared after it was started.
type Readiness string

// What WaitReady finds.
const (
	// Ready means that it asked for work.
	Ready Readiness = "Ready"
	// Alive means that its process runs but has not asked for work: an
	// executable that works by itself, or Python code that does not leave the
	// module level.
	Alive Readiness = "Alive"
	// Failed means that its first process ended or said that it cannot start.
	Failed Readiness = "Failed"
)

// Started is the report on one function.
type Started struct {
	ARN   string
	State Readiness
	// Cause is the exit status, the signal or the reason, when State is Failed.
	Cause string
	// Log are the last lines that the function wrote.
	Log []invoke.LogLine
}

// gate is the open question whether a function came up; nil where nobody asks.
type gate struct {
	decided chan struct{}
	once    sync.Once
	state   Readiness
	cause   string
}

func newGate() *gate { return &gate{decided: make(chan struct{})} }

func (g *gate) decide(state Readiness, cause string) {
	if g != nil {
		g.once.Do(func() {
			g.state, g.cause = state, cause
			close(g.decided)
		})
	}
}

func (g *gate) ready()            { g.decide(Ready, "") }
func (g *gate) fail(cause string) { g.decide(Failed, cause) }

// aloneBound is how long a function that may work by itself has to stay alive: it need
// never ask for work, and nothing else shows that it came up.
const aloneBound = 3 * time.Second

// failureGrace is how long WaitReady goes on after the first failure, so that
// functions that fail for the same reason are reported together.
const failureGrace = time.Second

// WaitReady waits until each long-lived function that the last Apply started or
// restarted is ready or has failed, at most for bound, for one that may work by
// itself at most for aloneBound; once one has failed, only failureGrace longer. Functions
// that are still undecided then are Alive. One that cannot run on this machine
// has failed from the beginning, an on-demand one too. The list is ordered by
// ARN; the error is that of ctx.
func (s *Supervisor) WaitReady(ctx context.Context, bound time.Duration) ([]Started, error) {
	type question struct {
		f *function
		g *gate
	}
	var questions []question
	s.mu.Lock()
	for _, f := range s.functions {
		if f.gate != nil {
			questions = append(questions, question{f, f.gate})
		}
	}
	s.mu.Unlock()
	slices.SortFunc(questions, func(a, b question) int { return strings.Compare(a.f.spec.ARN, b.f.spec.ARN) })

	waiting, stop := context.WithCancel(ctx)
	defer stop()
	var undecided sync.WaitGroup
	for _, q := range questions {
		timeout := bound
		if row := runtimes.Of(q.f.spec.Runtime); row != nil && row.WorksAlone {
			timeout = min(bound, aloneBound)
		}
		undecided.Go(func() {
			timer := time.NewTimer(timeout)
			defer timer.Stop()
			select {
			case <-q.g.decided:
				if q.g.state == Failed {
					time.AfterFunc(failureGrace, stop)
				}
			case <-timer.C:
			case <-waiting.Done():
			}
		})
	}
	undecided.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("wait for functions to start: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Started, 0, len(questions))
	for _, q := range questions {
		found := Started{ARN: q.f.spec.ARN, State: Alive, Log: q.f.tail.list()}
		select {
		case <-q.g.decided:
			found.State, found.Cause = q.g.state, q.g.cause
		default:
		}
		list = append(list, found)
	}
	return list, nil
}
