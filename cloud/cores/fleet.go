package cores

import (
	"context"
	"time"

	"github.com/fescue-edge/fescue"
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
	Text  string
	State State
	// Now is when that is, which Fleet fills in.
	Now time.Time
}

// Fleet lists all cores.
type Fleet struct {
	Store    FleetStore
	Presence *Presence
}

// Cores lists a partition's cores by name, each as of now, those that the filter lets
// through. A page's key is the name of a thing.
func (f Fleet) Cores(ctx context.Context, p fescue.Partition, by Filter, page fescue.Page) ([]Core, error) {
	if by.State != "" {
		by.Now = f.Presence.now()
	}
	list, err := f.Store.Cores(ctx, p, by, page)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].LastSeen = f.Presence.fresh(p, list[i].Thing, list[i].LastSeen)
	}
	return list, nil
}

// Count counts a partition's cores, and those of them that are online.
func (f Fleet) Count(ctx context.Context, p fescue.Partition) (known, online int, err error) {
	return f.Store.CountFleet(ctx, p, f.Presence.now())
}
