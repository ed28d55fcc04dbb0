package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/fescue-edge/fescue/cloud/awsapi"
)

// refusal is what the API, or the console itself, does not do.
type refusal struct {
	Status  int
	Code    string
	Message string
}

// Error is the message.
func (r *refusal) Error() string { return r.Message }

// refused reports whether the API does not do it: whoever shows a page leaves out what
// it is about.
func refused(err error) bool {
	refusal := (*refusal)(nil)
	return errors.As(err, &refusal)
}

// missing reports whether the API says that it is not there.
func missing(err error) bool {
	refusal := (*refusal)(nil)
	return errors.As(err, &refusal) && refusal.Status == http.StatusNotFound
}

// recorder takes an answer of the API.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) { r.status = status }

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// raw is a body that is sent as it is, not as JSON.
type raw string

// badRequest is what is wrong with what was typed, where that is all that is wrong.
func badRequest(err error) (text string, ok bool) {
	refusal := (*refusal)(nil)
	if errors.As(err, &refusal) && refusal.Status == http.StatusBadRequest {
		return refusal.Message, true
	}
	return "", false
}

// call calls an operation of the API in process, as a session's key. header are pairs of
// names and values.
func call[Out any](ctx context.Context, inside awsapi.Inside, service, method, path string, in any, header ...string) (out Out, err error) {
	var body []byte
	if text, ok := in.(raw); ok {
		body = []byte(text)
	} else if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return out, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return out, fmt.Errorf("call %s %s: %w", method, path, err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer := &recorder{header: make(http.Header), status: http.StatusOK}
	inside.Serve(answer, r, service)
	if err := ctx.Err(); err != nil {
		return out, err
	}
	if answer.status >= http.StatusBadRequest {
		refused := &refusal{Status: answer.status, Code: answer.header.Get("x-amzn-ErrorType")}
		var said struct{ Message string }
		json.Unmarshal(answer.body.Bytes(), &said)
		if refused.Message = said.Message; refused.Message == "" {
			refused.Message = http.StatusText(answer.status)
		}
		return out, refused
	}
	if err := json.Unmarshal(answer.body.Bytes(), &out); err != nil {
		return out, fmt.Errorf("answer of %s %s: %w", method, path, err)
	}
	return out, nil
}

// get reads from the API.
func get[Out any](v *visit, service, path string) (Out, error) {
	return call[Out](v.r.Context(), v.inside, service, http.MethodGet, path, nil)
}

// post has the API do something.
func post[Out any](v *visit, service, path string, in any, header ...string) (Out, error) {
	return call[Out](v.r.Context(), v.inside, service, http.MethodPost, path, in, header...)
}

// The services that pages ask.
const (
	own        = "fescue"
	greengrass = "greengrass"
	iot        = "iot"
	iotdata    = "iotdata"
	lambda     = "lambda"
)
