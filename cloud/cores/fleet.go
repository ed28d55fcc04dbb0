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
	// Cores lists cores by name; with a group, only the one that the group has.
	Cores(ctx context.Context, p fescue.Partition, groupID string, page fescue.Page) ([]Core, error)
}

// Fleet lists all cores.
type Fleet struct {
	Store    FleetStore
	Presence *Presence
}

// Cores lists a partition's cores by name, each as of now; with a group, only the one
// that the group has. A page's key is the name of a thing.
func (f Fleet) Cores(ctx context.Context, p fescue.Partition, groupID string, page fescue.Page) ([]Core, error) {
	list, err := f.Store.Cores(ctx, p, groupID, page)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].LastSeen = f.Presence.fresh(p, list[i].Thing, list[i].LastSeen)
	}
	return list, nil
}
