// Package sites collects what a core's MQTT server for client devices needs of the
// control plane: under which names devices reach it, whose certificates are not to be
// taken, and the server's own certificate, which the group's authority signs. Who may
// ask, it does not know.
package sites

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/groupca"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
)

// Cores returns whose a core is.
type Cores interface {
	// CoreOwner is the group that owns a core, empty for none.
	CoreOwner(ctx context.Context, p fescue.Partition, thing string) (groupID string, err error)
}

// Devices returns groups' client devices.
type Devices interface {
	// RevokedDevices lists certificates that are not to be taken, and returns how many
	// there are.
	RevokedDevices(ctx context.Context, p fescue.Partition, groupID string) (devices int, revoked []string, err error)
}

// Connectivity returns where cores are reached.
type Connectivity interface {
	Connectivity(ctx context.Context, p fescue.Partition, thing string) (cores.Connectivity, error)
}

// Authorities sign.
type Authorities interface {
	Authorities(ctx context.Context, p fescue.Partition, groupID string) ([]groupca.Authority, error)
	Issue(ctx context.Context, p fescue.Partition, groupID string, public crypto.PublicKey, hosts []string) (*x509.Certificate, groupca.Authority, error)
}

// Options are what the service stands on.
type Options struct {
	Cores        Cores
	Devices      Devices
	Connectivity Connectivity
	Authorities  Authorities
}

// Service answers cores.
type Service struct{ o Options }

// New makes the service.
func New(o Options) *Service { return &Service{o} }

// What a core is refused.
var (
	// ErrNoGroup means that no group has the core.
	ErrNoGroup = errors.New("no group that was deployed has this core")
	// ErrNoConnectivity means that nothing is known for a certificate to name.
	ErrNoConnectivity = errors.New("there is no connectivity information for this core")
	// ErrRequest means that a certificate signing request is none.
	ErrRequest = errors.New("the certificate signing request is not valid")
)

// Site is what a core has to know now; nil for one whose group has no client
// devices.
func (s *Service) Site(ctx context.Context, p fescue.Partition, thing string) (*corelink.Site, error) {
	groupID, err := s.o.Cores.CoreOwner(ctx, p, thing)
	if err != nil || groupID == "" {
		return nil, err
	}
	devices, revoked, err := s.o.Devices.RevokedDevices(ctx, p, groupID)
	if err != nil || devices == 0 {
		return nil, err
	}
	c, err := s.o.Connectivity.Connectivity(ctx, p, thing)
	if err != nil {
		return nil, err
	}
	authorities, err := s.o.Authorities.Authorities(ctx, p, groupID)
	if err != nil || len(authorities) == 0 {
		return nil, err
	}
	site := &corelink.Site{Identity: corelink.Identity{Hosts: hosts(c.Info), Authority: authorities[0].ID}, Revoked: revoked}
	for _, place := range c.Info {
		if !slices.Contains(site.Ports, place.PortNumber) {
			site.Ports = append(site.Ports, place.PortNumber)
		}
	}
	return site, nil
}

// local are names that a certificate has whatever the connectivity information says,
// for clients on the core's own machine.
var local = []string{"localhost", "127.0.0.1", "::1"}

// hosts are the names of a certificate; none without connectivity information.
func hosts(info []cores.ConnectivityInfo) (list []string) {
	add := func(host string) {
		if !slices.Contains(list, host) {
			list = append(list, host)
		}
	}
	for _, place := range info {
		add(place.HostAddress)
	}
	if len(list) > 0 {
		for _, host := range local {
			add(host)
		}
	}
	return list
}

// Certificate signs the certificate of a core's MQTT server over a certificate signing
// request in PEM. What the request says beside its key counts for nothing.
func (s *Service) Certificate(ctx context.Context, p fescue.Partition, thing, csr string) (corelink.ServerCertificate, error) {
	request, err := pki.ParseRequest([]byte(csr))
	if err != nil {
		return corelink.ServerCertificate{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	groupID, err := s.o.Cores.CoreOwner(ctx, p, thing)
	if err != nil {
		return corelink.ServerCertificate{}, err
	}
	if groupID == "" {
		return corelink.ServerCertificate{}, ErrNoGroup
	}
	c, err := s.o.Connectivity.Connectivity(ctx, p, thing)
	if err != nil {
		return corelink.ServerCertificate{}, err
	}
	names := hosts(c.Info)
	if len(names) == 0 {
		return corelink.ServerCertificate{}, ErrNoConnectivity
	}
	leaf, authority, err := s.o.Authorities.Issue(ctx, p, groupID, request.PublicKey, names)
	if err != nil {
		return corelink.ServerCertificate{}, err
	}
	return corelink.ServerCertificate{
		Identity: corelink.Identity{Hosts: names, Authority: authority.ID},
		Chain:    string(pki.EncodeCertificate(leaf.Raw)) + authority.PEM,
	}, nil
}
