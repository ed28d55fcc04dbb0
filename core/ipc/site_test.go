package ipc_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/ipc"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/corelink"
)

const (
	own   = "arn:aws:lambda:eu-west-1:123456789012:function:Own:1"
	other = "arn:aws:lambda:eu-west-1:123456789012:function:Other:2"
	token = "Basic dG9rZW4="
	// second is the token of a worker of the other function.
	second = "Basic c2Vjb25k"
)

var workers = map[string]invoke.Worker{token: {ID: "w1", FunctionARN: own}, second: {ID: "w2", FunctionARN: other}}

// keys are credentials that are there unless the group has an error.
type keys struct{ *functions }

// Get implements ipc.Credentials.
func (k keys) Get(context.Context) (corelink.Credentials, error) {
	return corelink.Credentials{AccessKeyID: "ASIA", SecretAccessKey: "s", SessionToken: "t", Expiration: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))}, k.err
}

// functions is a group with two functions and no processes.
type functions struct {
	mu    sync.Mutex
	calls []string
	work  chan invoke.Work
	err   error
	back  chan string
	// polling receives each poll that begins.
	polling chan struct{}
}

func (f *functions) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *functions) peek() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *functions) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *functions) Authenticate(authorization string) (invoke.Worker, bool) {
	worker, ok := workers[authorization]
	return worker, ok
}

// Invoke answers at once.
func (f *functions) Invoke(_ context.Context, i *invoke.Invocation) error {
	f.note("invoke by %s: %s %s %s %.100s", i.Caller.ID, i.ARN, i.Type, i.ClientContext, i.Payload)
	if f.err != nil {
		return f.err
	}
	if string(i.Payload) == "raise" {
		i.End(invoke.Outcome{Payload: []byte(`{"errorMessage":"x"}`), Error: invoke.Handled})
	} else {
		i.End(invoke.Outcome{Payload: []byte("result")})
	}
	return nil
}

func (f *functions) NextWork(ctx context.Context, _ invoke.Worker) (invoke.Work, error) {
	if f.polling == nil {
		return invoke.Work{ID: "at once"}, nil
	}
	f.polling <- struct{}{}
	select {
	case w := <-f.work:
		return w, nil
	case <-ctx.Done():
		return invoke.Work{}, ctx.Err()
	}
}

func (f *functions) Undelivered(_ invoke.Worker, id string) { f.back <- id }

func (f *functions) Complete(_ context.Context, worker invoke.Worker, id string, o invoke.Outcome) error {
	f.note("complete by %s: %s %s%s", worker.ID, id, o.Error, o.Payload)
	return f.err
}

func (f *functions) Initialized(_ context.Context, worker invoke.Worker, i invoke.Initialization) error {
	f.note("initialized %s: %v %s", worker.ID, i.Success, i.Response)
	return f.err
}

func (f *functions) Publish(_ context.Context, m router.Message, all bool) error {
	f.note("publish %s %s %s %v", m.Source, m.Topic, m.Payload, all)
	return f.err
}

func (f *functions) AppendLog(_ context.Context, worker invoke.Worker, lines []invoke.LogLine) error {
	for _, line := range lines {
		f.note("log %s: %s %s|%s", worker.ID, line.Time.Format(time.RFC3339), line.Level, line.Text)
	}
	return f.err
}

func (f *functions) Workers() []invoke.WorkerStatus {
	return []invoke.WorkerStatus{
		{FuncArn: own, WorkerId: "w1", ProcessId: "41", WorkerState: invoke.Working},
		{FuncArn: own, WorkerId: "w2", ProcessId: "42", WorkerState: invoke.Waiting},
		{FuncArn: other, WorkerId: "w3", ProcessId: "0", WorkerState: invoke.NotStarted},
	}
}

// shadow is a system function.
func (f *functions) shadow(_ context.Context, caller invoke.Worker, call invoke.Call) (invoke.Outcome, error) {
	f.note("shadow by %s: %s", caller.ID, call.Payload)
	return invoke.Outcome{Payload: []byte("document")}, f.err
}

// registry has another function and two system functions, which are all f.
func (f *functions) registry() *invoke.Registry {
	r := invoke.NewRegistry(invoke.Options{})
	r.Register(other, f)
	r.Register("arn:aws:lambda:::function:GGRouter", router.Function(f))
	r.Register("arn:aws:lambda:::function:GGShadowService:1", invoke.Func(f.shadow))
	return r
}

type api struct {
	*functions
	port     int
	server   *ipc.Server
	shutdown func() error
}

func start(t *testing.T) *api {
	t.Helper()
	return startWith(t, 100, ipc.Times{})
}

func startWith(t *testing.T, maxPayload int64, times ipc.Times) *api {
	t.Helper()
	a := &api{functions: &functions{work: make(chan invoke.Work, 1), back: make(chan string, 1), polling: make(chan struct{}, 10)}}
	a.server = ipc.New(ipc.Options{
		Credentials: keys{a.functions},
		Calls:       a.registry(), Workers: a, Logger: slog.New(slog.DiscardHandler), MaxPayload: maxPayload, Times: times,
	})
	listener, err := ipc.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	a.port = listener.Port()
	served := make(chan error, 1)
	go func() { served <- a.server.Serve(listener) }()
	a.shutdown = sync.OnceValue(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		return errors.Join(a.server.Shutdown(ctx), <-served)
	})
	t.Cleanup(func() {
		if err := a.shutdown(); err != nil {
			t.Error(err)
		}
	})
	return a
}

type answer struct {
	status int
	header http.Header
	body   string
}

// send sends a request with the worker's token; header values named "-" are
// left out.
func (a *api) send(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequest(method, fmt.Sprintf("http://localhost:%d%s", a.port, path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", token)
	for i := 0; i < len(headers); i += 2 {
		switch {
		case headers[i+1] == "-":
			request.Header.Del(headers[i])
		case headers[i] == "Host":
			request.Host = strings.ReplaceAll(headers[i+1], "PORT", fmt.Sprint(a.port))
		default:
			request.Header.Set(headers[i], headers[i+1])
		}
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(got)}
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func subject(s string) string { return encode(`{"custom":{"subject":"` + s + `"}}`) }
