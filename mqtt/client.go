package mqtt

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Client is the client's end of a connection to a broker. It speaks packets:
// packet identifiers, acknowledgements and pings are its owner's, which lets a
// proxy pass them through. One goroutine must read until an error comes.
type Client struct {
	conn   net.Conn
	reader *Reader
	outbox *outbox
	writer chan struct{}

	mu    sync.Mutex
	cause error
}

// Open sends CONNECT on conn and waits for the answer. When the broker refuses,
// the Connack says why and the error wraps ErrRefused. On any error conn is
// closed; otherwise the caller ends the Client with Close or Disconnect.
func Open(ctx context.Context, conn net.Conn, c *Connect, o Options) (*Client, Connack, error) {
	o = o.withDefaults()
	stop := context.AfterFunc(ctx, func() { abort(conn) })
	defer stop()
	ack, r, err := open(conn, c, o)
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		abort(conn)
		return nil, ack, err
	}
	cl := &Client{conn: conn, reader: r, outbox: newOutbox(conn, o), writer: make(chan struct{})}
	go func() {
		defer close(cl.writer)
		if err := cl.outbox.run(); err != nil {
			cl.fail(err)
		}
	}()
	return cl, ack, nil
}

func open(conn net.Conn, c *Connect, o Options) (Connack, *Reader, error) {
	if err := writeNow(conn, c, o.WriteTimeout); err != nil {
		return Connack{}, nil, fmt.Errorf("send CONNECT: %w", err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(o.ConnectTimeout)); err != nil {
		return Connack{}, nil, fmt.Errorf("set the deadline for CONNACK: %w", err)
	}
	r := NewReader(conn, o.MaxPacket)
	p, err := r.Read()
	if err != nil {
		return Connack{}, nil, fmt.Errorf("wait for CONNACK: %w", readError(err))
	}
	ack, ok := p.(*Connack)
	switch {
	case !ok:
		return Connack{}, nil, fmt.Errorf("%w: %T in answer to CONNECT", ErrProtocol, p)
	case ack.Code != Accepted:
		return *ack, nil, fmt.Errorf("%w: return code %d", ErrRefused, ack.Code)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return Connack{}, nil, fmt.Errorf("clear the read deadline: %w", err)
	}
	return *ack, r, nil
}

// Read returns the broker's next packet.
func (c *Client) Read() (Packet, error) {
	p, err := c.reader.Read()
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.cause != nil {
			return nil, c.cause
		}
		return nil, readError(err)
	}
	return p, nil
}

// Send queues a packet, and waits for room when the queue is full. It gives
// ErrClosed after the end of the connection.
func (c *Client) Send(p Packet) error { return c.outbox.putWait(p) }

// Offer queues a packet and never waits: a full queue ends the connection with
// ErrOverflow, or drops a QoS 0 message with ErrDropped.
func (c *Client) Offer(p Packet) error {
	err := c.outbox.put(p)
	if err == ErrOverflow {
		c.fail(err)
	}
	return err
}

// Disconnect sends what is queued and DISCONNECT, after which the broker closes
// the connection: Read then gives io.EOF. If that takes longer than timeout, Read
// gives ErrSilent. Close is still to be called.
func (c *Client) Disconnect(timeout time.Duration) {
	_ = c.conn.SetReadDeadline(time.Now().Add(timeout))
	c.outbox.finish(&Disconnect{})
}

// Close ends the connection at once and waits for the writer. To the broker it
// looks like a failure of the connection.
func (c *Client) Close() {
	c.fail(ErrClosed)
	<-c.writer
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = err
	}
	c.mu.Unlock()
	c.outbox.close()
	abort(c.conn)
}
