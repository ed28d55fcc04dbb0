package fescue_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	api "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

// TestTemporaryKeysMakeNone: a key that ends makes none that lasts, and ends none.
func TestTemporaryKeysMakeNone(t *testing.T) {
	t.Parallel()
	service := api.New(api.Options{Logger: slog.New(slog.DiscardHandler)})
	for _, c := range []struct{ method, path, body string }{
		{http.MethodPost, "access-keys", `{"Name":"n","Access":"admin"}`}, {http.MethodDelete, "access-keys/AKIAIOSFODNN7EXAMPLE", ""},
	} {
		w := httptest.NewRecorder()
		service.ServeCall(w, httptest.NewRequestWithContext(t.Context(), c.method, "http://host/fescue/v1/"+c.path, strings.NewReader(c.body)), &awsapi.Call{Partition: here, KeyID: "ASIAIOSFODNN7EXAMPLE"})
		text, err := io.ReadAll(w.Body)
		if err != nil || w.Code != http.StatusForbidden || !strings.Contains(string(text), "with temporary credentials") {
			t.Errorf("%s: %d %s, %v", c.path, w.Code, text, err)
		}
	}
}
