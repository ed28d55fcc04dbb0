package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Algorithm is the kind of a key pair.
type Algorithm string

// The algorithms. Old device SDKs know only RSA; ECDSA signs thirty times
// faster.
const (
	ECDSA Algorithm = "ECDSA P-256"
	RSA   Algorithm = "RSA 2048"
)

// GenerateKey makes a private key.
func GenerateKey(alg Algorithm) (crypto.Signer, error) {
	switch alg {
	case ECDSA:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RSA:
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("unknown key algorithm %q", alg)
}

// Authority is a certificate authority with its private key.
type Authority struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// farFuture is when AWS IoT's own device certificates end; certificates that
// must outlive their device use it.
var farFuture = time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC)

// backdate makes certificates valid on machines whose clock is a little behind.
const backdate = time.Hour

// NewAuthority makes a self-signed authority. It carries keyUsage and a subject
// key id, which strict verifiers (Python 3.13) ask for.
func NewAuthority(name string, alg Algorithm, now time.Time) (*Authority, error) {
	return NewAuthorityFor(pkix.Name{CommonName: name, Organization: []string{"Fescue"}}, alg, now)
}

// NewAuthorityFor is NewAuthority with a whole subject.
func NewAuthorityFor(subject pkix.Name, alg Algorithm, now time.Time) (*Authority, error) {
	key, err := GenerateKey(alg)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               subject,
		NotBefore:             now.Add(-backdate),
		NotAfter:              farFuture,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make authority %s: %w", subject.CommonName, err)
	}
	return parseAuthority(der, key)
}

func parseAuthority(der []byte, key crypto.Signer) (*Authority, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse authority: %w", err)
	}
	return &Authority{Certificate: cert, Key: key}, nil
}

// Encode is the authority as PEM: the certificate, then the PKCS #8 key. It is a
// secret.
func (a *Authority) Encode() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.Key)
	if err != nil {
		return nil, err
	}
	out := EncodeCertificate(a.Certificate.Raw)
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), nil
}

// ParseAuthority reads what Encode wrote.
func ParseAuthority(data []byte) (*Authority, error) {
	certBlock, rest := pem.Decode(data)
	if certBlock == nil || certBlock.Type != "CERTIFICATE" {
		return nil, errors.New("authority: no certificate")
	}
	keyBlock, _ := pem.Decode(rest)
	if keyBlock == nil || keyBlock.Type != "PRIVATE KEY" {
		return nil, errors.New("authority: no private key")
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("authority: a %T cannot sign", key)
	}
	a, err := parseAuthority(certBlock.Bytes, signer)
	if err != nil {
		return nil, err
	}
	if public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(a.Certificate.PublicKey) {
		return nil, errors.New("authority: the private key is not the certificate's")
	}
	return a, nil
}

// PEM is the authority's certificate, for those who are to trust it.
func (a *Authority) PEM() []byte { return EncodeCertificate(a.Certificate.Raw) }

// IssueServer makes a listener's key and certificate for the hosts (DNS names and
// IP literals; at least one), valid for lifetime.
func (a *Authority) IssueServer(alg Algorithm, hosts []string, now time.Time, lifetime time.Duration) (*tls.Certificate, error) {
	key, err := GenerateKey(alg)
	if err != nil {
		return nil, err
	}
	leaf, err := a.SignServer(key.Public(), hosts, now, lifetime)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, a.Certificate.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// SignServer makes a listener's certificate over a public key, as IssueServer
// does.
func (a *Authority) SignServer(public crypto.PublicKey, hosts []string, now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	return a.signServer(public, hosts, now.Add(-backdate), now.Add(lifetime))
}

// SignServerWithin is SignServer by an authority that ends before its leaves would: the
// certificate begins with the authority, so that a clock which is set back does not
// make it one of the future, and ends with it at the latest.
func (a *Authority) SignServerWithin(public crypto.PublicKey, hosts []string, now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	end := now.Add(lifetime)
	if end.After(a.Certificate.NotAfter) {
		end = a.Certificate.NotAfter
	}
	return a.signServer(public, hosts, a.Certificate.NotBefore, end)
}

func (a *Authority) signServer(public crypto.PublicKey, hosts []string, begin, end time.Time) (*x509.Certificate, error) {
	if len(hosts) == 0 {
		return nil, errors.New("a server certificate needs a host name or an IP address")
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: hosts[0]},
		NotBefore:   begin,
		NotAfter:    end,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := a.issue(template, public)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// SignIntermediate makes an authority over a public key that signs leaves and no other
// authority, for servers alone, valid for lifetime or as long as the authority above it. Beside
// basicConstraints and keyUsage it has no critical extension: devices' TLS libraries
// refuse chains with what they do not know, and name constraints are such to mbedTLS.
func (a *Authority) SignIntermediate(public crypto.PublicKey, subject pkix.Name, now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	end := now.Add(lifetime)
	if end.After(a.Certificate.NotAfter) {
		end = a.Certificate.NotAfter
	}
	der, err := a.issue(&x509.Certificate{
		Subject:               subject,
		NotBefore:             now.Add(-backdate),
		NotAfter:              end,
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, public)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// IssueDevice makes a device certificate over a public key, with the profile of
// AWS IoT's own: subject "AWS IoT Certificate", valid to the end of 2049.
func (a *Authority) IssueDevice(public crypto.PublicKey, now time.Time) (*x509.Certificate, error) {
	der, err := a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "AWS IoT Certificate"},
		NotBefore:   now.Add(-backdate),
		NotAfter:    farFuture,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, public)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (a *Authority) issue(template *x509.Certificate, public crypto.PublicKey) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, public, a.Key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate %s: %w", template.Subject.CommonName, err)
	}
	return der, nil
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

// CertificateID is the identity of a certificate: the SHA-256 of its DER form in
// lowercase hexadecimal.
func CertificateID(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// EncodeCertificate is a certificate's PEM form.
func EncodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// ParseCertificate reads exactly one PEM certificate, as API callers send it.
func ParseCertificate(text []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("not a PEM certificate")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("more than one PEM block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the certificate does not parse: %w", err)
	}
	return cert, nil
}

// ParseRequest reads exactly one PEM certificate signing request, whose key its
// sender has.
func ParseRequest(text []byte) (*x509.CertificateRequest, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("the certificate signing request is not one PEM block of type CERTIFICATE REQUEST")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the certificate signing request does not parse: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the signature of the certificate signing request does not verify: %w", err)
	}
	return request, nil
}

// EncodeKeyPair is an RSA key pair as AWS IoT hands it out: PKCS #1 private key
// and PKIX public key, in PEM.
func EncodeKeyPair(key *rsa.PrivateKey) (private, public []byte, err error) {
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	private = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	public = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return private, public, nil
}
