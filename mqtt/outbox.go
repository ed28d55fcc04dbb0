package mqtt

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// writePiece is the most that is written under one deadline: one TLS
	// record. A peer makes progress while a piece leaves within the timeout.
	writePiece = 16 << 10

	// droppableShare is the part of a queue, one in so many, that QoS 0
	// messages may fill. The rest is kept for what may not be dropped.
	droppableShare = 4
)

// outbox is a bounded queue of packets in front of a connection, emptied by one
// goroutine. The bounds include what is being written.
type outbox struct {
	conn    net.Conn
	timeout time.Duration
	count   int // bound
	bytes   int // bound

	mu      sync.Mutex
	changed sync.Cond // something was put, taken or closed
	queue   []Packet
	held    int // packets queued or being written
	weight  int // their weight
	closed  bool
	ending  bool // write what is queued, then stop
}

func newOutbox(conn net.Conn, o Options) *outbox {
	b := &outbox{conn: conn, timeout: o.WriteTimeout, count: o.QueuePackets, bytes: o.QueueBytes}
	b.changed.L = &b.mu
	return b
}

func (b *outbox) fits(w, share int) bool {
	return b.held < b.count/share && b.weight+w <= b.bytes/share
}

func (b *outbox) add(p Packet, w int) {
	b.queue = append(b.queue, p)
	b.held++
	b.weight += w
	b.changed.Broadcast()
}

// put queues without waiting: ErrDropped when a QoS 0 message finds no room,
// ErrOverflow when another packet does.
func (b *outbox) put(p Packet) error {
	w := p.weight()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.room(p, w); err != nil {
		return err
	}
	b.add(p, w)
	return nil
}

// room says by its error why p cannot be queued now; the caller holds mu.
func (b *outbox) room(p Packet, w int) error {
	pub, ok := p.(*Publish)
	droppable := ok && pub.QoS == 0
	switch {
	case b.closed || b.ending:
		return ErrClosed
	case droppable && !b.fits(w, droppableShare):
		return ErrDropped
	case !b.fits(w, 1):
		return ErrOverflow
	}
	return nil
}

// reserve takes room for p, which settle then uses or gives back.
func (b *outbox) reserve(p Packet) error {
	w := p.weight()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.room(p, w); err != nil {
		return err
	}
	b.held++
	b.weight += w
	return nil
}

// settle queues p in the room that was taken for it, or gives that back.
func (b *outbox) settle(p Packet, use bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held--
	w := p.weight()
	b.weight -= w
	if use && !b.closed && !b.ending {
		b.add(p, w)
		return
	}
	b.changed.Broadcast()
}

// putWait queues when there is room, which is always the case in an empty queue.
func (b *outbox) putWait(p Packet) error {
	w := p.weight()
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed && !b.ending && b.held > 0 && !b.fits(w, 1) {
		b.changed.Wait()
	}
	if b.closed || b.ending {
		return ErrClosed
	}
	b.add(p, w)
	return nil
}

// close drops what is queued and ends run.
func (b *outbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.queue = nil
	b.changed.Broadcast()
}

// finish queues p as the last packet and ends run when everything is written.
func (b *outbox) finish(p Packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.ending {
		return
	}
	b.add(p, p.weight())
	b.ending = true
}

// take waits for packets and returns about as many as fill one piece; none when
// the outbox is closed or finished.
func (b *outbox) take(batch []Packet) []Packet {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) == 0 && !b.closed && !b.ending {
		b.changed.Wait()
	}
	if b.closed {
		return nil
	}
	size := 0
	for len(b.queue) > 0 && size < writePiece {
		p := b.queue[0]
		b.queue[0] = nil
		b.queue = b.queue[1:]
		batch = append(batch, p)
		size += p.weight()
	}
	if len(b.queue) == 0 {
		b.queue = nil // an idle connection keeps no memory
	}
	return batch
}

func (b *outbox) written(batch []Packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, p := range batch {
		b.held--
		b.weight -= p.weight()
		batch[i] = nil
	}
	b.changed.Broadcast()
}

// run writes until the outbox is closed or finished (nil) or the connection
// fails.
func (b *outbox) run() error {
	var (
		batch []Packet
		buf   bytes.Buffer
	)
	for {
		batch = b.take(batch[:0])
		if len(batch) == 0 {
			return nil
		}
		for _, p := range batch {
			if err := Encode(&buf, p); err != nil {
				return fmt.Errorf("encode %T: %w", p, err)
			}
		}
		if err := writePieces(b.conn, buf.Bytes(), b.timeout); err != nil {
			return err
		}
		b.written(batch)
		if buf.Reset(); buf.Cap() > 4*writePiece {
			buf = bytes.Buffer{}
		}
	}
}

// writePieces writes data so that each piece has the whole timeout.
func writePieces(conn net.Conn, data []byte, timeout time.Duration) error {
	for len(data) > 0 {
		n := min(len(data), writePiece)
		if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return fmt.Errorf("set the write deadline: %w", err)
		}
		if _, err := conn.Write(data[:n]); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("%w: nothing taken for %v", ErrStalled, timeout)
			}
			return fmt.Errorf("write: %w", err)
		}
		data = data[n:]
	}
	return nil
}

// writeNow writes one packet on a connection that has no outbox running.
func writeNow(conn net.Conn, p Packet, timeout time.Duration) error {
	var buf bytes.Buffer
	if err := Encode(&buf, p); err != nil {
		return fmt.Errorf("encode %T: %w", p, err)
	}
	return writePieces(conn, buf.Bytes(), timeout)
}
