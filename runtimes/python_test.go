package runtimes_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/runtimes"
	"github.com/fescue-edge/fescue/testkit"
)

const ownARN = "arn:aws:lambda:eu-west-1:123456789012:function:Echo:1"

// pythons are the interpreters that the runtime is tried with: those listed in
// FESCUE_TEST_PYTHONS (separated as PATH is), else python3.
func pythons(t *testing.T) []string {
	t.Helper()
	if list := os.Getenv("FESCUE_TEST_PYTHONS"); list != "" {
		return filepath.SplitList(list)
	}
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed; install it to test the Python runtime")
	}
	return []string{path}
}

func version(t *testing.T, python string) string {
	t.Helper()
	out, err := exec.Command(python, "--version").CombinedOutput()
	if err != nil {
		t.Fatalf("%s --version: %v: %s", python, err, out)
	}
	return strings.TrimSpace(string(out))
}

type item struct{ id, context, payload string }

type answer struct{ method, id, functionError, body string }

// fakeCore hands out work and takes answers, as the wire of the original did.
type fakeCore struct {
	*httptest.Server
	work    chan item
	answers chan answer
	fail    chan int // statuses to answer the next polls with
	// connections counts those that were opened.
	connections atomic.Int64
	// extra are further files of the processes that start, from descriptor 3 on.
	extra []*os.File
}

func newFakeCore(t *testing.T) *fakeCore {
	core := &fakeCore{work: make(chan item, 10), answers: make(chan answer, 10), fail: make(chan int, 10)}
	core.Server = httptest.NewUnstartedServer(core)
	core.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			core.connections.Add(1)
		}
	}
	core.Start()
	t.Cleanup(func() {
		core.CloseClientConnections()
		core.Close()
	})
	return core
}

func (c *fakeCore) port() string {
	address, _ := url.Parse(c.URL)
	return address.Port()
}

func (c *fakeCore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("Authorization") != "Basic c2VjcmV0" {
		http.Error(w, "unknown token", http.StatusUnauthorized)
		return
	}
	got := answer{r.Method, r.Header.Get("X-Amz-InvocationId"), r.Header.Get("X-Amz-Function-Error"), string(body)}
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/2016-11-01/functions/"+ownARN+"/work":
		select {
		case status := <-c.fail:
			http.Error(w, "made to fail", status)
			return
		default:
		}
		select {
		case work := <-c.work:
			w.Header().Set("X-Amz-InvocationId", work.id)
			w.Header().Set("X-Amz-Client-Context", work.context)
			io.WriteString(w, work.payload)
		case <-r.Context().Done():
		}
	case r.Method != http.MethodGet && strings.HasPrefix(r.URL.Path, "/2016-11-01/functions/"+ownARN+"/"):
		c.answers <- got
	default:
		http.Error(w, r.Method+" "+r.URL.Path, http.StatusNotFound)
	}
}

func (c *fakeCore) next(t *testing.T) answer {
	t.Helper()
	select {
	case got := <-c.answers:
		return got
	case <-time.After(20 * time.Second):
		t.Fatal("the runtime did not answer within 20 s")
		return answer{}
	}
}

// startFails expects a process to report why its function cannot run, to log it and to
// end.
func (c *fakeCore) startFails(t *testing.T, p *process, want string) {
	t.Helper()
	got := c.next(t)
	var said struct {
		Success  bool
		Response string
	}
	if err := json.Unmarshal([]byte(got.body), &said); err != nil || got.method != http.MethodPut || said.Success || !strings.Contains(said.Response, want) {
		t.Errorf("got %q, want the failure %q", got, want)
	}
	if status := p.wait(t); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	if !strings.Contains(p.err.String(), want) {
		t.Errorf("the log has no %q:\n%s", want, p.err.String())
	}
}

type process struct {
	*exec.Cmd
	out, err bytes.Buffer
	done     chan error
}

// run starts a function whose module app.py is source.
func (c *fakeCore) run(t *testing.T, python, source string, environment ...string) *process {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte("# -*- coding: utf-8 -*-\n"+source), 0o644); err != nil {
		t.Fatal(err)
	}
	environment = append([]string{"PYTHONPATH=" + dir, "PYTHONDONTWRITEBYTECODE=1"}, environment...)
	return c.start(t, dir, environment, python, "-u", filepath.Join(extracted(t), runtimes.PythonMain), "--handler=app.handler")
}

// start starts the process of a function, with what the core would put into its
// environment.
func (c *fakeCore) start(t *testing.T, dir string, environment []string, program string, arguments ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{done: make(chan error, 1)}
	p.Cmd = exec.CommandContext(ctx, program, arguments...)
	p.Dir = dir
	p.Stdout, p.Stderr, p.ExtraFiles = &p.out, &p.err, c.extra
	p.Env = append([]string{
		"PATH=/usr/local/bin:/usr/bin:/bin",
		"MY_FUNCTION_ARN=" + ownARN, "AWS_CONTAINER_AUTHORIZATION_TOKEN=Basic c2VjcmV0",
		"ROUTER_FUNCTION_ARN=arn:aws:lambda:::function:GGRouter",
		"GGC_MAX_INTERFACE_VERSION=1.5", "GG_DAEMON_PORT=" + c.port(),
		"ENCODING_TYPE=json", "LOG_LEVEL=INFO",
		"http_proxy=http://127.0.0.1:9", "HTTP_PROXY=http://127.0.0.1:9",
	}, environment...)
	if err := p.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	finished := make(chan struct{})
	go func() {
		p.done <- p.Cmd.Wait()
		close(finished)
	}()
	t.Cleanup(func() {
		cancel()
		<-finished
	})
	return p
}

// wait returns the exit status.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
		return p.ProcessState.ExitCode()
	case <-time.After(20 * time.Second):
		t.Fatal("the process did not end within 20 s")
		return 0
	}
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestPythonWork(t *testing.T) {
	t.Parallel()
	const echo = `
import collections
def handler(event, context):
    custom = context.client_context.custom if context.client_context else None
    answer = {"event": event, "custom": custom, "name": context.function_name, "version": context.function_version,
              "id": context.aws_request_id, "arn": context.invoked_function_arn}
    return collections.OrderedDict(sorted(answer.items()))
`
	const tail = `, "id": "i1", "name": "Echo", "version": "1"}`
	tests := []struct {
		name        string
		source      string
		item        item
		environment []string
		want        answer
		contains    bool // want.body is only a part
		log         string
	}{
		{name: "a JSON event and its context", source: echo,
			item: item{"i1", encode(`{"custom":{"subject":"a/b"}}`), `{"k":[1,2]}`},
			want: answer{"POST", "i1", "", `{"arn": "` + ownARN + `", "custom": {"subject": "a/b"}, "event": {"k": [1, 2]}` + tail}},
		{name: "no payload is an empty object", source: echo, item: item{"i1", "", ""},
			want: answer{"POST", "i1", "", `{"arn": "` + ownARN + `", "custom": null, "event": {}` + tail}},
		{name: "a custom context that is a string", source: echo, item: item{"i1", encode(`{"custom":"text"}`), "1"},
			want: answer{"POST", "i1", "", `{"arn": "` + ownARN + `", "custom": "text", "event": 1` + tail}},
		{name: "a context that is not JSON is no context", source: echo, item: item{"i1", encode(`{{`), "1"},
			want: answer{"POST", "i1", "", `{"arn": "` + ownARN + `", "custom": null, "event": 1` + tail},
			log:  "Ignoring a client context"},
		{name: "a context that is not base64 is no context", source: echo, item: item{"i1", "%%%", "1"},
			want: answer{"POST", "i1", "", `{"arn": "` + ownARN + `", "custom": null, "event": 1` + tail}},
		{name: "a payload that is not JSON is an error", source: echo, item: item{"i1", "", "{"},
			want: answer{"POST", "i1", "Handled", `{"errorMessage": "Failed to parse the payload as JSON`}, contains: true},
		{name: "a payload that is not UTF-8 is an error", source: echo, item: item{"i1", "", "\"\xff\""},
			want: answer{"POST", "i1", "Handled", `{"errorMessage": "Failed to parse the payload as JSON`}, contains: true},
		{name: "nothing returned is null", source: "def handler(e, c):\n    pass\n", item: item{"i1", "", "1"},
			want: answer{"POST", "i1", "", "null"}},
		{name: "an exception is a handled error", source: "def handler(e, c):\n    raise ValueError('b\\xc3\\xa4d')\n",
			item: item{"i1", "", `"x"`},
			want: answer{"POST", "i1", "Handled", `{"errorMessage": "b`}, contains: true, log: "Traceback"},
		{name: "a result that JSON cannot hold is an error", source: "def handler(e, c):\n    return object()\n",
			item: item{"i1", "", "1"}, want: answer{"POST", "i1", "Handled", "JSON serializable"}, contains: true},
		{name: "binary bytes", source: "def handler(e, c):\n    return b'\\x00' + e\n", item: item{"i1", "", "\xff{"},
			environment: []string{"ENCODING_TYPE=binary"}, want: answer{"POST", "i1", "", "\x00\xff{"}},
		{name: "binary text", source: "def handler(e, c):\n    return u'\\xe4'\n", item: item{"i1", "", ""},
			environment: []string{"ENCODING_TYPE=binary"}, want: answer{"POST", "i1", "", "ä"}},
		{name: "binary nothing", source: "def handler(e, c):\n    pass\n", item: item{"i1", "", "x"},
			environment: []string{"ENCODING_TYPE=binary"}, want: answer{"POST", "i1", "", ""}},
		{name: "binary number is an error", source: "def handler(e, c):\n    return 7\n", item: item{"i1", "", "x"},
			environment: []string{"ENCODING_TYPE=binary"},
			want:        answer{"POST", "i1", "Handled", "bytes or text"}, contains: true},
		{name: "printed text becomes log lines",
			source: "from __future__ import print_function\nimport logging\n" +
				"def handler(e, c):\n    print('two', u'w\\xf6rds')\n    logging.getLogger().warning('careful')\n    return 1\n",
			item: item{"i1", "", "1"}, want: answer{"POST", "i1", "", "1"}, log: "app.py:5,two wörds\n"},
	}
	for _, python := range pythons(t) {
		t.Run(version(t, python), func(t *testing.T) {
			t.Parallel()
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					core := newFakeCore(t)
					p := core.run(t, python, test.source, test.environment...)
					core.work <- test.item
					got := core.next(t)
					if test.contains && strings.Contains(got.body, test.want.body) {
						got.body = test.want.body
					}
					if got != test.want {
						t.Errorf("got  %q\nwant %q", got, test.want)
					}
					if err := p.Process.Signal(syscall.SIGTERM); err != nil {
						t.Fatal(err)
					}
					if status := p.wait(t); status != 0 {
						t.Errorf("SIGTERM ended it with status %d, want 0", status)
					}
					if log := p.out.String() + p.err.String(); !strings.Contains(log, test.log) {
						t.Errorf("log lacks %q:\n%s", test.log, log)
					}
					if !strings.Contains(p.out.String(), "lambda_runtime.py:") || !strings.Contains(p.out.String(), ",Running ["+ownARN+"]") {
						t.Errorf("log lacks the start line:\n%s", p.out.String())
					}
				})
			}
		})
	}
}

func TestPythonLife(t *testing.T) {
	t.Parallel()
	for _, python := range pythons(t) {
		t.Run(version(t, python), func(t *testing.T) {
			t.Parallel()

			t.Run("it goes on after an error, in the same process", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				core.run(t, python, "count = 0\ndef handler(e, c):\n    global count\n    count += 1\n    if e:\n        raise Exception('no')\n    return count\n")
				core.work <- item{"i1", "", "true"}
				core.work <- item{"i2", "", "false"}
				if got := core.next(t); got.functionError != "Handled" {
					t.Errorf("got %q, want a handled error", got)
				}
				if got := core.next(t); got.body != "2" {
					t.Errorf("got %q, want 2", got)
				}
				if n := core.connections.Load(); n != 1 {
					t.Errorf("%d connections, want 1", n)
				}
			})

			t.Run("a kept connection that the core closed is replaced", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				core.run(t, python, "import os\ndef handler(e, c):\n    open(e['began'], 'w').close()\n    while not os.path.exists(e['go']):\n        pass\n    return 1\n")
				dir := t.TempDir()
				began, goOn := filepath.Join(dir, "began"), filepath.Join(dir, "go")
				core.work <- item{"i1", "", `{"began":"` + began + `","go":"` + goOn + `"}`}
				testkit.Until(t, "the handler runs", func() bool { _, err := os.Stat(began); return err == nil })
				core.CloseClientConnections()
				if err := os.WriteFile(goOn, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				if got := core.next(t); got.body != "1" {
					t.Errorf("got %q, want 1", got)
				}
			})

			t.Run("a poll that fails is repeated", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				core.fail <- http.StatusServiceUnavailable
				core.fail <- http.StatusInternalServerError
				core.run(t, python, "def handler(e, c):\n    return 1\n")
				core.work <- item{"i1", "", ""}
				if got := core.next(t); got.body != "1" {
					t.Errorf("got %q, want 1", got)
				}
			})

			t.Run("a refused token ends it", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				p := core.run(t, python, "def handler(e, c):\n    return 1\n", "AWS_CONTAINER_AUTHORIZATION_TOKEN=Basic wrong")
				if status := p.wait(t); status != 1 {
					t.Errorf("status %d, want 1", status)
				}
			})

			for _, test := range []struct{ name, source, version, want string }{
				{"a module that fails", "raise Exception('broken')\n", "1.5", `Failed to import handler function "app.handler" due to exception: broken`},
				{"a module without the function", "", "1.5", `Failed to import handler function "app.handler" due to exception: `},
				{"a handler that is no function", "handler = 1\n", "1.5", `is not a function`},
				{"an SDK that is too new", "def handler(e, c):\n    pass\n", "1.4", "Failed to initialize Lambda runtime due to exception: the Greengrass Core SDK"},
				{"an SDK of another generation", "def handler(e, c):\n    pass\n", "2.5", "incompatible"},
			} {
				t.Run("it does not start with "+test.name, func(t *testing.T) {
					t.Parallel()
					core := newFakeCore(t)
					sdk := t.TempDir()
					if err := os.WriteFile(filepath.Join(sdk, "greengrasssdk.py"), []byte("INTERFACE_VERSION = '1.5'\n"), 0o644); err != nil {
						t.Fatal(err)
					}
					dir := t.TempDir()
					if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte(test.source), 0o644); err != nil {
						t.Fatal(err)
					}
					p := core.run(t, python, test.source, "GGC_MAX_INTERFACE_VERSION="+test.version,
						"PYTHONPATH="+dir+":"+sdk)
					core.startFails(t, p, test.want)
				})
			}

			t.Run("SIGTERM ends it although a timer goes on for ever", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				p := core.run(t, python, `
import atexit, threading
from greengrass_ipc_python_sdk.ipc_client import IPCClient
def tick():
    threading.Timer(0.01, tick).start()
tick()
atexit.register(lambda: IPCClient().put_initialization_result("`+ownARN+`", "bye"))
def handler(e, c):
    return 1
`)
				core.work <- item{"i1", "", ""}
				core.next(t)
				if err := p.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				if got := core.next(t); !strings.Contains(got.body, "bye") {
					t.Errorf("got %q, want what the exit function says", got)
				}
				if status := p.wait(t); status != 0 {
					t.Errorf("status %d, want 0", status)
				}
			})

			t.Run("sys.exit in the handler ends it with that status", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				p := core.run(t, python, "import sys\ndef handler(e, c):\n    sys.exit(7)\n")
				core.work <- item{"i1", "", ""}
				if status := p.wait(t); status != 7 {
					t.Errorf("status %d, want 7", status)
				}
			})
		})
	}
}
