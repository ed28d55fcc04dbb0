package mqttfront

import (
	"sync"

	"github.com/fescue-edge/fescue/mqtt"
)

// mailboxSize is how many messages may wait in a mailbox, and mailboxBytes how large they may
// be together. Those with QoS 0 have half of each, so that they keep no others out.
const (
	mailboxSize  = 4096
	mailboxBytes = 16 << 20
)

// mailbox takes messages from the broker, which does not wait, for somebody who may.
// Those that come when it is full are dropped: a session has fewer with QoS 1, but for a
// client that acknowledges what it was not sent yet.
type mailbox struct {
	dropped func(m *mqtt.Publish) // called for each that is

	mu     sync.Mutex
	filled sync.Cond
	queue  []*mqtt.Publish
	bytes  int
	closed bool
}

func newMailbox(dropped func(m *mqtt.Publish)) *mailbox {
	b := &mailbox{dropped: dropped}
	b.filled.L = &b.mu
	return b
}

func (b *mailbox) put(m *mqtt.Publish) {
	b.mu.Lock()
	defer b.mu.Unlock()
	size, most, bytes := sizeOf(m), mailboxSize, mailboxBytes
	if m.QoS == 0 {
		most, bytes = most/2, bytes/2
	}
	switch {
	case b.closed:
	case len(b.queue) >= most, b.bytes+size > bytes:
		b.dropped(m)
	default:
		b.bytes += size
		b.queue = append(b.queue, m)
		b.filled.Signal()
	}
}

// sizeOf is what a message takes in a mailbox.
func sizeOf(m *mqtt.Publish) int { return len(m.Topic) + len(m.Payload) }

// run gives each message to fn until the mailbox is closed; what is in it then is not.
func (b *mailbox) run(fn func(*mqtt.Publish)) {
	for {
		m := b.take()
		if m == nil {
			return
		}
		fn(m)
	}
}

// take waits for a message; nil when the mailbox is closed.
func (b *mailbox) take() *mqtt.Publish {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) == 0 && !b.closed {
		b.filled.Wait()
	}
	if b.closed {
		return nil
	}
	m := b.queue[0]
	b.queue[0] = nil
	b.bytes -= sizeOf(m)
	if b.queue = b.queue[1:]; len(b.queue) == 0 {
		b.queue = nil // an idle connection keeps no memory
	}
	return m
}

func (b *mailbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.queue, b.bytes = true, nil, 0
	b.filled.Broadcast()
}
