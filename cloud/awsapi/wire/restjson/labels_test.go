package restjson_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

// TestLabels: which operation a path is for, and with which labels. A label that
// is left empty is refused by its name.
func TestLabels(t *testing.T) {
	t.Parallel()
	a := &restjson.API{
		Failing:   awsapi.Failing{Internal: "Internal", Logger: slog.New(slog.DiscardHandler)},
		ErrorBody: func(e *awsapi.Error) any { return e.Message },
		Malformed: func(cause string) *awsapi.Error {
			return &awsapi.Error{Status: http.StatusBadRequest, Code: "Bad", Message: cause}
		},
	}
	handled := func(name string) restjson.Handler {
		return func(_ context.Context, r *restjson.Request) (any, error) { return fmt.Sprint(name, " ", r.Labels), nil }
	}
	var ops []restjson.Operation
	for name, path := range map[string]string{
		"ListGroups": "/groups", "GetGroup": "/groups/{Group}", "ListVersions": "/groups/{Group}/versions", "GetVersion": "/groups/{Group}/versions/{Version}",
		"ListFunctions": "/functions/", "GetFunction": "/functions/{Function}",
		"Publish": "/topics/{topic+}",
	} {
		ops = append(ops, restjson.Operation{Name: name, Method: http.MethodGet, Path: path, Handle: handled(name)})
	}
	a.Register(ops)
	for _, c := range []struct {
		path       string
		normalized bool // signed so
		status     int
		want       string
	}{
		{path: "/groups", want: "ListGroups []"},
		{path: "/groups/a", want: "GetGroup [{Group a}]"},
		{path: "/groups/a/", want: "GetGroup [{Group a}]"},
		{path: "/groups/.", want: "GetGroup [{Group .}]"},
		{path: "/groups/a/versions", want: "ListVersions [{Group a}]"},
		{path: "/groups/versions/versions/versions", want: "GetVersion [{Group versions} {Version versions}]"},
		{path: "/functions", want: "ListFunctions []"},
		{path: "/functions/", want: "ListFunctions []"},
		{path: "/functions/a", want: "GetFunction [{Function a}]"},
		{path: "/topics/a//b/", want: "Publish [{topic a//b/}]"},
		{path: "/topics/..%2Fa", want: "Publish [{topic ../a}]"},

		{path: "/groups/", status: 400, want: "Group of GetGroup is empty"},
		{path: "/groups//", status: 400, want: "Group of GetGroup is empty"},
		{path: "/groups//versions", status: 400, want: "Group of ListVersions is empty"},
		{path: "/groups//versions", normalized: true, status: 400, want: "Group of ListVersions is empty"},
		{path: "/groups//versions/", status: 400, want: "Group of GetVersion is empty"},
		{path: "/groups/a/versions/", status: 400, want: "Version of GetVersion is empty"},
		{path: "/groups/./versions", normalized: true, status: 400, want: `Group "." of ListVersions is not covered by the signature`},
		{path: "/groups/..", normalized: true, status: 400, want: `Group ".." of GetGroup is not covered by the signature`},
		{path: "/topics/a//b", normalized: true, status: 400, want: `topic "a//b" of Publish is not covered by the signature`},
		{path: "/topics/x/../b", normalized: true, status: 400, want: `topic "x/../b" of Publish is not covered by the signature`},
		{path: "/groups///", status: 404, want: "No operation"},
		{path: "//groups", status: 404, want: "No operation"},
		{path: "/./groups", normalized: true, status: 404, want: "No operation"},
		{path: "/", status: 404, want: "No operation"},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "http://host"+c.path, nil)
		a.ServeCall(w, r, &awsapi.Call{PathNormalized: c.normalized})
		if c.status == 0 {
			c.status = http.StatusOK
		}
		if got := strings.Trim(w.Body.String(), `"`); w.Code != c.status || !strings.HasPrefix(strings.ReplaceAll(got, `\"`, `"`), c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.path, w.Code, got, c.status, c.want)
		}
	}
}
