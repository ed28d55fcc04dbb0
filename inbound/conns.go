// Package inbound bounds what clients that are not known yet can hold of a server: how many connections
// a listener has, and how slowly one may send or read. It knows TCP and HTTP, and
// nothing of what is asked.
package inbound

import (
	"container/list"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Listener has at most so many connections at a time. When one more comes, it takes
// the place of one that waits: that has sent no whole request yet, or has none
// under way. Of those it is the oldest of the address that has the most
// connections. If all are at work the new one is closed at once, so that its
// client notices.
type Listener struct {
	net.Listener
	max    int
	name   string
	logger *slog.Logger
	gate   *Gate        // nil for none
	turns  atomic.Int64 // how often one began to wait

	mu     sync.Mutex
	conns  map[*Conn]struct{}
	of     map[string]int // how many an address has
	closed uint64
	warned time.Time

	idle       list.List      // of *Conn, those that wait for another request, the longest first
	idleOf     map[string]int // how many of them an address has
	mostIdle   int            // 0 for any number
	idleClosed uint64
}

// Limit bounds the connections of a listener; name is its name in the log. Those that begin
// with a TLS handshake go through gate, if there is one, when they are Split.
func Limit(l net.Listener, max int, name string, gate *Gate, logger *slog.Logger) *Listener {
	return &Listener{Listener: l, max: max, name: name, gate: gate, logger: logger, conns: make(map[*Conn]struct{}), of: make(map[string]int), idleOf: make(map[string]int)}
}

// BoundIdle has at most so many connections wait for another request over HTTP, of those that
// a server reports (Watch): when one more begins to, the one that has waited longest is
// closed, of its own address where that has more than an eighth of them. One that brings something is no longer idle, from its first byte on. What is sent
// to a connection just as it is closed is lost, as whenever a server closes idle ones: HTTP's
// clients send it again over another one. It is called before Accept.
func (l *Listener) BoundIdle(most int) { l.mostIdle = most }

// beginIdle has a connection wait for another request, and returns the one that is to be closed for
// that.
func (l *Listener) beginIdle(c *Conn) (loser *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.conns[c]; !ok || c.idle != nil {
		return nil
	}
	c.idle = l.idle.PushBack(c)
	l.idleOf[c.address]++
	c.isIdle.Store(true)
	for l.mostIdle > 0 && l.idle.Len() > l.mostIdle {
		longest := l.longestIdle(c.address)
		l.endIdle(longest)
		if since := longest.waits.Load(); since != 0 && !readable(longest.Conn) && longest.waits.CompareAndSwap(since, 0) {
			l.idleClosed++
			l.remove(longest)
			return longest
		}
	}
	return nil
}

// longestIdle is the connection that has waited longest for another request, when one of an address
// begins to. There is one. mu is held.
func (l *Listener) longestIdle(address string) *Conn {
	first := l.idle.Front()
	if l.idleOf[address] > l.mostIdle/8 {
		for first.Value.(*Conn).address != address {
			first = first.Next()
		}
	}
	return first.Value.(*Conn)
}

// endIdle has a connection wait no longer for another request. mu is held.
func (l *Listener) endIdle(c *Conn) {
	if c.idle != nil {
		l.idle.Remove(c.idle)
		if l.idleOf[c.address]--; l.idleOf[c.address] == 0 {
			delete(l.idleOf, c.address)
		}
		c.idle = nil
		c.isIdle.Store(false)
	}
}

// warnEvery is how often the log says that connections were closed.
const warnEvery = time.Minute

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &Conn{Conn: raw, of: l, address: Origin(raw.RemoteAddr().String())}
		c.waits.Store(l.turns.Add(1))
		loser := l.add(c)
		if loser != nil {
			loser.Conn.Close()
		}
		if loser != c {
			return c, nil
		}
	}
}

// add takes a connection in, and returns the one that has to go for it.
func (l *Listener) add(c *Conn) (loser *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) >= l.max {
		l.warn(c)
		if loser = l.oldest(); loser == nil {
			return c
		}
		l.remove(loser)
	}
	l.keep(c)
	return loser
}

// keep counts a connection.
func (l *Listener) keep(c *Conn) {
	l.conns[c] = struct{}{}
	l.of[c.address]++
}

// oldest is the connection that waits longest of the address that has most. It no longer
// counts as one that waits: who begins to work meanwhile keeps its connection.
func (l *Listener) oldest() *Conn {
	for {
		var found *Conn
		var since int64 // that found waits
		for c := range l.conns {
			waits := c.waits.Load()
			if waits == 0 {
				continue
			}
			if found == nil || l.of[c.address] > l.of[found.address] ||
				l.of[c.address] == l.of[found.address] && waits < since {
				found, since = c, waits
			}
		}
		if found == nil || found.waits.CompareAndSwap(since, 0) {
			return found
		}
	}
}

func (l *Listener) warn(c *Conn) {
	l.closed++
	if now := time.Now(); now.Sub(l.warned) > warnEvery {
		l.warned = now
		l.logger.Warn("a listener has all the connections that it may have: those that wait are closed for new ones; raise the limit of open files (LimitNOFILE) if they are wanted",
			"listener", l.name, "connections", l.max, "from", c.address, "closed", l.closed)
	}
}

func (l *Listener) remove(c *Conn) {
	if _, ok := l.conns[c]; !ok {
		return
	}
	l.endIdle(c)
	delete(l.conns, c)
	if l.of[c.address]--; l.of[c.address] == 0 {
		delete(l.of, c.address)
	}
}

// move counts a connection as one of another address.
func (l *Listener) move(c *Conn, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.conns[c]; !ok {
		return
	}
	l.remove(c)
	c.address = address
	l.keep(c)
}

// Stats are how many connections there are, and how many were closed for want of
// room since the start.
func (l *Listener) Stats() (open int, closed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns), l.closed
}

// Idle are how many connections wait for another request, how many may, 0 for any number, and
// how many were closed for want of that since the start.
func (l *Listener) Idle() (now, most int, closed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.idle.Len(), l.mostIdle, l.idleClosed
}

// Conn is a connection of a Listener.
type Conn struct {
	net.Conn
	of      *Listener
	address string
	// place is what it has of the gate; nil before it came to that.
	place atomic.Pointer[visit]
	// waits is zero while it does not wait for its client, and the smaller the longer it has.
	waits atomic.Int64
	// idle is its place among those that wait for another request, under the Listener's lock;
	// isIdle is whether it has one.
	idle   *list.Element
	isIdle atomic.Bool
}

// enter waits for a place in the gate.
func (c *Conn) enter() error {
	if c.of.gate == nil {
		return nil
	}
	place, err := c.of.gate.enter(c.Conn, c.address)
	if err == nil {
		c.place.Store(place)
	}
	return err
}

// leave gives the place in the gate back.
func (c *Conn) leave() {
	if place := c.place.Swap(nil); place != nil {
		place.leave()
	}
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if place := c.place.Load(); place != nil {
		defer time.AfterFunc(c.of.gate.o.Silence, c.leave).Stop()
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.endIdle()
	}
	return n, err
}

// endIdle has the connection count as idle no longer.
func (c *Conn) endIdle() {
	if c.isIdle.Load() {
		c.of.mu.Lock()
		c.of.endIdle(c)
		c.of.mu.Unlock()
	}
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.leave()
	c.of.mu.Lock()
	c.of.remove(c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// wait says whether the connection waits for its client, so that it may be closed
// for another one.
func (c *Conn) wait(waits bool) {
	if waits {
		c.waits.Store(c.of.turns.Add(1))
		return
	}
	c.leave()
	c.waits.Store(0)
	c.endIdle()
}

// Work keeps a connection, which may be wrapped by others, from being closed for
// another one. It does nothing for a connection of no Listener.
func Work(c net.Conn) { setWaiting(c, false) }

func setWaiting(c net.Conn, waits bool) {
	if limited := limited(c); limited != nil {
		limited.wait(waits)
	}
}

// countAs has a connection count as one of an origin.
func countAs(c net.Conn, origin string) {
	if limited := limited(c); limited != nil {
		limited.of.move(limited, origin)
	}
}

// limited is the connection of a Listener's below one that may be wrapped by others; nil
// for none.
func limited(c net.Conn) *Conn {
	for {
		switch inner := c.(type) {
		case *Conn:
			return inner
		case interface{ NetConn() net.Conn }:
			c = inner.NetConn()
		default:
			return nil
		}
	}
}

// connKey is the key of a request's net.Conn in its context.
type connKey struct{}

// Watch has an HTTP server report to the Listener below it which of its connections
// have a request under way.
func Watch(server *http.Server) {
	outer := server.ConnContext
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if outer != nil {
			ctx = outer(ctx, c)
		}
		return context.WithValue(ctx, connKey{}, c)
	}
	server.ConnState = func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateActive: // the head of a request is complete
			setWaiting(c, false)
		case http.StateIdle:
			setWaiting(c, true)
			if limited := limited(c); limited != nil {
				if loser := limited.of.beginIdle(limited); loser != nil {
					loser.Conn.Close()
				}
			}
		}
	}
}

// Origin is whom an address is counted as: itself, or the network of 64 bits that an
// IPv6 host has to itself. remote may have a port.
func Origin(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap(); ip.Is4() {
		return ip.String()
	}
	network, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return host
	}
	return network.String()
}
