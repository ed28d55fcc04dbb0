package spooler

import "sync"

// message is one publication on its way to the cloud.
type message struct {
	topic   string
	payload []byte
	// closes counts the connections that ended while it was in flight.
	closes int
}

// overhead is what a queued message costs beside its topic and payload, in bytes.
const overhead = 64

func (m *message) size() int64 { return int64(len(m.topic)+len(m.payload)) + overhead }

// queue holds messages in the order of their arrival, within a number of bytes.
// When it is full the oldest give way, but never the one in flight.
type queue struct {
	mu       sync.Mutex
	messages []*message
	// inFlight says that the first message is being sent.
	inFlight bool
	bytes    int64
	limit    int64
	dropped  uint64
	// changed has an element when there may be something to send.
	changed chan struct{}
}

func newQueue(limit int64) *queue {
	return &queue{limit: limit, changed: make(chan struct{}, 1)}
}

// push appends a message and reports how many gave way to it.
func (q *queue) push(m *message) (dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = append(q.messages, m)
	q.bytes += m.size()
	dropped = q.shrink()
	q.signal()
	return dropped
}

// setLimit changes the bound.
func (q *queue) setLimit(limit int64) (dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limit = limit
	return q.shrink()
}

// shrink drops the oldest until the rest fits. mu is held.
func (q *queue) shrink() (dropped int) {
	first := 0
	if q.inFlight {
		first = 1
	}
	end := first
	for q.bytes > q.limit && end < len(q.messages) {
		q.bytes -= q.messages[end].size()
		end++
	}
	dropped = end - first
	if dropped > 0 {
		q.messages = append(q.messages[:first:first], q.messages[end:]...)
		q.dropped += uint64(dropped)
	}
	return dropped
}

// take gives the first message and marks it as in flight; nil when there is
// none.
func (q *queue) take() *message {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.messages) == 0 {
		return nil
	}
	q.inFlight = true
	return q.messages[0]
}

// settle ends the flight of the first message: it is done with, or stays.
func (q *queue) settle(done bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inFlight = false
	if done {
		q.bytes -= q.messages[0].size()
		q.messages[0] = nil
		q.messages = q.messages[1:]
	} else {
		// While it was in flight it could not give way.
		q.shrink()
	}
}

// lose counts a message that was given up.
func (q *queue) lose() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped++
}

func (q *queue) stats() (length int, bytes int64, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages), q.bytes, q.dropped
}

func (q *queue) signal() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}
