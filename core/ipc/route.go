package ipc

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

const version = "2016-11-01"

// handler serves one method of one path. The worker is zero where the path
// needs no token; arn is the path's, unescaped.
type handler func(s *Server, w http.ResponseWriter, r *http.Request, worker Worker, arn string)

// paths is the whole API: the path below the version, {arn} for one segment,
// and what each method does. own paths are for the token's own function only.
var paths = []struct {
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
	{path: "credentialprovider", open: true, methods: map[string]handler{"GET": (*Server).credentials}},
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	segments, ok := split(r.URL.EscapedPath())
	if !ok || len(segments) < 2 || segments[0] != version {
		s.text(w, http.StatusNotFound, "no such path; the function API is below /"+version)
		return
	}
	for _, each := range paths {
		arn, ok := match(each.path, segments[1:])
		if !ok {
			continue
		}
		handle, ok := each.methods[r.Method]
		if !ok {
			for method := range each.methods {
				w.Header().Add("Allow", method)
			}
			s.text(w, http.StatusMethodNotAllowed, r.Method+" is not possible here")
			return
		}
		var worker Worker
		if !each.open {
			if worker, ok = s.functions.Authenticate(r.Header.Get("Authorization")); !ok {
				s.text(w, http.StatusUnauthorized,
					"the token is missing or unknown; send AWS_CONTAINER_AUTHORIZATION_TOKEN as Authorization")
				return
			}
			if !connOf(r).belong(worker.ID) {
				w.Header().Set("Connection", "close")
				s.refuse(w, r, fmt.Errorf("%w: this function has too many open connections", ErrBusy))
				return
			}
		}
		if each.own && subtle.ConstantTimeCompare([]byte(arn), []byte(worker.FunctionARN)) != 1 {
			s.refuse(w, r, fmt.Errorf("%w: %s is not this token's function", ErrForbidden, arn))
			return
		}
		handle(s, w, r, worker, arn)
		return
	}
	s.text(w, http.StatusNotFound, "no such path in the function API")
}

// split takes an escaped path apart; a slash at the end does not count. Colons
// of an ARN arrive plain or as %3A. It refuses what no ARN can hold.
func split(escaped string) ([]string, bool) {
	if len(escaped) > 2048 || !strings.HasPrefix(escaped, "/") {
		return nil, false
	}
	segments := strings.Split(strings.TrimSuffix(escaped[1:], "/"), "/")
	for i, segment := range segments {
		plain, err := url.PathUnescape(segment)
		if err != nil || plain == "" || !utf8.ValidString(plain) ||
			strings.ContainsFunc(plain, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f }) {
			return nil, false
		}
		segments[i] = plain
	}
	return segments, true
}

func match(pattern string, segments []string) (arn string, ok bool) {
	parts := strings.Split(pattern, "/")
	if len(parts) != len(segments) {
		return "", false
	}
	for i, part := range parts {
		switch {
		case part == "{arn}":
			arn = segments[i]
		case part != segments[i]:
			return "", false
		}
	}
	return arn, true
}
