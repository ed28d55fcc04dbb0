// Package discovery finds out which groups a client device is in: of each the
// core, where to reach it, and the authorities that vouch for it. A device is in
// a group when the group's last deployment that succeeded has it. Whether the
// device's policies let it ask is for the caller to find out.
package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/groupca"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/corelink"
)

// Store is what the service needs of the database.
type Store interface {
	// Memberships lists the groups of a client device, at most limit, the rows of
	// one group beside each other.
	Memberships(ctx context.Context, p fescue.Partition, thing string, limit int) ([]fescue.Membership, error)
}

// Cores returns where cores are reached.
type Cores interface {
	Connectivity(ctx context.Context, p fescue.Partition, thing string) (cores.Connectivity, error)
}

// Authorities returns whom to trust, the authority that signs first. A group that is
// not there is fescue.ErrNotFound.
type Authorities interface {
	Authorities(ctx context.Context, p fescue.Partition, groupID string) ([]groupca.Authority, error)
}

// Service answers devices.
type Service struct {
	store       Store
	cores       Cores
	authorities Authorities
}

// New makes the service.
func New(store Store, cores Cores, authorities Authorities) *Service {
	return &Service{store, cores, authorities}
}

// What a device is refused.
var (
	// ErrForeign means that the certificate has nothing to do with the thing.
	ErrForeign = errors.New("not the device's certificate")
	// ErrTooManyGroups means that the device is in more than
	// fescue.MaxDeviceGroups groups.
	ErrTooManyGroups = errors.New("the device is in too many groups")
)

// mostMemberships bounds what is read of one thing. A group that has it with
// several certificates has as many.
const mostMemberships = 10 * (fescue.MaxDeviceGroups + 1)

// Discover lists the groups of the thing for a certificate. It sees those groups
// that name it as the device's, and all of them when it is attached to the thing.
// No group is fescue.ErrNotFound.
func (s *Service) Discover(ctx context.Context, who identity.Principal, thing string) (corelink.Discovery, error) {
	memberships, err := s.store.Memberships(ctx, who.Partition, thing, mostMemberships)
	if err != nil {
		return corelink.Discovery{}, err
	}
	if !slices.Contains(who.Things, thing) {
		own := who.Partition.CertificateARN(who.Certificate.ID)
		memberships = slices.DeleteFunc(memberships, func(m fescue.Membership) bool { return m.CertificateARN != own })
		if len(memberships) == 0 {
			return corelink.Discovery{}, ErrForeign
		}
	}
	memberships = slices.CompactFunc(memberships, func(a, b fescue.Membership) bool { return a.GroupID == b.GroupID })
	if len(memberships) > fescue.MaxDeviceGroups {
		return corelink.Discovery{}, ErrTooManyGroups
	}
	var found corelink.Discovery
	for _, m := range memberships {
		group, err := s.group(ctx, who.Partition, m)
		if errors.Is(err, fescue.ErrNotFound) {
			continue // reset and deleted since
		}
		if err != nil {
			return found, fmt.Errorf("group %s of client device %s: %w", m.GroupID, thing, err)
		}
		found.Groups = append(found.Groups, group)
	}
	if len(found.Groups) == 0 {
		return found, fmt.Errorf("groups of client device %s: %w", thing, fescue.ErrNotFound)
	}
	return found, nil
}

func (s *Service) group(ctx context.Context, p fescue.Partition, m fescue.Membership) (corelink.DiscoveredGroup, error) {
	connectivity, err := s.cores.Connectivity(ctx, p, m.CoreThing)
	if err != nil {
		return corelink.DiscoveredGroup{}, err
	}
	authorities, err := s.authorities.Authorities(ctx, p, m.GroupID)
	if err != nil {
		return corelink.DiscoveredGroup{}, err
	}
	core := corelink.DiscoveredCore{ThingARN: p.ThingARN(m.CoreThing), Connectivity: reachableFirst(connectivity.Info)}
	group := corelink.DiscoveredGroup{ID: m.GroupID, Cores: []corelink.DiscoveredCore{core}}
	for _, a := range authorities {
		group.CAs = append(group.CAs, a.PEM)
	}
	return group, nil
}

// reachableFirst puts IPv4 addresses of other machines before everything else:
// FreeRTOS devices take no other, and clients try the places in their order.
func reachableFirst(info []fescue.ConnectivityInfo) []fescue.ConnectivityInfo {
	rank := func(c fescue.ConnectivityInfo) int {
		if ip, err := netip.ParseAddr(c.HostAddress); err == nil && ip.Is4() && !ip.IsLoopback() {
			return 0
		}
		return 1
	}
	info = append([]fescue.ConnectivityInfo{}, info...) // a list, also where there is none
	slices.SortStableFunc(info, func(a, b fescue.ConnectivityInfo) int { return rank(a) - rank(b) })
	return info
}
