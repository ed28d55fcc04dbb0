package registry_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/pki"
)

// device makes a certificate in PEM that somebody else's authority issued.
func device(t *testing.T, a *pki.Authority) string {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return string(pki.EncodeCertificate(must(a.IssueDevice(key.Public(), now)).Raw))
}

func TestIssuedCertificates(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()

	t.Run("the keys fit the certificate", func(t *testing.T) {
		c, keys, err := s.CreateKeysAndCertificate(ctx, here, true)
		mustDo(t, err)
		pair, err := tls.X509KeyPair([]byte(c.PEM), keys.Private)
		mustDo(t, err)
		if id := pki.CertificateID(pair.Certificate[0]); id != c.ID || c.Status != fescue.CertificateActive {
			t.Errorf("certificate %+v has the fingerprint %s", c, id)
		}
		if key, ok := pair.PrivateKey.(*rsa.PrivateKey); !ok || key.N.BitLen() != 2048 {
			t.Errorf("key %T", pair.PrivateKey)
		}
		if !strings.HasSuffix(c.PEM, "\n") || !strings.HasPrefix(string(keys.Public), "-----BEGIN PUBLIC KEY-----\n") || !strings.HasPrefix(string(keys.Private), "-----BEGIN RSA PRIVATE KEY-----\n") {
			t.Error("PEM has another form than AWS IoT's")
		}
		leaf := must(x509.ParseCertificate(pair.Certificate[0]))
		if want := time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC); !leaf.NotAfter.Equal(want) || !c.NotAfter.Equal(want) {
			t.Errorf("valid to %v", leaf.NotAfter)
		}
		if diff := cmp.Diff(c, must(s.Certificate(ctx, here, c.ID))); diff != "" {
			t.Error(diff)
		}
	})
	ec := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	good := request(t, ec, "CERTIFICATE REQUEST")
	t.Run("each request makes another certificate over the same key", func(t *testing.T) {
		a := must(s.CreateCertificateFromCSR(ctx, here, good, false))
		b := must(s.CreateCertificateFromCSR(ctx, here, request(t, ec, "NEW CERTIFICATE REQUEST"), true))
		if a.ID == b.ID || a.Status != fescue.CertificateInactive || b.Status != fescue.CertificateActive {
			t.Errorf("got %+v and %+v", a, b)
		}
		if cert := must(pki.ParseCertificate([]byte(a.PEM))); !ec.PublicKey.Equal(cert.PublicKey) {
			t.Error("the certificate has another key than the request")
		}
	})
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	mustDo(t, err)
	block, _ := pem.Decode([]byte(good))
	forged := slices.Clone(block.Bytes)
	forged[len(forged)-1] ^= 1
	for title, text := range map[string]string{
		"empty":            "",
		"not PEM":          "hello",
		"two blocks":       good + good,
		"another type":     strings.ReplaceAll(good, "CERTIFICATE REQUEST", "CERTIFICATE"),
		"cut short":        string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes[:50]})),
		"forged":           string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: forged})),
		"a short RSA key":  request(t, must(rsa.GenerateKey(rand.Reader, 1024)), "CERTIFICATE REQUEST"),
		"a small curve":    request(t, must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)), "CERTIFICATE REQUEST"),
		"an Ed25519 key":   request(t, edwards, "CERTIFICATE REQUEST"),
		"4097 characters":  good + strings.Repeat("\n", 4097-len(good)),
		"NUL and not UTF8": "\x00\xff",
	} {
		t.Run("refused: "+title, func(t *testing.T) {
			_, err := s.CreateCertificateFromCSR(ctx, here, text, true)
			wantInvalid(t, err, "certificate signing request")
		})
	}
}

func request(t *testing.T, key any, blockType string) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der}))
}

func TestRegisteredCertificates(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	theirs := authority(t)

	t.Run("one partition only", func(t *testing.T) {
		text := device(t, theirs)
		c := must(s.RegisterCertificateWithoutCA(ctx, here, "  subject: x\n"+text+"\n\n", fescue.CertificateInactive))
		if c.PEM != text || c.Mode != "SNI_ONLY" {
			t.Errorf("got %+v", c)
		}
		_, err := s.RegisterCertificateWithoutCA(ctx, here, text, fescue.CertificateActive)
		wantError(t, err, registry.ErrCertificateExists)
		_, err = s.RegisterCertificateWithoutCA(ctx, there, text, fescue.CertificateActive)
		wantError(t, err, registry.ErrCertificateElsewhere)
		if strings.Contains(err.Error(), here.Account) {
			t.Errorf("error %q says whose it is", err)
		}
		_, err = s.Certificate(ctx, there, c.ID)
		wantError(t, err, fescue.ErrNotFound)
	})
	t.Run("the authority named must have signed it", func(t *testing.T) {
		text := device(t, theirs)
		_, err := s.RegisterCertificate(ctx, here, text, string(authority(t).PEM()), fescue.CertificateActive)
		wantError(t, err, registry.ErrCertificateInvalid)
		_, err = s.RegisterCertificate(ctx, here, text, "nonsense", fescue.CertificateActive)
		wantError(t, err, registry.ErrCertificateInvalid)
		c, err := s.RegisterCertificate(ctx, here, text, string(theirs.PEM()), fescue.CertificateActive)
		if err != nil || c.Mode != "DEFAULT" {
			t.Errorf("got %+v, %v", c, err)
		}
		must(s.RegisterCertificate(ctx, here, device(t, theirs), "", fescue.CertificateRevoked))
	})
	t.Run("refused", func(t *testing.T) {
		good := device(t, theirs)
		for _, text := range []string{"", "x", good + good, good[:200], string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))} {
			_, err := s.RegisterCertificateWithoutCA(ctx, here, text, fescue.CertificateActive)
			wantError(t, err, registry.ErrCertificateInvalid)
		}
		_, err := s.RegisterCertificateWithoutCA(ctx, here, good+strings.Repeat("\n", 65536), fescue.CertificateActive)
		wantInvalid(t, err, "65536")
		_, err = s.RegisterCertificateWithoutCA(ctx, here, good, "PENDING_TRANSFER")
		wantInvalid(t, err, "status")
	})
}

func TestCertificateLife(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	c := must(s.RegisterCertificateWithoutCA(ctx, here, device(t, authority(t)), fescue.CertificateActive))
	must(s.CreateThing(ctx, here, "lamp", "", nil))
	must(s.CreatePolicy(ctx, here, "p", allowAll))
	mustDo(t, s.AttachThing(ctx, here, "lamp", c.ID), s.AttachPolicy(ctx, here, "p", c.ID))

	wantError(t, s.DeleteCertificate(ctx, here, c.ID, true), registry.ErrCertificateActive)
	wantInvalid(t, s.SetCertificateStatus(ctx, here, c.ID, ""), "status")
	wantInvalid(t, s.SetCertificateStatus(ctx, here, strings.ToUpper(c.ID), fescue.CertificateActive), "certificate id")
	wantError(t, s.SetCertificateStatus(ctx, there, c.ID, fescue.CertificateRevoked), fescue.ErrNotFound)
	mustDo(t, s.SetCertificateStatus(ctx, here, c.ID, fescue.CertificateRevoked))
	wantError(t, s.SetCertificateStatus(ctx, here, c.ID, fescue.CertificateInactive), registry.ErrCertificateRevoked)
	wantError(t, s.DeleteCertificate(ctx, here, c.ID, true), registry.ErrCertificateHasThings)
	mustDo(t, s.DetachThing(ctx, here, "lamp", c.ID))
	wantError(t, s.DeleteCertificate(ctx, here, c.ID, false), registry.ErrCertificateHasPolicies)
	mustDo(t, s.DeleteCertificate(ctx, here, c.ID, true))
	_, err := s.Principal(ctx, c.ID)
	wantError(t, err, fescue.ErrNotFound)
}

func FuzzCreateCertificateFromCSR(f *testing.F) {
	der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))))
	f.Add(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
	f.Add("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")
	f.Add("")
	f.Add("\x00\xff")
	a := must(pki.NewAuthority("devices", pki.ECDSA, now))
	f.Fuzz(func(t *testing.T, text string) {
		s := registry.New(registry.Options{Stores: registry.Stores{Certificates: keepsNothing{}}, Authority: a, AWS: "aws", Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
		c, err := s.CreateCertificateFromCSR(t.Context(), here, text, true)
		var invalid *registry.InvalidError
		if err != nil && !errors.As(err, &invalid) {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil && must(pki.ParseCertificate([]byte(c.PEM))).CheckSignatureFrom(a.Certificate) != nil {
			t.Errorf("%q: the authority did not sign the certificate", text)
		}
	})
}

type keepsNothing struct{ registry.CertificateStore }

func (keepsNothing) CreateCertificate(context.Context, fescue.Partition, fescue.Certificate) error {
	return nil
}
