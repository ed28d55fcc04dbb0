package iot_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud/awsapi"
)

// Whatever a caller sends in the places that are parsed here, the answer is JSON
// and never a server's fault.
func FuzzRequests(f *testing.F) {
	service := serve(f)
	for _, text := range []string{
		"", "eyJrIjoiYSJ9", "eyJrIjoiYSIsInQiOi0xfQ", "bnVsbA", "..%2f", "a\x00", "\xff", `{"target":"x"}`,
		arnPrefix + "cert/" + strings.Repeat("0", 64), "arn:aws:iot:::cert/", "-1", "99999999999999999999",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		escaped := url.QueryEscape(text)
		for _, path := range []string{
			"GET /certificates?marker=" + escaped, "GET /policies?isAscendingOrder=true&marker=" + escaped,
			"GET /things?nextToken=" + escaped, "GET /things?attributeName=" + escaped,
			"POST /things/x", "POST /policies/x", "POST /target-policies/x", "GET /principals/things",
			"PUT /jobs/x", "PUT /jobs/" + url.PathEscape(text) + "/cancel", "GET /jobs?nextToken=" + escaped, "GET /jobs/" + url.PathEscape(text),
			"POST /role-aliases/x", "PUT /role-aliases/" + url.PathEscape(text), "GET /role-aliases?marker=" + escaped,
			"PUT /things/x/jobs/" + url.PathEscape(text) + "/cancel", "GET /things/" + url.PathEscape(text) + "/jobs",
			"POST /attached-policies/" + url.PathEscape(text), "GET /things/" + url.PathEscape(text), "DELETE /policies/x/version/" + url.PathEscape(text),
		} {
			method, target, _ := strings.Cut(path, " ")
			r, err := http.NewRequest(method, "http://host"+target, strings.NewReader(text))
			if err != nil {
				continue
			}
			r.Header.Set("x-amzn-principal", text)
			w := httptest.NewRecorder()
			service.ServeCall(w, r, &awsapi.Call{Partition: here})
			if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s: status %d, body %q", path, w.Code, w.Body)
			}
		}
	})
}
