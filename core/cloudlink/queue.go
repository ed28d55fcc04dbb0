package cloudlink

import "sync"

// Message is on its way to the cloud, or from it.
type Message struct {
	Topic   string
	Payload []byte
}

// overhead is what a queued message costs beside its topic and payload, in bytes.
const overhead = 64

func (m Message) size() int64 { return int64(len(m.Topic)+len(m.Payload)) + overhead }

// Queue holds messages for the cloud in the order of their arrival, within a number
// of bytes. When it is full the oldest give way, but never the one in flight. One
// goroutine at a time calls Take and Settle; the other methods may be called from
// any.
type Queue interface {
	// Push adds a message and reports how many gave way to it. It does not wait for
	// the cloud.
	Push(m Message) (dropped int, err error)
	// Take marks the first message as in flight and gives it, with a number that no
	// other message of the queue has; false when there is none.
	Take() (m Message, number uint64, ok bool)
	// Settle ends the flight: the message is done with, or stays the first.
	Settle(done bool) error
	// SetLimit changes the bound.
	SetLimit(bytes int64)
	// Waiting are how many messages there are and how large they are together, and
	// how many gave way since the start.
	Waiting() (messages int, bytes int64, dropped uint64)
}

// memory is the Queue that ends with the process.
type memory struct {
	mu       sync.Mutex
	messages []Message
	// inFlight says that the first message is being sent.
	inFlight bool
	// first is the number of the first message.
	first   uint64
	bytes   int64
	limit   int64
	dropped uint64
}

// NewMemory makes a Queue of at most so many bytes in memory.
func NewMemory(limit int64) Queue { return &memory{limit: limit} }

// Push implements Queue.
func (q *memory) Push(m Message) (dropped int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = append(q.messages, m)
	q.bytes += m.size()
	return q.shrink(), nil
}

// SetLimit implements Queue.
func (q *memory) SetLimit(limit int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limit = limit
	q.shrink()
}

// shrink drops the oldest until the rest fits. mu is held.
func (q *memory) shrink() (dropped int) {
	kept := 0
	if q.inFlight {
		kept = 1
	}
	end := kept
	for q.bytes > q.limit && end < len(q.messages) {
		q.bytes -= q.messages[end].size()
		end++
	}
	if dropped = end - kept; dropped > 0 {
		q.messages = append(q.messages[:kept:kept], q.messages[end:]...)
		q.dropped += uint64(dropped)
		if kept == 0 {
			q.first++
		}
	}
	return dropped
}

// Take implements Queue.
func (q *memory) Take() (Message, uint64, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.messages) == 0 {
		return Message{}, 0, false
	}
	q.inFlight = true
	return q.messages[0], q.first, true
}

// Settle implements Queue.
func (q *memory) Settle(done bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inFlight = false
	if done {
		q.bytes -= q.messages[0].size()
		q.messages[0] = Message{}
		q.messages = q.messages[1:]
		q.first++
	} else {
		// While it was in flight it could not give way.
		q.shrink()
	}
	return nil
}

// Waiting implements Queue.
func (q *memory) Waiting() (int, int64, uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages), q.bytes, q.dropped
}
