package iot_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/iot"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/pki"
)

// Whatever a caller sends in the places that are parsed here, the answer is JSON
// and never a server's fault.
func FuzzRequests(f *testing.F) {
	logger := slog.New(slog.DiscardHandler)
	s, err := store.OpenSQLite(f.Context(), filepath.Join(f.TempDir(), "fescue.db"), logger)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	authority, err := pki.NewAuthority("devices", pki.ECDSA, now)
	if err != nil {
		f.Fatal(err)
	}
	service := iot.New(iot.Options{
		Registry: registry.New(registry.Options{Store: s, Authority: authority, AWS: "aws", Now: time.Now, Logger: logger}),
		Host:     "iot.example.org", Logger: logger,
	})
	for _, text := range []string{
		"", "eyJrIjoiYSJ9", "eyJrIjoiYSIsInQiOi0xfQ", "bnVsbA", "..%2f", "a\x00", "\xff", `{"target":"x"}`,
		arnPrefix + "cert/" + strings.Repeat("0", 64), "arn:aws:iot:::cert/", "-1", "99999999999999999999",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		escaped := url.QueryEscape(text)
		for _, path := range []string{
			"GET /certificates?marker=" + escaped, "GET /policies?isAscendingOrder=true&marker=" + escaped,
			"GET /things?nextToken=" + escaped, "GET /things?attributeName=" + escaped,
			"POST /things/x", "POST /policies/x", "POST /target-policies/x", "GET /principals/things",
			"POST /attached-policies/" + url.PathEscape(text), "GET /things/" + url.PathEscape(text), "DELETE /policies/x/version/" + url.PathEscape(text),
		} {
			method, target, _ := strings.Cut(path, " ")
			r, err := http.NewRequest(method, "http://host"+target, strings.NewReader(text))
			if err != nil {
				continue
			}
			r.Header.Set("x-amzn-principal", text)
			w := httptest.NewRecorder()
			service.ServeCall(w, r, &awsapi.Call{Partition: here})
			if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s: status %d, body %q", path, w.Code, w.Body)
			}
		}
	})
}
