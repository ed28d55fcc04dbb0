package deploy

import (
	"sync"

	"github.com/fescue-edge/fescue"
)

// hub wakes the long polls of one core on this server. It loses nothing that
// matters: who waits reads the database after every wake and once a second.
type hub struct {
	mu      *sync.Mutex
	waiting map[coreKey]map[chan struct{}]struct{}
}

type coreKey struct {
	partition fescue.Partition
	thing     string
}

func newHub() hub {
	return hub{mu: new(sync.Mutex), waiting: make(map[coreKey]map[chan struct{}]struct{})}
}

// wait registers for notifications; leave must be called.
func (h hub) wait(p fescue.Partition, thing string) (woken <-chan struct{}, leave func()) {
	key, ch := coreKey{p, thing}, make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting[key] == nil {
		h.waiting[key] = make(map[chan struct{}]struct{})
	}
	h.waiting[key][ch] = struct{}{}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.waiting[key], ch)
		if len(h.waiting[key]) == 0 {
			delete(h.waiting, key)
		}
	}
}

func (h hub) notify(p fescue.Partition, thing string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.waiting[coreKey{p, thing}] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
