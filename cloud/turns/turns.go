// Package turns lets those who act on the same thing take turns on one server.
package turns

import "sync"

// Turns are the turns for each of many keys; a key costs nothing while nobody
// uses it.
type Turns[K comparable] struct {
	mu   sync.Mutex
	busy map[K]*turn
}

type turn struct {
	sync.Mutex
	users int
}

// Take waits for the turn; the function returned ends it.
func (t *Turns[K]) Take(key K) (done func()) {
	t.mu.Lock()
	mine := t.busy[key]
	if mine == nil {
		mine = new(turn)
		if t.busy == nil {
			t.busy = make(map[K]*turn)
		}
		t.busy[key] = mine
	}
	mine.users++
	t.mu.Unlock()
	mine.Lock()
	return func() {
		mine.Unlock()
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(t.busy, key)
		}
	}
}
