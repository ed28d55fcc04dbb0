package cores

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
)

// PresenceStore is what Presence needs of the database.
type PresenceStore interface {
	// See writes sightings down. What is older than what is written is
	// forgotten, and so is one of a thing that is no core, unless Core says that
	// it is.
	See(ctx context.Context, list []Seen) error
	Sighting(ctx context.Context, p fescue.Partition, thing string) (fescue.Sighting, error)
}

// Seen is a sighting of one thing.
type Seen struct {
	Partition fescue.Partition
	Thing     string
	fescue.Sighting
	// Core says that the thing has spoken as a core.
	Core bool
}

// Presence keeps when each core was last heard of. What it is told is written in
// the background, a batch each second: a whole fleet that comes back at once must
// not wait for that, and a second that is lost with the process harms nobody.
type Presence struct {
	store  PresenceStore
	now    func() time.Time
	logger *slog.Logger

	mu      sync.Mutex
	pending map[seenKey]Seen
}

type seenKey struct {
	partition fescue.Partition
	thing     string
}

// NewPresence makes a Presence. Run writes what it is told.
func NewPresence(store PresenceStore, now func() time.Time, logger *slog.Logger) *Presence {
	return &Presence{store: store, now: now, logger: logger, pending: make(map[seenKey]Seen)}
}

// Saw takes note that a core spoke.
func (p *Presence) Saw(partition fescue.Partition, thing string) {
	p.note(partition, thing, func(s *Seen) { s.SeenAt, s.Core = p.now().UTC(), true })
}

// Connected takes note that a thing, perhaps a core, opened a connection.
func (p *Presence) Connected(partition fescue.Partition, thing string) {
	p.note(partition, thing, func(s *Seen) { s.SeenAt = p.now().UTC() })
}

// Gone takes note that a thing's connection ended.
func (p *Presence) Gone(partition fescue.Partition, thing string) {
	p.note(partition, thing, func(s *Seen) { s.GoneAt = p.now().UTC() })
}

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

// Sighting is when a core was heard of, at the latest a moment ago.
func (p *Presence) Sighting(ctx context.Context, partition fescue.Partition, thing string) (fescue.Sighting, error) {
	s, err := p.store.Sighting(ctx, partition, thing)
	if err != nil {
		return s, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := p.pending[seenKey{partition, thing}]
	s.SeenAt, s.GoneAt = latest(s.SeenAt, fresh.SeenAt), latest(s.GoneAt, fresh.GoneAt)
	return s, nil
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// presenceBatch bounds how many sightings one transaction writes.
const presenceBatch = 1000

// Run writes down what was noted, once a second, until ctx ends.
func (p *Presence) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
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
