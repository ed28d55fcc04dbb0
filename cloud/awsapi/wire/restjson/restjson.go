// Package restjson speaks AWS's REST-JSON protocol: it routes a request by
// method and escaped path to an operation of a table, decodes labels and body,
// and encodes the answer or the error. The services bring the tables.
package restjson

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/fescue-edge/fescue/cloud/awsapi"
)

// Request is what an operation's handler gets.
type Request struct {
	*awsapi.Call
	Labels Labels
	Query  url.Values
	Header http.Header
	// Host is the host and port that the client addressed.
	Host string
	// Body is the body as it came, empty for an operation with Stream.
	Body []byte
	// Stream is the body of an operation with Stream, to be read once.
	Stream io.Reader
}

// Label is the value of a path label.
func (r *Request) Label(name string) string {
	value, _ := r.Labels.Find(name)
	return value
}

// Labels are a path's, in its order: unescaped, valid UTF-8 without NUL.
type Labels []Label

// Label is one label of a path.
type Label struct{ Name, Value string }

// Find is the value of the label with a name.
func (l Labels) Find(name string) (value string, ok bool) {
	for i := range l {
		if l[i].Name == name {
			return l[i].Value, true
		}
	}
	return "", false
}

// Handler answers one operation. The answer is encoded as JSON; nil is {}.
// An *awsapi.Error goes out as it is, any other error through API.Refusal.
type Handler func(ctx context.Context, r *Request) (any, error)

// Operation is one row of a service's table.
type Operation struct {
	Name   string
	Method string
	// Path has labels in braces, each one whole segment:
	// "/greengrass/groups/{GroupId}". A label that ends in "+" takes the rest as
	// it is, empty segments included; no other is ever empty. A path that ends in
	// a slash is taken without it, too.
	Path string
	// Status is the success status; 0 means 200.
	Status int
	// MaxBody in bytes; 0 means awsapi.DefaultMaxBody.
	MaxBody int64
	// Stream leaves the body to the handler to read, for operations whose body
	// is too large to hold in memory.
	Stream bool
	// Target is what a request acts on; nil asks the API's.
	Target func(r *Request) awsapi.Target
	// Handle is nil for an operation that is not served.
	Handle Handler
}

// Raw is an answer that is sent as it is, not as JSON of a Go value.
type Raw struct {
	ContentType string
	Body        []byte
}

// Stream is an answer that goes on until send returns. What is written is sent at
// once, with a time for each write: nothing but the client's own patience ends it.
type Stream struct {
	ContentType string
	Send        func(w io.Writer)
}

// File is a Stream that ends by itself: a file to be kept.
type File struct{ Stream }

// flushing sends each write at once.
type flushing struct {
	io.Writer
	connection *http.ResponseController
}

// Write implements io.Writer.
func (f flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		err = f.connection.Flush()
	}
	return n, err
}

// API is a service that speaks REST-JSON.
type API struct {
	awsapi.Failing
	// ErrorBody is the JSON body of an error.
	ErrorBody func(*awsapi.Error) any
	// Malformed is the error for a body or label that does not decode.
	Malformed func(cause string) *awsapi.Error
	// Target is what a request acts on: its resource, and the tags of what it
	// makes. nil stands for nothing in particular.
	Target func(op *Operation, r *Request) awsapi.Target

	operations []Operation
	routes     map[route][]*pattern
}

// route is what is known of a request without looking at labels.
type route struct {
	method   string
	segments int
}

type pattern struct {
	op       *Operation
	segments []segment
	labels   int
	rest     bool // the last label takes the remaining segments
}

// segment is one of a pattern: a text, or a label's name.
type segment struct {
	text  string
	label bool
}

// Register adds the operations. It is called once, before the first request.
func (a *API) Register(ops []Operation) {
	if a.routes == nil {
		a.routes = make(map[route][]*pattern)
	}
	a.operations = append(a.operations, ops...)
	for i := range ops {
		a.route(&ops[i], ops[i].Path)
		if short, ok := strings.CutSuffix(ops[i].Path, "/"); ok {
			a.route(&ops[i], short)
		}
	}
}

// route leads requests for the path to the operation.
func (a *API) route(op *Operation, path string) {
	p := &pattern{op: op}
	for text := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		name, label := strings.CutPrefix(text, "{")
		if label {
			p.labels++
			text, p.rest = strings.CutSuffix(strings.TrimSuffix(name, "}"), "+")
		}
		p.segments = append(p.segments, segment{text, label})
	}
	key := route{op.Method, len(p.segments)}
	if p.rest {
		key.segments = -1
	}
	a.routes[key] = append(a.routes[key], p)
}

// RegisterNotServed adds operations that are known only to be refused by name:
// one in a line, "Name METHOD /path".
func (a *API) RegisterNotServed(table string) {
	var ops []Operation
	for line := range strings.Lines(strings.TrimSpace(table)) {
		f := strings.Fields(line)
		ops = append(ops, Operation{Name: f[0], Method: f[1], Path: f[2]})
	}
	a.Register(ops)
}

// Operations lists what is registered, by name.
func (a *API) Operations() []Operation {
	ops := slices.Clone(a.operations)
	slices.SortFunc(ops, func(x, y Operation) int { return strings.Compare(x.Name, y.Name) })
	return ops
}

// match finds the operation of a request and its labels. Literal segments win
// over labels. A label that was left empty is there with "": the request is for
// that operation and for no other.
func (a *API) match(r *http.Request) (*pattern, Labels, error) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	var few [10]string
	segments := few[:0]
	for s := range strings.SplitSeq(path, "/") {
		segments = append(segments, s)
	}
	if strings.Contains(path, "%") { // everything else stands for itself
		for i, s := range segments {
			plain, err := url.PathUnescape(s)
			if err != nil || !utf8.ValidString(plain) || strings.ContainsRune(plain, 0) {
				return nil, nil, fmt.Errorf("path segment %q is not valid", s)
			}
			segments[i] = plain
		}
	}
	best := a.find(r.Method, segments)
	if n := len(segments); best == nil && n > 1 && segments[n-1] == "" {
		segments = segments[:n-1] // one trailing slash is forgiven
		best = a.find(r.Method, segments)
	}
	if best == nil {
		return nil, nil, nil
	}
	labels := make(Labels, 0, best.labels)
	for i, s := range best.segments {
		if !s.label {
			continue
		}
		value := segments[i]
		if best.rest && i == len(best.segments)-1 {
			value = strings.Join(segments[i:], "/")
		}
		labels = append(labels, Label{s.text, value})
	}
	return best, labels, nil
}

// Lend is an operation for another API to register, that acts on what it does here
// and is refused in this API's words.
func (a *API) Lend(op Operation) Operation {
	lent := op
	lent.Target = func(r *Request) awsapi.Target { return a.target(&op, r) }
	lent.Handle = func(ctx context.Context, r *Request) (any, error) {
		answer, err := op.Handle(ctx, r)
		if err != nil {
			return nil, a.Refusal(ctx, r.Call, err)
		}
		return answer, nil
	}
	return lent
}

// find returns the pattern that fits best, nil when none does.
func (a *API) find(method string, segments []string) *pattern {
	var best *pattern
	for _, list := range [][]*pattern{a.routes[route{method, len(segments)}], a.routes[route{method, -1}]} {
		for _, p := range list {
			if p.fits(segments) && (best == nil || p.labels < best.labels) {
				best = p
			}
		}
		if best != nil {
			break
		}
	}
	return best
}

func (p *pattern) fits(segments []string) bool {
	if p.rest && len(segments) < len(p.segments) {
		return false
	}
	for i, s := range p.segments {
		if !s.label && s.text != segments[i] {
			return false
		}
	}
	return true
}

// Routes implements awsapi.Router.
func (a *API) Routes(r *http.Request) bool {
	found, _, err := a.match(r)
	return err == nil && found != nil
}

// MaxBody implements awsapi.Service.
func (a *API) MaxBody(r *http.Request) int64 {
	found, _, err := a.match(r)
	if err != nil || found == nil || found.op.MaxBody == 0 {
		return awsapi.DefaultMaxBody
	}
	return found.op.MaxBody
}

// Foresee implements awsapi.Service.
func (a *API) Foresee(r *http.Request, call *awsapi.Call) awsapi.Target {
	found, labels, err := a.match(r)
	if err != nil || found == nil || found.op.Handle == nil {
		return awsapi.Target{}
	}
	return a.target(found.op, &Request{Call: call, Labels: labels, Header: r.Header, Host: r.Host})
}

// target is what an operation acts on.
func (a *API) target(op *Operation, r *Request) (t awsapi.Target) {
	switch {
	case op.Target != nil:
		t = op.Target(r)
	case a.Target != nil:
		t = a.Target(op, r)
	}
	t.Operation = op.Name
	return t
}

// ServeCall implements awsapi.Service.
func (a *API) ServeCall(w http.ResponseWriter, r *http.Request, call *awsapi.Call) {
	found, labels, err := a.match(r)
	if err != nil {
		a.WriteError(w, a.Malformed(err.Error()))
		return
	}
	if found == nil || found.op.Handle == nil {
		what := "No operation of this service answers"
		if found != nil {
			what = "Fescue does not serve " + found.op.Name + ","
		}
		a.WriteError(w, &awsapi.Error{
			Status: http.StatusNotFound, Code: "UnknownOperationException",
			Message: fmt.Sprintf("%s %s %s. docs/api-coverage.md lists the operations that Fescue serves.", what, r.Method, r.URL.EscapedPath()),
		})
		return
	}
	op := found.op
	if err := found.check(labels, call.PathNormalized); err != nil {
		a.WriteError(w, a.Malformed(err.Error()))
		return
	}
	request := &Request{Call: call, Labels: labels, Header: r.Header, Host: r.Host}
	if op.Stream {
		request.Stream = r.Body
	} else if r.ContentLength != 0 { // most reads have none
		if request.Body, err = io.ReadAll(r.Body); err != nil {
			a.WriteError(w, a.Malformed("the body could not be read"))
			return
		}
	}
	if r.URL.RawQuery != "" {
		if request.Query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			a.WriteError(w, a.Malformed("the query string is not valid"))
			return
		}
	}
	answer, err := a.answer(r.Context(), op, request)
	if err != nil {
		a.WriteError(w, a.Refusal(r.Context(), call, err))
		return
	}
	writeAnswer(w, op, answer)
}

// check refuses a label that is empty, and one with segments that the
// signature of a normalised path leaves out: nobody signed that they stand there.
func (p *pattern) check(labels Labels, normalized bool) error {
	for i, l := range labels {
		if rest := p.rest && i == len(labels)-1; l.Value == "" && !rest {
			return fmt.Errorf("%s of %s is empty", l.Name, p.op.Name)
		}
		if normalized && slices.ContainsFunc(strings.Split(l.Value, "/"), leftOut) {
			return fmt.Errorf("%s %.200q of %s is not covered by the signature, which leaves segments that are empty, \".\" or \"..\" out of the path; a slash in a value is written as %%2F", l.Name, l.Value, p.op.Name)
		}
	}
	return nil
}

// leftOut reports whether a path is signed without the segment.
func leftOut(segment string) bool { return segment == "" || segment == "." || segment == ".." }

// answer has the operation done, if the caller may.
func (a *API) answer(ctx context.Context, op *Operation, r *Request) (any, error) {
	if err := r.Admit(ctx, a.target(op, r)); err != nil {
		return nil, err
	}
	return op.Handle(ctx, r)
}

func writeAnswer(w http.ResponseWriter, op *Operation, answer any) {
	status := op.Status
	if status == 0 {
		status = http.StatusOK
	}
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	contentType, body := "application/json", []byte("{}")
	if file, ok := answer.(File); ok {
		answer = file.Stream
	}
	switch v := answer.(type) {
	case nil:
	case Stream:
		w.Header().Set("Content-Type", v.ContentType)
		w.WriteHeader(status)
		v.Send(flushing{w, http.NewResponseController(w)})
		return
	case Raw:
		contentType, body = v.ContentType, v.Body
	default:
		writeJSON(w, status, v)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// encoder is memory that JSON is written into.
type encoder struct {
	text bytes.Buffer
	json *json.Encoder
}

// encoders are those that are not in use.
var encoders = sync.Pool{New: func() any {
	e := new(encoder)
	e.json = json.NewEncoder(&e.text)
	e.json.SetEscapeHTML(false)
	return e
}}

// mostKept is how large an encoder may be that is used again, in bytes.
const mostKept = 64 << 10

// counted is how long an answer may be, in bytes, that net/http has whole when it writes its
// head, and counts itself, for less than a header of ours takes.
const counted = 2 << 10

var (
	// contentJSON is a header's value that all answers share.
	contentJSON = []string{"application/json"}
	newline     = []byte("\n")
)

// writeJSON sends v as JSON.
func writeJSON(w http.ResponseWriter, status int, v any) {
	e := encoders.Get().(*encoder)
	e.text.Reset()
	if err := e.json.Encode(v); err != nil {
		panic(fmt.Sprintf("restjson: answer %T does not encode: %v", v, err))
	}
	body := bytes.TrimSuffix(e.text.Bytes(), newline)
	w.Header()["Content-Type"] = contentJSON
	if len(body) > counted {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	w.Write(body)
	if e.text.Cap() <= mostKept {
		encoders.Put(e)
	}
}

// WriteError implements awsapi.Service.
func (a *API) WriteError(w http.ResponseWriter, err *awsapi.Error) {
	awsapi.NoteCode(w, err.Code)
	if err.Code != "" {
		w.Header().Set("x-amzn-ErrorType", err.Code)
	}
	writeJSON(w, err.Status, a.ErrorBody(err))
}

// Decode reads a JSON body into v; an empty body is {}. What does not fit is an
// error whose text names the member. Texts with NUL are refused here, since no
// database keeps them.
func Decode(body []byte, v any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if !utf8.Valid(body) {
		return errors.New("the body is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(v); err != nil {
		var wrongType *json.UnmarshalTypeError
		if errors.As(err, &wrongType) {
			if wrongType.Field == "" {
				return fmt.Errorf("the body must be a JSON object, it is a %s", wrongType.Value)
			}
			return fmt.Errorf("member %q must not be a %s", wrongType.Field, wrongType.Value)
		}
		return fmt.Errorf("the body is not valid JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("the body has data after the JSON document")
	}
	if escapesNUL(body) {
		return errors.New("the body holds a NUL character")
	}
	return nil
}

// escapesNUL finds \u0000 in valid JSON, unless its backslash is itself escaped.
func escapesNUL(body []byte) bool {
	for {
		at := bytes.Index(body, []byte(`\u0000`))
		if at < 0 {
			return false
		}
		before := bytes.TrimRight(body[:at], `\`)
		if (at-len(before))%2 == 0 {
			return true
		}
		body = body[at+len(`\u0000`):]
	}
}
