// Package keyed has a mutex for each of many keys, and what was read of each a moment ago, on
// one server.
package keyed

import "sync"

// Mutex is a mutex for each key; a key costs nothing while nobody holds it or waits
// for it. The zero Mutex is ready.
type Mutex[K comparable] struct {
	mu    sync.Mutex
	locks map[K]*lock
}

type lock struct {
	sync.Mutex
	users int
}

// Lock waits for the key; the function returned gives it back.
func (m *Mutex[K]) Lock(key K) (unlock func()) {
	m.mu.Lock()
	l := m.locks[key]
	if l == nil {
		l = new(lock)
		if m.locks == nil {
			m.locks = make(map[K]*lock)
		}
		m.locks[key] = l
	}
	l.users++
	m.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		m.mu.Lock()
		defer m.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(m.locks, key)
		}
	}
}
