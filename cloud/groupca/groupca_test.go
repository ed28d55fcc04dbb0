package groupca_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/groupca"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/pki"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var (
	here  = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	there = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}
)

// site is the service on a real store, with a clock.
type site struct {
	*groupca.Service
	t     *testing.T
	store *store.DB
	group string
	core  groupca.Holder

	mu  sync.Mutex
	now time.Time
}

func open(t *testing.T) *site {
	t.Helper()
	st := storetest.Open(t)
	s := &site{t: t, store: st, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	s.Service = s.service(1)
	s.group = s.newGroup(here)
	s.core = storetest.Core(t, st, here, s.group, 1)
	return s
}

// ask is a request of the site's core.
func (s *site) ask(public crypto.PublicKey, hosts ...string) groupca.Request {
	return groupca.Request{Public: public, Hosts: hosts, Thing: s.core.Thing, CertificateID: s.core.CertificateID}
}

// service is one with a master key of its own.
func (s *site) service(key byte) *groupca.Service {
	s.t.Helper()
	master, err := pki.NewMasterKey(slices.Repeat([]byte{key}, 32))
	if err != nil {
		s.t.Fatal(err)
	}
	return groupca.New(s.store.GroupAuthorities(), master, func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.now
	})
}

func (s *site) wait(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *site) newGroup(p fescue.Partition) string {
	s.t.Helper()
	d := fescue.Definition{Kind: fescue.GroupKind, ID: fescue.NewID(), Name: "g", CreatedAt: s.now, UpdatedAt: s.now}
	if _, err := s.store.Definitions().CreateDefinition(context.Background(), p, d, nil, fescue.Token{}); err != nil {
		s.t.Fatal(err)
	}
	return d.ID
}

// ids lists the authorities of the site's group.
func (s *site) ids(t *testing.T) []string {
	t.Helper()
	list, err := s.Authorities(t.Context(), here, s.group)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, a := range list {
		ids = append(ids, a.ID)
	}
	return ids
}

func ecKey(t *testing.T, curve elliptic.Curve) crypto.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key.Public()
}

func TestAuthority(t *testing.T) {
	t.Parallel()
	s := open(t)
	first := s.ids(t)
	list, err := s.Authorities(t.Context(), here, s.group)
	if err != nil || len(list) != 1 || list[0].ID != first[0] {
		t.Fatalf("%+v, %v: it was made twice", list, err)
	}
	a := list[0]
	cert, err := pki.ParseCertificate([]byte(a.PEM))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("has the original's profile", func(t *testing.T) {
		want := "CN=123456789012:" + s.group + ",OU=Amazon Web Services,O=Amazon.com Inc.,L=Seattle,ST=Washington,C=US"
		key, _ := cert.PublicKey.(*rsa.PublicKey)
		if cert.Subject.String() != want || key == nil || key.N.BitLen() != 2048 || cert.SignatureAlgorithm != x509.SHA256WithRSA {
			t.Errorf("%s, %T, %v", cert.Subject, cert.PublicKey, cert.SignatureAlgorithm)
		}
		if !cert.IsCA || !cert.BasicConstraintsValid || len(cert.SubjectKeyId) == 0 || cert.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
			t.Errorf("%+v", cert)
		}
	})
	t.Run("is called by its fingerprint", func(t *testing.T) {
		if a.ID != pki.CertificateID(cert.Raw) || !fescue.ValidHash(a.ID) {
			t.Error(a.ID)
		}
	})
	t.Run("keeps its key from whoever has the database", func(t *testing.T) {
		if strings.Contains(string(a.Sealed), "PRIVATE") || len(a.Sealed) == 0 {
			t.Errorf("%q", a.Sealed)
		}
		_, err := s.service(2).Issue(t.Context(), here, s.group, s.ask(ecKey(t, elliptic.P256()), "a"))
		if !errors.Is(err, pki.ErrSealed) {
			t.Errorf("another master key: %v", err)
		}
	})
}

func TestRotation(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	public := ecKey(t, elliptic.P256())
	first := s.ids(t)[0]
	if _, err := s.Issue(ctx, here, s.group, s.ask(public, "10.0.0.1")); err != nil {
		t.Fatal(err)
	}
	s.wait(24 * time.Hour)
	second, err := s.Create(ctx, here, s.group, fescue.Token{})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("the old one stays listed, after the new one, until its leaf ends", func(t *testing.T) {
		if got := s.ids(t); !slices.Equal(got, []string{second, first}) {
			t.Errorf("%v, want %v", got, []string{second, first})
		}
		s.wait(groupca.DefaultExpiry - 24*time.Hour - time.Millisecond)
		if got := s.ids(t); !slices.Equal(got, []string{second, first}) {
			t.Errorf("%v, want %v", got, []string{second, first})
		}
		s.wait(time.Millisecond)
		if got := s.ids(t); !slices.Equal(got, []string{second}) {
			t.Errorf("%v, want %v", got, second)
		}
	})
	t.Run("the new one signs", func(t *testing.T) {
		made, err := s.Issue(ctx, here, s.group, s.ask(public, "10.0.0.1"))
		leaf, a := made.Leaf, made.Authority
		if err != nil || a.ID != second {
			t.Fatalf("%s, %v", a.ID, err)
		}
		issuer, err := pki.ParseCertificate([]byte(a.PEM))
		if err != nil {
			t.Fatal(err)
		}
		if err := leaf.CheckSignatureFrom(issuer); err != nil {
			t.Error(err)
		}
	})
	t.Run("the same token rotates once", func(t *testing.T) {
		token := fescue.Token{Operation: "o", Value: "v", RequestHash: "h"}
		third, err := s.Create(ctx, here, s.group, token)
		if err != nil || third == second {
			t.Fatalf("%s, %v", third, err)
		}
		again, err := s.Create(ctx, here, s.group, token)
		if err != nil || again != third || !slices.Equal(s.ids(t), []string{third, second}) {
			t.Errorf("%s, %v, %v", again, err, s.ids(t))
		}
	})
}

// TestIntermediate: what a core signs with has no more than devices' libraries take, and
// is trusted for as long as it is good, unless the core is gone.
func TestIntermediate(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	issue := func(t *testing.T, h groupca.Holder, life time.Duration) groupca.Issued {
		t.Helper()
		key, err := pki.GenerateKey(pki.RSA)
		if err != nil {
			t.Fatal(err)
		}
		made, err := s.Issue(ctx, here, s.group, groupca.Request{
			Public: ecKey(t, elliptic.P256()), Hosts: []string{"a"}, Intermediate: key.Public(), IntermediateLifetime: life, Thing: h.Thing, CertificateID: h.CertificateID,
		})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	rotate := func(t *testing.T) string {
		t.Helper()
		id, err := s.Create(ctx, here, s.group, fescue.Token{})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	are := func(t *testing.T, want ...string) {
		t.Helper()
		if got := s.ids(t); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	made := issue(t, s.core, 90*24*time.Hour)
	t.Run("profile", func(t *testing.T) {
		c := made.Intermediate
		for _, e := range c.Extensions {
			if id := e.Id.String(); e.Critical != (id == "2.5.29.15" || id == "2.5.29.19") || !slices.Contains([]string{"2.5.29.14", "2.5.29.15", "2.5.29.19", "2.5.29.35", "2.5.29.37"}, id) {
				t.Errorf("extension %s, critical: %v", id, e.Critical)
			}
		}
		if key, _ := c.PublicKey.(*rsa.PublicKey); key == nil || key.N.BitLen() != 2048 || !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero || c.SignatureAlgorithm != x509.SHA256WithRSA {
			t.Errorf("%T, path length %d, %v", c.PublicKey, c.MaxPathLen, c.SignatureAlgorithm)
		}
		if c.KeyUsage != x509.KeyUsageCertSign || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
			t.Errorf("it is for %v, %v: want servers' certificates alone", c.KeyUsage, c.ExtKeyUsage)
		}
		above, err := pki.ParseCertificate([]byte(made.Authority.PEM))
		if err != nil || !c.NotAfter.Equal(s.now.Add(90*24*time.Hour)) || c.Subject.String() == above.Subject.String() {
			t.Errorf("%v, until %v, %s", err, c.NotAfter, c.Subject)
		}
	})
	first := made.Authority.ID
	second := rotate(t)
	t.Run("an ordinary rotation keeps the old one until the intermediate ends", func(t *testing.T) {
		s.wait(90*24*time.Hour - time.Millisecond)
		are(t, second, first)
		s.wait(time.Millisecond)
		are(t, second)
	})
	t.Run("a rotation while another core has the place drops what signed for the one before", func(t *testing.T) {
		issue(t, s.core, 90*24*time.Hour)
		next := storetest.Core(t, s.store, here, s.group, 2)
		third := rotate(t)
		are(t, third)
		issue(t, next, time.Hour)
		fourth := rotate(t)
		are(t, fourth, third)
		t.Run("also in a later rotation", func(t *testing.T) {
			if err := s.store.Certificates().SetCertificateStatus(ctx, here, next.CertificateID, fescue.CertificateInactive, s.now); err != nil {
				t.Fatal(err)
			}
			are(t, fourth, third)
			fifth := rotate(t)
			are(t, fifth)
		})
	})
	t.Run("a rotation after a theft", func(t *testing.T) {
		for n, steal := range []func(h groupca.Holder) error{
			func(h groupca.Holder) error {
				return s.store.Certificates().SetCertificateStatus(ctx, here, h.CertificateID, fescue.CertificateRevoked, s.now)
			},
			func(h groupca.Holder) error { return s.store.Things().DetachThing(ctx, here, h.Thing, h.CertificateID) },
		} {
			h := storetest.Core(t, s.store, here, s.group, 10+n)
			issue(t, h, time.Hour)
			if err := steal(h); err != nil {
				t.Fatal(err)
			}
			are(t, rotate(t))
		}
	})
}

// TestStrayed: nothing is signed for a core that is not the group's any more, neither by the
// authority that it had nor by the one that a rotation puts in its place.
func TestStrayed(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	public := ecKey(t, elliptic.P256())
	issue := func(h groupca.Holder) error {
		_, err := s.Issue(ctx, here, s.group, groupca.Request{
			Public: public, Hosts: []string{"a"}, Intermediate: public, IntermediateLifetime: 90 * 24 * time.Hour, Thing: h.Thing, CertificateID: h.CertificateID,
		})
		if check := s.Check(ctx, here, s.group, h.Thing, h.CertificateID); errors.Is(check, groupca.ErrStrayed) != errors.Is(err, groupca.ErrStrayed) {
			t.Errorf("%v where it is asked before, %v where it is signed", check, err)
		}
		return err
	}
	strayed := func(t *testing.T, h groupca.Holder) {
		t.Helper()
		if err := issue(h); !errors.Is(err, groupca.ErrStrayed) {
			t.Errorf("the present authority: %v", err)
		}
		id, err := s.Create(ctx, here, s.group, fescue.Token{})
		if err != nil {
			t.Fatal(err)
		}
		if err := issue(h); !errors.Is(err, groupca.ErrStrayed) {
			t.Errorf("the next authority: %v", err)
		}
		if got := s.ids(t); !slices.Equal(got, []string{id}) {
			t.Errorf("listed are %v, want %s alone", got, id)
		}
	}
	status := func(t *testing.T, h groupca.Holder, status fescue.CertificateStatus) {
		t.Helper()
		if err := s.store.Certificates().SetCertificateStatus(ctx, here, h.CertificateID, status, s.now); err != nil {
			t.Fatal(err)
		}
	}
	last := s.core
	good := func(t *testing.T) {
		t.Helper()
		if err := issue(last); err != nil {
			t.Fatal(err)
		}
	}
	good(t)
	t.Run("another core is named", func(t *testing.T) {
		next := storetest.Core(t, s.store, here, s.group, 2)
		strayed(t, last)
		last = next
		good(t)
	})
	t.Run("deactivated, until it is activated", func(t *testing.T) {
		status(t, last, fescue.CertificateInactive)
		strayed(t, last)
		status(t, last, fescue.CertificateActive)
		good(t)
	})
	t.Run("with another core's certificate", func(t *testing.T) {
		if err := issue(groupca.Holder{Thing: last.Thing, CertificateID: s.core.CertificateID}); !errors.Is(err, groupca.ErrStrayed) {
			t.Error(err)
		}
	})
	t.Run("detached", func(t *testing.T) {
		good(t)
		if err := s.store.Things().DetachThing(ctx, here, last.Thing, last.CertificateID); err != nil {
			t.Fatal(err)
		}
		strayed(t, last)
		if err := s.store.Things().AttachThing(ctx, here, last.Thing, last.CertificateID); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("no core is named", func(t *testing.T) {
		good(t)
		v := fescue.DefinitionVersion{Kind: fescue.GroupKind, DefinitionID: s.group, ID: fescue.NewID(), CreatedAt: s.now, Body: []byte("{}")}
		if _, err := s.store.Definitions().CreateVersion(ctx, here, v, fescue.Token{}); err != nil {
			t.Fatal(err)
		}
		strayed(t, last)
	})
}

// Certificates that are signed while the authority is rotated are of one that is
// listed: client devices that look now can check them.
func TestIssueWhileRotating(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	public := ecKey(t, elliptic.P256())
	var rotations sync.WaitGroup
	rotations.Go(func() {
		for range 4 {
			if _, err := s.Create(ctx, here, s.group, fescue.Token{}); err != nil {
				t.Error(err)
			}
		}
	})
	for range 20 {
		made, err := s.Issue(ctx, here, s.group, s.ask(public, "10.0.0.1"))
		if err != nil {
			t.Error(err)
		} else if !slices.Contains(s.ids(t), made.Authority.ID) {
			t.Errorf("authority %s signed and is not listed", made.Authority.ID)
		}
	}
	rotations.Wait()
}

func TestIssue(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, public := range map[string]crypto.PublicKey{
		"RSA 2048": key.Public(), "P-256": ecKey(t, elliptic.P256()), "P-384": ecKey(t, elliptic.P384()),
	} {
		t.Run(name, func(t *testing.T) {
			made, err := s.Issue(ctx, here, s.group, s.ask(public, "gate.example.org", "10.0.0.1", "::1"))
			if err != nil {
				t.Fatal(err)
			}
			leaf, a := made.Leaf, made.Authority
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM([]byte(a.PEM))
			for _, host := range []string{"gate.example.org", "10.0.0.1", "::1"} {
				if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: s.now}); err != nil {
					t.Errorf("%s: %v", host, err)
				}
			}
			if leaf.SignatureAlgorithm != x509.SHA256WithRSA || !leaf.NotAfter.Equal(s.now.Add(groupca.DefaultExpiry)) {
				t.Errorf("%v, ends %v", leaf.SignatureAlgorithm, leaf.NotAfter)
			}
		})
	}
	t.Run("for as long as is configured", func(t *testing.T) {
		if _, err := s.Configure(ctx, here, s.group, groupca.MaxExpiry); err != nil {
			t.Fatal(err)
		}
		made, err := s.Issue(ctx, here, s.group, s.ask(key.Public(), "a"))
		if err != nil || !made.Leaf.NotAfter.Equal(s.now.Add(groupca.MaxExpiry)) {
			t.Errorf("%v, %v", made.Leaf, err)
		}
	})
	t.Run("refused keys", func(t *testing.T) {
		ed, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		short := &rsa.PublicKey{N: new(big.Int).Rsh(key.N, 1025), E: key.E}
		for name, public := range map[string]crypto.PublicKey{
			"none": nil, "Ed25519": ed, "P-224": ecKey(t, elliptic.P224()), "P-521": ecKey(t, elliptic.P521()), "RSA 1023": short,
		} {
			if _, err := s.Issue(ctx, here, s.group, s.ask(public, "a")); !errors.Is(err, groupca.ErrKey) {
				t.Errorf("%s: %v", name, err)
			}
			if public == nil {
				continue // asks for no intermediate
			}
			r := s.ask(key.Public(), "a")
			r.Intermediate, r.IntermediateLifetime = public, time.Hour
			if _, err := s.Issue(ctx, here, s.group, r); !errors.Is(err, groupca.ErrKey) {
				t.Errorf("%s for the intermediate: %v", name, err)
			}
		}
	})
	t.Run("no host", func(t *testing.T) {
		if _, err := s.Issue(ctx, here, s.group, s.ask(ecKey(t, elliptic.P256()))); err == nil {
			t.Error("no error")
		}
	})
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	is := func(t *testing.T, got groupca.Configuration, err error, want time.Duration) {
		t.Helper()
		if err != nil || got.CertificateExpiry != want || got.AuthorityExpiry.UnixMilli() != 2524607999000 {
			t.Errorf("%+v, %v; want %v", got, err, want)
		}
	}
	got, err := s.Configuration(ctx, here, s.group)
	is(t, got, err, groupca.DefaultExpiry)
	for _, expiry := range []time.Duration{groupca.MaxExpiry, groupca.MinExpiry} {
		got, err := s.Configure(ctx, here, s.group, expiry)
		is(t, got, err, expiry)
	}
	for _, expiry := range []time.Duration{0, -1, groupca.MinExpiry - 1, groupca.MaxExpiry + 1} {
		if _, err := s.Configure(ctx, here, s.group, expiry); !errors.Is(err, groupca.ErrExpiry) {
			t.Errorf("%v: %v", expiry, err)
		}
	}
	got, err = s.Configuration(ctx, here, s.group)
	is(t, got, err, groupca.MinExpiry)
}

func TestUnknownGroup(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	s.ids(t)
	for name, at := range map[string]struct {
		p     fescue.Partition
		group string
	}{
		"unknown":              {here, fescue.NewID()},
		"in another partition": {there, s.group},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, created := s.Create(ctx, at.p, at.group, fescue.Token{})
			_, listed := s.Authorities(ctx, at.p, at.group)
			_, read := s.Configuration(ctx, at.p, at.group)
			_, written := s.Configure(ctx, at.p, at.group, groupca.MaxExpiry)
			_, issued := s.Issue(ctx, at.p, at.group, s.ask(ecKey(t, elliptic.P256()), "a"))
			for _, err := range []error{created, listed, read, written, issued} {
				if !errors.Is(err, fescue.ErrNotFound) {
					t.Errorf("%v", err)
				}
			}
		})
	}
}
