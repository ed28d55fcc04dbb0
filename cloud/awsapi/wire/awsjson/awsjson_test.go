package awsjson_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/awsjson"
)

var errGone = errors.New("gone")

func newAPI() *awsjson.API {
	a := &awsjson.API{
		Prefix: "secretsmanager",
		Failing: awsapi.Failing{
			Internal: "InternalServiceError", Logger: slog.New(slog.DiscardHandler),
			Translate: func(err error) *awsapi.Error {
				if errors.Is(err, errGone) {
					return &awsapi.Error{Status: http.StatusBadRequest, Code: "ResourceNotFoundException", Message: "it is <gone>"}
				}
				return nil
			},
		},
		Resource: func(r *awsjson.Request) string { return string(r.Body) },
	}
	answer := func(v any, err error) awsjson.Handler {
		return func(context.Context, *awsjson.Request) (any, error) { return v, err }
	}
	a.Register([]awsjson.Operation{
		{Name: "Echo", Handle: func(_ context.Context, r *awsjson.Request) (any, error) { return json.RawMessage(r.Body), nil }},
		{Name: "Nothing", Handle: answer(nil, nil)},
		{Name: "Gone", Handle: answer(nil, errGone)},
		{Name: "Taken", Handle: answer(nil, &awsapi.Error{Status: 400, Code: "ResourceExistsException", Message: "taken"})},
		{Name: "Broken", Handle: answer(nil, errors.New("disk on fire"))},
		{Name: "Unencodable", Handle: answer(make(chan int), nil)},
	})
	return a
}

func serve(method, path, target, body string) (*httptest.ResponseRecorder, *awsapi.Call) {
	call := &awsapi.Call{RequestID: "request-1"}
	r := &http.Request{Method: method, URL: &url.URL{Path: path}, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	if target != "" {
		r.Header.Set("X-Amz-Target", target)
	}
	w := httptest.NewRecorder()
	newAPI().ServeCall(w, r, call)
	return w, call
}

func TestServeCall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, path, target, body string
		status                           int
		want                             string
	}{
		{"an answer", "POST", "/", "secretsmanager.Echo", `{"A":"<&>"}`, 200, `{"A":"<&>"}`},
		{"no path", "POST", "", "secretsmanager.Echo", `{}`, 200, `{}`},
		{"no answer", "POST", "/", "secretsmanager.Nothing", ``, 200, `{}`},
		{"translated", "POST", "/", "secretsmanager.Gone", ``, 400, `{"__type":"ResourceNotFoundException","Message":"it is <gone>"}`},
		{"as it is", "POST", "/", "secretsmanager.Taken", ``, 400, `{"__type":"ResourceExistsException","Message":"taken"}`},
		{"internal", "POST", "/", "secretsmanager.Broken", ``, 500, `{"__type":"InternalServiceError","Message":"The server could not carry out the request. Its log has the request id and the cause."}`},
		{"an answer that does not encode", "POST", "/", "secretsmanager.Unencodable", ``, 500, `"InternalServiceError"`},
		{"no target", "POST", "/", "", ``, 400, `"UnknownOperationException"`},
		{"another service's target", "POST", "/", "logs.Echo", ``, 400, `logs.Echo`},
		{"an unknown operation", "POST", "/", "secretsmanager.RotateSecret", ``, 400, `secretsmanager.RotateSecret`},
		{"another case", "POST", "/", "secretsmanager.echo", ``, 400, `"UnknownOperationException"`},
		{"another path", "POST", "/x", "secretsmanager.Echo", ``, 400, `"UnknownOperationException"`},
		{"another method", "GET", "/", "secretsmanager.Echo", ``, 400, `"UnknownOperationException"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, _ := serve(c.method, c.path, c.target, c.body)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) || w.Header().Get("Content-Type") != "application/x-amz-json-1.1" {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), "fire") {
				t.Error("the cause is the log's, not the caller's")
			}
		})
	}
	if _, call := serve("POST", "/", "secretsmanager.Nothing", ""); call.Operation != "Nothing" {
		t.Errorf("operation %q", call.Operation)
	}
}

// FuzzTarget looks for targets that are answered by something else than JSON.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"secretsmanager.Nothing", "secretsmanager.", ".", "secretsmanager.Nothing.x", "\x00\xff", "Logs_20140328.Put"} {
		f.Add(s, "{}")
	}
	f.Fuzz(func(t *testing.T, target, body string) {
		w, _ := serve("POST", "/", target, body)
		if target != "secretsmanager.Echo" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("target %q: %s", target, w.Body)
		}
	})
}
