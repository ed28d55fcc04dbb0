package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// Handler decides what happens to one client's packets. Its methods are called
// one after the other, in the order of the packets; a method that waits holds up
// its own client only. An error ends the session and is what Serve returns.
type Handler interface {
	// Connect decides on the session. What is sent to s from here on reaches
	// the client after the CONNACK that Connect returns. Where that takes long ctx ends
	// when the client goes, unless it has sent more behind its CONNECT, which is not read before.
	Connect(ctx context.Context, s *Session, c *Connect) Connack
	// Publish takes a message in. For QoS 1 the handler sends the Puback when
	// it has taken responsibility.
	Publish(ctx context.Context, p *Publish) error
	// Subscribe is answered by the handler with a Suback.
	Subscribe(ctx context.Context, p *Subscribe) error
	// Unsubscribe is answered by the handler with an Unsuback.
	Unsubscribe(ctx context.Context, p *Unsubscribe) error
	// Puback reports that the client has the message that was sent with id.
	Puback(ctx context.Context, id uint16) error
}

// Session is a client's connection as its Handler sees it. Its methods may be
// called from any goroutine and never wait.
type Session struct {
	conn   net.Conn
	outbox *outbox

	watching sync.WaitGroup // what looks whether the client is still there

	mu    sync.Mutex
	cause error // why the session ends; the first one counts
}

// Send queues a packet for the client. ErrDropped means that a QoS 0 message
// found no room and the session goes on. A full queue for anything else ends the
// session with ErrOverflow; an ended session gives ErrClosed. The packet must not
// be changed afterwards.
func (s *Session) Send(p Packet) error {
	err := s.outbox.put(p)
	if errors.Is(err, ErrOverflow) {
		s.Close(err)
	}
	return err
}

// Reserve takes a place in the queue for a packet, with the errors of Send. The
// returned function must be called once: with true it queues the packet, with false
// it gives the place back.
func (s *Session) Reserve(p Packet) (settle func(send bool), err error) {
	if err := s.outbox.reserve(p); err != nil {
		return nil, err
	}
	return func(send bool) { s.outbox.settle(p, send) }, nil
}

// Close ends the session at once, as a broken connection would; Serve returns
// cause. Nothing queued is written any more.
func (s *Session) Close(cause error) {
	s.mu.Lock()
	if s.cause == nil {
		s.cause = cause
	}
	s.mu.Unlock()
	s.outbox.close()
	abort(s.conn)
}

// ended is the cause of a Close, or else err.
func (s *Session) ended(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return s.cause
	}
	return err
}

// abort closes a connection without the last words of TLS, for which a peer that
// does not read would make us wait.
func abort(conn net.Conn) {
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = wrapped.NetConn()
	}
	_ = conn.Close()
}

// Serve runs one client's session on conn and closes conn. It returns nil after
// the client's DISCONNECT, an error that wraps ErrRefused after a CONNECT that h
// did not accept, the cause given to Session.Close, h's own error, or what was
// wrong with the connection; then the client's will, if any, is due. It returns
// when everything that it started has ended.
func Serve(ctx context.Context, conn net.Conn, h Handler, o Options) error {
	o = o.withDefaults()
	s := &Session{conn: conn, outbox: newOutbox(conn, o)}
	stop := context.AfterFunc(ctx, func() { s.Close(context.Cause(ctx)) })
	defer stop()
	err := s.serve(ctx, h, o)
	if !errors.Is(err, ErrRefused) {
		abort(conn)
	}
	_ = conn.Close() // a refused client sees TLS end, and so reads its CONNACK
	s.watching.Wait()
	return err
}

func (s *Session) serve(ctx context.Context, h Handler, o Options) error {
	r := NewReader(s.conn, o.MaxPacket)
	c, err := s.accept(ctx, r, h, o)
	if err != nil {
		return s.ended(err)
	}
	// This goroutine's stack has grown in accept, and it needs least of it to write. The one
	// that reads begins with a small one, which it keeps while it waits.
	read := make(chan error, 1)
	go func() {
		err := s.ended(s.loop(ctx, r, h, silence(c.KeepAlive, o.MaxKeepAlive)))
		s.Close(err)
		read <- err
	}()
	if err := s.outbox.run(); err != nil {
		s.Close(err)
	}
	return <-read
}

// silence is how long a client may say nothing: one and a half times its
// keep-alive (MQTT 3.1.1, 3.1.2.10).
func silence(keepAlive, most time.Duration) time.Duration {
	if keepAlive == 0 || keepAlive > most {
		keepAlive = most
	}
	return keepAlive + keepAlive/2
}

// accept reads CONNECT and writes CONNACK.
func (s *Session) accept(ctx context.Context, r *Reader, h Handler, o Options) (*Connect, error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(o.ConnectTimeout)); err != nil {
		return nil, fmt.Errorf("set the deadline for CONNECT: %w", err)
	}
	if ok, err := r.startsWithConnect(); err != nil {
		return nil, fmt.Errorf("wait for CONNECT: %w", readError(err))
	} else if !ok {
		return nil, fmt.Errorf("%w: the first packet is not CONNECT", ErrProtocol)
	}
	p, err := r.Read()
	if errors.Is(err, ErrVersion) {
		return nil, s.refuse(Connack{Code: RefusedVersion}, err, o)
	}
	if err != nil {
		return nil, fmt.Errorf("wait for CONNECT: %w", readError(err))
	}
	c := p.(*Connect) // the first byte said so
	if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("end the deadline for CONNECT: %w", err)
	}
	ack := s.decide(ctx, r, h, c)
	if ack.Code != Accepted {
		return nil, s.refuse(Connack{Code: ack.Code}, fmt.Errorf("return code %d", ack.Code), o)
	}
	if c.Level < Level311 {
		ack.SessionPresent = false // MQTT 3.1 has no such flag
	}
	if err := writeNow(s.conn, &ack, o.WriteTimeout); err != nil {
		return nil, fmt.Errorf("answer CONNECT: %w", err)
	}
	return c, nil
}

// watchAfter is for how long a handler may decide on a CONNECT until it is looked whether the client is
// still there, who may have given up.
const watchAfter = time.Second

// decide has the handler decide on a CONNECT, with a context that ends if the client goes meanwhile. One that
// has sent more already is not seen to go: to see it, all of that would have to be read.
func (s *Session) decide(ctx context.Context, r *Reader, h Handler, c *Connect) Connack {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan error, 1)
	s.watching.Add(1)
	watch := time.AfterFunc(watchAfter, func() {
		defer s.watching.Done()
		err := r.watch()
		if err != nil {
			cancel(fmt.Errorf("the client has gone: %w", readError(err)))
		}
		watched <- err
	})
	ack := h.Connect(ctx, s, c)
	if watch.Stop() {
		s.watching.Done()
	} else {
		r.watched = watched // it reads until the next packet comes
	}
	return ack
}

func (s *Session) refuse(ack Connack, why error, o Options) error {
	if err := writeNow(s.conn, &ack, o.WriteTimeout); err != nil {
		return fmt.Errorf("refuse CONNECT: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrRefused, why)
}

func (s *Session) loop(ctx context.Context, r *Reader, h Handler, silence time.Duration) error {
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return fmt.Errorf("set the keep-alive deadline: %w", err)
		}
		p, err := r.Read()
		if err != nil {
			return readError(err)
		}
		switch p := p.(type) {
		case *Publish:
			err = h.Publish(ctx, p)
		case *Puback:
			err = h.Puback(ctx, p.ID)
		case *Subscribe:
			err = h.Subscribe(ctx, p)
		case *Unsubscribe:
			err = h.Unsubscribe(ctx, p)
		case *Pingreq:
			err = s.Send(&Pingresp{})
		case *Disconnect:
			return nil
		default:
			err = fmt.Errorf("%w: %T from a client", ErrProtocol, p)
		}
		if err != nil {
			return err
		}
	}
}

// readError gives a missed read deadline its own name.
func readError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrSilent
	}
	return err
}
