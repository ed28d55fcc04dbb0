package invoke

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// resultOverhead is what an outcome counts for beside its payload, in bytes, so
// that their number is bounded too.
const resultOverhead = 1 << 10

// results are the calls whose callers have not fetched an outcome yet. The bytes
// of outcomes are bounded, and a caller may have as many waiting as are free, so
// that one that fetches nothing does not lose others theirs.
type results struct {
	room int64
	keep time.Duration

	mu   sync.Mutex
	used int64
	// by is the part of each source in used.
	by map[string]int64
	of map[string]*result
}

// result is one call, ended or not.
type result struct {
	caller Worker
	source string
	target string

	// ended is closed when outcome is there; size is what it counts for, taken
	// that somebody has it.
	ended   chan struct{}
	outcome Outcome
	size    int64
	timer   *time.Timer
	taken   bool
}

func newResults(room int64, keep time.Duration) *results {
	return &results{room: room, keep: keep, by: make(map[string]int64), of: make(map[string]*result)}
}

// expect makes place for the outcome of a call.
func (r *results) expect(i *Invocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of[i.ID] = &result{caller: i.Caller, source: i.Source, target: canonical(i.ARN), ended: make(chan struct{})}
}

// put keeps an outcome for a while. Where there is no room for it its caller
// gets to know that instead, or nothing where there is none for that either.
func (r *results) put(id string, o Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := r.of[id]
	if of == nil {
		return
	}
	free, size := r.room-r.used, int64(len(o.Payload))+resultOverhead
	if size > free {
		o = Failed(fmt.Sprintf("there is no room for the outcome of %d bytes: too many others wait to be fetched", len(o.Payload)))
		size = resultOverhead
	}
	if size > free || r.by[of.source] >= free {
		r.remove(id)
		return
	}
	of.outcome, of.size = o, size
	r.used += size
	r.by[of.source] += size
	of.timer = time.AfterFunc(r.keep, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !of.taken && r.of[id] == of {
			r.remove(id)
		}
	})
	close(of.ended)
}

// wait returns the outcome of a call, to one that asks for it.
func (r *results) wait(ctx context.Context, caller Worker, target, id string) (o Outcome, found bool, err error) {
	r.mu.Lock()
	of := r.of[id]
	r.mu.Unlock()
	if of == nil || of.caller.ID != caller.ID || of.target != target {
		return Outcome{}, false, nil
	}
	select {
	case <-of.ended:
	case <-ctx.Done():
		return Outcome{}, false, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if of.taken || r.of[id] != of {
		return Outcome{}, false, nil
	}
	of.taken = true
	return of.outcome, true, nil
}

// drop forgets a call.
func (r *results) drop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of[id] != nil {
		r.remove(id)
	}
}

func (r *results) forget(worker string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, of := range r.of {
		if of.caller.ID == worker && !of.taken {
			r.remove(id)
		}
	}
}

// remove takes a call away; the caller holds mu.
func (r *results) remove(id string) {
	of := r.of[id]
	delete(r.of, id)
	if of.timer != nil {
		of.timer.Stop()
	} else {
		close(of.ended)
	}
	r.used -= of.size
	if r.by[of.source] -= of.size; r.by[of.source] == 0 {
		delete(r.by, of.source)
	}
}
