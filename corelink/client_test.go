package corelink_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
)

// serve starts a TLS server with one handler and gives its roots.
func serve(t *testing.T, pattern string, h http.HandlerFunc) (address string, cfg *tls.Config) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc(pattern, h)
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.Listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.com"}
}

func TestWithDial(t *testing.T) {
	t.Parallel()
	address, cfg := serve(t, corelink.GetSigningKeysPattern, func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(corelink.SigningKeys{Keys: []corelink.SigningKey{{KeyID: "k"}}})
	})
	var asked string
	client := corelink.NewClient("mill.invalid:8443", cfg, corelink.WithDial(func(ctx context.Context, network, to string) (net.Conn, error) {
		asked = to
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}))
	defer client.Close()
	keys, err := client.SigningKeys(t.Context())
	if err != nil || len(keys.Keys) != 1 || asked != "mill.invalid:8443" {
		t.Errorf("keys %v, error %v, dialled %q", keys, err, asked)
	}
}

func TestCertificateNotTaken(t *testing.T) {
	t.Parallel()
	authority, err := pki.NewAuthority("a", pki.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	own, err := authority.IssueServer(pki.ECDSA, []string{"core"}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, refused := range map[string]bool{"taken": false, "not taken": true} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				json.NewEncoder(w).Encode(corelink.SigningKeys{})
			}))
			// In TLS 1.3 the refusal may be overtaken by the end of the connection.
			s.TLS = &tls.Config{MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert, VerifyConnection: func(tls.ConnectionState) error {
				if refused {
					return errors.New("not registered")
				}
				return nil
			}}
			s.StartTLS()
			defer s.Close()
			roots := x509.NewCertPool()
			roots.AddCert(s.Certificate())
			client := corelink.NewClient(s.Listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.com", Certificates: []tls.Certificate{*own}})
			defer client.Close()
			_, err := client.SigningKeys(t.Context())
			if said := err != nil && strings.Contains(err.Error(), "register it there"); (err != nil) != refused || said != refused {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestGetArtifact(t *testing.T) {
	t.Parallel()
	honour := true
	address, cfg := serve(t, corelink.GetArtifactPattern, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "bytes=2-" && honour {
			w.WriteHeader(http.StatusPartialContent)
			io.WriteString(w, "llo")
			return
		}
		io.WriteString(w, "hello")
	})
	client := corelink.NewClient(address, cfg)
	defer client.Close()
	for _, tc := range []struct {
		name   string
		offset int64
		honour bool
		want   string
		fails  bool
	}{
		{name: "the whole", want: "hello"},
		{name: "the rest", offset: 2, honour: true, want: "llo"},
		{name: "the rest from a server that sends the whole", offset: 2, fails: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			honour = tc.honour
			body, err := client.GetArtifact(t.Context(), "g", "d", "h", tc.offset)
			if tc.fails {
				if !errors.Is(err, corelink.ErrNotContinued) {
					t.Errorf("error %v, want ErrNotContinued", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if got, err := io.ReadAll(body); err != nil || string(got) != tc.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// TestIdleConnectionClosed: a control plane closes a connection just as a core's next request
// is on its way there. The core sends it again.
func TestIdleConnectionClosed(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	address, cfg := serve(t, "/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header["Idempotency-Key"] != nil {
			t.Errorf("the request has the body %q (%v) and the header %v", body, err, r.Header)
		}
		if asked.Add(1)%3 == 2 { // the next one over a connection, before it is sent again
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
			return
		}
		io.WriteString(w, "{}")
	})
	for name, call := range map[string]func(*corelink.Client) error{
		"GET": func(c *corelink.Client) error { _, err := c.SigningKeys(t.Context()); return err },
		"PUT": func(c *corelink.Client) error {
			_, err := c.UpdateStatus(t.Context(), "g", "d", "core", corelink.StatusReport{})
			return err
		},
		"POST": func(c *corelink.Client) error {
			_, err := c.SealSecrets(t.Context(), "g", "d", "core", corelink.SecretsRequest{})
			return err
		},
	} {
		asked.Store(0)
		client := corelink.NewClient(address, cfg)
		for i := range 2 {
			if err := call(client); err != nil {
				t.Errorf("%s %d: %v", name, i, err)
			}
		}
		client.Close()
		if n := asked.Load(); n != 3 {
			t.Errorf("%s: two calls made %d requests, want one more", name, n)
		}
	}
}
