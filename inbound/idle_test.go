package inbound_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/testkit"
)

// idleSite is an HTTPS server on a Listener whose idle connections are bounded. "/late" answers
// when it is asked to, everything else at once, with the request's body.
type idleSite struct {
	*inbound.Listener
	url     string
	roots   *x509.CertPool
	release chan struct{}
}

func serveIdle(t *testing.T, most int) *idleSite {
	t.Helper()
	s := &idleSite{roots: x509.NewCertPool(), release: make(chan struct{})}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			<-s.release
		}
		_, _ = io.Copy(w, r.Body)
	}))
	s.Listener = inbound.Limit(server.Listener, 1000, "test", nil, slog.New(slog.DiscardHandler))
	s.BoundIdle(most)
	server.Listener = s.Listener
	inbound.Watch(server.Config)
	server.StartTLS()
	t.Cleanup(server.Close)
	s.url = server.URL
	s.roots.AddCert(server.Certificate())
	return s
}

// caller is a client with connections of its own.
type caller struct {
	*http.Client
	t   *testing.T
	url string
}

func (s *idleSite) caller(t *testing.T) *caller { return s.callerFrom(t, "127.0.0.1") }

// callerFrom is a client with an address.
func (s *idleSite) callerFrom(t *testing.T, address string) *caller {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: s.roots, ServerName: "example.com"}}
	t.Cleanup(transport.CloseIdleConnections)
	return &caller{&http.Client{Transport: transport, Timeout: patience}, t, s.url}
}

// call asks for something, and says whether that went over a connection of an earlier call. Its
// PUT may be sent twice, as cores' may.
func (c *caller) call(path string) (reused bool) {
	c.t.Helper()
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { reused = got.Reused }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.url+path, strings.NewReader("it is well"))
	if err != nil {
		c.t.Error(err)
		return false
	}
	req.Header["Idempotency-Key"] = nil
	resp, err := c.Do(req)
	if err != nil {
		c.t.Errorf("PUT %s: %v", path, err)
		return false
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "it is well" {
		c.t.Errorf("PUT %s: %q, %v", path, text, err)
	}
	return reused
}

func TestBoundIdle(t *testing.T) {
	t.Parallel()
	await := func(t *testing.T, s *idleSite, open, idle int, closed uint64) {
		t.Helper()
		testkit.Until(t, "idle connections", func() bool {
			n, _ := s.Stats()
			now, _, gone := s.Idle()
			return n == open && now == idle && gone == closed
		})
	}
	t.Run("those that wait longest go, and none that is at work", func(t *testing.T) {
		t.Parallel()
		s := serveIdle(t, 3)
		poll := s.caller(t)
		poll.call("/")
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if !poll.call("/late") {
				t.Error("the long poll had a connection of its own")
			}
		})
		await(t, s, 1, 0, 0)
		callers := make([]*caller, 5)
		for i := range callers {
			callers[i] = s.caller(t)
			callers[i].call("/")
			await(t, s, 1+min(i+1, 3), min(i+1, 3), uint64(max(i-2, 0)))
		}
		// The third is the oldest that is left, and begins anew.
		if !callers[2].call("/") {
			t.Error("the third of five lost its connection")
		}
		await(t, s, 4, 3, 2)
		if callers[0].call("/") {
			t.Error("the first of five kept its connection")
		}
		await(t, s, 4, 3, 3)
		if !callers[2].call("/") {
			t.Error("the third of five, which had called again, lost its connection to another")
		}
		await(t, s, 4, 3, 3)
		if callers[3].call("/") {
			t.Error("the fourth of five kept its connection, the oldest")
		}
		await(t, s, 4, 3, 4)
		close(s.release)
		waiting.Wait()
		await(t, s, 3, 3, 5)
	})
	t.Run("who has many takes the places of none but its own", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("other systems have no more addresses of this machine than 127.0.0.1")
		}
		t.Parallel()
		s := serveIdle(t, 16)
		others := make([]*caller, 14)
		for i := range others {
			others[i] = s.callerFrom(t, fmt.Sprintf("127.0.1.%d", i+1))
			others[i].call("/")
		}
		await(t, s, 14, 14, 0)
		for i := range 10 {
			s.caller(t).call("/")
			await(t, s, min(15+i, 16), min(15+i, 16), uint64(max(i-1, 0)))
		}
		for _, c := range others {
			if !c.call("/") {
				t.Error("another lost its connection")
			}
		}
		await(t, s, 16, 16, 8)
	})
	t.Run("one whose request is coming is not closed", func(t *testing.T) {
		t.Parallel()
		s := serveIdle(t, 1)
		c, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{RootCAs: s.roots, ServerName: "example.com"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		answer := make([]byte, 4<<10)
		ask := func(text string) {
			t.Helper()
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
		}
		ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if _, err := c.Read(answer); err != nil {
			t.Fatal(err)
		}
		await(t, s, 1, 1, 0)
		ask("GET / HTTP/1.1\r\nHo") // half a head
		await(t, s, 1, 0, 0)
		s.caller(t).call("/")
		s.caller(t).call("/")
		await(t, s, 2, 1, 1)
		ask("st: h\r\n\r\n")
		if n, err := c.Read(answer); err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 200") {
			t.Errorf("%q, %v", answer[:n], err)
		}
	})
	t.Run("requests that meet the end of their connections do not fail", func(t *testing.T) {
		t.Parallel()
		s := serveIdle(t, 2)
		var calling sync.WaitGroup
		for range 8 {
			calling.Go(func() {
				c := s.caller(t)
				for range 50 {
					c.call("/")
				}
			})
		}
		calling.Wait()
		testkit.Until(t, "two are left", func() bool { now, _, _ := s.Idle(); return now <= 2 })
		if _, _, closed := s.Idle(); closed == 0 {
			t.Error("no connection was closed while eight clients shared two")
		}
	})
	t.Run("any number where there is no bound", func(t *testing.T) {
		t.Parallel()
		s := serveIdle(t, 0)
		for range 10 {
			s.caller(t).call("/")
		}
		await(t, s, 10, 10, 0)
	})
}
