package lifecycle

import "time"

// On-demand processes of all functions share MaxConcurrent places. A function
// gets one more as long as it has work for it; when all are taken, an idle
// process gives way, and then one of a function that has several, or has had its
// place for a turn, to a function that has none.

// needs says whether a function has more work than processes for it.
func (f *function) needs() bool {
	if f.spec.Pinned || !f.begun || f.retired || f.problem != nil || f.retry != nil || f.supervisor.closing {
		return false
	}
	return len(f.queue) > f.coming()
}

// live counts the processes that are not on their way out.
func (f *function) live() int {
	count := 0
	for w := range f.workers {
		if !w.stopping {
			count++
		}
	}
	return count
}

// dispatchAll gives every function's queue a chance.
func (s *Supervisor) dispatchAll() {
	for _, f := range s.functions {
		f.assign()
	}
	s.startOnDemand()
}

// startOnDemand starts processes while there are places, each for the function
// that has the fewest, of those the one whose work waits longest.
func (s *Supervisor) startOnDemand() {
	for {
		var next *function
		for _, f := range s.functions {
			if f.needs() && (next == nil || f.before(next)) {
				next = f
			}
		}
		if next == nil {
			return
		}
		if s.onDemand >= s.options.MaxConcurrent {
			s.evict()
			return
		}
		next.start()
	}
}

func (f *function) before(other *function) bool {
	if mine, others := f.live(), other.live(); mine != others {
		return mine < others
	}
	return f.queue[0].sequence < other.queue[0].sequence
}

// evict ends the on-demand process that has been idle longest, to make room for
// another. Its end sets off the next dispatch.
func (s *Supervisor) evict() {
	var oldest *worker
	for _, w := range s.workers {
		if w.function.spec.Pinned {
			continue
		}
		if w.stopping {
			// One is on its way out already.
			return
		}
		if !w.idle() || len(w.function.queue) > 0 {
			continue
		}
		if oldest == nil || w.idleSince.Before(oldest.idleSince) {
			oldest = w
		}
	}
	if oldest != nil {
		oldest.stop()
	}
}

// minTenure is how long a function's only process keeps its place while others have
// none.
const minTenure = 10 * time.Second

// owes says whether a process that could take more work has to end instead, so
// that a function without any gets its place.
func (s *Supervisor) owes(w *worker) bool {
	if w.function.spec.Pinned || s.onDemand < s.options.MaxConcurrent {
		return false
	}
	if w.function.live() < 2 && s.options.Now().Sub(w.started) < minTenure {
		return false
	}
	without := 0
	for _, f := range s.functions {
		if f != w.function && f.needs() && f.live() == 0 {
			without++
		}
	}
	for _, other := range s.workers {
		if !other.function.spec.Pinned && other.stopping {
			without--
		}
	}
	return without > 0
}
