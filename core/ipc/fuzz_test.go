package ipc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/core/ipc"
)

func FuzzServer(f *testing.F) {
	for _, seed := range [][3]string{
		{"POST", "/2016-11-01/functions/" + other, subject("a/b")},
		{"POST", "/2016-11-01/functions/arn:aws:lambda:::function:GGRouter", subject("a/b")},
		{"POST", "/2016-11-01/functions/arn:aws:lambda:::function:GGRouter", encode(`{"custom":[]}`)},
		{"POST", "/2016-11-01/cloudwatch/logs/", `{"logEvents":[{"timestamp":1,"message":"[INFO]-x"}]}`},
		{"PUT", "/2016-11-01/functions/" + own + "/initialized", `{"Success":false}`},
		{"POST", "/2016-11-01/health/workers", `{"FuncArns":["x"]}`},
		{"GET", "/2016-11-01/functions/%2e%2e/work", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	a := &functions{}
	server := ipc.New(ipc.Options{Calls: a.registry(), Workers: a, Credentials: keys{a}, Logger: slog.New(slog.DiscardHandler), MaxPayload: 1000})
	listener, err := ipc.Listen(0)
	if err != nil {
		f.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	f.Cleanup(func() {
		if err := errors.Join(server.Shutdown(context.Background()), <-served); err != nil {
			f.Error(err)
		}
	})
	f.Fuzz(func(t *testing.T, method, path, text string) {
		request, err := http.NewRequest(method, fmt.Sprintf("http://localhost:%d", listener.Port())+path, strings.NewReader(text))
		if err != nil || request.URL.Port() != fmt.Sprint(listener.Port()) {
			return
		}
		request.Header.Set("Authorization", token)
		request.Header.Set("X-Amz-Client-Context", encode(text))
		request.Header.Set("X-Amz-InvocationId", "x")
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			return
		}
		defer response.Body.Close()
		if response.StatusCode >= 500 {
			t.Errorf("%s %s %q: %s", method, path, text, response.Status)
		}
		if response.Header.Get("Content-Type") == "application/json" && !json.Valid(must(io.ReadAll(response.Body))) {
			t.Error("an answer that says it is JSON is not")
		}
		a.take()
	})
}

func must(b []byte, _ error) []byte { return b }
