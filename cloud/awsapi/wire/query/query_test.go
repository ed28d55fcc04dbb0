package query_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/query"
)

const namespace = "https://example.com/doc/2010-05-08/"

var errGone = errors.New("gone")

type role struct{ RoleName, Path string }

func newAPI() *query.API {
	a := &query.API{
		Namespace: namespace, Version: "2010-05-08",
		Failing: awsapi.Failing{
			Internal: query.Internal, Logger: slog.New(slog.DiscardHandler),
			Translate: func(err error) *awsapi.Error {
				if errors.Is(err, errGone) {
					return &awsapi.Error{Status: http.StatusNotFound, Code: "NoSuchEntity", Message: "The role <x> cannot be found."}
				}
				return nil
			},
		},
	}
	fail := func(err error) query.Handler {
		return func(context.Context, *query.Request) (any, error) { return nil, err }
	}
	a.Register([]query.Operation{
		{Name: "GetRole", Handle: func(_ context.Context, r *query.Request) (any, error) {
			return struct{ Role role }{role{r.Param("RoleName"), "/"}}, nil
		}},
		{Name: "ListRolePolicies", Handle: func(context.Context, *query.Request) (any, error) {
			return struct {
				PolicyNames []string `xml:"PolicyNames>member"`
				IsTruncated bool
			}{[]string{"a", "b"}, false}, nil
		}},
		{Name: "DeleteRole", Handle: fail(nil)},
		{Name: "Gone", Handle: fail(errGone)},
		{Name: "Taken", Handle: fail(&awsapi.Error{Status: http.StatusConflict, Code: "EntityAlreadyExists", Message: "taken"})},
		{Name: "Broken", Handle: fail(errors.New("disk on fire"))},
		{Name: "Unencodable", Handle: func(context.Context, *query.Request) (any, error) { return make(chan int), nil }},
	})
	return a
}

func serve(t *testing.T, method, target, body string) (*http.Response, string, *awsapi.Call) {
	t.Helper()
	call := &awsapi.Call{RequestID: "request-1"}
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	w := httptest.NewRecorder()
	w.Header().Set("x-amzn-RequestId", call.RequestID)
	newAPI().ServeCall(w, r, call)
	data, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(data), call
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, method, target, body, want, operation string }{
		{"a result", "POST", "/", "Action=GetRole&Version=2010-05-08&RoleName=a%26b",
			`<GetRoleResponse xmlns="` + namespace + `"><GetRoleResult><Role><RoleName>a&amp;b</RoleName><Path>/</Path></Role></GetRoleResult><ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata></GetRoleResponse>`, "GetRole"},
		{"a list", "POST", "/", "Action=ListRolePolicies&Version=2010-05-08",
			`<ListRolePoliciesResponse xmlns="` + namespace + `"><ListRolePoliciesResult><PolicyNames><member>a</member><member>b</member></PolicyNames><IsTruncated>false</IsTruncated></ListRolePoliciesResult><ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata></ListRolePoliciesResponse>`, "ListRolePolicies"},
		{"no result", "POST", "/", "Action=DeleteRole",
			`<DeleteRoleResponse xmlns="` + namespace + `"><ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata></DeleteRoleResponse>`, "DeleteRole"},
		{"a presigned URL", "GET", "/?Action=DeleteRole&X-Amz-Signature=abc", "",
			`<DeleteRoleResponse xmlns="` + namespace + `"><ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata></DeleteRoleResponse>`, "DeleteRole"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			resp, body, call := serve(t, c.method, c.target, c.body)
			if resp.StatusCode != 200 || body != c.want || resp.Header.Get("Content-Type") != "text/xml" || call.Operation != c.operation {
				t.Errorf("%d %s\n%s", resp.StatusCode, call.Operation, body)
			}
		})
	}
}

// wireError is an error as clients read it.
type wireError struct {
	XMLName xml.Name
	Error   struct{ Type, Code, Message string }
	ID      string `xml:"RequestId"`
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, target, body string
		status                     int
		kind, code, text           string
	}{
		{"unknown action", "POST", "/", "Action=AssumeRole&Version=2010-05-08", 400, "Sender", "InvalidAction", "Could not find operation AssumeRole for version 2010-05-08"},
		{"another version", "POST", "/", "Action=GetRole&Version=2011-06-15", 400, "Sender", "InvalidAction", "for version 2011-06-15"},
		{"no action", "POST", "/", "", 400, "Sender", "MissingAction", "Action"},
		{"action in the query of a POST", "POST", "/?Action=GetRole", "", 400, "Sender", "MissingAction", "Action"},
		{"JSON", "POST", "/", `{"Action":"GetRole"}`, 400, "Sender", "MissingAction", ""},
		{"bad escape", "POST", "/", "Action=GetRole&RoleName=%zz", 400, "Sender", "MalformedInput", "x-www-form-urlencoded"},
		{"bad UTF-8", "POST", "/", "Action=GetRole&RoleName=%ff", 400, "Sender", "MalformedInput", "RoleName"},
		{"NUL", "POST", "/", "Action=GetRole&RoleName=a%00b", 400, "Sender", "MalformedInput", "RoleName"},
		{"NUL in a name", "POST", "/", "Action=GetRole&a%00b=c", 400, "Sender", "MalformedInput", ""},
		{"too many parameters", "POST", "/", "Action=GetRole" + strings.Repeat("&a", 1000), 400, "Sender", "MalformedInput", "1000"},
		{"another path", "POST", "/roles", "Action=GetRole", 404, "Sender", "InvalidAction", "path /"},
		{"another method", "PUT", "/", "Action=GetRole", 405, "Sender", "InvalidAction", "POST and GET"},
		{"translated", "POST", "/", "Action=Gone", 404, "Sender", "NoSuchEntity", "The role <x> cannot be found."},
		{"as it is", "POST", "/", "Action=Taken", 409, "Sender", "EntityAlreadyExists", "taken"},
		{"internal", "POST", "/", "Action=Broken", 500, "Receiver", "InternalFailure", "log"},
		{"an answer that does not encode", "POST", "/", "Action=Unencodable", 500, "Receiver", "InternalFailure", "log"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			resp, body, _ := serve(t, c.method, c.target, c.body)
			var e wireError
			if err := xml.Unmarshal([]byte(body), &e); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if resp.StatusCode != c.status || e.Error.Type != c.kind || e.Error.Code != c.code || !strings.Contains(e.Error.Message, c.text) {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			if e.XMLName != (xml.Name{Space: namespace, Local: "ErrorResponse"}) || e.ID != "request-1" {
				t.Errorf("frame of %s", body)
			}
			if strings.Contains(body, "disk on fire") {
				t.Error("the cause is the log's, not the caller's")
			}
		})
	}
}

// FuzzServeCall looks for forms that are answered by something else than XML.
func FuzzServeCall(f *testing.F) {
	for _, s := range []string{"Action=GetRole&RoleName=a", "Action=%00", "Action=GetRole&RoleName=%ff", "&&&", "Action=GetRole;RoleName=a", "Action=GetRole&RoleName=%EF%BF%BE%01"} {
		f.Add(s)
	}
	api := newAPI()
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		r := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/"}, Body: io.NopCloser(strings.NewReader(body))}
		api.ServeCall(w, r, &awsapi.Call{RequestID: "r"})
		var any struct{ XMLName xml.Name }
		if err := xml.Unmarshal(w.Body.Bytes(), &any); err != nil {
			t.Errorf("form %q: %s: %v", body, w.Body, err)
		}
	})
}
