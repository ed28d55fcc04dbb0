package s3store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/artifacts/artifactstest"
	"github.com/fescue-edge/fescue/cloud/artifacts/s3store"
)

const (
	keyID  = "AKIAFESCUETESTKEY000"
	secret = "a-secret-that-only-tests-know"
)

// startServer runs a whole Fescue server, whose S3 is the external store, and
// makes a bucket in it. It is the URL of its API.
func startServer(t *testing.T) string {
	t.Helper()
	server, err := cloud.New(t.Context(), cloud.Options{
		DataDir: t.TempDir(), APIAddr: "127.0.0.1:0", DeviceAddr: "127.0.0.1:0", MQTTAddr: "127.0.0.1:0",
		Account: "123456789012", Regions: []string{"eu-west-1"}, AccessKeyID: keyID, SecretAccessKey: secret,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	endpoint := "http://" + server.APIAddr()
	client := s3.NewFromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, ""),
	}, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("artifacts")}); err != nil {
		t.Fatal(err)
	}
	return endpoint
}

// environment stands in for the environment's variables.
func environment(endpoint string) []func(*config.LoadOptions) error {
	return []func(*config.LoadOptions) error{
		config.WithRegion("eu-west-1"), config.WithBaseEndpoint(endpoint),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(keyID, secret, "")),
	}
}

func open(t *testing.T, endpoint, prefix string) *s3store.Store {
	t.Helper()
	s, err := s3store.Open(t.Context(), "s3://artifacts/"+prefix, t.TempDir(), environment(endpoint)...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	endpoint := startServer(t)
	stores := 0
	artifactstest.TestStore(t, func(t *testing.T) artifacts.Store {
		stores++
		return open(t, endpoint, fmt.Sprint("a b/", stores))
	})
	t.Run("below a prefix are others", func(t *testing.T) {
		s := open(t, endpoint, "within")
		content := []byte("x")
		if err := s.Put(t.Context(), artifactstest.Hash(content), bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		inner := s.Within("buckets")
		if _, err := inner.Stat(t.Context(), artifactstest.Hash(content)); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("%v", err)
		}
		if inner.String() != "s3://artifacts/within/buckets" {
			t.Error(inner)
		}
	})
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"s3:", "s3://", "s3:///x", "http://bucket", "s3://u:p@bucket", "s3://bucket?x", "s3://bucket#x", "s3://bucket:1", "bucket", "s3://%zz"} {
		if _, err := s3store.Open(t.Context(), bad, t.TempDir()); err == nil || !strings.Contains(err.Error(), "s3://bucket/prefix") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	endpoint := startServer(t)
	if _, err := s3store.Open(t.Context(), "s3://another", t.TempDir(), environment(endpoint)...); err == nil || !strings.Contains(err.Error(), "aws s3 mb s3://another") {
		t.Errorf("no bucket: %v", err)
	}
	wrong := append(environment(endpoint), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(keyID, "wrong", "")))
	if _, err := s3store.Open(t.Context(), "s3://artifacts", t.TempDir(), wrong...); err == nil || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("wrong secret: %v", err)
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	if _, err := s3store.Open(t.Context(), "s3://artifacts", t.TempDir(), environment(closed.URL)...); err == nil || !strings.Contains(err.Error(), "AWS_ENDPOINT_URL_S3") {
		t.Errorf("nobody there: %v", err)
	}
}

// proxy stands between store and server, and spoils what fault says.
type proxy struct {
	*httptest.Server
	forward  *httputil.ReverseProxy
	requests atomic.Int32
	// fault answers a request itself, or changes the answer.
	fault atomic.Pointer[func(n int32, w http.ResponseWriter, r *http.Request) bool]
}

func newProxy(t *testing.T, endpoint string) *proxy {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{forward: &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := p.requests.Add(1)
		if fault := p.fault.Load(); fault != nil && (*fault)(n, w, r) {
			return
		}
		p.forward.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) spoil(fault func(n int32, w http.ResponseWriter, r *http.Request) bool) {
	p.requests.Store(0)
	p.fault.Store(&fault)
}

// cutter ends the connection after some bytes of a body.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	if len(b) > c.left {
		c.ResponseWriter.Write(b[:c.left])
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	endpoint := startServer(t)
	p := newProxy(t, endpoint)
	s := open(t, p.URL, "faults")
	content := make([]byte, 300_000)
	rand.NewChaCha8([32]byte{}).Read(content)
	hash := artifactstest.Hash(content)
	busy := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
	}
	read := func(offset int64) ([]byte, error) {
		r, err := s.Open(t.Context(), hash, offset)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	wantContent := func(offset int64) {
		t.Helper()
		if got, err := read(offset); err != nil || !bytes.Equal(got, content[offset:]) {
			t.Errorf("%d bytes from %d on, %v", len(got), offset, err)
		}
	}
	t.Run("a store that is busy for a while", func(t *testing.T) {
		p.spoil(func(n int32, w http.ResponseWriter, r *http.Request) bool {
			if n <= 2 {
				io.Copy(io.Discard, r.Body)
				busy(w)
			}
			return n <= 2
		})
		if err := s.Put(t.Context(), hash, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		p.requests.Store(0)
		wantContent(7)
	})
	t.Run("downloads that break off", func(t *testing.T) {
		p.spoil(func(n int32, w http.ResponseWriter, r *http.Request) bool {
			if n <= 3 {
				p.forward.ServeHTTP(&cutter{w, 50_000}, r)
			}
			return n <= 3
		})
		wantContent(0)
		p.requests.Store(0)
		wantContent(1000)
	})
	t.Run("a store that stays busy", func(t *testing.T) {
		p.spoil(func(_ int32, w http.ResponseWriter, r *http.Request) bool { busy(w); return true })
		if _, err := read(0); err == nil || errors.Is(err, fescue.ErrNotFound) || !strings.Contains(err.Error(), "SlowDown") || !strings.Contains(err.Error(), hash) {
			t.Errorf("%v", err)
		}
	})
	t.Run("downloads that bring nothing", func(t *testing.T) {
		p.spoil(func(_ int32, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				p.forward.ServeHTTP(&cutter{w, 0}, r)
			} else {
				p.forward.ServeHTTP(&cutter{w, 1234}, r)
			}
			return true
		})
		got, err := read(0)
		if len(got) != 1234 || err == nil || !strings.Contains(err.Error(), "broke off at byte 1234 of 300000") {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("content that changes on its way into the store", func(t *testing.T) {
		p.spoil(func(_ int32, _ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				body, _ := io.ReadAll(r.Body)
				body[0] ^= 1
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			return false
		})
		other := append([]byte("other"), content...)
		if err := s.Put(t.Context(), artifactstest.Hash(other), bytes.NewReader(other)); err == nil {
			t.Error("no error")
		}
		if _, err := s.Stat(t.Context(), artifactstest.Hash(other)); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
	t.Run("a reader ends with its context", func(t *testing.T) {
		p.spoil(func(int32, http.ResponseWriter, *http.Request) bool { return false })
		ctx, cancel := context.WithCancel(t.Context())
		r, err := s.Open(ctx, hash, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := io.CopyN(io.Discard, r, 10); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.Copy(io.Discard, r); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}
