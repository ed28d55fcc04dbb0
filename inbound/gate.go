package inbound

import (
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// Gate bounds how many connections are set up at the same time, from their TLS handshake
// until they have proved whose they are (Work), sent a whole request, or ended. More at once
// than the processors get done in time would all take longer than their clients wait. Who
// finds no place waits in line; of those the next is the oldest of the address that has the
// fewest places. Whoever has waited for too long is closed, and so is one whose client has
// given up.
//
// A place is for work: a client that is silent in its handshake loses it, and goes on without.
type Gate struct {
	o      GateOptions
	logger *slog.Logger

	mu      sync.Mutex
	stats   GateStats
	of      map[string]int // places of an address
	waiting []*visit       // oldest first
	warned  time.Time
}

// GateOptions configure a Gate. All are required.
type GateOptions struct {
	// Most is how many places there are.
	Most int
	// Wait is for how long one may wait for a place. It has to leave time for what follows:
	// devices give up a connection that is not there after ten seconds or more.
	Wait time.Duration
	// Silence is for how long a client that is awaited keeps its place.
	Silence time.Duration
}

// GateStats are how many have a place and wait for one now, and how many were closed since
// the start because they had waited for too long, or because their clients were gone when
// their turn came.
type GateStats struct {
	Inside, Waiting int
	Late, Gone      uint64
}

// NewGate makes a Gate.
func NewGate(o GateOptions, logger *slog.Logger) *Gate {
	return &Gate{o: o, logger: logger, of: make(map[string]int)}
}

// visit is what a connection has of a Gate: it waits, has a place, or has had one.
type visit struct {
	gate    *Gate
	address string
	turn    chan struct{} // closed when it has a place
	inside  bool          // under the gate's lock
}

// What enter fails with.
var (
	errLate = errors.New("the connection has waited too long to be set up")
	errGone = errors.New("the client of the connection has given up")
)

// enter waits for a place.
func (g *Gate) enter(c net.Conn, address string) (*visit, error) {
	v := &visit{gate: g, address: address, turn: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, v)
	g.admit()
	g.mu.Unlock()
	timeout := time.NewTimer(g.o.Wait)
	defer timeout.Stop()
	select {
	case <-v.turn:
		if !hungUp(c) {
			return v, nil
		}
		v.leave()
		g.closed(&g.stats.Gone)
		return nil, errGone
	case <-timeout.C:
		g.mu.Lock()
		if i := slices.Index(g.waiting, v); i >= 0 {
			g.waiting = slices.Delete(g.waiting, i, i+1)
		}
		g.mu.Unlock()
		v.leave() // its turn may just have come
		g.closed(&g.stats.Late)
		return nil, errLate
	}
}

// admit gives places that are free to those who wait. mu is held.
func (g *Gate) admit() {
	for len(g.waiting) > 0 && g.stats.Inside < g.o.Most {
		next := 0
		for i, v := range g.waiting {
			if g.of[v.address] < g.of[g.waiting[next].address] {
				next = i
			}
		}
		v := g.waiting[next]
		g.waiting = slices.Delete(g.waiting, next, next+1)
		v.inside = true
		g.stats.Inside++
		g.of[v.address]++
		close(v.turn)
	}
}

// leave gives a place back, once.
func (v *visit) leave() {
	g := v.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if !v.inside {
		return
	}
	v.inside = false
	g.stats.Inside--
	if g.of[v.address]--; g.of[v.address] == 0 {
		delete(g.of, v.address)
	}
	g.admit()
}

// closed counts a connection that was closed, and says so now and then.
func (g *Gate) closed(count *uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*count++
	if now := time.Now(); now.Sub(g.warned) > warnEvery {
		g.warned = now
		g.logger.Warn("connections come faster than they can be set up: those that have waited too long, or whose clients have given up, are closed, and come again",
			"setUpAtOnce", g.o.Most, "waiting", len(g.waiting), "longestWait", g.o.Wait, "late", g.stats.Late, "gaveUp", g.stats.Gone)
	}
}

// Stats are the figures of the moment.
func (g *Gate) Stats() GateStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Waiting = len(g.waiting)
	return s
}
