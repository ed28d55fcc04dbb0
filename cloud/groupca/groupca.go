// Package groupca keeps the certificate authorities of groups: it makes, rotates
// and lists them, and signs the certificate of a core's MQTT server. Private keys
// are sealed by the master key and never leave the control plane. It does not
// know who may ask, nor what a group deploys.
package groupca

import (
	"cmp"
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/pki"
)

// Store is what the service needs of the database. A group that is not there is
// fescue.ErrNotFound.
type Store interface {
	// GroupAuthorities lists the one that signs first, then those whose
	// certificates have not ended at a time, newest first.
	GroupAuthorities(ctx context.Context, p fescue.Partition, groupID string, at time.Time) ([]Authority, error)
	// AddFirstGroupAuthority changes nothing when the group has one.
	AddFirstGroupAuthority(ctx context.Context, p fescue.Partition, a Authority) error
	// RotateGroupAuthority drops at once what signed for a core that is not the group's
	// any more.
	RotateGroupAuthority(ctx context.Context, p fescue.Partition, a Authority, token fescue.Token) (id string, err error)
	// CheckHolder is ErrStrayed for a core for which RecordHolder is.
	CheckHolder(ctx context.Context, p fescue.Partition, groupID string, h Holder) error
	// RecordHolder for an authority that is no longer kept is fescue.ErrNotFound, and
	// ErrStrayed for a core that is not the group's any more. That look and the record are
	// one step beside a rotation.
	RecordHolder(ctx context.Context, p fescue.Partition, groupID, authorityID string, h Holder) error
	// CertificateExpiry is 0 when it was never set.
	CertificateExpiry(ctx context.Context, p fescue.Partition, groupID string) (time.Duration, error)
	SetCertificateExpiry(ctx context.Context, p fescue.Partition, groupID string, lifetime time.Duration) error
}

// Sealer wraps private keys; *pki.MasterKey is one.
type Sealer interface {
	Seal(secret []byte, label string) ([]byte, error)
	Open(sealed []byte, label string) ([]byte, error)
}

// Service makes and uses authorities.
type Service struct {
	store Store
	keys  Sealer
	now   func() time.Time
}

// New makes the service.
func New(store Store, keys Sealer, now func() time.Time) *Service {
	return &Service{store, keys, now}
}

// Lifetimes of the certificate of a core's MQTT server (AWS IoT Greengrass
// developer guide).
const (
	DefaultExpiry = 7 * 24 * time.Hour
	MinExpiry     = 7 * 24 * time.Hour
	MaxExpiry     = 30 * 24 * time.Hour
)

// ErrExpiry means that a lifetime is not between MinExpiry and MaxExpiry.
var ErrExpiry = errors.New("the certificate expiry is out of range")

// Create gives a group its authority, or another one in place of the one that it
// has: that one signs no more, and stays in the list until the certificates that
// it signed, and the intermediates that cores have of it, have ended. One that signed
// for a core that was removed, or whose certificate was deactivated, is listed no more.
// It returns the id of the one that signs from now on.
func (s *Service) Create(ctx context.Context, p fescue.Partition, groupID string, token fescue.Token) (id string, err error) {
	// A key is not made for a group that is not there.
	if _, err := s.store.GroupAuthorities(ctx, p, groupID, s.now()); err != nil {
		return "", err
	}
	a, err := s.generate(p, groupID)
	if err != nil {
		return "", err
	}
	return s.store.RotateGroupAuthority(ctx, p, a, token)
}

// Authorities lists the authorities that client devices are to trust, the one
// that signs first. A group that has none gets its first.
func (s *Service) Authorities(ctx context.Context, p fescue.Partition, groupID string) ([]Authority, error) {
	list, err := s.store.GroupAuthorities(ctx, p, groupID, s.now())
	if err != nil || len(list) > 0 {
		return list, err
	}
	first, err := s.generate(p, groupID)
	if err != nil {
		return nil, err
	}
	if err := s.store.AddFirstGroupAuthority(ctx, p, first); err != nil {
		return nil, err
	}
	return s.store.GroupAuthorities(ctx, p, groupID, s.now())
}

// signing is the authority of a group that signs.
func (s *Service) signing(ctx context.Context, p fescue.Partition, groupID string) (Authority, error) {
	list, err := s.Authorities(ctx, p, groupID)
	if err == nil && len(list) == 0 { // deleted since it was made
		err = fmt.Errorf("authority of group %s: %w", groupID, fescue.ErrNotFound)
	}
	if err != nil {
		return Authority{}, err
	}
	return list[0], nil
}

// Configuration says how long a group's certificates live.
type Configuration struct {
	// CertificateExpiry is the lifetime of the certificate of the core's MQTT
	// server.
	CertificateExpiry time.Duration
	// AuthorityExpiry is when the authority that signs ends.
	AuthorityExpiry time.Time
}

// Configuration reads it.
func (s *Service) Configuration(ctx context.Context, p fescue.Partition, groupID string) (Configuration, error) {
	expiry, err := s.store.CertificateExpiry(ctx, p, groupID)
	if err != nil {
		return Configuration{}, err
	}
	a, err := s.signing(ctx, p, groupID)
	if err != nil {
		return Configuration{}, err
	}
	cert, err := pki.ParseCertificate([]byte(a.PEM))
	if err != nil {
		return Configuration{}, fmt.Errorf("authority %s of group %s: %w", a.ID, groupID, err)
	}
	return Configuration{cmp.Or(expiry, DefaultExpiry), cert.NotAfter}, nil
}

// Configure sets the lifetime of certificates that are signed from now on.
func (s *Service) Configure(ctx context.Context, p fescue.Partition, groupID string, expiry time.Duration) (Configuration, error) {
	if expiry < MinExpiry || expiry > MaxExpiry {
		return Configuration{}, ErrExpiry
	}
	if err := s.store.SetCertificateExpiry(ctx, p, groupID, expiry); err != nil {
		return Configuration{}, err
	}
	return s.Configuration(ctx, p, groupID)
}

// generate makes an authority with the profile of the original's: RSA 2048 and
// the subject seen in the field, which ends in the account and the group. It
// carries keyUsage besides, which strict verifiers ask for.
func (s *Service) generate(p fescue.Partition, groupID string) (Authority, error) {
	now := s.now().UTC()
	made, err := pki.NewAuthorityFor(pkix.Name{
		Country: []string{"US"}, Organization: []string{"Amazon.com Inc."}, OrganizationalUnit: []string{"Amazon Web Services"},
		Province: []string{"Washington"}, Locality: []string{"Seattle"}, CommonName: p.Account + ":" + groupID,
	}, pki.RSA, now)
	if err != nil {
		return Authority{}, err
	}
	secret, err := made.Encode()
	if err != nil {
		return Authority{}, fmt.Errorf("encode authority of group %s: %w", groupID, err)
	}
	a := Authority{
		GroupID: groupID, ID: pki.CertificateID(made.Certificate.Raw), PEM: string(made.PEM()), CreatedAt: now,
	}
	if a.Sealed, err = s.keys.Seal(secret, label(p, a)); err != nil {
		return Authority{}, fmt.Errorf("seal authority of group %s: %w", groupID, err)
	}
	return a, nil
}

// label says what a sealed authority is, so that no two can be swapped.
func label(p fescue.Partition, a Authority) string {
	return "group-authority/" + p.Key() + "/" + a.GroupID + "/" + a.ID
}
