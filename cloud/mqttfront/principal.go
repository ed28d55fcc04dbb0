package mqttfront

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/periodic"
)

// Directory knows who a certificate is.
type Directory interface {
	// Principal returns what is known of a certificate; of one that nobody has the
	// error is fescue.ErrNotFound.
	Principal(ctx context.Context, certificateID string) (identity.Principal, error)
}

// Changes reports whether the front is told by Invalidate, InvalidateKey and those beside
// them of everything that changes in the Directory and for Keys. While it is, nothing is read
// again without cause.
type Changes interface {
	Current() bool
	// Within reports whether it has been told of all that changed until so long ago.
	Within(time.Duration) bool
}

// unfollowed is the Changes of a front that nobody tells of changes.
type unfollowed struct{}

func (unfollowed) Current() bool { return false }

func (unfollowed) Within(time.Duration) bool { return false }

// credential is a certificate or an access key in use: its last known rights and the
// clients that are connected with it.
type credential struct {
	of      proof
	devices map[*device]struct{} // guarded by credentials.mu

	reading sync.Mutex // one read at a time, so that an older one never wins
	read    time.Time  // of the last successful read
	current atomic.Pointer[known]
	// doubted says that nothing was read yet, or that what was read last may be wrong.
	doubted atomic.Bool
	// told counts how often it was said that the rights have changed.
	told atomic.Int64
}

// known are rights as they were read.
type known struct {
	rights
	// told is the credential's of when the read began.
	told int64
}

// usable is false for nobody's.
func (k *known) usable(now time.Time) bool { return k != nil && k.rights.usable(now) }

// proof is what a client proved to have, and how what it may do is read.
type proof struct {
	// id is the certificate's or the key's.
	id string
	// key is the partition of an access key; empty for a certificate, whose
	// partition is known of it.
	key  string
	find func(ctx context.Context, id string) (rights, error)
}

// what is the kind of the id in errors, and attribute in logs.
func (p proof) what() string {
	if p.key != "" {
		return "access key"
	}
	return "certificate"
}

func (p proof) attribute() string {
	if p.key != "" {
		return "key"
	}
	return "certificate"
}

// credentials keeps the rights of connected clients at most one refresh old.
type credentials struct {
	directory Directory
	now       func() time.Time
	maxStale  time.Duration
	// confirmed is when what is not doubted was last known to be right, in nanoseconds.
	confirmed atomic.Int64

	mu   sync.Mutex
	byID map[string]*credential // by proof.index
	// keys are those of byID that are access keys: few, where certificates are many.
	keys map[*credential]struct{}
}

func newCredentials(o Options) *credentials {
	return &credentials{
		directory: o.Directory, now: o.Now, maxStale: o.MaxStale, byID: map[string]*credential{}, keys: map[*credential]struct{}{},
	}
}

// index tells credentials apart.
func (p proof) index() string { return p.key + "/" + p.id }

// acquire registers a client under what it proved and reads its rights afresh. The
// caller releases what it got.
func (cs *credentials) acquire(ctx context.Context, of proof, d *device) (*credential, error) {
	cs.mu.Lock()
	c := cs.byID[of.index()]
	if c == nil {
		c = &credential{of: of, devices: map[*device]struct{}{}}
		c.doubted.Store(true) // until it is read: a sweep that comes first is not to end it
		cs.byID[of.index()] = c
		if of.key != "" {
			cs.keys[c] = struct{}{}
		}
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
	if delete(c.devices, d); len(c.devices) == 0 && cs.byID[c.of.index()] == c {
		delete(cs.byID, c.of.index())
		delete(cs.keys, c)
	}
}

// refresh reads the rights and ends the connections of who may no longer be
// connected. While they cannot be read, those read last count for maxStale.
func (cs *credentials) refresh(ctx context.Context, c *credential) error {
	ctx, cancel := context.WithTimeout(ctx, directoryTimeout)
	defer cancel()
	c.reading.Lock()
	if confirmed := time.Unix(0, cs.confirmed.Load()); !c.doubted.Swap(true) && confirmed.After(c.read) {
		c.read = confirmed
	}
	told := c.told.Load()
	r, err := c.of.find(ctx, c.of.id)
	switch {
	case err == nil:
		c.current.Store(&known{r, told})
		c.read = time.Now()
		c.doubted.Store(false)
	case errors.Is(err, fescue.ErrNotFound), time.Since(c.read) > cs.maxStale:
		c.current.Store(nil)
	}
	c.reading.Unlock()
	cs.enforce(c)
	if err != nil {
		return fmt.Errorf("rights of %s %s: %w", c.of.what(), c.of.id, err)
	}
	return nil
}

// enforce ends the connections of a credential that may not be used now.
func (cs *credentials) enforce(c *credential) {
	if c.current.Load().usable(cs.now()) {
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

// sure returns the rights of a credential in use; nil if it is none, or if there may be others
// by now.
func (cs *credentials) sure(of proof) rights {
	cs.mu.Lock()
	c := cs.byID[of.index()]
	cs.mu.Unlock()
	if c == nil || c.doubted.Load() {
		return nil
	}
	k := c.current.Load()
	if k == nil || k.told != c.told.Load() {
		return nil
	}
	return k.rights
}

// invalidate reads those of a list again that are meant, and those of which nothing is known
// yet: what is being read may be from before the change. From now on it is sure of none of them
// until they have been.
func (cs *credentials) invalidate(ctx context.Context, list []*credential, meant func(*credential, rights) bool) error {
	var again []*credential
	for _, c := range list {
		if k := c.current.Load(); k == nil || meant(c, k.rights) {
			c.told.Add(1)
			again = append(again, c)
		}
	}
	return cs.readAgain(ctx, again)
}

// certificate is a certificate in use, if it is.
func (cs *credentials) certificate(id string) []*credential {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.byID[proof{id: id}.index()]; c != nil {
		return []*credential{c}
	}
	return nil
}

// ofKeys are the access keys in use.
func (cs *credentials) ofKeys() []*credential {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return slices.Collect(maps.Keys(cs.keys))
}

func (cs *credentials) all() []*credential {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return slices.Collect(maps.Values(cs.byID))
}

// directoryTimeout is how long one read of the directory may take.
const directoryTimeout = 5 * time.Second

// sweepReads is how many principals are read at the same time.
const sweepReads = 8

// readAgain refreshes credentials, of which some may be gone.
func (cs *credentials) readAgain(ctx context.Context, list []*credential) error {
	var g errgroup.Group
	g.SetLimit(sweepReads)
	for _, c := range list {
		g.Go(func() error {
			if err := cs.refresh(ctx, c); !errors.Is(err, fescue.ErrNotFound) {
				return err
			}
			return nil
		})
	}
	return g.Wait()
}

// sweep refreshes everything in use. When all changes are told it only looks at the clock,
// and reads again what could not be read.
func (cs *credentials) sweep(ctx context.Context, told bool) error {
	var list []*credential
	for _, c := range cs.all() {
		if told && !c.doubted.Load() {
			cs.enforce(c)
		} else {
			list = append(list, c)
		}
	}
	return cs.readAgain(ctx, list)
}

// watch sweeps until ctx ends. failed is called with what a sweep met.
func (cs *credentials) watch(ctx context.Context, every time.Duration, changes Changes, failed func(error)) {
	periodic.Every(ctx, every, func() {
		at, told := time.Now(), changes.Current()
		if told {
			cs.confirmed.Store(at.UnixNano())
		}
		if err := cs.sweep(ctx, told); err != nil && ctx.Err() == nil {
			failed(err)
		}
	})
}
