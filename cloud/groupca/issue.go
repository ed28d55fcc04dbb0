package groupca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/pki"
)

// ErrKey means that a core's key is none that the original took: RSA of 2048 bits
// and more, EC on P-256 or P-384.
var ErrKey = errors.New("the key of a core's MQTT server must be RSA of 2048 to 8192 bits, or EC on P-256 or P-384")

// ErrStrayed means that a core is not its group's any more: the group's newest version does
// not name it, or the certificate with which it asks is not ACTIVE or not attached to it. A
// rotation of the authority drops what was signed for such a core.
var ErrStrayed = errors.New("the group's newest version does not name this core, or the certificate with which the core asks is not ACTIVE or not attached to it, " +
	"so that the group's authority signs nothing for it: if the core belongs to the group, name it in the newest group version; if not, reset its deployments")

// Sizes of RSA keys. The upper one bounds the work of every handshake.
const (
	minRSA = 2048
	maxRSA = 8192
)

// issueAttempts bounds how often a certificate is signed anew because the
// authority was rotated meanwhile.
const issueAttempts = 5

// Request is for the certificate of a core's MQTT server.
type Request struct {
	// Public is the server's key, RSA of 2048 to 8192 bits or EC on P-256 or P-384.
	Public crypto.PublicKey
	// Hosts are the IP addresses and DNS names, at least one, where client devices
	// reach it.
	Hosts []string
	// Intermediate is the key of an intermediate authority, by which the core signs for
	// itself while it has no line, and IntermediateLifetime for how long; nil for none.
	Intermediate         crypto.PublicKey
	IntermediateLifetime time.Duration
	// Thing is the core, CertificateID the certificate with which it asks.
	Thing, CertificateID string
}

// Issued is what was signed.
type Issued struct {
	Leaf *x509.Certificate
	// Intermediate is nil when none was asked for.
	Intermediate *x509.Certificate
	// Authority signed both.
	Authority Authority
}

// Check reports as ErrStrayed that the group's authorities sign nothing for a core, which
// asks with a certificate.
func (s *Service) Check(ctx context.Context, p fescue.Partition, groupID, thing, certificateID string) error {
	return s.store.CheckHolder(ctx, p, groupID, Holder{Thing: thing, CertificateID: certificateID})
}

// Issue signs the certificate of a core's MQTT server, and an intermediate where that is
// asked for. It is ErrStrayed for a core that is not the group's any more.
func (s *Service) Issue(ctx context.Context, p fescue.Partition, groupID string, r Request) (Issued, error) {
	if !validKey(r.Public) || r.Intermediate != nil && !validKey(r.Intermediate) {
		return Issued{}, ErrKey
	}
	c, err := s.Configuration(ctx, p, groupID)
	if err != nil {
		return Issued{}, err
	}
	for attempt := 1; ; attempt++ {
		a, err := s.signing(ctx, p, groupID)
		if err != nil {
			return Issued{}, err
		}
		made, err := s.sign(p, a, r, c)
		if err != nil {
			return Issued{}, fmt.Errorf("sign certificate for group %s: %w", groupID, err)
		}
		// Kept before it is handed out: whoever holds it is trusted until then.
		holder := Holder{Thing: r.Thing, CertificateID: r.CertificateID, Until: made.Leaf.NotAfter}
		if made.Intermediate != nil && made.Intermediate.NotAfter.After(holder.Until) {
			holder.Until = made.Intermediate.NotAfter
		}
		err = s.store.RecordHolder(ctx, p, groupID, a.ID, holder)
		if err == nil {
			return made, nil
		}
		if !errors.Is(err, fescue.ErrNotFound) || attempt == issueAttempts {
			return Issued{}, err
		}
	}
}

func (s *Service) sign(p fescue.Partition, a Authority, r Request, c Configuration) (Issued, error) {
	secret, err := s.keys.Open(a.Sealed, label(p, a))
	if err != nil {
		return Issued{}, err
	}
	authority, err := pki.ParseAuthority(secret)
	if err != nil {
		return Issued{}, err
	}
	made, now := Issued{Authority: a}, s.now().UTC()
	if made.Leaf, err = authority.SignServer(r.Public, r.Hosts, now, c.CertificateExpiry); err != nil {
		return Issued{}, err
	}
	if r.Intermediate != nil {
		made.Intermediate, err = authority.SignIntermediate(r.Intermediate, intermediateName(p, a), now, r.IntermediateLifetime)
	}
	return made, err
}

// intermediateName is not the authority's own: a verifier that looks for issuers by
// their names must not take one for the other.
func intermediateName(p fescue.Partition, a Authority) pkix.Name {
	return pkix.Name{Organization: []string{"Fescue"}, OrganizationalUnit: []string{"Core without a line"}, CommonName: p.Account + ":" + a.GroupID}
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
