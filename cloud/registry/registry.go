// Package registry keeps things, device certificates, IoT policies and what is
// attached to what: the part of AWS IoT Core that says who a device is and what
// it may do. It checks names, limits and states, issues certificates, and notifies
// listeners when what a certificate may do has changed.
//
// The package must not know how callers speak (packages awsapi/iot, edge,
// mqttfront) nor how records are kept (Store). It never keeps a private key.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/pki"
)

// ThingStore keeps things. Lists are in ascending order of names or ids.
type ThingStore interface {
	// CreateThing writes a thing. When the name is taken the error wraps
	// fescue.ErrExists and the thing returned is the one that is there. A type that
	// is not there is fescue.ErrNotFound, a deprecated one fescue.ErrPrecondition.
	CreateThing(ctx context.Context, p fescue.Partition, t fescue.Thing, at time.Time) (fescue.Thing, error)
	Thing(ctx context.Context, p fescue.Partition, name string) (fescue.Thing, error)
	// ReplaceThing writes t over its version t.Version-1; when that is not the
	// present one the error wraps fescue.ErrConflict. Another type than the present
	// one is as for CreateThing. It returns the ids of the certificates attached to
	// the thing.
	ReplaceThing(ctx context.Context, p fescue.Partition, t fescue.Thing) (certificates []string, err error)
	// DeleteThing removes a thing at a version, 0 standing for any; another one
	// is fescue.ErrConflict, an attached certificate fescue.ErrInUse.
	DeleteThing(ctx context.Context, p fescue.Partition, name string, version int64) error
	// Things lists the things of a type, all when it is empty.
	Things(ctx context.Context, p fescue.Partition, thingType string, page fescue.Page) ([]fescue.Thing, error)
	// AttachThing and DetachThing succeed when there is nothing to do. An unknown
	// thing or certificate is fescue.ErrNotFound.
	AttachThing(ctx context.Context, p fescue.Partition, thing, certificateID string) error
	DetachThing(ctx context.Context, p fescue.Partition, thing, certificateID string) error
	ThingCertificates(ctx context.Context, p fescue.Partition, thing string, page fescue.Page) ([]string, error)
	CertificateThings(ctx context.Context, p fescue.Partition, certificateID string, page fescue.Page) ([]string, error)
}

// Ending is when a certificate ends.
type Ending struct {
	ID       string
	NotAfter time.Time
	// Thing is the first by name of those that have the certificate; empty for none.
	Thing string
}

// CertificateStore keeps certificates.
type CertificateStore interface {
	// CreateCertificate writes a certificate. One that the partition has is
	// fescue.ErrExists, one that another partition has fescue.ErrConflict.
	CreateCertificate(ctx context.Context, p fescue.Partition, c fescue.Certificate) error
	Certificate(ctx context.Context, p fescue.Partition, id string) (fescue.Certificate, error)
	// Certificates lists at most limit certificates by time of creation, then id.
	// The list begins after the certificate whose CreatedAt and ID are given, or
	// at its start when the ID is empty.
	Certificates(ctx context.Context, p fescue.Partition, after fescue.Certificate, ascending bool, limit int) ([]fescue.Certificate, error)
	// Ending lists at most limit ACTIVE certificates that end before a time, by their
	// end, then id. The list begins after the certificate whose NotAfter and ID are
	// given, or at its start when the ID is empty.
	Ending(ctx context.Context, p fescue.Partition, before time.Time, after fescue.Certificate, limit int) ([]Ending, error)
	// SetCertificateStatus changes the status; leaving REVOKED is
	// fescue.ErrConflict.
	SetCertificateStatus(ctx context.Context, p fescue.Partition, id string, status fescue.CertificateStatus, at time.Time) error
	// DeleteCertificate removes a certificate, with force from its policies too.
	// An ACTIVE one is fescue.ErrConflict, an attached one fescue.ErrInUse.
	DeleteCertificate(ctx context.Context, p fescue.Partition, id string, force bool) error
	// Principal reads, as of one moment, a certificate of any partition with its
	// things and acting documents. aws is the first part of ARNs.
	Principal(ctx context.Context, aws, certificateID string) (fescue.Principal, error)
	// Principals is Principal for several certificates, by their ids. Those that no partition
	// has are left out.
	Principals(ctx context.Context, aws string, certificateIDs []string) (map[string]fescue.Principal, error)
}

// PolicyStore keeps policies, their versions and whom they are attached to.
type PolicyStore interface {
	// CreatePolicy writes a policy whose version 1 is the document.
	CreatePolicy(ctx context.Context, p fescue.Partition, policy Policy) error
	Policy(ctx context.Context, p fescue.Partition, name string) (Policy, error)
	// Policies lists without documents; the order and the meaning of after are as
	// for Certificates, with the name in the id's place.
	Policies(ctx context.Context, p fescue.Partition, after Policy, ascending bool, limit int) ([]Policy, error)
	// DeletePolicy removes a policy that has one version and is attached to
	// nothing, else the error wraps fescue.ErrInUse.
	DeletePolicy(ctx context.Context, p fescue.Partition, name string) error
	// AddPolicyVersion writes the next version, unless there are limit versions
	// already: fescue.ErrConflict. It returns the ids of the attached
	// certificates.
	AddPolicyVersion(ctx context.Context, p fescue.Partition, name, document string, makeDefault bool, limit int, at time.Time) (v PolicyVersion, certificates []string, err error)
	PolicyVersion(ctx context.Context, p fescue.Partition, name string, number int64) (PolicyVersion, error)
	// PolicyVersions lists newest first.
	PolicyVersions(ctx context.Context, p fescue.Partition, name string) ([]PolicyVersion, error)
	// SetDefaultPolicyVersion returns the ids of the attached certificates.
	SetDefaultPolicyVersion(ctx context.Context, p fescue.Partition, name string, number int64, at time.Time) (certificates []string, err error)
	// DeletePolicyVersion removes a version; the default one is
	// fescue.ErrConflict.
	DeletePolicyVersion(ctx context.Context, p fescue.Partition, name string, number int64) error
	// AttachPolicy and DetachPolicy succeed when there is nothing to do. An
	// unknown policy or certificate is fescue.ErrNotFound; a certificate that has
	// limit policies already, fescue.ErrConflict.
	AttachPolicy(ctx context.Context, p fescue.Partition, name, certificateID string, limit int) error
	DetachPolicy(ctx context.Context, p fescue.Partition, name, certificateID string) error
	CertificatePolicies(ctx context.Context, p fescue.Partition, certificateID string, page fescue.Page) ([]string, error)
	PolicyCertificates(ctx context.Context, p fescue.Partition, name string, page fescue.Page) ([]string, error)
}

// Stores are what the registry needs of the database. What a partition does not
// have is fescue.ErrNotFound, a taken name fescue.ErrExists; the error's text
// names the record.
type Stores struct {
	Things       ThingStore
	ThingTypes   ThingTypeStore
	Certificates CertificateStore
	Policies     PolicyStore
	RoleAliases  RoleAliasStore
}

// Options are what a Service is made of. All members are required.
type Options struct {
	Stores Stores
	// Authority signs the certificates that the registry issues.
	Authority *pki.Authority
	// AWS is the first part of every ARN, "aws" for example.
	AWS    string
	Now    func() time.Time
	Logger *slog.Logger
}

// Service is the registry. Its methods may be called at the same time.
type Service struct {
	store     Stores
	authority *pki.Authority
	aws       string
	now       func() time.Time
	logger    *slog.Logger

	mu        sync.Mutex
	listeners map[*listener]struct{}
}

type listener struct{ changed func(certificateID string) }

// New makes the service.
func New(o Options) *Service {
	return &Service{
		store: o.Stores, authority: o.Authority, aws: o.AWS, now: o.Now, logger: o.Logger,
		listeners: make(map[*listener]struct{}),
	}
}

// OnChange has f called with the id of each certificate whose status, policies
// or things changed through this service, after the change is committed and
// before the call that made it returns. f runs in the goroutine of that call,
// possibly in several at once, and must not wait for long. It may be called when
// a change left everything as it was. Changes that other servers make are not
// seen here: package changes tells of them.
//
// The function returned ends it; calls that are under way go on.
func (s *Service) OnChange(f func(certificateID string)) (cancel func()) {
	l := &listener{changed: f}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners[l] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, l)
	}
}

func (s *Service) notify(certificateIDs ...string) {
	s.mu.Lock()
	listeners := make([]*listener, 0, len(s.listeners))
	for l := range s.listeners {
		listeners = append(listeners, l)
	}
	s.mu.Unlock()
	for _, id := range certificateIDs {
		s.logger.Debug("what a certificate may do has changed", "certificate", id)
		for _, l := range listeners {
			l.changed(id)
		}
	}
}

// Principal is who a certificate is, in whichever partition it lies: its status
// and validity, the things it is attached to, and the documents that act. An
// unknown certificate is fescue.ErrNotFound. Status and validity are for the
// caller to judge.
func (s *Service) Principal(ctx context.Context, certificateID string) (fescue.Principal, error) {
	if !fescue.ValidHash(certificateID) {
		return fescue.Principal{}, fmt.Errorf("certificate %.64q %w", certificateID, fescue.ErrNotFound)
	}
	return s.store.Certificates.Principal(ctx, s.aws, certificateID)
}

// Principals is Principal for several certificates at once, by their ids. Those that are unknown
// are left out.
func (s *Service) Principals(ctx context.Context, certificateIDs []string) (map[string]fescue.Principal, error) {
	return s.store.Certificates.Principals(ctx, s.aws, certificateIDs)
}

// refuseAs puts a reason in the place of what the store said, when it said what.
func refuseAs(err, what, reason error, name, arn string) error {
	if errors.Is(err, what) {
		return &Refusal{Reason: reason, Name: name, ARN: arn}
	}
	return err
}
