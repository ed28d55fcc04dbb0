package corelink_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
)

// at serves signing keys, with a certificate that is good for an hour from then
// on, and with dates of then.
func at(t *testing.T, then time.Time) *corelink.Client {
	t.Helper()
	authority, err := pki.NewAuthority("a", pki.ECDSA, time.Now().Add(-1000*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.IssueServer(pki.ECDSA, []string{"localhost"}, then, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", then.UTC().Format(http.TimeFormat))
		json.NewEncoder(w).Encode(corelink.SigningKeys{})
	})}
	go server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*leaf}}))
	t.Cleanup(func() { server.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate)
	return corelink.NewClient(l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "localhost"})
}

func TestClock(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		ahead time.Duration // of the server
		text  string
	}{
		{"the same", 0, ""},
		{"a little ahead", 50 * time.Minute, ""},
		{"far ahead", 100 * time.Hour, "this machine's clock says"},
		{"far behind", -100 * time.Hour, "this machine's clock says"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			client := at(t, time.Now().Add(tc.ahead))
			if _, known := client.ClockOffset(); known {
				t.Error("known before the first answer")
			}
			_, err := client.SigningKeys(t.Context())
			if tc.text != "" {
				if err == nil || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), "expired or is not yet valid") {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if offset, known := client.ClockOffset(); !known || (offset+tc.ahead).Abs() > time.Minute {
				t.Errorf("offset %v, %t; the server is ahead by %v", offset, known, tc.ahead)
			}
		})
	}
}
