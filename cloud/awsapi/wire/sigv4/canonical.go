package sigv4

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxTarget bounds path and query together, in bytes. AWS's own limit lies
// near 8 KB; session tokens in presigned URLs need some more.
const maxTarget = 32 << 10

// target is what the request line asks for, as it was received: a path that
// net/http cleaned would not be the one that was signed.
type target struct {
	path   string
	params []param // ascending
}

// param is a query parameter in canonical encoding.
type param struct{ name, value string }

func parseTarget(r *http.Request) (*target, error) {
	raw := r.RequestURI
	if raw == "" {
		raw = r.URL.RequestURI()
	}
	if len(raw) > maxTarget {
		return nil, refuse("", malformed, "The request target has %d bytes, at most %d are read.", len(raw), maxTarget)
	}
	if i := strings.Index(raw, "://"); i > 0 && raw[0] != '/' {
		// The absolute form, which clients send to proxies.
		raw = raw[i+len("://"):]
		if i = strings.IndexAny(raw, "/?"); i < 0 {
			raw = "/"
		} else {
			raw = raw[i:]
		}
	}
	path, query, _ := strings.Cut(raw, "?")
	if path == "" {
		path = "/"
	}
	if path[0] != '/' {
		return nil, refuse("", malformed, "The request target %.100q has no path.", raw)
	}
	t := &target{path: path}
	if query == "" {
		return t, nil
	}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		p := param{}
		var ok, ok2 bool
		p.name, ok = recode(name)
		p.value, ok2 = recode(value)
		if !ok || !ok2 {
			return nil, refuse("", malformed, "Query parameter %.100q is not percent-encoded properly.", pair)
		}
		t.params = append(t.params, p)
	}
	slices.SortFunc(t.params, func(a, b param) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	return t, nil
}

// param is the decoded value of the first parameter of that name, which has to
// be one that encodes to itself.
func (t *target) param(name string) (value string, ok bool) {
	for _, p := range t.params {
		if p.name == name {
			return unescape(p.value), true
		}
	}
	return "", false
}

func (t *target) count(name string) int {
	n := 0
	for _, p := range t.params {
		if p.name == name {
			n++
		}
	}
	return n
}

// candidate is a canonical request that a client may have signed, up to the line of
// the payload hash, which is the last.
type candidate struct {
	text []byte
	// normalized is true where the path is the normalised one, and that is not the
	// path as it was sent.
	normalized bool
}

// canonicalRequests are those that a client may have signed: one with the path as it
// was sent, and one with the normalised path where that is another one. Not
// every SDK normalises; S3's paths never are.
func canonicalRequests(r *http.Request, t *target, a *authorization) ([]candidate, error) {
	if a.s3() {
		path, ok := appendRecoded(nil, t.path, false)
		if !ok {
			return nil, refuse(a.service, malformed, "The path %.100q is not percent-encoded properly.", t.path)
		}
		return []candidate{{text: canonicalRequest(r, t, a, path)}}, nil
	}
	var requests []candidate
	for _, as := range asSigned(r, t, a) {
		requests = append(requests, candidate{text: canonicalRequest(as.request, as.target, a, encodedAgain(t.path))})
		if normal := normalized(t.path); normal != t.path {
			requests = append(requests, candidate{canonicalRequest(as.request, as.target, a, encodedAgain(normal)), true})
		}
	}
	return requests, nil
}

// signedForm is a request as a client may have had it when it signed it.
type signedForm struct {
	request *http.Request
	target  *target
}

// asSigned are the forms of a request. There is one, but for presigned URLs of the
// data plane of AWS IoT, which are opened as WebSockets: for those clients append the
// session token after signing, and sign the host with the port that it has on the wire
// or without (client libraries of AWS IoT; generic presigners sign the whole). What is
// then not covered is not trusted: the token is compared with the key's.
func asSigned(r *http.Request, t *target, a *authorization) []signedForm {
	forms := []signedForm{{r, t}}
	if !a.presigned || a.row().Name != "iotdata" {
		return forms
	}
	if a.token != "" {
		without := &target{path: t.path}
		for _, p := range t.params {
			if p.name != paramToken {
				without.params = append(without.params, p)
			}
		}
		forms = append(forms, signedForm{r, without})
	}
	host := *r
	if name, _, err := net.SplitHostPort(r.Host); err == nil {
		host.Host = name
		if strings.Contains(name, ":") {
			host.Host = "[" + name + "]"
		}
	} else {
		host.Host += ":443"
	}
	for _, f := range forms {
		forms = append(forms, signedForm{&host, f.target})
	}
	return forms
}

// encodedAgain is a path as the client sent it, encoded once more.
func encodedAgain(path string) []byte {
	b := make([]byte, 0, len(path)+32)
	for i := range len(path) {
		b = appendEncoded(b, path[i], true)
	}
	return b
}

// normalized is a path without empty segments, "." and "..", as SDKs sign it:
// "/a/./b//../c/" is "/a/c/".
func normalized(path string) string {
	var kept []string
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, segment)
		}
	}
	if len(kept) > 0 && strings.HasSuffix(path, "/") {
		kept = append(kept, "")
	}
	return "/" + strings.Join(kept, "/")
}

func canonicalRequest(r *http.Request, t *target, a *authorization, path []byte) []byte {
	b := make([]byte, 0, 1024)
	b = append(b, r.Method...)
	b = append(b, '\n')
	b = append(b, path...)
	b = append(b, '\n')
	first := true
	for _, p := range t.params {
		if a.presigned && p.name == paramSignature {
			continue
		}
		if !first {
			b = append(b, '&')
		}
		first = false
		b = append(b, p.name...)
		b = append(b, '=')
		b = append(b, p.value...)
	}
	b = append(b, '\n')
	for _, name := range a.signedHeaders {
		b = append(b, name...)
		b = append(b, ':')
		for i, value := range headerValues(r, name) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCollapsed(b, value)
		}
		b = append(b, '\n')
	}
	b = append(b, '\n')
	for i, name := range a.signedHeaders {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	return append(b, '\n')
}

// headerValues are the lines of a header, by its lower-case name. Some headers
// net/http keeps in fields of the request.
func headerValues(r *http.Request, name string) []string {
	switch name {
	case "host":
		return []string{r.Host}
	case "transfer-encoding":
		return r.TransferEncoding
	case "content-length":
		if _, ok := r.Header["Content-Length"]; !ok && r.ContentLength >= 0 {
			return []string{strconv.FormatInt(r.ContentLength, 10)}
		}
	}
	return r.Header[http.CanonicalHeaderKey(name)]
}

// appendCollapsed appends a header value without outer white space and with
// single spaces inside.
func appendCollapsed(b []byte, value string) []byte {
	value = strings.Trim(value, " \t")
	for i := range len(value) {
		if value[i] != ' ' || value[i-1] != ' ' {
			b = append(b, value[i])
		}
	}
	return b
}

// recode brings one name or value of a query into canonical encoding.
func recode(s string) (string, bool) {
	if strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 || !unreserved(byte(r)) }) < 0 {
		return s, true
	}
	b, ok := appendRecoded(nil, s, true)
	return string(b), ok
}

// appendRecoded decodes percent-encoded text and encodes it canonically, so
// that %7e and ~ are one. In a path a slash stays and %2F stays apart from it;
// in a query + is a space, as in HTML forms.
func appendRecoded(b []byte, s string, query bool) ([]byte, bool) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) {
				return nil, false
			}
			high, ok1 := unhex(s[i+1])
			low, ok2 := unhex(s[i+2])
			if !ok1 || !ok2 {
				return nil, false
			}
			b = appendEncoded(b, high<<4|low, false)
			i += 2
		case c == '+' && query:
			b = append(b, "%20"...)
		default:
			b = appendEncoded(b, c, !query)
		}
	}
	return b, true
}

func appendEncoded(b []byte, c byte, keepSlash bool) []byte {
	if unreserved(c) || c == '/' && keepSlash {
		return append(b, c)
	}
	const digits = "0123456789ABCDEF"
	return append(b, '%', digits[c>>4], digits[c&15])
}

// unreserved characters are never encoded (RFC 3986, section 2.3).
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~'
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
