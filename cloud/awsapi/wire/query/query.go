// Package query speaks AWS's query protocol: a form names an operation of a
// table by its Action, and the answer is XML. The services (sts, iam) bring the
// tables.
package query

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fescue-edge/fescue/cloud/awsapi"
)

// Request is what an operation's handler gets.
type Request struct {
	*awsapi.Call
	// Params are the form's members: valid UTF-8 without NUL.
	Params url.Values
}

// Param is the value of a parameter, empty when it is absent.
func (r *Request) Param(name string) string { return r.Params.Get(name) }

// Handler answers one operation. The answer is a struct that encoding/xml
// writes as the operation's Result element; nil leaves that element out. An
// *awsapi.Error goes out as it is, any other error through API.Refusal.
type Handler func(ctx context.Context, r *Request) (any, error)

// Operation is one row of a service's table.
type Operation struct {
	// Name is the Action.
	Name   string
	Handle Handler
}

// Internal is the protocol's own code for an internal error.
const Internal = "InternalFailure"

// API is a service that speaks the query protocol.
type API struct {
	awsapi.Failing
	// Namespace is the XML namespace of answers and errors, for example
	// "https://sts.amazonaws.com/doc/2011-06-15/".
	Namespace string
	// Version is the only Version that the form may name, for example
	// "2011-06-15".
	Version string
	// Resource is the ARN that a request acts on; nil stands for none in
	// particular.
	Resource func(*Request) string

	operations map[string]Operation
}

var _ awsapi.Service = (*API)(nil)

// Register adds the operations. It is called once, before the first request.
func (a *API) Register(ops []Operation) {
	if a.operations == nil {
		a.operations = make(map[string]Operation, len(ops))
	}
	for _, op := range ops {
		a.operations[op.Name] = op
	}
}

// Operations lists the names of what is registered.
func (a *API) Operations() []string { return slices.Sorted(maps.Keys(a.operations)) }

// maxParams bounds the members of a form; a role with 50 tags has about 110.
const maxParams = 1000

// MaxBody implements awsapi.Service.
func (a *API) MaxBody(*http.Request) int64 { return awsapi.DefaultMaxBody }

// Foresee implements awsapi.Service: the body names the operation.
func (a *API) Foresee(*http.Request, *awsapi.Call) awsapi.Target { return awsapi.Target{} }

// ServeCall implements awsapi.Service. A POST brings the form as its body, a GET
// (a presigned URL) as its query.
func (a *API) ServeCall(w http.ResponseWriter, r *http.Request, call *awsapi.Call) {
	params, err := form(r)
	if err == nil {
		var op Operation
		if op, err = a.operation(params); err == nil {
			a.serve(w, r, op, &Request{call, params})
			return
		}
	}
	a.WriteError(w, a.Refusal(r.Context(), call, err))
}

func (a *API) serve(w http.ResponseWriter, r *http.Request, op Operation, request *Request) {
	result, err := a.result(r.Context(), op, request)
	if err == nil {
		var body []byte
		if body, err = a.answer(op.Name, result, request.RequestID); err == nil {
			write(w, http.StatusOK, body)
			return
		}
	}
	a.WriteError(w, a.Refusal(r.Context(), request.Call, err))
}

// result has the operation done, if the caller may.
func (a *API) result(ctx context.Context, op Operation, r *Request) (any, error) {
	t := awsapi.Target{Operation: op.Name}
	if a.Resource != nil {
		t.Resource = a.Resource(r)
	}
	if err := r.Admit(ctx, t); err != nil {
		return nil, err
	}
	return op.Handle(ctx, r)
}

func badRequest(code, format string, args ...any) *awsapi.Error {
	return &awsapi.Error{Status: http.StatusBadRequest, Code: code, Message: fmt.Sprintf(format, args...)}
}

// form reads the parameters of a request.
func form(r *http.Request) (url.Values, error) {
	if r.URL.Path != "/" && r.URL.Path != "" {
		return nil, &awsapi.Error{
			Status: http.StatusNotFound, Code: "InvalidAction",
			Message: "This service answers at the path / only.",
		}
	}
	text := r.URL.RawQuery
	switch r.Method {
	case http.MethodGet:
	case http.MethodPost:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, badRequest("MalformedInput", "The body could not be read.")
		}
		text = string(body)
	default:
		return nil, &awsapi.Error{
			Status: http.StatusMethodNotAllowed, Code: "InvalidAction",
			Message: "This service answers POST and GET only.",
		}
	}
	if strings.Count(text, "&") >= maxParams {
		return nil, badRequest("MalformedInput", "The form has more than %d parameters.", maxParams)
	}
	params, err := url.ParseQuery(text)
	if err != nil {
		return nil, badRequest("MalformedInput", "The form is not valid: it must be application/x-www-form-urlencoded.")
	}
	for name, values := range params {
		for _, v := range append([]string{name}, values...) {
			if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
				return nil, badRequest("MalformedInput", "The parameter %.100q is not UTF-8, or holds a NUL character.", name)
			}
		}
	}
	return params, nil
}

// operation finds the row of a form.
func (a *API) operation(params url.Values) (Operation, error) {
	action, version := params.Get("Action"), params.Get("Version")
	if action == "" {
		return Operation{}, badRequest("MissingAction", "The form has no Action.")
	}
	op, ok := a.operations[action]
	if !ok || (version != "" && version != a.Version) {
		if version == "" {
			version = a.Version
		}
		return Operation{}, badRequest("InvalidAction",
			"Could not find operation %.100s for version %.20s. docs/api-coverage.md lists those that Fescue serves.", action, version)
	}
	return op, nil
}

// metadata ends every answer.
type metadata struct {
	RequestID string `xml:"RequestId"`
}

// answer is <NameResponse><NameResult>…</NameResult>…</NameResponse>.
func (a *API) answer(name string, result any, requestID string) ([]byte, error) {
	var buf bytes.Buffer
	enc := xml.NewEncoder(&buf)
	response := xml.StartElement{
		Name: xml.Name{Local: name + "Response"},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: a.Namespace}},
	}
	element := func(local string) xml.StartElement { return xml.StartElement{Name: xml.Name{Local: local}} }
	err := enc.EncodeToken(response)
	if err == nil && result != nil {
		err = enc.EncodeElement(result, element(name+"Result"))
	}
	if err == nil {
		err = enc.EncodeElement(metadata{requestID}, element("ResponseMetadata"))
	}
	if err == nil {
		err = enc.EncodeToken(response.End())
	}
	if err == nil {
		err = enc.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encode answer of %s: %w", name, err)
	}
	return buf.Bytes(), nil
}

// WriteError implements awsapi.Service. The request id is the one that is in
// the answer's header already.
func (a *API) WriteError(w http.ResponseWriter, e *awsapi.Error) {
	awsapi.NoteCode(w, e.Code)
	kind := "Sender"
	if e.Status >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	type wire struct {
		Type, Code, Message string
	}
	body, err := xml.Marshal(struct {
		XMLName   xml.Name `xml:"ErrorResponse"`
		Namespace string   `xml:"xmlns,attr"`
		Error     wire
		RequestID string `xml:"RequestId"`
	}{Namespace: a.Namespace, Error: wire{kind, e.Code, e.Message}, RequestID: w.Header().Get(awsapi.RequestIDHeader)})
	if err != nil {
		panic(fmt.Sprintf("query: an error of strings does not encode: %v", err))
	}
	write(w, e.Status, body)
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}
