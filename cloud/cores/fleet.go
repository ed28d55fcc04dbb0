package cores

import (
	"context"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/keyed"
)

// Core is what is known of a core that spoke, or for which something was deployed.
type Core struct {
	Thing string
	LastSeen
	// GroupID and GroupName are of the group that has the core; empty where none has.
	GroupID, GroupName string
	// Runs is the deployment that last ended in Success on the core, and Last the last
	// that was offered to it: their ids are empty where there is none. They have no
	// more than ID, GroupID, GroupVersionID, Type, Status, Phase, UpdatedAt and the
	// errors.
	Runs, Last fescue.Deployment
	// Info is what the core last said of itself, at SaidAt; of one that never did it
	// is the zero CoreInfo.
	Info   fescue.CoreInfo
	SaidAt time.Time
}

// FleetStore is what Fleet needs of the database.
type FleetStore interface {
	// Cores lists cores by name, those that the filter lets through.
	Cores(ctx context.Context, p fescue.Partition, f Filter, page fescue.Page) ([]Core, error)
	CountFleet(ctx context.Context, p fescue.Partition, now time.Time) (known, online int, err error)
}

// State is what a core is asked for by.
type State string

// The states.
const (
	Connected State = "connected"
	Offline   State = "offline"
	// Wrong is of cores that say that something is wrong, and of those on which the last
	// deployment failed.
	Wrong State = "wrong"
)

// States are all.
var States = []State{Connected, Offline, Wrong}

// Filter lets some cores through; the zero Filter all.
type Filter struct {
	// Group is the id of the group that has the core; it goes alone.
	Group string
	// Text stands in the name of the thing or of the group, or in the address that the
	// core connected from, in upper or lower case.
	Text string
	// Tag and Value are of a tag that the group has which has the core; an empty Tag is any.
	Tag, Value string
	State      State
	// Now is when that is, which Fleet fills in.
	Now time.Time
}

// Fleet lists all cores.
type Fleet struct {
	store    FleetStore
	presence *Presence

	// counts are kept for a moment: each reads every core, and whoever has a page open that
	// shows it asks again and again.
	counts keyed.Recent[fescue.Partition, count]
}

// count is how many cores there are.
type count struct{ known, online int }

// NewFleet makes a Fleet.
func NewFleet(store FleetStore, presence *Presence) *Fleet {
	return &Fleet{store: store, presence: presence}
}

// Changed has a partition's cores counted anew for whoever asks next.
func (f *Fleet) Changed(p fescue.Partition) { f.counts.Forget(p) }

// Cores lists a partition's cores by name, each as of now, those that the filter lets
// through. A page's key is the name of a thing.
func (f *Fleet) Cores(ctx context.Context, p fescue.Partition, by Filter, page fescue.Page) ([]Core, error) {
	if by.State != "" {
		by.Now = f.presence.now()
	}
	list, err := f.store.Cores(ctx, p, by, page)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].LastSeen = f.presence.fresh(p, list[i].Thing, list[i].LastSeen)
	}
	return list, nil
}

// Count counts a partition's cores, and those of them that are online, as of three seconds
// ago or later.
func (f *Fleet) Count(ctx context.Context, p fescue.Partition) (known, online int, err error) {
	c, err := f.counts.Get(p, func() (c count, err error) {
		c.known, c.online, err = f.store.CountFleet(ctx, p, f.presence.now())
		return c, err
	})
	return c.known, c.online, err
}
