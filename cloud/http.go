package cloud

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/common/expfmt"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/events"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/inbound"
)

// endpoints answers GET /fescue/v1/endpoints.
func (s *Server) endpoints() corelink.Endpoints {
	e := corelink.Endpoints{
		Host: s.o.PublicHosts[0], DevicePort: cmp.Or(s.o.PublicDevicePort, port(s.device)), MQTTPort: cmp.Or(s.o.PublicMQTTPort, port(s.mqtt)),
	}
	if s.o.DeviceCertFile == "" {
		e.CA = string(s.authority.PEM())
	}
	return e
}

func port(l net.Listener) int {
	_, text, _ := net.SplitHostPort(l.Addr().String())
	n, _ := strconv.Atoi(text)
	return n
}

// mux is the API listener: the AWS endpoint at every path but these.
func (s *Server) mux(aws, code, signIn http.Handler) http.Handler {
	own := http.NewServeMux()
	s.serveHealth(own)
	own.HandleFunc("GET /fescue/v1/endpoints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.endpoints())
	})
	for address, signed := range map[string]string{"/metrics": "metrics", awsapi.OwnPath + "events": "events"} {
		own.HandleFunc("GET "+address, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, fmt.Sprintf("the request is not signed: GET %s%s signed for greengrass with an access key of account %s, or ask the operators' address, which --ops names and which needs no signature",
				awsapi.OwnPath, signed, s.o.Account), http.StatusForbidden)
		})
	}
	most := inbound.Share(s.o.Descriptors).OneOfAPI
	own.Handle("GET /fescue/v1/code/", inbound.PerAddress(most, code))
	own.Handle("GET "+ownapi.SignInPath, inbound.PerAddress(most, signIn))
	own.Handle("POST "+ownapi.SignInPath, inbound.PerAddress(most, signIn))
	return below(s.o.BasePath, func(w http.ResponseWriter, r *http.Request) {
		// ServeMux cleans paths and redirects, which AWS paths do not survive: it
		// is asked only for the paths that are its own, and never for what is
		// signed: a bucket may have the name of one.
		unsigned := r.Header.Get("Authorization") == "" && !r.URL.Query().Has("X-Amz-Signature")
		if unsigned && s.console != nil && forConsole(r) {
			s.console.ServeHTTP(w, r)
			return
		}
		if unsigned && plainPath(r) && (r.Method == http.MethodGet || r.Method == http.MethodPost && r.URL.Path == ownapi.SignInPath) {
			if _, pattern := own.Handler(r); pattern != "" {
				w.Header().Set(awsapi.RequestIDHeader, uuid.NewString())
				own.ServeHTTP(w, r)
				return
			}
		}
		aws.ServeHTTP(w, r)
	})
}

// forConsole reports whether a request that is not signed is a browser's, for the console
// or for nothing in particular.
func forConsole(r *http.Request) bool {
	switch r.URL.Path {
	case "/":
		return r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html")
	case strings.TrimSuffix(ownapi.ConsolePath, "/"):
		return true
	}
	return strings.HasPrefix(r.URL.Path, ownapi.ConsolePath)
}

// plainPath reports whether a path is one that ServeMux leaves as it is.
func plainPath(r *http.Request) bool { return path.Clean(r.URL.Path) == r.URL.Path }

// serveHealth answers whether the server lives, and whether it can work.
func (s *Server) serveHealth(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if s.stopping.Load() {
			http.Error(w, "the server is about to stop", http.StatusServiceUnavailable)
			return
		}
		if err := s.db.Ping(r.Context()); err != nil {
			http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
			return
		}
		if err := s.room(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		if !s.broker.Connected() {
			http.Error(w, "the message broker does not answer", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}

// opsMux is the operators' listener: whoever reaches it is one.
func (s *Server) opsMux() http.Handler {
	mux := http.NewServeMux()
	s.serveHealth(mux)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		contentType, text, err := operator{s}.Metrics()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.Write(text)
	})
	mux.HandleFunc("GET "+awsapi.OwnPath+"events", func(w http.ResponseWriter, r *http.Request) {
		list, err := s.events.Status(r.Context())
		if err != nil {
			http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(ownapi.EventDestinations{Destinations: list})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !plainPath(r) {
			http.NotFound(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// operator reports how the server does to who asks with a signature.
type operator struct{ *Server }

// Account implements the API's Operator.
func (o operator) Account() string { return o.o.Account }

// Events implements the API's Operator.
func (o operator) Events(ctx context.Context) ([]events.Status, error) { return o.events.Status(ctx) }

// CertificateEnds implements the API's Operator.
func (o operator) CertificateEnds() map[string]time.Time { return o.certificateEnds() }

// Metrics implements the API's Operator.
func (o operator) Metrics() (contentType string, text []byte, err error) {
	families, err := o.metrics.registry.Gather()
	if err != nil {
		return "", nil, fmt.Errorf("collect metrics: %w", err)
	}
	var b bytes.Buffer
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	encoder := expfmt.NewEncoder(&b, format)
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return "", nil, fmt.Errorf("write metrics: %w", err)
		}
	}
	return string(format), b.Bytes(), nil
}

// below takes the base path off the requests that have it. What was signed stays in
// RequestURI.
func below(base string, serve http.HandlerFunc) http.Handler {
	if base == "" {
		return serve
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(r.URL.EscapedPath(), base)
		if !ok || rest != "" && rest[0] != '/' {
			serve(w, r)
			return
		}
		inner := r.Clone(r.Context())
		inner.URL.Path, inner.URL.RawPath = cmp.Or(strings.TrimPrefix(r.URL.Path, base), "/"), rest
		serve(w, inner)
	})
}

// writeJSON writes a secret file.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return disk.WriteFile(path, append(data, '\n'), 0o600)
}
