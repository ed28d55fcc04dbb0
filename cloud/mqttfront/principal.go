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
	// Principals is Principal for several certificates at once, in their order.
	Principals(ctx context.Context, certificateIDs []string) ([]identity.Answer, error)
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

	mu sync.Mutex // of what follows, and of what is written to current and doubted
	// reads counts those that were begun. Of two at the same time the one that began later
	// wins, whichever is answered first: settled is the number of the last one whose answer
	// counts, failed that of the last one that had none.
	reads, settled, failed int64
	read                   time.Time // of the last successful read
	current                atomic.Pointer[known]
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

	// kick has readTold look.
	kick chan struct{}
}

func newCredentials(o Options) *credentials {
	return &credentials{
		directory: o.Directory, now: o.Now, maxStale: o.MaxStale, byID: map[string]*credential{}, keys: map[*credential]struct{}{},
		kick: make(chan struct{}, 1),
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

// begun is a read of a credential's rights: its number, and how often the credential was told of
// changes before.
type begun struct{ number, told int64 }

// confirm notes until when what is known was known to be right, unless it has changed since. mu is
// held.
func (cs *credentials) confirm(c *credential) {
	confirmed, k := time.Unix(0, cs.confirmed.Load()), c.current.Load()
	if !c.doubted.Load() && k != nil && k.told == c.told.Load() && confirmed.After(c.read) {
		c.read = confirmed
	}
}

// begin is called before the rights are read.
func (cs *credentials) begin(c *credential) begun {
	c.mu.Lock()
	defer c.mu.Unlock()
	cs.confirm(c)
	c.doubted.Store(true)
	c.reads++
	return begun{c.reads, c.told.Load()}
}

// settle takes the answer of a read, and ends the connections of who may no longer be
// connected. While the rights cannot be read, those read last count for maxStale.
func (cs *credentials) settle(c *credential, of begun, r rights, err error) error {
	c.mu.Lock()
	if of.number > c.settled {
		switch {
		case err == nil:
			c.settled = of.number
			c.current.Store(&known{r, of.told})
			c.read = time.Now()
		case errors.Is(err, fescue.ErrNotFound):
			c.settled = of.number
			c.current.Store(nil)
		case time.Since(c.read) > cs.maxStale:
			c.current.Store(nil)
		}
		if err != nil {
			c.failed = max(c.failed, of.number)
		}
		c.doubted.Store(of.number <= c.failed)
	}
	c.mu.Unlock()
	cs.enforce(c)
	if err != nil {
		return fmt.Errorf("rights of %s %s: %w", c.of.what(), c.of.id, err)
	}
	return nil
}

// refresh reads the rights of one.
func (cs *credentials) refresh(ctx context.Context, c *credential) error {
	ctx, cancel := context.WithTimeout(ctx, directoryTimeout)
	defer cancel()
	read := cs.begin(c)
	r, err := c.of.find(ctx, c.of.id)
	return cs.settle(c, read, r, err)
}

// refreshAll reads the rights of certificates together. The error is of the first that could not
// be read, but for fescue.ErrNotFound.
func (cs *credentials) refreshAll(ctx context.Context, list []*credential) (failed error) {
	ctx, cancel := context.WithTimeout(ctx, directoryTimeout)
	defer cancel()
	ids, reads := make([]string, len(list)), make([]begun, len(list))
	for i, c := range list {
		ids[i], reads[i] = c.of.id, cs.begin(c)
	}
	answers, err := cs.directory.Principals(ctx, ids)
	for i, c := range list {
		var r rights
		why := err
		if err == nil {
			r, why = &certificateRights{answers[i].Principal}, answers[i].Err
		}
		if err := cs.settle(c, reads[i], r, why); failed == nil && !errors.Is(err, fescue.ErrNotFound) {
			failed = err
		}
	}
	return failed
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

// tell says of those of a list that are meant, and of those of which nothing is known yet,
// that they have changed: what is being read may be from before the change. From now on it is
// sure of none of them until they have been read again.
func (cs *credentials) tell(list []*credential, meant func(*credential, rights) bool) (told []*credential) {
	for _, c := range list {
		if k := c.current.Load(); k == nil || meant(c, k.rights) {
			c.mu.Lock()
			cs.confirm(c)
			c.told.Add(1)
			c.mu.Unlock()
			told = append(told, c)
		}
	}
	return told
}

// invalidate tells, and reads again.
func (cs *credentials) invalidate(ctx context.Context, list []*credential, meant func(*credential, rights) bool) error {
	return cs.readAgain(ctx, cs.tell(list, meant))
}

// invalidateSoon tells, and leaves it to readTold to read again: who waits for changes of
// single ones is not to wait until thousands have been read.
func (cs *credentials) invalidateSoon(list []*credential, meant func(*credential, rights) bool) {
	cs.tell(list, meant)
	select {
	case cs.kick <- struct{}{}:
	default:
	}
}

// readTold reads again what invalidateSoon left, until ctx ends. failed is called with what it
// met: what could not be read is doubted, and the next sweep reads it.
func (cs *credentials) readTold(ctx context.Context, failed func(error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-cs.kick:
		}
		list := slices.DeleteFunc(cs.all(), func(c *credential) bool {
			k := c.current.Load()
			return k != nil && k.told == c.told.Load()
		})
		if err := cs.readAgain(ctx, list); err != nil && ctx.Err() == nil {
			failed(err)
		}
	}
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

const (
	// sweepReads is how many reads go on at the same time.
	sweepReads = 8
	// readTogether is how many certificates are read at once: few enough that what reads
	// beside it gets its turn.
	readTogether = 256
)

// readAgain refreshes credentials, of which some may be gone.
func (cs *credentials) readAgain(ctx context.Context, list []*credential) error {
	var g errgroup.Group
	g.SetLimit(sweepReads)
	var certificates []*credential
	for _, c := range list {
		if c.of.key == "" {
			certificates = append(certificates, c)
			continue
		}
		g.Go(func() error {
			if err := cs.refresh(ctx, c); !errors.Is(err, fescue.ErrNotFound) {
				return err
			}
			return nil
		})
	}
	for some := range slices.Chunk(certificates, readTogether) {
		g.Go(func() error { return cs.refreshAll(ctx, some) })
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
