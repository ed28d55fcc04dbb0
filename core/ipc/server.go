package ipc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue/core/invoke"
)

// Bounds of requests, in bytes; see connections.go and body.go for the others.
const (
	maxHeader = 64 << 10
	// maxSmallBody bounds a worker's other bodies, maxOpenBody what anyone may
	// send: the names of all functions of a group fit.
	maxSmallBody = 1 << 20
	maxOpenBody  = 64 << 10
)

// Options are what a Server stands on. All but MaxPayload are required.
type Options struct {
	Calls       Calls
	Workers     Workers
	Credentials Credentials
	Logger      *slog.Logger
	// MaxPayload bounds the body of an invocation or a result, in bytes; 0 means
	// invoke.MaxPayload.
	MaxPayload int64
	Times      Times
}

// Server serves the function API. Make one with New.
type Server struct {
	calls      Calls
	workers    Workers
	keys       Credentials
	logger     *slog.Logger
	maxPayload int64
	times      Times

	routes *http.ServeMux
	http   http.Server
	// hosts are the values of Host that are served, set by Serve.
	hosts  atomic.Pointer[map[string]bool]
	cancel context.CancelFunc
}

// New makes a server that does not listen yet.
func New(o Options) *Server {
	s := &Server{calls: o.Calls, workers: o.Workers, keys: o.Credentials, logger: o.Logger, maxPayload: cmp.Or(o.MaxPayload, invoke.MaxPayload), times: o.Times.withDefaults()}
	s.routes = s.mux()
	base, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.http = http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: s.times.Header,
		ReadTimeout:       s.times.Request,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers calls until Shutdown; it returns nil then.
func (s *Server) Serve(l *Listener) error {
	hosts := make(map[string]bool)
	for _, name := range []string{"localhost", "127.0.0.1", "[::1]"} {
		hosts[name+":"+strconv.Itoa(l.Port())] = true
		if l.Port() == 80 {
			hosts[name] = true
		}
	}
	s.hosts.Store(&hosts)
	open := newConnections(s.maxPayload)
	var group errgroup.Group
	for _, each := range l.listeners {
		group.Go(func() error {
			if err := s.http.Serve(listener{each, open}); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve the function API on %s: %w", each.Addr(), err)
			}
			return nil
		})
	}
	return group.Wait()
}

// Shutdown breaks off waiting polls and waits for the other calls to end, until
// ctx does. Stop the functions first.
func (s *Server) Shutdown(ctx context.Context) error {
	s.cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("stop the function API: %w", err), s.http.Close())
	}
	return nil
}

// serve admits a call and finds what it is for.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	// A web page in a browser on this machine can reach the port: it either
	// sends an Origin or, after rebinding its DNS name, a foreign Host.
	hosts := s.hosts.Load()
	if hosts == nil || !(*hosts)[strings.ToLower(r.Host)] {
		s.text(w, http.StatusForbidden, fmt.Sprintf("Host %q is not served; use localhost", r.Host))
		return
	}
	if _, present := r.Header["Origin"]; present {
		s.text(w, http.StatusForbidden, "calls from web pages are not served")
		return
	}
	if !clean(r.URL.EscapedPath()) {
		notFound(s)(w, r)
		return
	}
	s.routes.ServeHTTP(w, r)
}

// write sends a complete answer and says whether it left this process.
func (s *Server) write(w http.ResponseWriter, status int, body []byte) error {
	control := http.NewResponseController(w)
	// Waiting for the answer may have taken longer than sending it may.
	_ = control.SetWriteDeadline(time.Now().Add(answerTimeout))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		return err
	}
	return control.Flush()
}
