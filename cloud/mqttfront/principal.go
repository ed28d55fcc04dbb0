package mqttfront

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// Directory knows who a certificate is.
type Directory interface {
	// Principal returns what is known of a certificate; of one that nobody has the
	// error is fescue.ErrNotFound.
	Principal(ctx context.Context, certificateID string) (identity.Principal, error)
}

// Revisioner is a Directory that can report cheaply whether anything changed. The
// front then asks for one revision, in place of each connected certificate, at
// every refresh.
type Revisioner interface {
	// Revision is a value that differs whenever any Principal may have changed.
	Revision(ctx context.Context) (uint64, error)
}

// credential is a certificate in use: the last known principal and the devices
// that are connected with it.
type credential struct {
	id      string
	devices map[*device]struct{} // guarded by credentials.mu

	reading sync.Mutex // one read at a time, so that an older one never wins
	read    time.Time  // of the last successful read
	current atomic.Pointer[identity.Principal]
}

// credentials keeps the principals of connected devices at most one refresh old.
type credentials struct {
	directory Directory
	now       func() time.Time
	maxStale  time.Duration

	mu   sync.Mutex
	byID map[string]*credential
}

// acquire registers a device under its certificate and reads the principal
// afresh. The caller releases what it got.
func (cs *credentials) acquire(ctx context.Context, id string, d *device) (*credential, error) {
	cs.mu.Lock()
	c := cs.byID[id]
	if c == nil {
		c = &credential{id: id, devices: map[*device]struct{}{}}
		cs.byID[id] = c
	}
	c.devices[d] = struct{}{}
	cs.mu.Unlock()
	if err := cs.refresh(ctx, c); err != nil {
		cs.release(c, d)
		return nil, err
	}
	return c, nil
}

func (cs *credentials) release(c *credential, d *device) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if delete(c.devices, d); len(c.devices) == 0 && cs.byID[c.id] == c {
		delete(cs.byID, c.id)
	}
}

// refresh reads the principal and ends the connections of one that may no longer
// be used. While the directory fails, what it said last counts for maxStale.
func (cs *credentials) refresh(ctx context.Context, c *credential) error {
	ctx, cancel := context.WithTimeout(ctx, directoryTimeout)
	defer cancel()
	c.reading.Lock()
	p, err := cs.directory.Principal(ctx, c.id)
	switch {
	case err == nil:
		c.current.Store(&p)
		c.read = time.Now()
	case errors.Is(err, fescue.ErrNotFound), time.Since(c.read) > cs.maxStale:
		c.current.Store(nil)
	}
	c.reading.Unlock()
	cs.enforce(c)
	if err != nil {
		return fmt.Errorf("principal of certificate %s: %w", c.id, err)
	}
	return nil
}

// enforce ends the connections of a certificate that may not be used now.
func (cs *credentials) enforce(c *credential) {
	if c.current.Load().Usable(cs.now()) {
		return
	}
	cs.mu.Lock()
	devices := make([]*device, 0, len(c.devices))
	for d := range c.devices {
		devices = append(devices, d)
	}
	cs.mu.Unlock()
	for _, d := range devices {
		d.end(ErrRevoked)
	}
}

// invalidate reads one certificate again, if it is in use.
func (cs *credentials) invalidate(ctx context.Context, id string) error {
	cs.mu.Lock()
	c := cs.byID[id]
	cs.mu.Unlock()
	if c == nil {
		return nil
	}
	return cs.refresh(ctx, c)
}

// directoryTimeout is how long one read of the directory may take.
const directoryTimeout = 5 * time.Second

// sweepReads is how many principals are read at the same time.
const sweepReads = 8

// sweep refreshes every certificate in use; when nothing changed it only looks
// at the clock.
func (cs *credentials) sweep(ctx context.Context, changed bool) error {
	cs.mu.Lock()
	all := make([]*credential, 0, len(cs.byID))
	for _, c := range cs.byID {
		all = append(all, c)
	}
	cs.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(sweepReads)
	for _, c := range all {
		if !changed {
			cs.enforce(c)
			continue
		}
		g.Go(func() error {
			if err := cs.refresh(ctx, c); !errors.Is(err, fescue.ErrNotFound) {
				return err
			}
			return nil
		})
	}
	return g.Wait()
}

// watch sweeps until ctx ends. failed is called with what a sweep met.
func (cs *credentials) watch(ctx context.Context, every time.Duration, failed func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	revisions, _ := cs.directory.(Revisioner)
	var seen uint64
	known := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		changed := true
		var revision uint64
		if revisions != nil {
			var err error
			if revision, err = revisions.Revision(ctx); err == nil {
				changed = !known || revision != seen
			}
		}
		err := cs.sweep(ctx, changed)
		if err != nil && ctx.Err() == nil {
			failed(err)
		}
		// A failed sweep is done again although the revision stays the same.
		known, seen = err == nil, revision
	}
}
