// Package awsjson speaks AWS's JSON 1.1 protocol: the header X-Amz-Target names an
// operation of a table, the body is its input and the answer its output. The
// services (secretsmanager) bring the tables.
package awsjson

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue/cloud/awsapi"
)

// Request is what an operation's handler gets.
type Request struct {
	*awsapi.Call
	Body []byte
}

// Handler answers one operation. The answer is encoded as JSON; nil is {}. An
// *awsapi.Error goes out as it is, any other error through API.Refusal.
type Handler func(ctx context.Context, r *Request) (any, error)

// Operation is one row of a service's table.
type Operation struct {
	Name   string
	Handle Handler
}

// API is a service that speaks JSON 1.1.
type API struct {
	awsapi.Failing
	// Prefix stands before the operation in X-Amz-Target, without its dot.
	Prefix string
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

// MaxBody implements awsapi.Service.
func (a *API) MaxBody(*http.Request) int64 { return awsapi.DefaultMaxBody }

// Foresee implements awsapi.Service: the resource stands in the body.
func (a *API) Foresee(r *http.Request, _ *awsapi.Call) awsapi.Target {
	op, err := a.operation(r)
	if err != nil {
		return awsapi.Target{}
	}
	return awsapi.Target{Operation: op.Name}
}

// ServeCall implements awsapi.Service.
func (a *API) ServeCall(w http.ResponseWriter, r *http.Request, call *awsapi.Call) {
	answer, err := a.serve(r, call)
	if err != nil {
		a.WriteError(w, a.Refusal(r.Context(), call, err))
		return
	}
	write(w, http.StatusOK, answer)
}

func (a *API) serve(r *http.Request, call *awsapi.Call) ([]byte, error) {
	op, err := a.operation(r)
	if err != nil {
		return nil, err
	}
	call.Operation = op.Name
	request := &Request{Call: call}
	if request.Body, err = io.ReadAll(r.Body); err != nil {
		return nil, refuse("SerializationException", "The body could not be read.")
	}
	t := awsapi.Target{Operation: op.Name}
	if a.Resource != nil {
		t.Resource = a.Resource(request)
	}
	if err := call.Admit(r.Context(), t); err != nil {
		return nil, err
	}
	answer, err := op.Handle(r.Context(), request)
	if err != nil {
		return nil, err
	}
	if answer == nil {
		return []byte("{}"), nil
	}
	return encode(answer)
}

func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("answer %T does not encode: %w", v, err)
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

func refuse(code, format string, args ...any) *awsapi.Error {
	return &awsapi.Error{Status: http.StatusBadRequest, Code: code, Message: fmt.Sprintf(format, args...)}
}

// operation finds the row that a request names.
func (a *API) operation(r *http.Request) (Operation, error) {
	target := r.Header.Get("X-Amz-Target")
	name, ok := strings.CutPrefix(target, a.Prefix+".")
	op, known := a.operations[name]
	if !ok || !known || r.Method != http.MethodPost || r.URL.Path != "/" && r.URL.Path != "" {
		return Operation{}, refuse("UnknownOperationException",
			"%s %.100q with X-Amz-Target %.100q is no operation of this service: send POST / with X-Amz-Target: %s.Operation. docs/api-coverage.md lists those that Fescue serves.",
			r.Method, r.URL.Path, target, a.Prefix)
	}
	return op, nil
}

// WriteError implements awsapi.Service.
func (a *API) WriteError(w http.ResponseWriter, e *awsapi.Error) {
	awsapi.NoteCode(w, e.Code)
	body, err := encode(struct {
		Type    string `json:"__type"`
		Message string
	}{e.Code, e.Message})
	if err != nil {
		panic(fmt.Sprintf("awsjson: an error of strings does not encode: %v", err))
	}
	write(w, e.Status, body)
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}
