package cores

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
)

// PresenceStore is what Presence needs of the database.
type PresenceStore interface {
	// See writes down when things were seen. What is older than what is written is
	// forgotten, and so is one of a thing that is no core, unless Core says that
	// it is.
	See(ctx context.Context, list []Seen) error
	LastSeen(ctx context.Context, p fescue.Partition, thing string) (LastSeen, error)
}

// Seen says that one thing was seen.
type Seen struct {
	Partition fescue.Partition
	Thing     string
	LastSeen
	// Core says that the thing has spoken as a core.
	Core bool
}

// Presence keeps when each core was last seen, and how many connections each
// thing has to this server: a thing is gone when its last one ends. What is
// reported is written in the background, a batch each second: a whole fleet that comes
// back at once must not wait for that, and a second that is lost with the process
// harms nobody.
type Presence struct {
	store  PresenceStore
	now    func() time.Time
	logger *slog.Logger

	mu      sync.Mutex
	pending map[seenKey]Seen
	// open counts the connections of each thing that has any.
	open map[seenKey]int
}

type seenKey struct {
	partition fescue.Partition
	thing     string
}

// NewPresence makes a Presence. Run writes what it is given.
func NewPresence(store PresenceStore, now func() time.Time, logger *slog.Logger) *Presence {
	return &Presence{store: store, now: now, logger: logger, pending: make(map[seenKey]Seen), open: make(map[seenKey]int)}
}

// Saw takes note that a core spoke.
func (p *Presence) Saw(partition fescue.Partition, thing string) {
	p.note(partition, thing, func(s *Seen) { s.SeenAt, s.Core = p.now().UTC(), true })
}

// Connected takes note that a thing, perhaps a core, opened a connection from a host
// or waits for an answer. Gone or Done follows for each.
func (p *Presence) Connected(partition fescue.Partition, thing, host string) {
	p.note(partition, thing, func(s *Seen) {
		s.SeenAt = p.now().UTC()
		s.ConnectedAt, s.Address = s.SeenAt, host
		p.open[seenKey{partition, thing}]++
	})
}

// Gone takes note that a connection of a thing broke or was closed. The thing
// itself is gone when it has no other.
func (p *Presence) Gone(partition fescue.Partition, thing string) {
	p.note(partition, thing, func(s *Seen) {
		if p.end(seenKey{partition, thing}) == 0 {
			s.GoneAt = p.now().UTC()
		}
	})
}

// Done takes note that what a thing waited for was answered, which says nothing
// about whether it is still there.
func (p *Presence) Done(partition fescue.Partition, thing string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(seenKey{partition, thing})
}

// Here reports whether a thing has a connection to this server.
func (p *Presence) Here(partition fescue.Partition, thing string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open[seenKey{partition, thing}] > 0
}

// EachHere calls f for each thing that has one.
func (p *Presence) EachHere(f func(partition fescue.Partition, thing string)) {
	p.mu.Lock()
	things := slices.Collect(maps.Keys(p.open))
	p.mu.Unlock()
	for _, key := range things {
		f(key.partition, key.thing)
	}
}

// end counts one connection less and returns how many are left. mu is held.
func (p *Presence) end(key seenKey) int {
	left := p.open[key] - 1
	if left <= 0 {
		delete(p.open, key)
		return 0
	}
	p.open[key] = left
	return left
}

// note changes what is to be written of a thing; change runs under mu.
func (p *Presence) note(partition fescue.Partition, thing string, change func(*Seen)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := seenKey{partition, thing}
	s, ok := p.pending[key]
	if !ok {
		s.Partition, s.Thing = partition, thing
	}
	change(&s)
	p.pending[key] = s
}

// LastSeen is when a core was last seen, at the latest a moment ago.
func (p *Presence) LastSeen(ctx context.Context, partition fescue.Partition, thing string) (LastSeen, error) {
	s, err := p.store.LastSeen(ctx, partition, thing)
	if err != nil {
		return s, err
	}
	return p.fresh(partition, thing, s), nil
}

// fresh is s with what is not written yet.
func (p *Presence) fresh(partition fescue.Partition, thing string, s LastSeen) LastSeen {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := seenKey{partition, thing}
	s = s.Then(p.pending[key].LastSeen)
	if p.open[key] > 0 && !s.SeenAt.IsZero() {
		s.SeenAt, s.GoneAt = p.now().UTC(), time.Time{} // it is there now
	}
	return s
}

const (
	// presenceBatch bounds how many things one transaction writes.
	presenceBatch = 1000
	// renewEvery is how often things that are connected are noted again: another
	// server on the database, where another connection of theirs ended, takes them
	// for gone until then.
	renewEvery = time.Minute
)

// Run writes down what was noted, once a second, until ctx ends.
func (p *Presence) Run(ctx context.Context) {
	tick, renew := time.NewTicker(time.Second), time.NewTicker(renewEvery)
	defer tick.Stop()
	defer renew.Stop()
	for {
		select {
		case <-renew.C:
			p.renew()
		case <-ctx.Done():
			// What was noted last is worth a try, not a wait.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			p.flush(last)
			cancel()
			return
		case <-tick.C:
			p.flush(ctx)
		}
	}
}

// renew notes every thing that is connected.
func (p *Presence) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now().UTC()
	for key := range p.open {
		s := p.pending[key]
		s.Partition, s.Thing, s.SeenAt = key.partition, key.thing, now
		p.pending[key] = s
	}
}

func (p *Presence) flush(ctx context.Context) {
	for {
		list := p.take()
		if len(list) == 0 {
			return
		}
		if err := p.store.See(ctx, list); err != nil {
			p.logger.Warn("when cores were seen could not be written", "cores", len(list), "error", err)
			return
		}
	}
}

func (p *Presence) take() []Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Seen, 0, min(len(p.pending), presenceBatch))
	for key, s := range p.pending {
		if len(list) == presenceBatch {
			break
		}
		list = append(list, s)
		delete(p.pending, key)
	}
	return list
}
