package sigv4

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
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

func parseTarget(r *http.Request) (t target, err error) {
	raw := r.RequestURI
	if raw == "" {
		raw = r.URL.RequestURI()
	}
	if len(raw) > maxTarget {
		return t, refuse("", malformed, "The request target has %d bytes, at most %d are read.", len(raw), maxTarget)
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
		return t, refuse("", malformed, "The request target %.100q has no path.", raw)
	}
	t.path = path
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
			return t, refuse("", malformed, "Query parameter %.100q is not percent-encoded properly.", pair)
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

// appendCanonical appends those that a client may have signed: one with the path as it
// was sent, and one with the normalised path where that is another one. Not
// every SDK normalises; S3's paths never are.
func appendCanonical(requests []candidate, r *http.Request, t *target, a *authorization) ([]candidate, error) {
	if a.s3() {
		path, ok := appendRecoded(nil, t.path, false)
		if !ok {
			return nil, refuse(a.service, malformed, "The path %.100q is not percent-encoded properly.", t.path)
		}
		return append(requests, candidate{text: canonicalRequest(r, t, a, string(path))}), nil
	}
	forms := []signedForm{{r, *t}}
	if a.presigned && a.row.Name == "iotdata" {
		forms = webSocketForms(r, t, a)
	}
	for _, as := range forms {
		requests = append(requests, candidate{text: canonicalRequest(as.request, &as.target, a, encodedAgain(t.path))})
		if normal := normalized(t.path); normal != t.path {
			requests = append(requests, candidate{canonicalRequest(as.request, &as.target, a, encodedAgain(normal)), true})
		}
	}
	return requests, nil
}

// signedForm is a request as a client may have had it when it signed it.
type signedForm struct {
	request *http.Request
	target  target
}

// webSocketForms are the forms of a request with a presigned URL of the data plane of AWS
// IoT, which is opened as a WebSocket; any other has one. Clients append the
// session token after signing, and sign the host with the port that it has on the wire
// or without (client libraries of AWS IoT; generic presigners sign the whole). What is
// then not covered is not trusted: the token is compared with the key's.
func webSocketForms(r *http.Request, t *target, a *authorization) []signedForm {
	forms := []signedForm{{r, *t}}
	if a.token != "" {
		without := target{path: t.path}
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
func encodedAgain(path string) string {
	if ofPath.makeUp(path) {
		return path
	}
	b := make([]byte, 0, len(path)+32)
	for i := range len(path) {
		b = appendEncoded(b, path[i], true)
	}
	return string(b)
}

// normalized is a path without empty segments, "." and "..", as SDKs sign it:
// "/a/./b//../c/" is "/a/c/".
func normalized(path string) string {
	if !strings.Contains(path, "//") && !strings.Contains(path, "/.") {
		return path
	}
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

// text is memory for what most canonical requests are.
type text [512]byte

// texts are those that nobody uses.
var texts = sync.Pool{New: func() any { return new(text) }}

// forget gives back the memory of a canonical request that it did not outgrow.
func (c *candidate) forget() {
	if cap(c.text) == len(text{}) {
		texts.Put((*text)(c.text[:len(text{})]))
	}
	c.text = nil
}

func canonicalRequest(r *http.Request, t *target, a *authorization, path string) []byte {
	b := texts.Get().(*text)[:0]
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
		var few [1]string
		for i, value := range headerValues(r, name, &few) {
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
// net/http keeps in fields of the request: they are put into one.
func headerValues(r *http.Request, name string, one *[1]string) []string {
	switch name {
	case "host":
		one[0] = r.Host
		return one[:]
	case "transfer-encoding":
		return r.TransferEncoding
	case "content-length":
		if _, ok := r.Header["Content-Length"]; !ok && r.ContentLength >= 0 {
			one[0] = strconv.FormatInt(r.ContentLength, 10)
			return one[:]
		}
	}
	// http.CanonicalHeaderKey takes memory for each name that it does not know.
	var memory [64]byte
	key := append(memory[:0], name...)
	for i, first := 0, true; i < len(key); i++ {
		if c := key[i]; first && 'a' <= c && c <= 'z' {
			key[i] = c - 'a' + 'A'
		}
		first = key[i] == '-'
	}
	return r.Header[string(key)]
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
	if unreserved.makeUp(s) {
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
	if unreserved.has(c) || c == '/' && keepSlash {
		return append(b, c)
	}
	const digits = "0123456789ABCDEF"
	return append(b, '%', digits[c>>4], digits[c&15])
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
