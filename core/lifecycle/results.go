package lifecycle

// results bound the bytes of outcomes that wait to be fetched. A caller may have
// as many waiting as are free, so that one that fetches nothing does not lose
// others theirs.
type results struct {
	room, used int64
	by         map[string]int64
}

// take counts a result and reports whether there was room for it.
func (r *results) take(caller string, size int64) bool {
	if free := r.room - r.used; size > free || size > 0 && r.by[caller] >= free {
		return false
	}
	r.add(caller, size)
	return true
}

// add counts what comes, or goes when it is negative.
func (r *results) add(caller string, size int64) {
	r.used += size
	if r.by[caller] += size; r.by[caller] == 0 {
		delete(r.by, caller)
	}
}
