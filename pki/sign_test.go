package pki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/pki"
)

func TestNewAuthorityFor(t *testing.T) {
	t.Parallel()
	subject := pkix.Name{Country: []string{"US"}, Organization: []string{"O"}, Province: []string{"ST"}, CommonName: "123456789012:group"}
	a, err := pki.NewAuthorityFor(subject, pki.RSA, now)
	if err != nil {
		t.Fatal(err)
	}
	c := a.Certificate
	if got, want := c.Subject.String(), subject.String(); got != want || c.Issuer.String() != want {
		t.Errorf("subject %s, issuer %s, want %s", got, c.Issuer, want)
	}
	if c.SignatureAlgorithm != x509.SHA256WithRSA || c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("%v, %v", c.SignatureAlgorithm, c.KeyUsage)
	}
}

func TestSignServer(t *testing.T) {
	t.Parallel()
	a := authority(t, pki.RSA)
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("over another's key", func(t *testing.T) {
		t.Parallel()
		hosts := []string{"gate.example.org", "10.0.0.1", "fe80::1"}
		leaf, err := a.SignServer(key.Public(), hosts, now, 7*24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range hosts {
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: trusting(a), DNSName: host, CurrentTime: now}); err != nil {
				t.Errorf("%s: %v", host, err)
			}
		}
		if !slices.Equal(leaf.DNSNames, hosts[:1]) || len(leaf.IPAddresses) != 2 || len(leaf.AuthorityKeyId) == 0 {
			t.Errorf("%v, %v, %v", leaf.DNSNames, leaf.IPAddresses, leaf.AuthorityKeyId)
		}
		if !key.PublicKey.Equal(leaf.PublicKey) || leaf.SignatureAlgorithm != x509.SHA256WithRSA || !leaf.NotAfter.Equal(now.Add(7*24*time.Hour)) {
			t.Errorf("%T, %v, %v", leaf.PublicKey, leaf.SignatureAlgorithm, leaf.NotAfter)
		}
	})
	t.Run("without a host", func(t *testing.T) {
		t.Parallel()
		if _, err := a.SignServer(key.Public(), nil, now, time.Hour); err == nil {
			t.Error("no error")
		}
	})
	t.Run("over no key", func(t *testing.T) {
		t.Parallel()
		if _, err := a.SignServer("key", []string{"a"}, now, time.Hour); err == nil {
			t.Error("no error")
		}
	})
}
