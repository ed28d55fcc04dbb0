package credentials_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/credentials"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
)

// source gives numbered keys that last an hour, or an error.
type source struct {
	clock *clock
	mu    sync.Mutex
	err   error
	asked int
	// hold, if there is one, keeps answers back.
	hold chan struct{}
}

func (s *source) Credentials(ctx context.Context, group string) (corelink.Credentials, error) {
	s.mu.Lock()
	s.asked++
	n, err, hold := s.asked, s.err, s.hold
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return corelink.Credentials{}, ctx.Err()
		}
	}
	return corelink.Credentials{AccessKeyID: fmt.Sprint(group, n), SecretAccessKey: "s", Expiration: s.clock.now().Add(time.Hour)}, err
}

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

type clock struct{ past atomic.Int64 }

func (c *clock) now() time.Time {
	return time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(c.past.Load()))
}
func (c *clock) pass(d time.Duration) { c.past.Add(int64(d)) }

func open() (*credentials.Exchange, *source, *clock) {
	c := new(clock)
	s := &source{clock: c}
	x := credentials.New(s, c.now)
	x.Use("g")
	return x, s, c
}

func want(t *testing.T, x *credentials.Exchange, id string) {
	t.Helper()
	got, err := x.Get(t.Context())
	if err != nil || got.AccessKeyID != id {
		t.Errorf("keys %q, %v; want %q", got.AccessKeyID, err, id)
	}
}

func refused(t *testing.T, x *credentials.Exchange, status int, text string) {
	t.Helper()
	got, err := x.Get(t.Context())
	var e *credentials.Error
	if !errors.As(err, &e) || e.Status != status || !strings.Contains(e.Text, text) || got != (corelink.Credentials{}) {
		t.Errorf("%v, %v; want %d, %q", got, err, status, text)
	}
}

func TestExchange(t *testing.T) {
	t.Parallel()
	down := errors.New("connection refused")
	t.Run("keys are kept until five minutes before they end", func(t *testing.T) {
		t.Parallel()
		x, _, c := open()
		want(t, x, "g1")
		c.pass(54 * time.Minute)
		want(t, x, "g1")
		c.pass(2 * time.Minute)
		want(t, x, "g2")
	})
	t.Run("they are given until they end while they cannot be renewed", func(t *testing.T) {
		t.Parallel()
		x, s, c := open()
		want(t, x, "g1")
		s.fail(down)
		c.pass(56 * time.Minute)
		want(t, x, "g1")
		want(t, x, "g1")
		if s.count() != 2 {
			t.Errorf("asked %d times", s.count())
		}
		c.pass(4 * time.Minute)
		refused(t, x, http.StatusServiceUnavailable, "connection refused")
		s.fail(nil)
		c.pass(10 * time.Second)
		want(t, x, "g4")
	})
	t.Run("a refusal is repeated for two minutes, other errors for ten seconds", func(t *testing.T) {
		t.Parallel()
		x, s, c := open()
		s.fail(fmt.Errorf("x: %w", &corelink.StatusError{HTTPStatus: 404, Message: "no role"}))
		refused(t, x, 404, "no role")
		c.pass(119 * time.Second)
		refused(t, x, 404, "no role")
		if s.count() != 1 {
			t.Errorf("asked %d times", s.count())
		}
		c.pass(time.Second)
		s.fail(&corelink.StatusError{HTTPStatus: 500, Message: "oops"})
		refused(t, x, 500, "oops")
		c.pass(10 * time.Second)
		s.fail(context.DeadlineExceeded)
		refused(t, x, http.StatusGatewayTimeout, "in time")
		c.pass(-time.Hour) // a clock that is set back does not keep anybody waiting
		s.fail(nil)
		want(t, x, "g4")
	})
	t.Run("keys for a group are its own", func(t *testing.T) {
		t.Parallel()
		x, _, _ := open()
		if got, err := x.GetFor(t.Context(), "g"); err != nil || got.AccessKeyID != "g1" {
			t.Errorf("%q, %v", got.AccessKeyID, err)
		}
		x.Use("h")
		if got, err := x.GetFor(t.Context(), "g"); !errors.Is(err, credentials.ErrOtherGroup) || got != (corelink.Credentials{}) {
			t.Errorf("%q, %v", got.AccessKeyID, err)
		}
	})
	t.Run("another deployment forgets all", func(t *testing.T) {
		t.Parallel()
		x, s, _ := open()
		want(t, x, "g1")
		x.Use("h")
		want(t, x, "h2")
		s.fail(down)
		x.Use("h")
		refused(t, x, 503, "refused")
		s.fail(nil)
		x.Use("h")
		want(t, x, "h4")
		x.Use("")
		refused(t, x, 404, "no group")
	})
	t.Run("who asks at once is answered by one request, which goes on when one of them goes", func(t *testing.T) {
		t.Parallel()
		x, s, _ := open()
		s.hold = make(chan struct{})
		gone, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { _, err := x.Get(gone); first <- err }()
		testkit.Until(t, "the request", func() bool { return s.count() > 0 })
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { want(t, x, "g1") })
		}
		close(s.hold)
		all.Wait()
		if s.count() != 1 {
			t.Errorf("asked %d times", s.count())
		}
	})
	t.Run("keys that have ended are none", func(t *testing.T) {
		t.Parallel()
		c := new(clock)
		x := credentials.New(&source{clock: new(clock)}, c.now)
		x.Use("g")
		c.pass(2 * time.Hour)
		refused(t, x, 503, "ended by this machine's clock")
	})
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		status int
		text   string
	}{
		"keys": {answer: func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"credentials":{"accessKeyId":"ASIA","secretAccessKey":%q,"sessionToken":"t","expiration":"2027-01-01T00:00:00Z"}}`, r.URL.Path+r.Header.Get("x-amzn-iot-thingname"))
		}},
		"a refusal": {status: 403, text: "Access Denied", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			io.WriteString(w, `{"message":"Access Denied"}`)
		}},
		"a plain refusal": {status: 502, text: "bad", answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); io.WriteString(w, "bad\xff") }},
		"nothing":         {text: "does not parse", answer: func(http.ResponseWriter, *http.Request) {}},
		"another place": {text: "the endpoint redirects", answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com/", http.StatusFound)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewTLSServer(tc.answer)
			t.Cleanup(server.Close)
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			e, err := credentials.NewEndpoint("https://example.com/role-aliases/edge/credentials", "mill", &tls.Config{RootCAs: roots},
				func(ctx context.Context, host string, port int) (net.Conn, error) {
					if host != "example.com" || port != 443 {
						t.Errorf("dialled %s:%d", host, port)
					}
					return new(net.Dialer).DialContext(ctx, "tcp", server.Listener.Addr().String())
				})
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.Credentials(t.Context(), "g")
			var refused *corelink.StatusError
			switch {
			case tc.text == "":
				if err != nil || got.AccessKeyID != "ASIA" || got.SecretAccessKey != "/role-aliases/edge/credentialsmill" || got.Expiration.Year() != 2027 {
					t.Errorf("%+v, %v", got, err)
				}
			case err == nil || !strings.Contains(err.Error(), tc.text) || errors.As(err, &refused) != (tc.status != 0) || refused != nil && refused.HTTPStatus != tc.status:
				t.Errorf("%+v, %v; want %d, %q", got, err, tc.status, tc.text)
			}
		})
	}
	for _, address := range []string{"", "http://h/role-aliases/a/credentials", "https:///role-aliases/a/credentials", "https://h/", "https://h/role-aliases//credentials",
		"https://h/role-aliases/a/credentials?x=1", "https://u:p@h/role-aliases/a/credentials", "https://h/role-aliases/a/b/credentials", "https://h:x/role-aliases/a/credentials", "https://h:99999999999999999999/role-aliases/a/credentials"} {
		if _, err := credentials.NewEndpoint(address, "mill", nil, nil); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
}
