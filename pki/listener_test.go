package pki_test

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fescue-edge/fescue/pki"
)

var (
	discard = slog.New(slog.DiscardHandler)
	clock   = func() time.Time { return now }
)

// result is how a handshake ended on both sides.
type result struct {
	client, server error
	leaf           *x509.Certificate // that the client was shown
	resumed        bool
}

// handshake connects a client to a server and lets a byte through.
func handshake(t *testing.T, server, client *tls.Config) result {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		defer far.Close()
		conn := tls.Server(far, server)
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte("!"))
		}
		served <- err
		conn.Close()
	}()
	conn := tls.Client(near, client)
	_, err = io.ReadAll(conn) // under TLS 1.3 a refusal shows only here
	r := result{client: err, server: <-served, resumed: conn.ConnectionState().DidResume}
	if certs := conn.ConnectionState().PeerCertificates; len(certs) > 0 {
		r.leaf = certs[0]
	}
	return r
}

func (r result) ok(t *testing.T) *x509.Certificate {
	t.Helper()
	if r.client != nil || r.server != nil {
		t.Fatalf("client: %v, server: %v", r.client, r.server)
	}
	return r.leaf
}

// site is an authority with the certificates of a listener.
type site struct {
	authority *pki.Authority
	certs     *pki.ListenerCertificates
}

func newSite(t *testing.T) site {
	t.Helper()
	a := authority(t, pki.ECDSA)
	certs, err := pki.OwnCertificates(a, []string{"fescue.example.org", "127.0.0.1"}, clock, discard)
	if err != nil {
		t.Fatal(err)
	}
	return site{a, certs}
}

// client is the configuration of a client that trusts the site.
func (s site) client(change ...func(*tls.Config)) *tls.Config {
	c := &tls.Config{RootCAs: trusting(s.authority), ServerName: "fescue.example.org", Time: clock}
	for _, f := range change {
		f(c)
	}
	return c
}

func version(v uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v }
}

// device makes a client certificate of an authority that nobody trusts.
func device(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	c, err := authority(t, pki.ECDSA).IssueDevice(key.Public(), now)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}
}

func with(c tls.Certificate) func(*tls.Config) {
	return func(config *tls.Config) {
		// Asked like this the client sends it whatever the server suggests.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
	}
}

func TestServerTLS(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	server := pki.ServerTLS(s.certs)
	for _, c := range []struct {
		name   string
		client *tls.Config
		rsa    bool
	}{
		{"TLS 1.3", s.client(version(tls.VersionTLS13)), false},
		{"TLS 1.2", s.client(version(tls.VersionTLS12)), false},
		{"an address, without SNI", s.client(func(c *tls.Config) { c.ServerName = "127.0.0.1" }), false},
		{"RSA only", s.client(version(tls.VersionTLS12), func(c *tls.Config) {
			c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		}), true},
		{"RSA only, unknown name", s.client(version(tls.VersionTLS12), func(c *tls.Config) {
			c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}
			c.ServerName, c.InsecureSkipVerify = "old.iot.us-east-1.amazonaws.com", true
		}), true},
		{"ECDSA only", s.client(version(tls.VersionTLS12), func(c *tls.Config) {
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		}), false},
		{"unknown name, not verified", s.client(func(c *tls.Config) {
			c.ServerName, c.InsecureSkipVerify = "old.iot.us-east-1.amazonaws.com", true
		}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			leaf := handshake(t, server, c.client).ok(t)
			if _, isRSA := leaf.PublicKey.(*rsa.PublicKey); isRSA != c.rsa {
				t.Errorf("the leaf has a %T", leaf.PublicKey)
			}
		})
	}
	t.Run("unknown name, verified", func(t *testing.T) {
		t.Parallel()
		var wrong x509.HostnameError
		if r := handshake(t, server, s.client(func(c *tls.Config) { c.ServerName = "other.example.org" })); !errors.As(r.client, &wrong) {
			t.Errorf("client: %v", r.client)
		}
	})
	t.Run("TLS 1.1", func(t *testing.T) {
		t.Parallel()
		if r := handshake(t, server, s.client(version(tls.VersionTLS11))); r.server == nil || r.client == nil {
			t.Error("it is served")
		}
	})
}

func TestDeviceTLS(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	revoked := errors.New("the certificate is REVOKED")
	// listener counts how often verify is asked, and for whom.
	listener := func(answer error) (config *tls.Config, asked *atomic.Int32, last *atomic.Pointer[x509.Certificate]) {
		asked, last = new(atomic.Int32), new(atomic.Pointer[x509.Certificate])
		return pki.DeviceTLS(s.certs.Get, func(c *x509.Certificate) error {
			asked.Add(1)
			last.Store(c)
			return answer
		}), asked, last
	}
	for name, tlsVersion := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("a certificate of no known authority", func(t *testing.T) {
				t.Parallel()
				config, asked, last := listener(nil)
				me := device(t)
				handshake(t, config, s.client(version(tlsVersion), with(me))).ok(t)
				if asked.Load() != 1 || pki.CertificateID(last.Load().Raw) != pki.CertificateID(me.Certificate[0]) {
					t.Errorf("verify was asked %d times, for %v", asked.Load(), last.Load())
				}
			})
			for _, resumes := range []bool{false, true} {
				t.Run(fmt.Sprintf("every handshake is verified, resumed %v", resumes), func(t *testing.T) {
					t.Parallel()
					config, asked, last := listener(nil)
					config.SessionTicketsDisabled = !resumes
					me := device(t)
					client := s.client(version(tlsVersion), with(me), func(c *tls.Config) { c.ClientSessionCache = tls.NewLRUClientSessionCache(8) })
					for i := range 3 {
						r := handshake(t, config, client)
						r.ok(t)
						if r.resumed != (resumes && i > 0) || asked.Load() != int32(i+1) || pki.CertificateID(last.Load().Raw) != pki.CertificateID(me.Certificate[0]) {
							t.Errorf("handshake %d: resumed %v, verified %d", i, r.resumed, asked.Load())
						}
					}
				})
			}
			t.Run("a certificate that verify refuses when it resumes", func(t *testing.T) {
				t.Parallel()
				config, _, _ := listener(nil)
				config.SessionTicketsDisabled = false
				var resumed, refuse atomic.Bool
				verify := config.VerifyConnection
				config.VerifyConnection = func(state tls.ConnectionState) error {
					resumed.Store(state.DidResume)
					if refuse.Load() {
						return revoked
					}
					return verify(state)
				}
				client := s.client(version(tlsVersion), with(device(t)), func(c *tls.Config) { c.ClientSessionCache = tls.NewLRUClientSessionCache(8) })
				handshake(t, config, client).ok(t)
				refuse.Store(true)
				if r := handshake(t, config, client); !errors.Is(r.server, revoked) || r.client == nil || !resumed.Load() {
					t.Errorf("client: %v, server: %v, resumed %v", r.client, r.server, resumed.Load())
				}
			})
			t.Run("no certificate", func(t *testing.T) {
				t.Parallel()
				config, asked, _ := listener(nil)
				if r := handshake(t, config, s.client(version(tlsVersion))); r.server == nil || r.client == nil || asked.Load() != 0 {
					t.Errorf("client: %v, server: %v, verified %d", r.client, r.server, asked.Load())
				}
			})
			t.Run("a certificate that verify refuses", func(t *testing.T) {
				t.Parallel()
				config, _, _ := listener(revoked)
				if r := handshake(t, config, s.client(version(tlsVersion), with(device(t)))); !errors.Is(r.server, revoked) || r.client == nil {
					t.Errorf("client: %v, server: %v", r.client, r.server)
				}
			})
			t.Run("another one's certificate without its key", func(t *testing.T) {
				t.Parallel()
				config, _, _ := listener(nil)
				stolen := device(t)
				stolen.PrivateKey = device(t).PrivateKey
				if r := handshake(t, config, s.client(version(tlsVersion), with(stolen))); r.server == nil || r.client == nil {
					t.Errorf("client: %v, server: %v", r.client, r.server)
				}
			})
		})
	}
}

// pair writes a fresh certificate and its key, and returns its id.
func pair(t *testing.T, certFile, keyFile string, mtime time.Time) string {
	t.Helper()
	a := authority(t, pki.ECDSA)
	data, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	cert := string(a.PEM())
	for file, text := range map[string]string{certFile: cert, keyFile: strings.TrimPrefix(string(data), cert)} {
		write(t, file, text, 0o600)
		if err := os.Chtimes(file, mtime, mtime); err != nil {
			t.Fatal(err)
		}
	}
	return pki.CertificateID(a.Certificate.Raw)
}

// running runs the certificates' renewal in a bubble of its own time: tick lets
// as much pass as the next look takes.
func running(t *testing.T, c *pki.ListenerCertificates) (tick func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return func() {
		time.Sleep(6 * time.Second) // of the bubble's clock
		synctest.Wait()
	}
}

func shown(t *testing.T, c *pki.ListenerCertificates) string {
	t.Helper()
	return pki.CertificateID(leafOf(t, c).Raw)
}

func leafOf(t *testing.T, c *pki.ListenerCertificates) *x509.Certificate {
	t.Helper()
	return handshake(t, pki.ServerTLS(c), &tls.Config{InsecureSkipVerify: true, Time: clock}).ok(t)
}

func TestFileCertificates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		first := pair(t, certFile, keyFile, now)
		c, err := pki.FileCertificates(certFile, keyFile, clock, discard)
		if err != nil {
			t.Fatal(err)
		}
		tick := running(t, c)
		tick()
		if got := shown(t, c); got != first {
			t.Errorf("shown %s, want %s", got, first)
		}
		// The certificate is replaced first: with the old key it is no pair.
		stage := t.TempDir()
		second := pair(t, filepath.Join(stage, "cert.pem"), filepath.Join(stage, "key.pem"), now.Add(time.Minute))
		move(t, filepath.Join(stage, "cert.pem"), certFile)
		tick()
		if got := shown(t, c); got != first {
			t.Errorf("half replaced: shown %s, want still %s", got, first)
		}
		move(t, filepath.Join(stage, "key.pem"), keyFile)
		tick()
		if got := shown(t, c); got != second {
			t.Errorf("replaced: shown %s, want %s", got, second)
		}
		if err := os.Remove(keyFile); err != nil {
			t.Fatal(err)
		}
		tick()
		if got := shown(t, c); got != second {
			t.Errorf("key removed: shown %s, want still %s", got, second)
		}
		third := pair(t, certFile, keyFile, now.Add(2*time.Minute))
		tick()
		if got := shown(t, c); got != third {
			t.Errorf("replaced again: shown %s, want %s", got, third)
		}
	})
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestFileCertificatesRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pair(t, certFile, keyFile, now)
	pair(t, filepath.Join(dir, "cert2.pem"), filepath.Join(dir, "key2.pem"), now)
	for name, files := range map[string][2]string{
		"no certificate":    {filepath.Join(dir, "none"), keyFile},
		"no key":            {certFile, filepath.Join(dir, "none")},
		"another one's key": {certFile, filepath.Join(dir, "key2.pem")},
		"exchanged":         {keyFile, certFile},
		"no PEM":            {certFile, write(t, filepath.Join(dir, "junk"), "junk", 0o600)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := pki.FileCertificates(files[0], files[1], clock, discard)
			if err == nil || !strings.Contains(err.Error(), files[0]) || !strings.Contains(err.Error(), files[1]) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestOwnCertificatesRenew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var passed atomic.Int64 // since now
		at := func() time.Time { return now.Add(time.Duration(passed.Load())) }
		c, err := pki.OwnCertificates(authority(t, pki.ECDSA), []string{"localhost"}, at, discard)
		if err != nil {
			t.Fatal(err)
		}
		tick := running(t, c)
		first := shown(t, c)
		const day = 24 * time.Hour
		for _, c2 := range []struct {
			after time.Duration
			same  bool
		}{{0, true}, {59 * day, true}, {61 * day, false}} {
			passed.Store(int64(c2.after))
			tick()
			if got := shown(t, c); (got == first) != c2.same {
				t.Errorf("after %v: the same leaf: %v", c2.after, got == first)
			}
		}
		// The clock was ahead, and the leaf that it came to be renewed with is not
		// valid now.
		for _, after := range []time.Duration{0, 90 * day, 60 * day, -40 * day, 0} {
			passed.Store(int64(after))
			tick()
			if leaf := leafOf(t, c); leaf.NotBefore.After(at().Add(-20*time.Minute)) || leaf.NotAfter.Before(at().Add(29*day)) {
				t.Errorf("after %v the leaf is valid from %v to %v", after, leaf.NotBefore, leaf.NotAfter)
			}
		}
		second := shown(t, c)
		tick()
		if shown(t, c) != second {
			t.Error("it is renewed at every look")
		}
	})
	t.Run("no host", func(t *testing.T) {
		t.Parallel()
		if _, err := pki.OwnCertificates(authority(t, pki.ECDSA), nil, clock, discard); err == nil {
			t.Error("no error")
		}
	})
}
