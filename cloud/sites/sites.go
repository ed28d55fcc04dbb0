// Package sites collects what a core's MQTT server for client devices needs of the
// control plane: under which names devices reach it, whose certificates are not to be
// taken, and the server's own certificate, which the group's authority signs. Who may
// ask, it does not know.
package sites

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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
	// Issue is groupca.ErrStrayed for a core that is not the group's any more, Check says
	// so before.
	Issue(ctx context.Context, p fescue.Partition, groupID string, r groupca.Request) (groupca.Issued, error)
	Check(ctx context.Context, p fescue.Partition, groupID, thing, certificateID string) error
}

// Options are what the service stands on.
type Options struct {
	Cores        Cores
	Devices      Devices
	Connectivity Connectivity
	Authorities  Authorities
	// Offline is for how long cores go on certifying themselves without a line, by an
	// intermediate of their group's authority; zero hands none out.
	Offline time.Duration
}

// DefaultOffline is how long an operator finds right who has not said otherwise.
const DefaultOffline = 90 * 24 * time.Hour

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
// devices, and for one that is not its group's any more. certificateID is the certificate
// with which it asks.
func (s *Service) Site(ctx context.Context, p fescue.Partition, thing, certificateID string) (*corelink.Site, error) {
	groupID, err := s.o.Cores.CoreOwner(ctx, p, thing)
	if err != nil || groupID == "" {
		return nil, err
	}
	devices, revoked, err := s.o.Devices.RevokedDevices(ctx, p, groupID)
	if err != nil || devices == 0 {
		return nil, err
	}
	if err := s.o.Authorities.Check(ctx, p, groupID, thing, certificateID); errors.Is(err, groupca.ErrStrayed) {
		return nil, nil
	} else if err != nil {
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
	site := &corelink.Site{Identity: s.identity(hosts(c.Info), authorities[0]), Revoked: revoked}
	for _, place := range c.Info {
		if !slices.Contains(site.Ports, place.PortNumber) {
			site.Ports = append(site.Ports, place.PortNumber)
		}
	}
	return site, nil
}

func (s *Service) identity(hosts []string, a groupca.Authority) corelink.Identity {
	return corelink.Identity{Hosts: hosts, Authority: a.ID, Intermediate: int64(s.o.Offline / time.Second)}
}

// local are names that a certificate has whatever the connectivity information says,
// for clients on the core's own machine.
var local = []string{"localhost", "127.0.0.1", "::1"}

// hosts are the names of a certificate; none without connectivity information.
func hosts(info []fescue.ConnectivityInfo) (list []string) {
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

// Certificate signs the certificate of a core's MQTT server, and the intermediate that
// the core asks for with it. What the requests say beside their keys counts for nothing.
// certificateID is the certificate with which the core asks. It is groupca.ErrStrayed for a
// core that is not its group's any more, though it may still run what was deployed.
func (s *Service) Certificate(ctx context.Context, p fescue.Partition, thing, certificateID string, request corelink.CertificateRequest) (corelink.ServerCertificate, error) {
	r := groupca.Request{IntermediateLifetime: s.o.Offline, Thing: thing, CertificateID: certificateID}
	csr, err := pki.ParseRequest([]byte(request.CSR))
	if err == nil {
		r.Public = csr.PublicKey
		if request.IntermediateCSR != "" && s.o.Offline > 0 {
			if csr, err = pki.ParseRequest([]byte(request.IntermediateCSR)); err == nil {
				r.Intermediate = csr.PublicKey
			}
		}
	}
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
	if r.Hosts = hosts(c.Info); len(r.Hosts) == 0 {
		return corelink.ServerCertificate{}, ErrNoConnectivity
	}
	made, err := s.o.Authorities.Issue(ctx, p, groupID, r)
	if err != nil {
		return corelink.ServerCertificate{}, err
	}
	answer := corelink.ServerCertificate{
		Identity: s.identity(r.Hosts, made.Authority),
		Chain:    string(pki.EncodeCertificate(made.Leaf.Raw)) + made.Authority.PEM,
	}
	if made.Intermediate != nil {
		answer.IntermediateCertificate = string(pki.EncodeCertificate(made.Intermediate.Raw))
	}
	return answer, nil
}
