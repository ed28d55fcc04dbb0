package keyed

import (
	"sync"
	"time"
)

// A value stands for goodFor times as long as it took to read, so that at most that part of
// the time is spent with reading it, and for mostGood at most.
const (
	goodFor  = 40
	mostGood = 3 * time.Second
)

// Recent has what takes a while to read, and is asked for again and again, read a fortieth of
// the time at most: a value of each key, none older than three seconds. The zero Recent is
// ready.
type Recent[K comparable, V any] struct {
	reading Mutex[K]
	mu      sync.Mutex
	kept    map[K]recent[V]
}

type recent[V any] struct {
	value V
	until time.Time
}

// Get is the value of a key; who asks while another reads it waits for that. An error is not
// kept.
func (r *Recent[K, V]) Get(key K, read func() (V, error)) (V, error) {
	defer r.reading.Lock(key)()
	r.mu.Lock()
	k := r.kept[key]
	r.mu.Unlock()
	begin := time.Now()
	if begin.Before(k.until) {
		return k.value, nil
	}
	value, err := read()
	if err != nil {
		return value, err
	}
	end := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for other, k := range r.kept {
		if !end.Before(k.until) {
			delete(r.kept, other)
		}
	}
	if r.kept == nil {
		r.kept = make(map[K]recent[V])
	}
	r.kept[key] = recent[V]{value, end.Add(min(goodFor*end.Sub(begin), mostGood))}
	return value, nil
}

// Forget has a key's value read anew for whoever asks next.
func (r *Recent[K, V]) Forget(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.kept, key)
}
