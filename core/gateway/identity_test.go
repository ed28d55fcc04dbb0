package gateway_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/gateway"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit"
)

// issuer is a control plane that signs, with a clock.
type issuer struct {
	t         testing.TB
	mu        sync.Mutex
	authority *pki.Authority
	now       time.Time
	site      corelink.Identity
	down      error
	// withholds has no intermediate signed that was promised.
	withholds bool
	asked     int
	// key is the owner's for the server's certificate, if there is one.
	key    crypto.Signer
	places [][]fescue.ConnectivityInfo
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{t: t, now: time.Now(), site: corelink.Identity{Hosts: []string{"127.0.0.1"}, Authority: "a"}}
	var err error
	if i.authority, err = pki.NewAuthority("group", pki.ECDSA, i.now); err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *issuer) change(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

func (i *issuer) CreateCertificate(_ context.Context, thing string, asked corelink.CertificateRequest) (corelink.ServerCertificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	if i.down != nil {
		return corelink.ServerCertificate{}, i.down
	}
	request, err := pki.ParseRequest([]byte(asked.CSR))
	if err != nil || thing != "core" {
		i.t.Errorf("%s: %v", thing, err)
		return corelink.ServerCertificate{}, err
	}
	leaf, err := i.authority.SignServer(request.PublicKey, i.site.Hosts, i.now, 9*24*time.Hour)
	if err != nil {
		return corelink.ServerCertificate{}, err
	}
	answer := corelink.ServerCertificate{Identity: i.site, Chain: string(pki.EncodeCertificate(leaf.Raw)) + string(i.authority.PEM())}
	if i.site.Intermediate > 0 && !i.withholds {
		if request, err = pki.ParseRequest([]byte(asked.IntermediateCSR)); err != nil {
			return answer, err
		}
		made, err := i.authority.SignIntermediate(request.PublicKey, pkix.Name{CommonName: "between"}, i.now, time.Duration(i.site.Intermediate)*time.Second)
		if err != nil {
			return answer, err
		}
		answer.IntermediateCertificate = string(pki.EncodeCertificate(made.Raw))
	}
	return answer, nil
}

func (i *issuer) UpdateConnectivity(_ context.Context, _ string, places []fescue.ConnectivityInfo) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.down != nil {
		return i.down
	}
	i.places = append(i.places, places)
	return nil
}

// clock is the time of the control plane, and of all others.
func (i *issuer) clock() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now
}

// open starts an identity in a folder.
func (i *issuer) open(t testing.TB, folder string) (*gateway.Identity, *logBuffer) {
	t.Helper()
	id, log, _ := i.openOn(t, disk.Local{}, folder)
	return id, log
}

// openOn is open on a file system, with what stops it before the test's end.
func (i *issuer) openOn(t testing.TB, on disk.FS, folder string) (*gateway.Identity, *logBuffer, func()) {
	t.Helper()
	log := new(logBuffer)
	id := gateway.OpenIdentity(gateway.IdentityOptions{
		Folder: folder, Thing: "core", Issuer: i, Logger: slog.New(slog.NewTextHandler(log, nil)), Now: i.clock, Disk: on, Key: i.key,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		id.Run(ctx)
	}()
	stop := func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return id, log, stop
}

func certificate(id *gateway.Identity) *tls.Certificate {
	c, _ := id.Certificate(nil)
	return c
}

// another waits for a certificate that is not the one before.
func another(t testing.TB, id *gateway.Identity, before *tls.Certificate) *tls.Certificate {
	t.Helper()
	testkit.Until(t, "there is no new certificate", func() bool { c := certificate(id); return c != nil && c != before })
	return certificate(id)
}

// TestFirstCertificate: a client that comes before the server's first certificate is
// served when that is there.
func TestFirstCertificate(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	id, _ := i.open(t, filepath.Join(t.TempDir(), "server"))
	here, there := net.Pipe()
	server := tls.Server(here, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		id.Need(true)
		return id.Certificate(hello)
	}})
	roots := x509.NewCertPool()
	roots.AddCert(i.authority.Certificate)
	client := tls.Client(there, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
	served := make(chan error, 1)
	go func() { served <- server.HandshakeContext(t.Context()) }()
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	i, folder := newIssuer(t), filepath.Join(t.TempDir(), "server")
	id, log := i.open(t, folder)
	if _, err := id.Certificate(nil); !errors.Is(err, gateway.ErrNoCertificate) {
		t.Errorf("before anything: %v", err)
	}
	id.Need(true)
	first := another(t, id, nil)
	roots := x509.NewCertPool()
	roots.AddCert(i.authority.Certificate)
	if _, err := first.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "127.0.0.1"}); err != nil {
		t.Error(err)
	}
	if !id.Notice(corelink.Site{Identity: i.site, Revoked: []string{"r"}}) || id.Notice(corelink.Site{Identity: i.site, Revoked: []string{"r"}}) {
		t.Error("what is new, and what is not, is not told apart")
	}
	moved := corelink.Identity{Hosts: []string{"127.0.0.1", "10.0.0.1"}, Authority: "a"}
	i.change(func() { i.site = moved })
	id.Notice(corelink.Site{Identity: moved, Revoked: []string{"r"}})
	second := another(t, id, first)
	if len(second.Leaf.IPAddresses) != 2 {
		t.Errorf("%v", second.Leaf.IPAddresses)
	}
	t.Run("nobody else reads the key", func(t *testing.T) {
		for name, want := range map[string]os.FileMode{"server.pem": 0o600, "site.json": 0o600, "server.crt": 0o644} {
			info, err := os.Stat(filepath.Join(folder, name))
			if err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
	})
	t.Run("a restart without a line has it all", func(t *testing.T) {
		i.change(func() { i.down = errors.New("no line") })
		defer i.change(func() { i.down = nil })
		again, _, stop := i.openOn(t, disk.Local{}, folder)
		defer stop()
		again.Need(true)
		if c := certificate(again); c == nil || !c.Leaf.Equal(second.Leaf) {
			t.Errorf("%v", c)
		}
		if site := again.Site(); len(site.Revoked) != 1 || site.Hosts[1] != "10.0.0.1" {
			t.Errorf("%+v", site)
		}
	})
	t.Run("it is renewed after two thirds of its life", func(t *testing.T) {
		i.change(func() { i.now = i.now.Add(5 * 24 * time.Hour) })
		id.Need(true) // has it look
		asked := func() (n int) { i.change(func() { n = i.asked }); return n }
		before := asked()
		i.change(func() { i.now = i.now.Add(3 * 24 * time.Hour) })
		id.Need(true)
		third := another(t, id, second)
		if asked() != before+1 || third.Leaf.NotAfter.Before(second.Leaf.NotAfter) {
			t.Errorf("asked %d times", asked()-before)
		}
	})
	t.Run("the log says what it means that it cannot be renewed", func(t *testing.T) {
		i.change(func() { i.down, i.now = errors.New("no line"), i.now.Add(30*24*time.Hour) })
		id.Need(true)
		testkit.Until(t, "the log says nothing", func() bool {
			return strings.Contains(log.String(), "is over and could not be renewed: no device can connect anew")
		})
		i.change(func() { i.down = nil })
		id.Need(true)
		testkit.Until(t, "it is not renewed when the line is back", func() bool { return certificate(id).Leaf.NotAfter.After(i.clock()) })
	})
	t.Run("a reset leaves nothing", func(t *testing.T) {
		if err := id.Forget(); err != nil {
			t.Fatal(err)
		}
		files, err := os.ReadDir(folder)
		if err != nil || len(files) != 0 || certificate(id) != nil {
			t.Errorf("%v, %v, %v", files, err, certificate(id))
		}
	})
}

// TestOwnersKey: certificates are of the key that the owner gives, which is written down
// nowhere else; another key has another certificate.
func TestOwnersKey(t *testing.T) {
	t.Parallel()
	i, folder := newIssuer(t), filepath.Join(t.TempDir(), "server")
	i.site.Intermediate = 1000 * 24 * 3600
	var keys []crypto.Signer
	for range 2 {
		key, err := pki.GenerateKey(pki.ECDSA)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	isOf := func(c *tls.Certificate, key crypto.Signer) bool {
		public, ok := key.Public().(*ecdsa.PublicKey)
		return ok && public.Equal(c.Leaf.PublicKey)
	}
	i.key = keys[0]
	id, _, stop := i.openOn(t, disk.Local{}, folder)
	id.Need(true)
	first := another(t, id, nil)
	if !isOf(first, keys[0]) {
		t.Error("the certificate is of another key")
	}
	text, err := os.ReadFile(filepath.Join(folder, "server.pem"))
	if err != nil || strings.Contains(string(text), "PRIVATE KEY") || !strings.Contains(string(text), "CERTIFICATE") {
		t.Errorf("server.pem: %v\n%s", err, text)
	}
	stop()

	id, _, stop = i.openOn(t, disk.Local{}, folder)
	id.Need(true)
	if c := certificate(id); c == nil || !c.Leaf.Equal(first.Leaf) {
		t.Error("the core that starts again has another certificate")
	}
	before := certificate(id)
	i.change(func() { i.down, i.now = errNoLine, i.now.Add(9*24*time.Hour-time.Minute) })
	id.Notice(corelink.Site{Identity: i.site})
	if own := another(t, id, before); !isOf(own, keys[0]) {
		t.Error("what the core signs itself is of another key")
	}
	stop()

	i.key = keys[1]
	i.change(func() { i.down = nil })
	id, log, _ := i.openOn(t, disk.Local{}, folder)
	if certificate(id) != nil || !strings.Contains(log.String(), "does not match") {
		t.Errorf("the certificate of a former key: %v\n%s", certificate(id), log)
	}
	id.Need(true)
	if !isOf(another(t, id, nil), keys[1]) {
		t.Error("the certificate is of the former key")
	}
}

// TestSpoiltIdentity: what cannot be read counts as nothing, and is asked for anew.
func TestSpoiltIdentity(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty": "", "cut": "-----BEGIN CERTIFICATE-----\nMII", "something else": "{}"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			for _, file := range []string{"server.pem", "site.json"} {
				if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			i := newIssuer(t)
			id, log := i.open(t, folder)
			id.Need(true)
			another(t, id, nil)
			if !strings.Contains(log.String(), "is not used") {
				t.Errorf("the log is %s", log)
			}
		})
	}
}

func TestDetector(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	addresses := []netip.Addr{
		netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("::1"), netip.MustParseAddr("192.168.1.4"), netip.MustParseAddr("127.0.0.1"),
		netip.MustParseAddr("::ffff:10.0.0.9"), netip.MustParseAddr("192.168.1.4"), netip.MustParseAddr("0.0.0.0"),
	}
	d := gateway.NewDetector(gateway.DetectorOptions{
		Thing: "core", Port: 8884, Cloud: i, Logger: slog.New(slog.DiscardHandler),
		Addresses: func() ([]netip.Addr, error) {
			i.mu.Lock()
			defer i.mu.Unlock()
			return addresses, nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	defer func() {
		cancel()
		<-done
	}()
	told := func() (all [][]fescue.ConnectivityInfo) { i.change(func() { all = i.places }); return all }
	i.change(func() { i.down = errors.New("no line") })
	d.Set(true)
	i.change(func() { i.down = nil })
	testkit.Until(t, "nothing is told", func() bool { return len(told()) == 1 })
	place := func(id, host string) fescue.ConnectivityInfo {
		return fescue.ConnectivityInfo{ID: id, HostAddress: host, PortNumber: 8884}
	}
	if diff := cmp.Diff([]fescue.ConnectivityInfo{
		place("AUTOIP_10.0.0.9_0", "10.0.0.9"), place("AUTOIP_127.0.0.1_1", "127.0.0.1"), place("AUTOIP_192.168.1.4_2", "192.168.1.4"),
		place("AUTOIP_::1_3", "::1"), place("AUTOIP_fe80::1_4", "fe80::1"),
	}, told()[0]); diff != "" {
		t.Error(diff)
	}
	i.change(func() {
		for n := range 12 {
			addresses = append(addresses, netip.AddrFrom4([4]byte{10, 1, 0, byte(n)}))
		}
	})
	d.Set(false)
	d.Set(true) // has it look at once
	testkit.Until(t, "the change is not told", func() bool { return len(told()) == 2 })
	if list := told()[1]; len(list) != 10 || list[0].HostAddress != "10.0.0.9" || strings.HasPrefix(list[9].HostAddress, "127") {
		t.Errorf("%+v", list)
	}
}
