package shadows

import (
	"sync"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/shadow"
)

// turns lets one request at a time change a shadow and publish what came of it,
// so that messages leave this server in the order of versions.
type turns struct {
	mu   *sync.Mutex
	busy map[turnKey]*turn
}

type turnKey struct {
	partition fescue.Partition
	id        shadow.ID
}

type turn struct {
	sync.Mutex
	users int
}

func newTurns() turns { return turns{new(sync.Mutex), make(map[turnKey]*turn)} }

// take waits for the turn; the function returned ends it.
func (t turns) take(p fescue.Partition, id shadow.ID) (done func()) {
	key := turnKey{p, id}
	t.mu.Lock()
	mine := t.busy[key]
	if mine == nil {
		mine = new(turn)
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
