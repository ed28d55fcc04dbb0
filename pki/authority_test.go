package pki_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/pki"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func authority(t testing.TB, alg pki.Algorithm) *pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority("Test authority", alg, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func trusting(a *pki.Authority) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestAuthority(t *testing.T) {
	t.Parallel()
	for _, alg := range []pki.Algorithm{pki.ECDSA, pki.RSA} {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			a := authority(t, alg)
			c := a.Certificate
			if !c.IsCA || !c.BasicConstraintsValid || c.KeyUsage&x509.KeyUsageCertSign == 0 || len(c.SubjectKeyId) == 0 {
				t.Errorf("an authority without CA, keyCertSign or a subject key id: %v, %v", c.KeyUsage, c.SubjectKeyId)
			}
			if !c.NotBefore.Before(now) || c.NotAfter.Year() != 2049 || c.Subject.CommonName != "Test authority" {
				t.Errorf("valid from %v to %v, subject %v", c.NotBefore, c.NotAfter, c.Subject)
			}
			if err := c.CheckSignatureFrom(c); err != nil {
				t.Error(err)
			}
			data, err := a.Encode()
			if err != nil {
				t.Fatal(err)
			}
			again, err := pki.ParseAuthority(data)
			if err != nil {
				t.Fatal(err)
			}
			if !again.Certificate.Equal(c) || !bytes.Equal(a.PEM(), again.PEM()) || bytes.Contains(a.PEM(), []byte("PRIVATE")) {
				t.Error("the authority that was read is another one")
			}
			leaf, err := again.IssueServer(pki.ECDSA, []string{"localhost"}, now, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if err := leaf.Leaf.CheckSignatureFrom(c); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("unknown algorithm", func(t *testing.T) {
		t.Parallel()
		if _, err := pki.NewAuthority("x", "Ed25519", now); err == nil || !strings.Contains(err.Error(), "Ed25519") {
			t.Errorf("%v", err)
		}
	})
}

func TestParseAuthorityMalformed(t *testing.T) {
	t.Parallel()
	a, other := authority(t, pki.ECDSA), authority(t, pki.ECDSA)
	cert := string(a.PEM())
	pkcs8 := func(key crypto.Signer) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return block("PRIVATE KEY", der)
	}
	sec1, err := x509.MarshalECPrivateKey(a.Key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":                "",
		"no PEM":                 "authority",
		"the certificate alone":  cert,
		"the key alone":          pkcs8(a.Key),
		"the key first":          pkcs8(a.Key) + cert,
		"another one's key":      cert + pkcs8(other.Key),
		"a key of another kind":  cert + pkcs8(authority(t, pki.RSA).Key),
		"a key in SEC 1":         cert + block("EC PRIVATE KEY", sec1),
		"SEC 1 under PKCS #8":    cert + block("PRIVATE KEY", sec1),
		"an empty key":           cert + block("PRIVATE KEY", nil),
		"two certificates":       cert + cert,
		"no certificate inside":  block("CERTIFICATE", []byte("x")) + pkcs8(a.Key),
		"the certificate is cut": block("CERTIFICATE", a.Certificate.Raw[:100]) + pkcs8(a.Key),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := pki.ParseAuthority([]byte(text)); err == nil || got != nil {
				t.Errorf("%v, %v", got, err)
			} else if strings.Contains(err.Error(), "MIG") {
				t.Errorf("the error contains the key: %v", err)
			}
		})
	}
}

func TestIssueServer(t *testing.T) {
	t.Parallel()
	a := authority(t, pki.ECDSA)
	hosts := []string{"fescue.example.org", "localhost", "127.0.0.1", "::1", "192.0.2.7"}
	for _, alg := range []pki.Algorithm{pki.ECDSA, pki.RSA} {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			c, err := a.IssueServer(alg, hosts, now, 24*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			leaf := c.Leaf
			for _, h := range hosts {
				if _, err := leaf.Verify(x509.VerifyOptions{
					Roots: trusting(a), DNSName: h, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
				}); err != nil {
					t.Errorf("%s: %v", h, err)
				}
			}
			for _, h := range []string{"example.org", "other.example.org", "127.0.0.2"} {
				if err := leaf.VerifyHostname(h); err == nil {
					t.Errorf("it is good for %s", h)
				}
			}
			if !slices.Equal(leaf.DNSNames, hosts[:2]) || len(leaf.IPAddresses) != 3 || !leaf.IPAddresses[0].Equal(net.IPv4(127, 0, 0, 1)) {
				t.Errorf("names %v, addresses %v", leaf.DNSNames, leaf.IPAddresses)
			}
			if leaf.IsCA || !leaf.NotAfter.Equal(now.Add(24*time.Hour)) || !leaf.NotBefore.Before(now) {
				t.Errorf("CA %v, valid from %v to %v", leaf.IsCA, leaf.NotBefore, leaf.NotAfter)
			}
			if !bytes.Equal(leaf.AuthorityKeyId, a.Certificate.SubjectKeyId) || len(c.Certificate) != 2 {
				t.Errorf("authority key id %x, chain of %d", leaf.AuthorityKeyId, len(c.Certificate))
			}
			if _, isRSA := leaf.PublicKey.(*rsa.PublicKey); isRSA != (alg == pki.RSA) {
				t.Errorf("key %T", leaf.PublicKey)
			}
		})
	}
	t.Run("no host", func(t *testing.T) {
		t.Parallel()
		if c, err := a.IssueServer(pki.ECDSA, nil, now, time.Hour); err == nil || c != nil {
			t.Error("no error")
		}
	})
	t.Run("serials differ", func(t *testing.T) {
		t.Parallel()
		seen := make(map[string]bool)
		for range 20 {
			c, err := a.IssueServer(pki.ECDSA, hosts, now, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			serial := c.Leaf.SerialNumber
			if serial.Sign() <= 0 || serial.BitLen() > 127 || seen[serial.String()] {
				t.Errorf("serial %v", serial)
			}
			seen[serial.String()] = true
		}
	})
}

func TestIssueDevice(t *testing.T) {
	t.Parallel()
	a := authority(t, pki.ECDSA)
	key, err := pki.GenerateKey(pki.RSA)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.IssueDevice(key.Public(), now)
	if err != nil {
		t.Fatal(err)
	}
	if c.Subject.CommonName != "AWS IoT Certificate" || !c.NotAfter.Equal(time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC)) || c.IsCA {
		t.Errorf("subject %v, to %v, CA %v", c.Subject, c.NotAfter, c.IsCA)
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: trusting(a), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if !key.Public().(*rsa.PublicKey).Equal(c.PublicKey) {
		t.Error("another key is certified")
	}
	if sum := sha256.Sum256(c.Raw); pki.CertificateID(c.Raw) != hex.EncodeToString(sum[:]) {
		t.Errorf("id %s", pki.CertificateID(c.Raw))
	}
	private, public, err := pki.EncodeKeyPair(key.(*rsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := pem.Decode(private); b == nil || b.Type != "RSA PRIVATE KEY" {
		t.Errorf("private key %v", b)
	} else if got, err := x509.ParsePKCS1PrivateKey(b.Bytes); err != nil || !got.Equal(key) {
		t.Errorf("private key: %v", err)
	}
	if b, _ := pem.Decode(public); b == nil || b.Type != "PUBLIC KEY" {
		t.Errorf("public key %v", b)
	} else if got, err := x509.ParsePKIXPublicKey(b.Bytes); err != nil || !key.Public().(*rsa.PublicKey).Equal(got) {
		t.Errorf("public key: %v", err)
	}
}

func TestParseCertificate(t *testing.T) {
	t.Parallel()
	a := authority(t, pki.ECDSA)
	good := string(a.PEM())
	for name, text := range map[string]string{
		"plain":            good,
		"white space":      "\n\n" + good + " \r\n\t",
		"carriage returns": strings.ReplaceAll(good, "\n", "\r\n"),
		"text in front":    "subject=/CN=x\n" + good,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c, err := pki.ParseCertificate([]byte(text)); err != nil || !c.Equal(a.Certificate) {
				t.Errorf("%v", err)
			}
		})
	}
	for name, text := range map[string]string{
		"nothing":            "",
		"text":               "certificate",
		"NUL":                "\x00",
		"DER":                string(a.Certificate.Raw),
		"another block":      block("PUBLIC KEY", a.Certificate.Raw),
		"empty block":        block("CERTIFICATE", nil),
		"junk inside":        block("CERTIFICATE", []byte("junk")),
		"cut":                good[:len(good)/2],
		"cut inside":         block("CERTIFICATE", a.Certificate.Raw[:len(a.Certificate.Raw)-1]),
		"more inside":        block("CERTIFICATE", append(bytes.Clone(a.Certificate.Raw), 0)),
		"two":                good + good,
		"text after it":      good + "x",
		"a key after it":     good + block("PRIVATE KEY", []byte("x")),
		"another begin line": strings.Replace(good, "BEGIN CERTIFICATE", "BEGIN X509 CRL", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c, err := pki.ParseCertificate([]byte(text)); err == nil || c != nil {
				t.Error("no error")
			}
		})
	}
}

func FuzzParseCertificate(f *testing.F) {
	good := authority(f, pki.ECDSA).PEM()
	f.Add(good)
	f.Add(append(bytes.Clone(good), good...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := pki.ParseCertificate(text)
		if (c == nil) != (err != nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if err != nil {
			return
		}
		if again, err := pki.ParseCertificate(pki.EncodeCertificate(c.Raw)); err != nil || !again.Equal(c) {
			t.Errorf("it does not parse again: %v", err)
		}
	})
}
