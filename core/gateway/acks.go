package gateway

import "sync"

// acks are the acknowledgements that a device is due. They go out in the order in which
// its messages came, whichever of those is kept first [MQTT-4.6.0-2].
type acks struct {
	mu  sync.Mutex
	due []*ack // oldest first
}

// ack is one of them.
type ack struct {
	id    uint16
	ready bool
}

// expect notes that a message is to be acknowledged.
func (a *acks) expect(id uint16) *ack {
	due := &ack{id: id}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due = append(a.due, due)
	return due
}

// done marks one as ready, and sends all that no other one has to precede.
func (a *acks) done(due *ack, send func(id uint16)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	due.ready = true
	for len(a.due) > 0 && a.due[0].ready {
		send(a.due[0].id)
		a.due[0] = nil
		a.due = a.due[1:]
	}
	if len(a.due) == 0 {
		a.due = nil // a device at rest keeps no memory
	}
}
