package ipc

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"syscall"

	"golang.org/x/sync/semaphore"

	"github.com/fescue-edge/fescue/core/invoke"
)

// Bounds of open connections and of bodies that are being read. Every user of
// the machine can connect; only workers have a token. So a connection that has
// not shown one is anonymous: there are few of them, and the one that has been
// open longest gives way to the next, so that a worker always gets in.
const (
	maxConnections = 4096
	maxAnonymous   = 256
	maxOfWorker    = 256

	// Bodies of up to freeBody bytes are read at once; larger ones wait for room
	// among those of the same worker, or of all anonymous connections, and among all.
	freeBody           = 16 << 10
	maxBodies          = 64 << 20
	maxWorkerBodies    = 2*invoke.MaxPayload + 2*freeBody
	maxAnonymousBodies = 1 << 20
)

// connections are all open ones of a server.
type connections struct {
	most, mostAnonymous, mostOfWorker int
	bodies                            *semaphore.Weighted
	anonymous                         *party

	mu sync.Mutex
	// waiting are the anonymous connections, the oldest first.
	waiting *list.List
	workers map[string]*party
	known   int
}

// party is who shares a part of the room: one worker, or all that are anonymous.
type party struct {
	open   int
	bodies *semaphore.Weighted
}

// newConnections keeps well below the number of descriptors that this process
// may have: its functions' log pipes and its files need others.
func newConnections(largestBody int64) *connections {
	descriptors := uint64(2 * maxConnections)
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		descriptors = min(descriptors, uint64(limit.Cur))
	}
	most := int(descriptors / 2)
	return &connections{
		most: most, mostAnonymous: min(maxAnonymous, most/4), mostOfWorker: min(maxOfWorker, most/4),
		bodies:    semaphore.NewWeighted(max(maxBodies, largestBody)),
		anonymous: &party{bodies: semaphore.NewWeighted(maxAnonymousBodies)},
		waiting:   list.New(), workers: make(map[string]*party),
	}
}

// conn is one open connection.
type conn struct {
	net.Conn
	all *connections

	// The following is guarded by all.mu. place is where it stands among the
	// anonymous ones, nil once it belongs to a worker or is closed.
	place  *list.Element
	worker string
	closed bool
}

// listener counts what it accepts.
type listener struct {
	net.Listener
	all *connections
}

func (l listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.all.add(accepted), nil
}

func (all *connections) add(accepted net.Conn) *conn {
	c := &conn{Conn: accepted, all: all}
	all.mu.Lock()
	c.place = all.waiting.PushBack(c)
	var oldest *conn
	if all.waiting.Len() > all.mostAnonymous {
		oldest = all.waiting.Front().Value.(*conn)
	}
	all.mu.Unlock()
	if oldest != nil {
		// Its error would only say that it is closed already.
		_ = oldest.Close()
	}
	return c
}

// belong makes a connection one of a worker. It reports whether the worker and
// the server may have that many.
func (c *conn) belong(worker string) bool {
	all := c.all
	all.mu.Lock()
	defer all.mu.Unlock()
	if c.closed || c.worker == worker {
		return !c.closed
	}
	p := all.workers[worker]
	if p == nil {
		p = &party{bodies: semaphore.NewWeighted(maxWorkerBodies)}
	}
	if p.open >= all.mostOfWorker || all.known >= all.most && c.worker == "" {
		return false
	}
	c.leave()
	all.workers[worker] = p
	c.worker = worker
	p.open++
	all.known++
	return true
}

// leave takes the connection from where it is counted; the caller holds all.mu.
func (c *conn) leave() {
	if c.place != nil {
		c.all.waiting.Remove(c.place)
		c.place = nil
	}
	if p := c.all.workers[c.worker]; p != nil {
		c.all.known--
		if p.open--; p.open == 0 {
			delete(c.all.workers, c.worker)
		}
	}
	c.worker = ""
}

func (c *conn) Close() error {
	c.all.mu.Lock()
	c.closed = true
	c.leave()
	c.all.mu.Unlock()
	return c.Conn.Close()
}

// owner is the id of the worker whose token came over the connection, empty if
// none did.
func (c *conn) owner() string {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	return c.worker
}

func (c *conn) known() bool { return c.owner() != "" }

// room waits until a body of that many bytes may be read. done gives the room
// back, when what was read is counted elsewhere or forgotten.
func (c *conn) room(ctx context.Context, size int64) (done func(), err error) {
	if size <= freeBody {
		return func() {}, nil
	}
	c.all.mu.Lock()
	p := c.all.workers[c.worker]
	if p == nil {
		p = c.all.anonymous
	}
	c.all.mu.Unlock()
	if err := p.bodies.Acquire(ctx, size); err != nil {
		return nil, err
	}
	if err := c.all.bodies.Acquire(ctx, size); err != nil {
		p.bodies.Release(size)
		return nil, err
	}
	return func() {
		c.all.bodies.Release(size)
		p.bodies.Release(size)
	}, nil
}

type connKey struct{}

// withConn lets handlers find the connection that a request came over.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

func connOf(r *http.Request) *conn { return r.Context().Value(connKey{}).(*conn) }
