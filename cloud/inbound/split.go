package inbound

import (
	"net"
	"sync"
	"time"
)

// Split tells the connections of a listener that begin with a TLS handshake from
// others, whose clients can then be told in plain text what is wrong. Whoever opens
// a connection has so long to send its first byte.
//
// Both listeners have to be served. Closing one of them closes l, and ends both.
func Split(l net.Listener, patience time.Duration) (secure, plain net.Listener) {
	s := &splitter{Listener: l, patience: patience, secure: make(chan net.Conn), plain: make(chan net.Conn), done: make(chan struct{})}
	go s.run()
	return &side{s, s.secure}, &side{s, s.plain}
}

// splitter accepts for both sides.
type splitter struct {
	net.Listener
	patience      time.Duration
	secure, plain chan net.Conn
	// done is closed when no more connections come, because of err.
	done chan struct{}
	err  error
}

// handshakeRecord is the first byte of a TLS connection.
const handshakeRecord = 0x16

func (s *splitter) run() {
	for {
		c, err := s.Accept()
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
func (s *splitter) sort(c net.Conn) {
	first := make([]byte, 1)
	c.SetReadDeadline(time.Now().Add(s.patience))
	if _, err := c.Read(first); err != nil {
		c.Close()
		return
	}
	c.SetReadDeadline(time.Time{})
	to := s.plain
	if first[0] == handshakeRecord {
		to = s.secure
	}
	select {
	case to <- &begun{Conn: c, first: first}:
	case <-s.done:
		c.Close()
	}
}

// side is one of the two listeners.
type side struct {
	*splitter
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
