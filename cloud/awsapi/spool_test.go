package awsapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/fescue-edge/fescue/policy"
)

// spooled is a body that does not fit into memory.
var spooled = strings.Repeat("0123456789abcdef", 1<<17)

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("the spool folder holds %v, %v", entries, err)
	}
}

func TestSpool(t *testing.T) {
	t.Parallel()
	t.Run("leaves no file, not even while it is read", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		e.serving = func() { wantEmpty(t, e.SpoolDir) }
		if w := e.serve(call{service: "lambda", body: spooled}.sign(t)); w.Code != 200 || e.bodies[0] != spooled {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		wantEmpty(t, e.SpoolDir)
	})
	t.Run("a changed body", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		for _, declare := range []bool{false, true} {
			w := e.serve(call{service: "lambda", body: spooled, declare: declare}.sign(t, body(spooled[:len(spooled)-1]+"x")))
			wantRefusal(t, "lambda", w, 403, "InvalidSignatureException", "")
		}
		if e.kept() != 0 {
			t.Error("the service was asked")
		}
		wantEmpty(t, e.SpoolDir)
	})
	t.Run("a body that breaks off", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		for service, text := range map[string]string{"greengrass": "abc", "sts": "abc", "lambda": spooled} {
			w := e.serve(call{service: service, body: text}.sign(t, func(r *http.Request) { r.Body = io.NopCloser(broken{strings.NewReader(text)}) }))
			wantRefusal(t, service, w, 400, "RequestTimeout", "connection reset")
		}
		if e.kept() != 0 {
			t.Error("the service was asked")
		}
		wantEmpty(t, e.SpoolDir)
	})
	t.Run("no folder", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		e.SpoolDir = filepath.Join(e.SpoolDir, "none")
		wantRefusal(t, "lambda", e.serve(call{service: "lambda", body: spooled}.sign(t)), 500, "InternalFailure", "")
		if !strings.Contains(e.logs.String(), "spool request body") {
			t.Errorf("log %s", e.logs)
		}
		if w := e.serve(call{service: "lambda", body: "small"}.sign(t)); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	// All slots come back, however the calls before ended.
	t.Run("slots come back", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		for range 12 {
			e.serve(call{service: "lambda", body: spooled}.sign(t, body(spooled[1:]+"x")))
			e.serve(call{service: "lambda", body: spooled}.sign(t, func(r *http.Request) { r.Body = io.NopCloser(broken{strings.NewReader(spooled)}) }))
		}
		if w := e.serve(call{service: "lambda", body: spooled}.sign(t)); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// Large bodies that wait for the same place: of an address, as far as their signature
// is not proven, else of a key.
func TestSpoolShares(t *testing.T) {
	t.Parallel()
	const ofAddress, ofKey = 8, 16
	elsewhere := func(r *http.Request) { r.RemoteAddr = "198.51.100.7:1" }
	for name, tc := range map[string]struct {
		declare bool
		slots   int
		other   call
		from    func(*http.Request)
	}{
		"an address":   {false, ofAddress, call{service: "lambda", body: spooled}, elsewhere},
		"a proven key": {true, ofKey, call{service: "lambda", body: spooled}, func(*http.Request) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t)
			var requests []*http.Request
			for range tc.slots + 3 {
				requests = append(requests, call{service: "lambda", body: spooled, declare: tc.declare}.sign(t))
			}
			other := tc.other.sign(t, tc.from)
			gone := call{service: "lambda", body: spooled, declare: tc.declare}.sign(t)
			small := call{service: "lambda", body: "small"}.sign(t)
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				var inside atomic.Int32
				e.serving = func() {
					inside.Add(1)
					<-release
					inside.Add(-1)
				}
				var wg sync.WaitGroup
				serve := func(r *http.Request) {
					wg.Go(func() {
						if w := e.serve(r.WithContext(t.Context())); w.Code != 200 {
							t.Errorf("%d %s", w.Code, w.Body)
						}
					})
					synctest.Wait()
				}
				for _, r := range requests {
					serve(r)
				}
				if n := inside.Load(); int(n) != tc.slots {
					t.Errorf("%d large bodies at once, want %d", n, tc.slots)
				}
				serve(other)
				serve(small)
				if n := inside.Load(); int(n) != tc.slots+2 {
					t.Errorf("%d bodies at once, want %d: others do not wait", n, tc.slots+2)
				}
				ctx, cancel := context.WithCancel(t.Context())
				answered := make(chan *httptest.ResponseRecorder, 1)
				go func() { answered <- e.serve(gone.WithContext(ctx)) }()
				synctest.Wait()
				cancel()
				if w := <-answered; w.Code < 400 {
					t.Errorf("whose client has gone: %d", w.Code)
				}
				close(release)
				wg.Wait()
				if e.kept() != len(requests)+2 || e.logs.Len() != 0 {
					t.Errorf("%d served, log %s", e.kept(), e.logs)
				}
			})
		})
	}
	t.Run("waiting ends", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		var requests []*http.Request
		for range ofAddress + 1 {
			requests = append(requests, call{service: "lambda", body: spooled}.sign(t))
		}
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			e.serving = func() { <-release }
			var wg sync.WaitGroup
			for _, r := range requests[1:] {
				wg.Go(func() { e.serve(r.WithContext(t.Context())) })
			}
			synctest.Wait()
			wantRefusal(t, "lambda", e.serve(requests[0].WithContext(t.Context())), 429, "TooManyRequestsException", "Too many large bodies")
			close(release)
			wg.Wait()
		})
	})
}

// endless is a body that has brought n bytes, and then waits for release.
type endless struct {
	n       int64
	begun   func()
	release chan struct{}
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n <= 0 {
		if e.begun != nil {
			e.begun()
			e.begun = nil
		}
		<-e.release
		return 0, io.ErrUnexpectedEOF
	}
	n := int(min(int64(len(p)), e.n))
	e.n -= int64(n)
	return n, nil
}

// Bodies with the id of a known key, from somebody who does not have its secret,
// take a bounded part of the memory, and leave others theirs.
func TestMemoryShares(t *testing.T) {
	t.Parallel()
	e := open(t)
	const size, share = 1<<20 - 1, 16
	release := make(chan struct{})
	var wg, begun sync.WaitGroup
	send := func() {
		begun.Add(1)
		r := call{body: strings.Repeat("x", size), secret: "unknown"}.sign(t, func(r *http.Request) {
			r.Body = io.NopCloser(&endless{n: size - 1, begun: begun.Done, release: release})
		})
		wg.Go(func() { e.serve(r) })
	}
	for range share {
		send()
	}
	begun.Wait()
	for range 3 {
		wantRefusal(t, "greengrass", e.serve(call{body: strings.Repeat("x", size)}.sign(t)), 429, "ThrottlingException", "all the memory")
	}
	for name, r := range map[string]*http.Request{
		"another address": call{body: strings.Repeat("x", size)}.sign(t, func(r *http.Request) { r.RemoteAddr = "198.51.100.7:1" }),
		"the key's owner": call{body: strings.Repeat("x", size), declare: true}.sign(t),
	} {
		if w := e.serve(r); w.Code != 200 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	close(release)
	wg.Wait()
	if w := e.serve(call{body: strings.Repeat("x", size)}.sign(t)); w.Code != 200 {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}

// What the head shows is decided before a large body is read.
func TestDecidedByTheHead(t *testing.T) {
	t.Parallel()
	const doc = `{"Statement":{"Effect":"Allow","Action":"lambda:Keep","Resource":"%s"}}`
	unread := func(t *testing.T) func(*http.Request) {
		return func(r *http.Request) { r.Body = io.NopCloser(untouchable{t}) }
	}
	start := func(t *testing.T, policies ...string) (*endpoint, *ledger) {
		e, l := open(t), &ledger{}
		e.Audit, e.caller.Policies = l, []policy.Set{documents(t, policies...)}
		return e, l
	}
	large := call{service: "lambda", body: spooled, declare: true}
	t.Run("the right", func(t *testing.T) {
		t.Parallel()
		for name, policies := range map[string][]string{
			"nothing allows it":       nil,
			"another resource":        {fmt.Sprintf(doc, "arn:other")},
			"everything is denied":    {fmt.Sprintf(doc, "*"), `{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`},
			"this resource is denied": {fmt.Sprintf(doc, "*"), `{"Statement":{"Effect":"Deny","Action":"*","Resource":"arn:mine"}}`},
		} {
			e, l := start(t, policies...)
			e.serving = func() { t.Errorf("%s: it is served", name) }
			w := e.serve(large.sign(t, header("Resource", "arn:mine"), unread(t)))
			wantRefusal(t, "lambda", w, 403, "AccessDeniedException", "is not authorized to perform: lambda:Keep on resource: arn:mine")
			if len(l.records) != 1 || l.records[0].Operation != "Keep" || l.records[0].Status != 403 || l.records[0].ID != w.Header().Get("x-amzn-RequestId") {
				t.Errorf("%s: records %+v", name, l.records)
			}
			// Without the body nobody is proven; it is read, and not kept.
			e.SpoolDir = "/no/such/folder"
			w = e.serve(call{service: "lambda", body: spooled}.sign(t, header("Resource", "arn:mine")))
			wantRefusal(t, "lambda", w, 403, "AccessDeniedException", "arn:mine")
			wantRefusal(t, "lambda", e.serve(call{service: "lambda", body: spooled, secret: "wrong"}.sign(t, header("Resource", "arn:mine"))), 403, "InvalidSignatureException", "")
			if len(l.records) != 2 || len(e.observed) != 3 || e.observed[0] != (observed{"lambda", "Keep", 403}) {
				t.Errorf("%s: records %+v, observed %+v", name, l.records, e.observed)
			}
		}
	})
	t.Run("the right to what only the body names", func(t *testing.T) {
		t.Parallel()
		e, _ := start(t, fmt.Sprintf(doc, "arn:aws:lambda:*:function:mill-*"))
		wantRefusal(t, "lambda", e.serve(large.sign(t)), 403, "AccessDeniedException", "on resource: *") // when it is read
		if len(e.observed) != 1 {
			t.Error(e.observed)
		}
		e, _ = start(t, `{"Statement":{"Effect":"Allow","Action":"lambda:Get*","Resource":"*"}}`)
		wantRefusal(t, "lambda", e.serve(large.sign(t, unread(t))), 403, "AccessDeniedException", "no identity-based policy allows the lambda:Keep action")
	})
	t.Run("room", func(t *testing.T) {
		t.Parallel()
		e, l := start(t, fmt.Sprintf(doc, "*"))
		var asked int64
		e.Space = func(bytes int64) error {
			asked = bytes
			return errors.New("no room")
		}
		wantRefusal(t, "lambda", e.serve(large.sign(t, unread(t))), 503, "ServiceUnavailableException", "no room")
		if asked != 2*int64(len(spooled)) || len(l.records) != 0 {
			t.Errorf("asked for %d bytes, %+v", asked, l.records)
		}
		if w := e.serve(call{service: "lambda", body: "small"}.sign(t)); w.Code != 200 {
			t.Errorf("a small body: %d", w.Code)
		}
		e.Room = func() error { return errors.New("nearly full") }
		wantRefusal(t, "lambda", e.serve(call{service: "lambda", body: spooled[:100_000]}.sign(t, unread(t))), 503, "ServiceUnavailableException", "nearly full")
	})
	t.Run("room is counted once", func(t *testing.T) {
		t.Parallel()
		e, _ := start(t, fmt.Sprintf(doc, "*"))
		var asked []int64
		e.Space = func(bytes int64) error { asked = append(asked, bytes); return nil }
		e.serving = func() {
			if err := e.Space(0); err != nil {
				t.Error(err)
			}
		}
		for range 3 {
			if w := e.serve(large.sign(t)); w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		for _, n := range asked {
			if n > 2*int64(len(spooled)) {
				t.Errorf("asked for %v", asked)
			}
		}
	})
	t.Run("a length", func(t *testing.T) {
		t.Parallel()
		e, _ := start(t, fmt.Sprintf(doc, "*"))
		wantRefusal(t, "lambda", e.serve(call{service: "lambda", body: spooled, chunked: true, declare: true}.sign(t)), 411, "MissingContentLength", "Content-Length")
		if w := e.serve(call{service: "lambda", body: spooled[:1<<20], chunked: true}.sign(t)); w.Code != 200 {
			t.Errorf("as much as memory takes: %d %s", w.Code, w.Body)
		}
	})
}
