package mqttfront

import (
	"sync"

	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/mqtt"
)

// mailboxSize is how many messages may wait in a mailbox.
const mailboxSize = 4096

// mailbox takes messages from the broker, which does not wait, for somebody who may.
// Messages with QoS 0 are dropped when they come faster than they are taken; for those with
// QoS 1 there is always room, since a session has so many at most.
type mailbox struct {
	dropped func() // called for each that is

	mu     sync.Mutex
	queue  chan *mqtt.Publish
	closed bool
}

func newMailbox(dropped func()) *mailbox {
	return &mailbox{dropped: dropped, queue: make(chan *mqtt.Publish, mailboxSize)}
}

func (b *mailbox) put(m *mqtt.Publish) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
	case m.QoS == 0 && len(b.queue) >= mailboxSize-broker.Window:
		b.dropped()
	default:
		b.queue <- m
	}
}

// run gives each message to fn until the mailbox is closed; what is in it then is not.
func (b *mailbox) run(fn func(*mqtt.Publish)) {
	for m := range b.queue {
		if b.isClosed() {
			return
		}
		fn(m)
	}
}

func (b *mailbox) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

func (b *mailbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		close(b.queue)
	}
}
