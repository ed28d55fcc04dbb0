package inbound

import (
	"net"
	"sync"
	"time"
)

// Split separates the connections of a listener that begin with a TLS handshake from
// others, whose clients can then be answered in plain text what is wrong. Whoever opens
// a connection has so long to send its first byte. A handshake then waits until the Gate of
// the listener, if it has one, lets it in.
//
// Both listeners have to be served. Closing one of them closes l, and ends both.
func Split(l net.Listener, timeout time.Duration) (secure, plain net.Listener) {
	return sortConns(l, func(c net.Conn) (net.Conn, bool) {
		first := make([]byte, 1)
		c.SetReadDeadline(time.Now().Add(timeout))
		if _, err := c.Read(first); err != nil {
			return nil, false
		}
		c.SetReadDeadline(time.Time{})
		secure := first[0] == handshakeRecord
		if inner := limited(c); secure && inner != nil && inner.enter() != nil {
			return nil, false
		}
		return &begun{Conn: c, first: first}, secure
	})
}

// handshakeRecord is the first byte of a TLS connection.
const handshakeRecord = 0x16

// sorter accepts for two sides.
type sorter struct {
	net.Listener
	// look returns to which side a connection belongs and gives it as that side gets
	// it; nil for one that is to be closed. It may take its time.
	look        func(net.Conn) (c net.Conn, left bool)
	left, right chan net.Conn
	// done is closed when no more connections come, because of err.
	done chan struct{}
	err  error
}

func sortConns(l net.Listener, look func(net.Conn) (net.Conn, bool)) (left, right net.Listener) {
	s := &sorter{Listener: l, look: look, left: make(chan net.Conn), right: make(chan net.Conn), done: make(chan struct{})}
	go s.run()
	return &side{s, s.left}, &side{s, s.right}
}

func (s *sorter) run() {
	for {
		c, err := s.Listener.Accept()
		if isTemporary(err) {
			time.Sleep(acceptPause)
			continue
		}
		if err != nil {
			s.err = err
			close(s.done)
			return
		}
		go s.sort(c)
	}
}

// acceptPause is waited after an error that passes, such as no descriptor left.
const acceptPause = 20 * time.Millisecond

func isTemporary(err error) bool {
	passing, ok := err.(interface{ Temporary() bool })
	return ok && passing.Temporary()
}

// sort hands a connection to its side.
func (s *sorter) sort(raw net.Conn) {
	c, left := s.look(raw)
	if c == nil {
		raw.Close()
		return
	}
	to := s.right
	if left {
		to = s.left
	}
	select {
	case to <- c:
	case <-s.done:
		raw.Close()
	}
}

// side is one of the two listeners.
type side struct {
	*sorter
	conns chan net.Conn
}

// Accept implements net.Listener.
func (s *side) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, s.err
	}
}

// begun is a connection whose first byte was read already.
type begun struct {
	net.Conn
	mu    sync.Mutex
	first []byte
}

// Read implements net.Conn.
func (b *begun) Read(p []byte) (int, error) {
	b.mu.Lock()
	if len(b.first) > 0 && len(p) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		b.mu.Unlock()
		return n, nil
	}
	b.mu.Unlock()
	return b.Conn.Read(p)
}

// NetConn is the connection below.
func (b *begun) NetConn() net.Conn { return b.Conn }
