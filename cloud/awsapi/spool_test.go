package awsapi_test

import (
	"context"
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

func TestSpoolSlots(t *testing.T) {
	t.Parallel()
	const slots, callers = 4, 7
	t.Run("four at a time", func(t *testing.T) {
		t.Parallel()
		requests := make([]*http.Request, callers)
		e := open(t)
		for i := range requests {
			requests[i] = call{service: "lambda", body: spooled}.sign(t)
		}
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			var inside, most atomic.Int32
			e.serving = func() {
				n := inside.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				<-release
				inside.Add(-1)
			}
			var wg sync.WaitGroup
			for _, r := range requests {
				wg.Go(func() {
					if w := e.serve(r.WithContext(t.Context())); w.Code != 200 {
						t.Errorf("%d %s", w.Code, w.Body)
					}
				})
			}
			synctest.Wait()
			if n := inside.Load(); n != slots {
				t.Errorf("%d large bodies at once, want %d", n, slots)
			}
			close(release)
			wg.Wait()
			if most.Load() != slots || e.kept() != callers {
				t.Errorf("at most %d at once, %d served", most.Load(), e.kept())
			}
		})
	})
	t.Run("waiting for one ends with the caller", func(t *testing.T) {
		t.Parallel()
		e := open(t)
		var requests []*http.Request
		for range slots + 1 {
			requests = append(requests, call{service: "lambda", body: spooled}.sign(t))
		}
		small := call{service: "lambda", body: "small"}.sign(t)
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			var held atomic.Int32
			e.serving = func() {
				if held.Add(1) <= slots {
					<-release
				}
			}
			var wg sync.WaitGroup
			for _, r := range requests[:slots] {
				wg.Go(func() { e.serve(r.WithContext(t.Context())) })
			}
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			answered := make(chan *httptest.ResponseRecorder, 1)
			go func() { answered <- e.serve(requests[slots].WithContext(ctx)) }()
			synctest.Wait()
			// Small bodies do not wait.
			if w := e.serve(small.WithContext(t.Context())); w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			select {
			case w := <-answered:
				t.Errorf("a fifth large body did not wait: %d", w.Code)
			default:
			}
			cancel()
			if w := <-answered; w.Code < 400 {
				t.Errorf("%d", w.Code)
			}
			close(release)
			wg.Wait()
			if e.kept() != slots+1 || e.logs.Len() != 0 {
				t.Errorf("%d served, log %s", e.kept(), e.logs)
			}
		})
	})
}
