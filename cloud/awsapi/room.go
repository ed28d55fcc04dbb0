package awsapi

import (
	"strings"
	"sync"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire"
)

// storingNothing are the beginnings of operations that keep nothing new: they read, or make
// room.
var storingNothing = []string{"Get", "List", "Describe", "Head", "Search", "Delete", "Abort", "Detach", "Disassociate", "Cancel", "Check"}

// makeRoom refuses what would keep something new on a disk that is nearly full:
// said at once it is better than half written.
func (h *Handler) makeRoom(service, operation string) error {
	if h.Room == nil {
		return nil
	}
	for _, name := range storingNothing {
		if strings.HasPrefix(operation, name) {
			return nil
		}
	}
	if err := h.Room(); err != nil {
		return refuseIn(wire.Full, service, err.Error())
	}
	return nil
}

// reservation is room on the disk for what is still to be written there.
type reservation struct {
	mu  sync.Mutex
	sum int64
}

// check asks space whether there is room for bytes beside all that is reserved; nil
// knows no bound.
func (r *reservation) check(n int64, space func(int64) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checkLocked(n, space)
}

func (r *reservation) checkLocked(n int64, space func(int64) error) error {
	if space == nil {
		return nil
	}
	return space(r.sum + n)
}

// reserve reserves bytes, if there is room for them.
func (r *reservation) reserve(n int64, space func(int64) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.checkLocked(n, space)
	if err == nil {
		r.sum += n
	}
	return err
}

// release gives back what was reserved.
func (r *reservation) release(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum -= n
}
