package registry

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/pki"
)

// Limits of what callers send (AWS IoT API model).
const (
	maxCSR         = 4096
	maxCertificate = 65536
)

// Sizes of RSA keys in bits: AWS IoT takes none below the first (API reference,
// CreateCertificateFromCsr), Go's TLS none above the second.
const (
	minRSA = 2048
	maxRSA = 8192
)

// Certificate modes (AWS IoT API model): how AWS IoT finds the account of a
// certificate. Fescue goes by the fingerprint for both.
const (
	modeDefault = "DEFAULT"
	modeSNIOnly = "SNI_ONLY"
)

// KeyPair is a new key pair in PEM.
type KeyPair struct{ Public, Private []byte }

// CreateKeysAndCertificate makes an RSA key pair and a certificate over it. The
// private key is in the answer and nowhere else.
func (s *Service) CreateKeysAndCertificate(ctx context.Context, p fescue.Partition, active bool) (fescue.Certificate, KeyPair, error) {
	signer, err := pki.GenerateKey(pki.RSA)
	if err != nil {
		return fescue.Certificate{}, KeyPair{}, fmt.Errorf("make device key: %w", err)
	}
	key, ok := signer.(*rsa.PrivateKey)
	if !ok {
		return fescue.Certificate{}, KeyPair{}, fmt.Errorf("make device key: a %T is not RSA", signer)
	}
	private, public, err := pki.EncodeKeyPair(key)
	if err != nil {
		return fescue.Certificate{}, KeyPair{}, fmt.Errorf("encode device key: %w", err)
	}
	c, err := s.issue(ctx, p, key.Public(), active)
	if err != nil {
		return fescue.Certificate{}, KeyPair{}, err
	}
	return c, KeyPair{Public: public, Private: private}, nil
}

// CreateCertificateFromCSR issues a certificate over the key of a PEM signing
// request: RSA of 2048 to 8192 bits, or one of the three NIST curves. Each call
// makes another certificate.
func (s *Service) CreateCertificateFromCSR(ctx context.Context, p fescue.Partition, request string, active bool) (fescue.Certificate, error) {
	csr, err := parseCSR(request)
	if err != nil {
		return fescue.Certificate{}, err
	}
	return s.issue(ctx, p, csr.PublicKey, active)
}

func (s *Service) issue(ctx context.Context, p fescue.Partition, public any, active bool) (fescue.Certificate, error) {
	cert, err := s.authority.IssueDevice(public, s.now())
	if err != nil {
		return fescue.Certificate{}, err
	}
	return s.keep(ctx, p, cert, statusOf(active), modeDefault)
}

func statusOf(active bool) fescue.CertificateStatus {
	if active {
		return fescue.CertificateActive
	}
	return fescue.CertificateInactive
}

// RegisterCertificate registers a certificate that somebody else issued. When
// its authority is given (PEM, may be empty) the certificate must be signed by
// it; the authority itself need not be known, since a certificate's identity is
// its fingerprint alone.
func (s *Service) RegisterCertificate(ctx context.Context, p fescue.Partition, certificate, authority string, status fescue.CertificateStatus) (fescue.Certificate, error) {
	cert, err := parseCertificate(certificate)
	if err != nil {
		return fescue.Certificate{}, err
	}
	if authority != "" {
		issuer, err := parseCertificate(authority)
		if err == nil {
			err = cert.CheckSignatureFrom(issuer)
		}
		if err != nil {
			return fescue.Certificate{}, fmt.Errorf("%w: caCertificatePem did not sign it: %w", ErrCertificateInvalid, err)
		}
	}
	return s.register(ctx, p, cert, status, modeDefault)
}

// RegisterCertificateWithoutCA registers a certificate of any origin.
func (s *Service) RegisterCertificateWithoutCA(ctx context.Context, p fescue.Partition, certificate string, status fescue.CertificateStatus) (fescue.Certificate, error) {
	cert, err := parseCertificate(certificate)
	if err != nil {
		return fescue.Certificate{}, err
	}
	return s.register(ctx, p, cert, status, modeSNIOnly)
}

func (s *Service) register(ctx context.Context, p fescue.Partition, cert *x509.Certificate, status fescue.CertificateStatus, mode string) (fescue.Certificate, error) {
	if err := checkStatus(status); err != nil {
		return fescue.Certificate{}, err
	}
	c, err := s.keep(ctx, p, cert, status, mode)
	if err != nil {
		id := pki.CertificateID(cert.Raw)
		err = refuseAs(err, fescue.ErrExists, ErrCertificateExists, id, p.CertificateARN(id))
		return fescue.Certificate{}, refuseAs(err, fescue.ErrConflict, ErrCertificateElsewhere, id, p.CertificateARN(id))
	}
	s.notify(c.ID)
	return c, nil
}

func (s *Service) keep(ctx context.Context, p fescue.Partition, cert *x509.Certificate, status fescue.CertificateStatus, mode string) (fescue.Certificate, error) {
	now := s.now().UTC()
	c := fescue.Certificate{
		ID:        pki.CertificateID(cert.Raw),
		PEM:       string(pki.EncodeCertificate(cert.Raw)),
		Status:    status,
		CreatedAt: now, UpdatedAt: now,
		NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC(),
		Mode: mode,
	}
	if err := s.store.Certificates.CreateCertificate(ctx, p, c); err != nil {
		return fescue.Certificate{}, err
	}
	return c, nil
}

// Certificate reads a certificate.
func (s *Service) Certificate(ctx context.Context, p fescue.Partition, id string) (fescue.Certificate, error) {
	if err := checkCertificateID(id); err != nil {
		return fescue.Certificate{}, err
	}
	return s.store.Certificates.Certificate(ctx, p, id)
}

// Certificates lists at most limit certificates by time of creation, after the
// one whose CreatedAt and ID are given, or from the beginning when the ID is
// empty.
func (s *Service) Certificates(ctx context.Context, p fescue.Partition, after fescue.Certificate, ascending bool, limit int) ([]fescue.Certificate, error) {
	return s.store.Certificates.Certificates(ctx, p, after, ascending, limit)
}

// Ending lists at most limit ACTIVE certificates that end before a time, those that
// end first first, after the one whose NotAfter and ID are given.
func (s *Service) Ending(ctx context.Context, p fescue.Partition, before time.Time, after fescue.Certificate, limit int) ([]Ending, error) {
	return s.store.Certificates.Ending(ctx, p, before, after, limit)
}

// SetCertificateStatus changes the status. REVOKED is final:
// ErrCertificateRevoked.
func (s *Service) SetCertificateStatus(ctx context.Context, p fescue.Partition, id string, status fescue.CertificateStatus) error {
	if err := checkCertificateID(id); err != nil {
		return err
	}
	if err := checkStatus(status); err != nil {
		return err
	}
	if err := s.store.Certificates.SetCertificateStatus(ctx, p, id, status, s.now().UTC()); err != nil {
		return refuseAs(err, fescue.ErrConflict, ErrCertificateRevoked, id, p.CertificateARN(id))
	}
	s.notify(id)
	return nil
}

// DeleteCertificate removes a certificate that is not ACTIVE and has neither
// things nor policies; force takes the policies off it.
func (s *Service) DeleteCertificate(ctx context.Context, p fescue.Partition, id string, force bool) error {
	if err := checkCertificateID(id); err != nil {
		return err
	}
	err := s.store.Certificates.DeleteCertificate(ctx, p, id, force)
	switch {
	case err == nil:
		s.notify(id)
		return nil
	case errors.Is(err, fescue.ErrInUse):
		// What it is attached to only chooses the words.
		reason := ErrCertificateHasPolicies
		things, readErr := s.store.Things.CertificateThings(ctx, p, id, fescue.Page{Limit: 1})
		if readErr != nil {
			return readErr
		}
		if len(things) > 0 {
			reason = ErrCertificateHasThings
		}
		return &Refusal{Reason: reason, Name: id, ARN: p.CertificateARN(id)}
	}
	return refuseAs(err, fescue.ErrConflict, ErrCertificateActive, id, p.CertificateARN(id))
}

func parseCertificate(text string) (*x509.Certificate, error) {
	if len(text) > maxCertificate {
		return nil, invalid("the certificate has %d characters, at most %d are read", len(text), maxCertificate)
	}
	cert, err := pki.ParseCertificate([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificateInvalid, err)
	}
	return cert, nil
}

func parseCSR(text string) (*x509.CertificateRequest, error) {
	if len(text) > maxCSR {
		return nil, invalid("the certificate signing request has %d characters, at most %d are read", len(text), maxCSR)
	}
	csr, err := pki.ParseRequest([]byte(text))
	if err != nil {
		return nil, invalid("%v", err)
	}
	switch key := csr.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSA || n > maxRSA {
			return nil, invalid("the certificate signing request has an RSA key of %d bits; make one of %d to %d bits", n, minRSA, maxRSA)
		}
	case *ecdsa.PublicKey:
		if n := key.Params().BitSize; n < 256 {
			return nil, invalid("the certificate signing request has a key on a curve of %d bits; use P-256, P-384 or P-521", n)
		}
	default:
		return nil, invalid("the certificate signing request has a %s key; use RSA or one of the curves P-256, P-384 and P-521", csr.PublicKeyAlgorithm)
	}
	return csr, nil
}

func checkCertificateID(id string) error {
	if !fescue.ValidHash(id) {
		return invalid("certificate id %.64q is not 64 lowercase hexadecimal digits", id)
	}
	return nil
}

func checkStatus(status fescue.CertificateStatus) error {
	switch status {
	case fescue.CertificateActive, fescue.CertificateInactive, fescue.CertificateRevoked:
		return nil
	}
	return invalid("status %.32q is not ACTIVE, INACTIVE or REVOKED", status)
}
