package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/ipc"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/runtimes"
	"github.com/fescue-edge/fescue/testkit"
)

// runtimeDir is where TestMain lays out the function runtimes.
var runtimeDir string

// The test program is also the executable function of the tests, and a core
// that gets killed.
func TestMain(m *testing.M) {
	if mode := os.Getenv("FESCUE_TEST_MODE"); mode != "" {
		os.Exit(play(mode))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lifecycle-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	runtimeDir = filepath.Join(dir, "runtime")
	if err := runtimes.Extract(runtimeDir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// forever waits for a signal that nobody sends. A bare select would be taken for a
// deadlock in a program without cgo.
func forever() {
	never := make(chan os.Signal, 1)
	signal.Notify(never, syscall.SIGUSR2)
	<-never
}

// play is what the test program does as a function.
func play(mode string) int {
	switch mode {
	case "silent":
		fmt.Println("silent speaking")
		forever()
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("stubborn speaking")
		forever()
	case "exit3":
		fmt.Fprintln(os.Stderr, "giving up")
		return 3
	case "parent":
		child := exec.Command("sleep", "1000")
		// As daemons do it: out of the process group.
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Printf("child %d\n", child.Process.Pid)
		forever()
	case "core":
		return playCore()
	case "upper", "crash":
		return playWorker(mode)
	}
	return 99
}

// playWorker speaks the wire as an executable does that was linked with the
// original's library.
func playWorker(mode string) int {
	work := "http://localhost:" + os.Getenv("GG_DAEMON_PORT") + "/2016-11-01/functions/" + os.Getenv("MY_FUNCTION_ARN") + "/work"
	call := func(method, id string, body []byte) (*http.Response, []byte) {
		request, err := http.NewRequest(method, work, bytes.NewReader(body))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		request.Header.Set("Authorization", os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
		request.Header.Set("X-Amz-InvocationId", id)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		defer response.Body.Close()
		got, _ := io.ReadAll(response.Body)
		return response, got
	}
	for {
		response, payload := call(http.MethodGet, "", nil)
		if response.StatusCode != http.StatusOK {
			fmt.Println(response.Status, string(payload))
			return 1
		}
		if mode == "crash" {
			return 9
		}
		call(http.MethodPost, response.Header.Get("X-Amz-InvocationId"), bytes.ToUpper(payload))
	}
}

// playCore runs a supervisor until it is killed.
func playCore() int {
	logger := slog.New(slog.DiscardHandler)
	box, err := sandbox.Open(sandbox.Options{Folder: os.Getenv("FESCUE_TEST_SANDBOX"), Logger: logger})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	sup := lifecycle.New(lifecycle.Options{
		Logger: logger, Logs: &capture{}, Sandbox: box, Registry: invoke.NewRegistry(invoke.Options{}),
	})
	dir, _ := os.Getwd()
	functions := []plan.Function{
		executable("Silent", dir, "silent"), executable("Parent", dir, "parent"),
	}
	if _, err := sup.Apply(context.Background(), functions); err != nil {
		fmt.Println(err)
		return 1
	}
	for range time.Tick(5 * time.Millisecond) {
		lines := sup.Tail(functions[1].ARN)
		workers := sup.Workers()
		if len(lines) > 0 && workers[0].ProcessId != "0" && workers[1].ProcessId != "0" {
			fmt.Println(workers[0].ProcessId, workers[1].ProcessId, strings.TrimPrefix(lines[0].Text, "child "))
			forever()
		}
	}
	return 1
}

// capture keeps what functions log.
type capture struct {
	mu    sync.Mutex
	lines []string
}

func (c *capture) FunctionLine(region, account, name string, _ time.Time, level, origin, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, fmt.Sprintf("%s/%s/%s %s %s|%s", region, account, name, level, origin, text))
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.lines, "\n")
}

// site is a whole edge: server, supervisor and router, wired as a core does it.
type site struct {
	t       testing.TB
	sup     *lifecycle.Supervisor
	calls   *invoke.Registry
	router  *router.Router
	port    int
	logs    *capture
	runtime *testkit.Buffer
	cloud   chan router.Message
}

func (r *site) KeepCloud(topic string, payload []byte, _ bool, kept func(error)) {
	select {
	case r.cloud <- router.Message{Topic: topic, Payload: payload}:
		kept(nil)
	default:
		kept(errors.New("spool full"))
	}
}

func newSite(t testing.TB, change ...func(*lifecycle.Options)) *site {
	t.Helper()
	r := &site{t: t, calls: invoke.NewRegistry(invoke.Options{}), logs: &capture{}, runtime: new(testkit.Buffer), cloud: make(chan router.Message, 100)}
	logger := slog.New(slog.NewTextHandler(r.runtime, &slog.HandlerOptions{Level: slog.LevelDebug}))
	listener, err := ipc.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	r.port = listener.Port()
	options := lifecycle.Options{
		Logger: logger, Logs: r.logs, Registry: r.calls, RuntimeDir: sandbox.HostPath(runtimeDir), Port: r.port,
		Environment: map[string]string{"AWS_IOT_THING_NAME": "Mill_Core"},
		Backoff:     lifecycle.Backoff{Policy: backoff.Policy{First: time.Millisecond, Most: 20 * time.Millisecond}},
	}
	for _, each := range change {
		each(&options)
	}
	box, err := sandbox.Open(sandbox.Options{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	options.Sandbox = box
	r.sup = lifecycle.New(options)
	r.router = router.New(map[fescue.EndpointKind]router.Endpoint{
		fescue.EndpointFunction: router.ToFunctions(r.sup),
		fescue.EndpointCloud: router.ToCloud(r, func(m router.Message, err error) {
			logger.Error("lost", "topic", m.Topic, "errorString", err.Error())
		}),
	}, logger)
	r.calls.Register(fescue.RouterFunction.ARN(), router.Function(r.router))
	server := ipc.New(ipc.Options{Calls: r.calls, Workers: r.sup, Logger: logger})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := r.sup.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := box.Close(); err != nil {
			t.Error(err)
		}
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("runtime.log:\n%s\nfunction logs:\n%s", r.runtime, r.logs)
		}
	})
	return r
}

func arn(name string) string {
	return "arn:aws:lambda:eu-west-1:123456789012:function:" + name + ":1"
}

func function(name string) plan.Function {
	return plan.Function{
		ARN: arn(name), Name: name, Version: "1", Region: "eu-west-1", Account: "123456789012",
		Hash: "1", Pinned: true, Timeout: 20 * time.Second, Encoding: fescue.EncodingJSON, LogLevel: "INFO",
	}
}

// executable is a function that is this test program; dir gets a link to it.
func executable(name, dir, mode string) plan.Function {
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(dir, "program"))
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		panic(err)
	}
	f := function(name)
	f.Code, f.Handler, f.Runtime = sandbox.HostPath(dir), "program", fescue.ExecutableRuntime
	f.Environment = map[string]string{"FESCUE_TEST_MODE": mode}
	return f
}

// python is a function with a module app whose handler is named handler.
func (r *site) python(name, source string) plan.Function {
	r.t.Helper()
	f := function(name)
	f.Code, f.Handler, f.Runtime = sandbox.HostPath(r.t.TempDir()), "app.handler", "python3.8"
	f.Environment = map[string]string{"PYTHONDONTWRITEBYTECODE": "1"}
	if err := os.WriteFile(string(f.Code.Join("app.py")), []byte(source), 0o644); err != nil {
		r.t.Fatal(err)
	}
	var missing *lifecycle.InterpreterMissingError
	for _, problem := range r.sup.Check(r.t.Context(), []plan.Function{f}) {
		if errors.As(problem, &missing) {
			r.t.Skip("python3 is not installed in /usr/bin or /usr/local/bin; install it to run this test:", problem)
		}
		r.t.Fatal(problem)
	}
	return f
}

func (r *site) apply(functions ...plan.Function) lifecycle.Report {
	r.t.Helper()
	report, err := r.sup.Apply(r.t.Context(), functions)
	if err != nil {
		r.t.Fatal(err)
	}
	return report
}

// invoke calls a function as the core itself.
func (r *site) invoke(name, payload string) invoke.Outcome {
	r.t.Helper()
	outcome, err := r.tryInvoke(name, payload)
	if err != nil {
		r.t.Fatal(err)
	}
	return outcome
}

func (r *site) tryInvoke(name, payload string) (invoke.Outcome, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	id, err := r.calls.Invoke(ctx, invoke.Worker{}, invoke.Call{ARN: arn(name), Type: invoke.RequestResponse, Payload: []byte(payload)})
	if err != nil {
		return invoke.Outcome{}, err
	}
	return r.result(ctx, invoke.Worker{}, arn(name), id)
}

func (r *site) result(ctx context.Context, caller invoke.Worker, arn, id string) (got invoke.Outcome, err error) {
	err = r.calls.Result(ctx, caller, arn, id, func(o invoke.Outcome) { got = o })
	return got, err
}

func (r *site) wantResult(name, payload, want string) {
	r.t.Helper()
	if got := r.invoke(name, payload); got.Error != invoke.Succeeded || string(got.Payload) != want {
		r.t.Errorf("%s(%s) = %s %q, want %q", name, payload, got.Error, got.Payload, want)
	}
}

func (r *site) workers(name string) []invoke.WorkerStatus {
	var list []invoke.WorkerStatus
	for _, w := range r.sup.Workers() {
		if w.FuncArn == arn(name) {
			list = append(list, w)
		}
	}
	return list
}

// pid waits for a function to have a process in one of the states.
func (r *site) pid(name string, states ...invoke.WorkerState) string {
	r.t.Helper()
	var pid string
	testkit.Until(r.t, fmt.Sprintf("%s is one of %v", name, states), func() bool {
		for _, w := range r.workers(name) {
			for _, state := range states {
				if w.WorkerState == state && w.ProcessId != "0" {
					pid = w.ProcessId
					return true
				}
			}
		}
		return false
	})
	return pid
}

func alive(pid string) bool {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	// A zombie that nobody in this machine's init reaps is dead all the same.
	return !strings.Contains(string(text[bytes.LastIndexByte(text, ')'):]), ") Z ")
}
