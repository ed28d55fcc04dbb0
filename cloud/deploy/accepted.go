package deploy

import "sync"

// mostAccepted is how many deployments that a server accepted wait for its builder in memory. The
// others wait in the database alone, where any server's builder finds them.
const mostAccepted = 128

// accepted are deployments that were leased to this server's builder when they were accepted: it
// has neither to look for them nor to write that it takes them. Room is reserved before they
// are written; if the server dies, their leases end as all do.
type accepted struct {
	mu sync.Mutex
	// waiting takes mostAccepted; nil while nobody builds.
	waiting  chan leased
	reserved int
}

// open has deployments be accepted, which come through the channel. For each that is taken from it
// release is to be called.
func (a *accepted) open() <-chan leased {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = make(chan leased, mostAccepted)
	return a.waiting
}

// reserve makes room for n deployments, or for as many as there can be.
func (a *accepted) reserve(n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		return 0
	}
	n = min(n, mostAccepted-a.reserved)
	a.reserved += n
	return n
}

// release gives the room of one back.
func (a *accepted) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reserved--
}

// hand gives one, for which there is room, to the builder. It reports whether somebody builds: if
// not, the room is still to be released.
func (a *accepted) hand(l leased) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		return false
	}
	a.waiting <- l
	return true
}

// close has none be accepted any more, and returns those that nobody took.
func (a *accepted) close() (left []leased) {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.waiting)
	for l := range a.waiting {
		left = append(left, l)
	}
	a.waiting, a.reserved = nil, a.reserved-len(left)
	return left
}
