//go:build linux

package faults

import (
	"net"
	"sync"
	"time"
)

// proxy carries TCP connections to a server and can spoil them.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns map[net.Conn]bool
	line  line
	// changed is closed when the line changes.
	changed chan struct{}
	closed  bool
}

// line is the state of the connection between core and server.
type line struct {
	cut     bool          // connections are ended and refused
	stalled bool          // nothing passes, nothing ends
	delay   time.Duration // each piece comes this much later
}

func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, conns: make(map[net.Conn]bool), changed: make(chan struct{})}
	go p.serve()
	return p, nil
}

func (p *proxy) port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// set changes the line.
func (p *proxy) set(l line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = l
	close(p.changed)
	p.changed = make(chan struct{})
	if l.cut {
		p.endAll()
	}
}

// endAll ends all connections with a reset. It is called locked.
func (p *proxy) endAll() {
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.Close()
	}
	clear(p.conns)
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	close(p.changed)
	p.changed = make(chan struct{})
	p.endAll()
}

func (p *proxy) serve() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.carry(conn)
	}
}

// keep registers a connection; it is false when there is no line for it.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line.cut || p.closed {
		c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) drop(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) carry(core net.Conn) {
	if !p.keep(core) {
		return
	}
	defer p.drop(core)
	server, err := net.Dial("tcp", p.target)
	if err != nil || !p.keep(server) {
		return
	}
	defer p.drop(server)
	var both sync.WaitGroup
	both.Go(func() { p.pump(server, core) })
	both.Go(func() { p.pump(core, server) })
	both.Wait()
}

// pump copies one direction piece by piece, at the line's pace.
func (p *proxy) pump(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.pace() {
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pace waits for as long as the line takes; it is false when the line is gone.
func (p *proxy) pace() bool {
	for {
		p.mu.Lock()
		l, changed, closed := p.line, p.changed, p.closed
		p.mu.Unlock()
		switch {
		case l.cut || closed:
			return false
		case l.stalled:
			<-changed
			continue
		case l.delay > 0:
			select {
			case <-time.After(l.delay):
			case <-changed:
			}
		}
		return true
	}
}
