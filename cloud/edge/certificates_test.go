package edge_test

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

const keysPath = "/greengrass/signingkeys"

// refusedHandshake asks for a connection and its refusal.
func (d *device) refusedHandshake(t *testing.T) {
	t.Helper()
	conn, err := tls.Dial("tcp", d.site.address, &tls.Config{RootCAs: d.site.trust, Certificates: []tls.Certificate{d.tls}})
	if err == nil {
		// In TLS 1.3 the client is through before it learns of the refusal.
		defer conn.Close()
		if err = conn.SetDeadline(time.Now().Add(patience)); err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
	}
	var alert *net.OpError
	if !errors.As(err, &alert) || alert.Op != "remote error" {
		t.Errorf("error %v, want the server's alert", err)
	}
}

func TestHandshake(t *testing.T) {
	t.Parallel()

	t.Run("with an active certificate", func(t *testing.T) {
		t.Parallel()
		d := open(t).core(t, home, "")
		keys, err := d.SigningKeys(t.Context())
		if err != nil || len(keys.Keys) != 1 || keys.Keys[0] != (corelink.SigningKey{KeyID: "k", PEM: "p"}) {
			t.Errorf("answered %+v, %v", keys, err)
		}
	})
	t.Run("without a certificate", func(t *testing.T) {
		t.Parallel()
		d := open(t).certificate(t)
		d.tls = tls.Certificate{}
		d.refusedHandshake(t)
	})
	t.Run("with a certificate that nobody registered", func(t *testing.T) {
		t.Parallel()
		open(t).certificate(t).refusedHandshake(t)
	})
	t.Run("with another key than the certificate's", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		d := s.core(t, home, "")
		d.tls.PrivateKey = s.certificate(t).tls.PrivateKey
		d.refusedHandshake(t)
	})
	t.Run("by status", func(t *testing.T) {
		t.Parallel()
		d := open(t).core(t, home, "")
		d.setStatus(fescue.CertificateInactive)
		d.refusedHandshake(t)
		d.setStatus(fescue.CertificateActive)
		if _, err := d.SigningKeys(t.Context()); err != nil {
			t.Errorf("activated again: %v", err)
		}
		d.setStatus(fescue.CertificateRevoked)
		d.refusedHandshake(t)
	})
	t.Run("by validity", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		d := s.core(t, home, "")
		for _, late := range []time.Duration{50 * 365 * 24 * time.Hour, -2 * time.Hour} {
			s.late.Store(int64(late))
			d.refusedHandshake(t)
		}
		s.late.Store(0)
		if _, err := d.SigningKeys(t.Context()); err != nil {
			t.Errorf("within it: %v", err)
		}
	})
}

// TestResumedHandshake: a core's second connection resumes the session of the first, and the
// certificate is asked for all the same.
func TestResumedHandshake(t *testing.T) {
	t.Parallel()
	ask := func(t *testing.T, d *device) (connected bool, resumed bool, err error) {
		t.Helper()
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			TLSHandshakeDone: func(state tls.ConnectionState, err error) { connected, resumed = err == nil, state.DidResume },
		})
		_, err = d.SigningKeys(ctx)
		d.Client.Close()
		return connected, resumed, err
	}
	for what, change := range map[string]struct {
		make func(t *testing.T, d *device)
		good bool
	}{
		"nothing":     {func(*testing.T, *device) {}, true},
		"deactivated": {func(_ *testing.T, d *device) { d.setStatus(fescue.CertificateInactive) }, false},
		"revoked":     {func(_ *testing.T, d *device) { d.setStatus(fescue.CertificateRevoked) }, false},
		"expired":     {func(_ *testing.T, d *device) { d.site.late.Store(int64(50 * 365 * 24 * time.Hour)) }, false},
		"deleted": {func(t *testing.T, d *device) {
			d.setStatus(fescue.CertificateInactive)
			if err := d.site.registry.DeleteCertificate(t.Context(), home, d.id, true); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			d := open(t).core(t, home, "")
			if connected, resumed, err := ask(t, d); !connected || resumed || err != nil {
				t.Fatalf("first: connected %v, resumed %v, %v", connected, resumed, err)
			}
			if connected, resumed, err := ask(t, d); !connected || !resumed || err != nil {
				t.Fatalf("second: connected %v, resumed %v, %v", connected, resumed, err)
			}
			change.make(t, d)
			// In TLS 1.3 the client learns only afterwards that the server refused.
			if _, resumed, err := ask(t, d); (err == nil) != change.good || !resumed {
				t.Errorf("third: resumed %v, %v", resumed, err)
			} else if _, refused := errors.AsType[*corelink.StatusError](err); refused {
				t.Errorf("the connection was taken: %v", err)
			}
		})
	}
}

// What changes after the handshake counts for the next request on the same
// connection.
func TestOpenConnection(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.core(t, home, "kept")
	if got := d.send(t, "GET", keysPath, "", ""); got.status != http.StatusOK {
		t.Fatalf("status %d", got.status)
	}
	d.setStatus(fescue.CertificateInactive)
	d.send(t, "GET", keysPath, "", "").refused(http.StatusUnauthorized, "CertificateNotActive", d.id+" is INACTIVE; activate it")
	d.setStatus(fescue.CertificateActive)
	if got := d.send(t, "GET", keysPath, "", ""); got.status != http.StatusOK {
		t.Errorf("activated again: status %d", got.status)
	}
	s.late.Store(int64(50 * 365 * 24 * time.Hour))
	d.send(t, "GET", keysPath, "", "").refused(http.StatusUnauthorized, "CertificateExpired", "2049-12-31T23:59:59Z")
	s.late.Store(0)

	if err := s.registry.DetachThing(t.Context(), home, "kept", d.id); err != nil {
		t.Fatal(err)
	}
	d.send(t, "GET", "/greengrass/cores/kept/deployment?after=0&wait=0", "", "").refused(http.StatusForbidden, "Forbidden", `not attached to the thing "kept"`)
	d.setStatus(fescue.CertificateInactive)
	if err := s.registry.DeleteCertificate(t.Context(), home, d.id, true); err != nil {
		t.Fatal(err)
	}
	d.send(t, "GET", keysPath, "", "").refused(http.StatusUnauthorized, "UnknownCertificate", d.id)
}

func TestRevokedDuringLongPoll(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*device)
		status int
		code   string
	}{
		{"revoked", func(d *device) { d.setStatus(fescue.CertificateRevoked) }, http.StatusUnauthorized, "CertificateNotActive"},
		{"expired", func(d *device) { d.site.late.Store(int64(50 * 365 * 24 * time.Hour)) }, http.StatusUnauthorized, "CertificateExpired"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			d := s.core(t, home, "polling", allowAll)
			ended := make(chan error, 1)
			go func() {
				_, err := d.GetDeployment(t.Context(), "polling", corelink.Poll{Wait: corelink.MaxPoll})
				ended <- err
			}()
			<-s.polls
			start := time.Now()
			tc.change(d)
			select {
			case err := <-ended:
				var refusal *corelink.StatusError
				if !errors.As(err, &refusal) || refusal.HTTPStatus != tc.status || refusal.Code != tc.code {
					t.Errorf("error %v", err)
				}
				t.Logf("ended after %v", time.Since(start))
			case <-time.After(patience):
				t.Errorf("the poll goes on %v after the change", patience)
			}
		})
	}
}
