package groupca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/pki"
)

// ErrKey means that a core's key is none that the original took: RSA of 2048 bits
// and more, EC on P-256 or P-384.
var ErrKey = errors.New("the key of a core's MQTT server must be RSA of 2048 to 8192 bits, or EC on P-256 or P-384")

// Sizes of RSA keys. The upper one bounds the work of every handshake.
const (
	minRSA = 2048
	maxRSA = 8192
)

// issueAttempts bounds how often a certificate is signed anew because the
// authority was rotated meanwhile.
const issueAttempts = 5

// Issue signs the certificate of a core's MQTT server over its public key, for
// the hosts (IP addresses and DNS names; at least one) where client devices reach
// it. It returns the authority that signed too.
func (s *Service) Issue(ctx context.Context, p fescue.Partition, groupID string, public crypto.PublicKey, hosts []string) (*x509.Certificate, Authority, error) {
	if !validKey(public) {
		return nil, Authority{}, ErrKey
	}
	c, err := s.Configuration(ctx, p, groupID)
	if err != nil {
		return nil, Authority{}, err
	}
	for attempt := 1; ; attempt++ {
		a, err := s.signing(ctx, p, groupID)
		if err != nil {
			return nil, Authority{}, err
		}
		leaf, err := s.sign(p, a, public, hosts, c)
		if err != nil {
			return nil, Authority{}, fmt.Errorf("sign certificate for group %s: %w", groupID, err)
		}
		// Kept before it is handed out: whoever holds it is trusted until then.
		err = s.store.RecordLeaf(ctx, p, groupID, a.ID, leaf.NotAfter)
		if err == nil {
			return leaf, a, nil
		}
		if !errors.Is(err, fescue.ErrNotFound) || attempt == issueAttempts {
			return nil, Authority{}, err
		}
	}
}

func (s *Service) sign(p fescue.Partition, a Authority, public crypto.PublicKey, hosts []string, c Configuration) (*x509.Certificate, error) {
	secret, err := s.keys.Open(a.Sealed, label(p, a))
	if err != nil {
		return nil, err
	}
	authority, err := pki.ParseAuthority(secret)
	if err != nil {
		return nil, err
	}
	return authority.SignServer(public, hosts, s.now().UTC(), c.CertificateExpiry)
}

func validKey(public crypto.PublicKey) bool {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSA && key.N.BitLen() <= maxRSA
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256() || key.Curve == elliptic.P384()
	}
	return false
}
