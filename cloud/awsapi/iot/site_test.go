package iot_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/iot"
	"github.com/fescue-edge/fescue/cloud/jobs"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/pki"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var (
	here  = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	there = fescue.Partition{AWS: "aws", Account: "210987654321", Region: "us-east-1"}
	now   = time.Date(2026, 11, 23, 12, 0, 0, 500e6, time.UTC)
)

const (
	arnPrefix = "arn:aws:iot:us-east-1:123456789012:"
	allowAll  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}`
)

// api is a server that takes every request for signed, in one of two partitions.
type api struct {
	t       *testing.T
	servers map[fescue.Partition]*httptest.Server
}

// serve makes the service on an empty store.
func serve(t testing.TB) *iot.API {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	s := storetest.Open(t)
	authority, err := pki.NewAuthority("devices", pki.ECDSA, now)
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return now }
	things := registry.New(registry.Options{Stores: s.Registry(), Authority: authority, AWS: "aws", Now: clock, Logger: logger})
	return iot.New(iot.Options{
		Registry: things, Now: clock, Host: "iot.example.org", Logger: logger,
		Jobs: jobs.New(jobs.Options{Store: s.Jobs(), Things: things, Publisher: silence{}, AWS: "aws", Now: clock, Logger: logger}),
	})
}

func open(t *testing.T) *api {
	t.Helper()
	service := serve(t)
	a := &api{t: t, servers: make(map[fescue.Partition]*httptest.Server)}
	for _, p := range []fescue.Partition{here, there} {
		a.servers[p] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, service.MaxBody(r))
			service.ServeCall(w, r, &awsapi.Call{Partition: p, RequestID: "r"})
		}))
	}
	t.Cleanup(func() {
		for _, server := range a.servers {
			server.Close()
		}
	})
	return a
}

// silence is a publisher that nobody listens to.
type silence struct{}

func (silence) Publish(context.Context, fescue.Partition, string, []byte, byte, bool) error {
	return nil
}

// with is the same server for a subtest.
func (a *api) with(t *testing.T) *api { return &api{t: t, servers: a.servers} }

// answer is what came back.
type answer struct {
	t      *testing.T
	what   string
	status int
	code   string
	body   map[string]any
}

// call sends a request: header is "Name: value" or empty.
func (a *api) call(p fescue.Partition, method, path, header, body string) *answer {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.servers[p].URL+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if name, value, ok := strings.Cut(header, ": "); ok {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	got := &answer{t: a.t, what: method + " " + path, status: res.StatusCode, code: res.Header.Get("x-amzn-ErrorType")}
	if err := json.Unmarshal(data, &got.body); err != nil {
		a.t.Fatalf("%s: body %q: %v", got.what, data, err)
	}
	if bytes.Contains(data, []byte(":null")) {
		a.t.Errorf("%s: null in %s", got.what, data)
	}
	return got
}

func (a *api) do(method, path, header, body string) *answer {
	a.t.Helper()
	return a.call(here, method, path, header, body)
}

// ok asks for a success and returns the body.
func (g *answer) ok() map[string]any {
	g.t.Helper()
	if g.status != http.StatusOK || g.code != "" {
		g.t.Fatalf("%s: status %d, type %q, body %v", g.what, g.status, g.code, g.body)
	}
	return g.body
}

// refused asks for an error whose message has the text.
func (g *answer) refused(status int, code, text string) map[string]any {
	g.t.Helper()
	message, _ := g.body["message"].(string)
	if g.status != status || g.code != code || !strings.Contains(message, text) {
		g.t.Errorf("%s: status %d, type %q, body %v; want %d, %s, %q", g.what, g.status, g.code, g.body, status, code, text)
	}
	return g.body
}

// certificate registers a fresh certificate and returns its id and ARN.
func (a *api) certificate(p fescue.Partition) (id, arn string) {
	a.t.Helper()
	body := a.call(p, "POST", "/certificate/register-no-ca", "", object("certificatePem", selfSigned(a.t), "status", "ACTIVE")).ok()
	return body["certificateId"].(string), body["certificateArn"].(string)
}

func selfSigned(t *testing.T) string {
	t.Helper()
	authority, err := pki.NewAuthority("x", pki.ECDSA, now)
	if err != nil {
		t.Fatal(err)
	}
	return string(authority.PEM())
}

func signingRequest(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// object is a JSON object of names and values.
func object(pairs ...string) string {
	m := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(data)
}
