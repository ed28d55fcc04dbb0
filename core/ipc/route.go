package ipc

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fescue-edge/fescue/core/invoke"
)

const version = "2016-11-01"

// maxPath bounds a path, in bytes.
const maxPath = 2048

// handler serves one method of one path. The worker is zero where the path needs
// no token; an ARN in the path is its value "arn".
type handler func(s *Server, w http.ResponseWriter, r *http.Request, worker invoke.Worker)

// routes is the whole API: the path below the version and what each method does.
// Anyone may call open ones; own ones are for the token's own function only.
var routes = []struct {
	path    string
	open    bool
	own     bool
	methods map[string]handler
}{
	{path: "functions/{arn}", methods: map[string]handler{"POST": (*Server).invoke, "GET": (*Server).result}},
	{path: "functions/{arn}/work", own: true, methods: map[string]handler{"GET": (*Server).work, "POST": (*Server).complete}},
	{path: "functions/{arn}/initialized", own: true, methods: map[string]handler{"PUT": (*Server).initialized}},
	{path: "health/workers", open: true, methods: map[string]handler{"GET": (*Server).listWorkers, "POST": (*Server).queryWorkers}},
	{path: "cloudwatch/logs", methods: map[string]handler{"POST": (*Server).appendLogs}},
	{path: "credentialprovider", methods: map[string]handler{"GET": (*Server).credentials}},
}

// mux serves the routes. A slash at the end of a path does not count.
func (s *Server) mux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, route := range routes {
		var allowed []string
		for method, handle := range route.methods {
			allowed = append(allowed, method)
			serve := func(w http.ResponseWriter, r *http.Request) { s.admit(w, r, route.open, route.own, handle) }
			for _, end := range []string{"", "/{$}"} {
				mux.HandleFunc(method+" /"+version+"/"+route.path+end, serve)
			}
		}
		slices.Sort(allowed)
		refuse := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			s.text(w, http.StatusMethodNotAllowed, r.Method+" is not possible here")
		}
		for _, end := range []string{"", "/{$}"} {
			mux.HandleFunc("/"+version+"/"+route.path+end, refuse)
		}
	}
	mux.HandleFunc("/", notFound(s))
	return mux
}

func notFound(s *Server) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s.text(w, http.StatusNotFound, "no such path; the function API is below /"+version)
	}
}

// admit finds out who calls, and whether that one may.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, open, own bool, handle handler) {
	arn := r.PathValue("arn")
	if !plain(arn) {
		notFound(s)(w, r)
		return
	}
	var worker invoke.Worker
	if !open {
		var ok bool
		if worker, ok = s.workers.Authenticate(r.Header.Get("Authorization")); !ok {
			s.text(w, http.StatusUnauthorized,
				"the token is missing or unknown; send AWS_CONTAINER_AUTHORIZATION_TOKEN as Authorization")
			return
		}
		if !connOf(r).belong(worker.ID) {
			w.Header().Set("Connection", "close")
			s.refuse(w, r, fmt.Errorf("%w: this function has too many open connections", invoke.ErrBusy))
			return
		}
	}
	if own && arn != worker.FunctionARN {
		s.refuse(w, r, fmt.Errorf("%w: %s is not this token's function", invoke.ErrForbidden, arn))
		return
	}
	handle(s, w, r, worker)
}

// clean says whether a path means what it says. ServeMux would redirect others,
// which no client of this API follows with its body.
func clean(escaped string) bool {
	cleaned := path.Clean(escaped)
	return len(escaped) <= maxPath && (escaped == cleaned || escaped == cleaned+"/")
}

// plain says whether an unescaped path segment can be an ARN. Its colons arrive
// plain or as %3A.
func plain(arn string) bool {
	return utf8.ValidString(arn) && !strings.ContainsFunc(arn, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f })
}
