package restjson_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

// FuzzRoute: two labels arrive as they were sent, and no path is taken for an
// operation whose words it does not have.
func FuzzRoute(f *testing.F) {
	for _, s := range [][3]string{
		{"a", "b", "/things/a/jobs/b"}, {"a b/c", "%", "/tags/arn:aws:x/y"}, {"$reset", "ü", "/things//jobs/"},
		{"..", ".", "/things/../jobs/x"}, {"\x00", "x", "/things/%00/jobs/x"}, {"x", "\xff", "/things/%zz"}, {"", "x", "//"}, {"?", "#", "/things/$next"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	var got *restjson.Request
	var name string
	a := &restjson.API{
		Failing:   awsapi.Failing{Internal: "Internal", Logger: slog.New(slog.DiscardHandler)},
		ErrorBody: func(e *awsapi.Error) any { return e.Message },
		Malformed: func(cause string) *awsapi.Error {
			return &awsapi.Error{Status: http.StatusBadRequest, Code: "Bad", Message: cause}
		},
	}
	keep := func(_ context.Context, r *restjson.Request) (any, error) { got = r; return nil, nil }
	a.Register([]restjson.Operation{
		{Name: "Job", Method: http.MethodGet, Path: "/things/{Thing}/jobs/{Job}", Handle: keep},
		{Name: "Next", Method: http.MethodGet, Path: "/things/{Thing}/jobs/$next", Handle: keep},
		{Name: "Tags", Method: http.MethodGet, Path: "/tags/{Rest+}", Handle: keep},
	})
	serve := func(u *url.URL) *httptest.ResponseRecorder {
		got, name = nil, ""
		call := &awsapi.Call{}
		w := httptest.NewRecorder()
		a.ServeCall(w, &http.Request{Method: http.MethodGet, URL: u, Body: http.NoBody, Header: http.Header{}}, call)
		name = call.Operation
		return w
	}
	sendable := func(s string) bool { return s != "" && utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
	f.Fuzz(func(t *testing.T, thing, job, path string) {
		u, err := url.Parse("/things/" + url.PathEscape(thing) + "/jobs/" + url.PathEscape(job))
		if err != nil {
			t.Fatal(err)
		}
		w := serve(u)
		switch sent := sendable(thing) && sendable(job); {
		case sent && job == "$next":
			if got == nil || got.Label("Thing") != thing || len(got.Labels) != 1 {
				t.Fatalf("%q: %d %+v", u, w.Code, got)
			}
		case sent:
			if got == nil || got.Label("Thing") != thing || got.Label("Job") != job {
				t.Fatalf("%q: %d %+v", u, w.Code, got)
			}
		case got != nil || w.Code < 400 || w.Code >= 500:
			t.Fatalf("%q %q: %d %+v", thing, job, w.Code, got)
		}
		if u, err = url.Parse(path); err != nil {
			return
		}
		if w = serve(u); w.Code >= 500 {
			t.Fatalf("%q: %d", path, w.Code)
		}
		if got == nil {
			return
		}
		plain, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		if want := map[string]string{"Job": "things", "Next": "things", "Tags": "tags"}[name]; name != "" && plain != want {
			t.Fatalf("%q is taken for %s", path, name)
		}
		for _, l := range got.Labels {
			if !strings.Contains(u.Path, l.Value) || !utf8.ValidString(l.Value) {
				t.Fatalf("%q: %s is %q", path, l.Name, l.Value)
			}
		}
	})
}

// FuzzDecode: what is accepted is one JSON value, or nothing, and is what
// encoding/json makes of it; no text in it has a NUL.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{``, ` `, `{}`, `{"Text":"a\\u0000","N":7}`, `{"Text":"a\u0000"}`, `{}{}`, `{"List":[{"Text":"x"}]}`, `{"Text":7}`, "{\"Text\":\"\xff\"}", `null`, `[]`} {
		f.Add([]byte(s))
	}
	type shape struct {
		Text string
		N    int32
		List []shape
		Map  map[string]string
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got, want shape
		if restjson.Decode(body, &got) != nil || strings.TrimSpace(string(body)) == "" {
			return
		}
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("%q is accepted: %v", body, err)
		}
		one, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if two, err := json.Marshal(want); err != nil || string(one) != string(two) {
			t.Fatalf("%q is read as %s, want %s", body, one, two)
		}
		var visit func(v any)
		visit = func(v any) {
			switch v := v.(type) {
			case string:
				if strings.ContainsRune(v, 0) {
					t.Fatalf("%q holds a NUL", body)
				}
			case []any:
				for _, member := range v {
					visit(member)
				}
			case map[string]any:
				for name, member := range v {
					visit(name)
					visit(member)
				}
			}
		}
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		visit(v)
	})
}
