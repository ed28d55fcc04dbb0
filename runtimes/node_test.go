package runtimes_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fescue-edge/fescue/runtimes"
	"github.com/fescue-edge/fescue/testkit"
)

// nodes are the interpreters that the runtime is tried with: those listed in
// FESCUE_TEST_NODES (separated as PATH is), else node.
func nodes(t *testing.T) []string {
	t.Helper()
	if list := os.Getenv("FESCUE_TEST_NODES"); list != "" {
		return filepath.SplitList(list)
	}
	path, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed (Debian's package nodejs); install it to test the Node.js runtime")
	}
	return []string{path}
}

// major is the number of a node's version.
func major(t *testing.T, node string) int {
	t.Helper()
	row := runtimes.Of("nodejs6.10")
	v, text, ok := row.Said(version(t, node))
	if !ok {
		t.Fatalf("%s is no node: %q", node, text)
	}
	return v.Major
}

// runNode starts a function with these files, whose handler is app.handler.
func (c *fakeCore) runNode(t *testing.T, node string, files map[string]string, environment ...string) *process {
	t.Helper()
	dir := t.TempDir()
	for name, source := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	runtime := extracted(t)
	environment = append([]string{"NODE_PATH=" + dir + "/:" + runtime + "/nodejs/node_modules:" + dir + "/node_modules"}, environment...)
	return c.start(t, dir, environment, node, filepath.Join(runtime, runtimes.NodeMain), "--handler=app.handler", "more")
}

func app(source string) map[string]string { return map[string]string{"app.js": source} }

func TestNodeWork(t *testing.T) {
	t.Parallel()
	const echo = `exports.handler = (event, context, callback) => {
		const c = context;
		callback(null, {event: event, client: c.clientContext, arn: c.invokedFunctionArn, id: c.awsRequestId, name: c.functionName, version: c.functionVersion});
	};`
	echoed := func(event, client string) string {
		return `{"event":` + event + `,"client":` + client + `,"arn":"` + ownARN + `","id":"i1","name":"Echo","version":"1"}`
	}
	const nobody = `{"client":{},"Custom":{},"custom":{},"env":{}}`
	binary := []string{"ENCODING_TYPE=binary"}
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
			item: item{"i1", encode(`{"client":{"app_title":"t"},"custom":{"subject":"a/b"},"env":{"e":1}}`), `{"k":[1,2]}`},
			want: answer{"POST", "i1", "", echoed(`{"k":[1,2]}`, `{"client":{"app_title":"t"},"Custom":{"subject":"a/b"},"custom":{"subject":"a/b"},"env":{"e":1}}`)},
			log:  "START RequestId: i1"},
		{name: "no payload is an empty object", source: echo, item: item{"i1", "", ""}, want: answer{"POST", "i1", "", echoed("{}", nobody)}},
		{name: "a custom context that is a string", source: echo, item: item{"i1", encode(`{"custom":"text"}`), "1"},
			want: answer{"POST", "i1", "", echoed("1", `{"client":{},"Custom":"text","custom":"text","env":{}}`)}},
		{name: "a context that is not JSON is no context", source: echo, item: item{"i1", encode(`{{`), "1"},
			want: answer{"POST", "i1", "", echoed("1", nobody)}, log: "Ignoring a client context"},
		{name: "a context that is no object is no context", source: echo, item: item{"i1", encode(`null`), "1"},
			want: answer{"POST", "i1", "", echoed("1", nobody)}, log: "Ignoring a client context"},
		{name: "a payload that is not JSON is an error", source: echo, item: item{"i1", "", "{"},
			want: answer{"POST", "i1", "Handled", `{"errorMessage":"Failed to parse the payload as JSON`}, contains: true},
		{name: "this is the module", source: "exports.n = 3; exports.handler = function (e, c, cb) { cb(null, this.n); };",
			item: item{"i1", "", ""}, want: answer{"POST", "i1", "", "3"}},
		{name: "nothing called back is null", source: "exports.handler = (e, c, cb) => cb();", item: item{"i1", "", "1"},
			want: answer{"POST", "i1", "", "null"}},
		{name: "a handler that leaves nothing to wait for is null", source: "exports.handler = () => { setTimeout(() => {}, 20); };",
			item: item{"i1", "", "1"}, want: answer{"POST", "i1", "", "null"}},
		{name: "a later callback", source: "exports.handler = (e, c, cb) => { setTimeout(() => cb(null, e + 1), 20); };",
			item: item{"i1", "", "1"}, want: answer{"POST", "i1", "", "2"}},
		{name: "the first of several ends", source: "exports.handler = (e, c, cb) => { cb(null, 1); cb(null, 2); c.fail('late'); throw new Error('late'); };",
			item: item{"i1", "", "1"}, want: answer{"POST", "i1", "", "1"}},
		{name: "context.succeed", source: "exports.handler = (e, c) => c.succeed('ä');", item: item{"i1", "", ""}, want: answer{"POST", "i1", "", `"ä"`}},
		{name: "context.done", source: "exports.handler = (e, c) => c.done(null, 5);", item: item{"i1", "", ""}, want: answer{"POST", "i1", "", "5"}},
		{name: "context.fail", source: "exports.handler = (e, c) => c.fail('no');", item: item{"i1", "", ""},
			want: answer{"POST", "i1", "Handled", `{"errorMessage":"no"}`}, log: "no"},
		{name: "context.fail without a cause", source: "exports.handler = (e, c) => c.fail(null);", item: item{"i1", "", ""},
			want: answer{"POST", "i1", "Handled", `{"errorMessage":null}`}},
		{name: "an error called back", source: "exports.handler = (e, c, cb) => { const x = new RangeError('far'); x.code = 'EFAR'; cb(x); };",
			item: item{"i1", "", ""}, want: answer{"POST", "i1", "Handled", `{"errorMessage":"far","errorType":"EFAR","stackTrace":["at `}, contains: true, log: "RangeError: far"},
		{name: "an error that is an object", source: "exports.handler = (e, c, cb) => cb({reason: 7});",
			item: item{"i1", "", ""}, want: answer{"POST", "i1", "Handled", `{"errorMessage":"{\"reason\":7}"}`}},
		{name: "an error that JSON cannot hold", source: "exports.handler = (e, c, cb) => { const x = {}; x.x = x; cb(x); };",
			item: item{"i1", "", ""}, want: answer{"POST", "i1", "Handled", `{"errorMessage":"[object Object]"}`}},
		{name: "an exception", source: "exports.handler = () => { throw new TypeError('bäd'); };",
			item: item{"i1", "", ""}, want: answer{"POST", "i1", "Handled", `{"errorMessage":"Failed to invoke handler: bäd","errorType":"TypeError","stackTrace":["at `}, contains: true, log: "TypeError: bäd"},
		{name: "an exception that is nothing", source: "exports.handler = () => { throw undefined; };",
			item: item{"i1", "", ""}, want: answer{"POST", "i1", "Handled", `{"errorMessage":"Failed to invoke handler: null"}`}},
		{name: "a promise", source: "exports.handler = (e) => new Promise((resolve) => setTimeout(() => resolve(e), 20));",
			item: item{"i1", "", "7"}, want: answer{"POST", "i1", "", "7"}},
		{name: "a promise that is broken", source: "exports.handler = () => Promise.reject(new Error('broken'));",
			item: item{"i1", "", "7"}, want: answer{"POST", "i1", "Handled", `{"errorMessage":"broken","errorType":"Error","stackTrace":["at `}, contains: true},
		{name: "a promise that nothing will keep is null", source: "exports.handler = () => new Promise(() => {});",
			item: item{"i1", "", "7"}, want: answer{"POST", "i1", "", "null"}},
		{name: "a result that JSON cannot hold is an error", source: "exports.handler = (e, c, cb) => { const x = {}; x.x = x; cb(null, x); };",
			item: item{"i1", "", "1"}, want: answer{"POST", "i1", "Handled", "circular"}, contains: true},
		{name: "binary bytes", source: "exports.handler = (e, c, cb) => cb(null, Buffer.concat([Buffer.from([0]), e]));", item: item{"i1", "", "\xff{"},
			environment: binary, want: answer{"POST", "i1", "", "\x00\xff{"}},
		{name: "binary text", source: "exports.handler = (e, c, cb) => cb(null, 'ä');", item: item{"i1", "", ""}, environment: binary, want: answer{"POST", "i1", "", "ä"}},
		{name: "a binary array", source: "exports.handler = (e, c, cb) => cb(null, new Uint16Array([258, 3]).subarray(1));", item: item{"i1", "", ""},
			environment: binary, want: answer{"POST", "i1", "", "\x03\x00"}},
		{name: "binary nothing", source: "exports.handler = (e, c, cb) => cb();", item: item{"i1", "", "x"}, environment: binary, want: answer{"POST", "i1", "", ""}},
		{name: "binary number is an error", source: "exports.handler = (e, c, cb) => cb(null, 7);", item: item{"i1", "", "x"}, environment: binary,
			want: answer{"POST", "i1", "Handled", "a Buffer or text, not number"}, contains: true},
	}
	for _, node := range nodes(t) {
		t.Run(version(t, node), func(t *testing.T) {
			t.Parallel()
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					core := newFakeCore(t)
					p := core.runNode(t, node, app(test.source), test.environment...)
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
					if log := p.out.String() + p.err.String(); !strings.Contains(log, test.log) || !strings.Contains(log, "lambda_nodejs_runtime.js:") ||
						!strings.Contains(log, ",Running ["+ownARN+"]") {
						t.Errorf("log lacks %q or the start line:\n%s", test.log, log)
					}
				})
			}
		})
	}
}

func TestNodeOutput(t *testing.T) {
	t.Parallel()
	const source = `
console.log('two', {w: 'örds'}); console.info('info'); console.debug('fine'); console.warn('careful'); console.error('wrong');
process.stdout.write('half a '); process.stdout.write('line\n'); process.stderr.write('raw');
console.log('first\nsecond'); console.assert(true, 'not said');
if (console.group) { console.group('group'); console.log('within'); console.groupEnd(); } else { console.log('group\n  within'); }
const GG = require('aws-greengrass-common-js');
const logger = new GG.logging.LocalWatchLogger();
logger.fatal('over %d', 1); logger.trace('detail');
console.log('x'.repeat(200000) + 'end');
exports.handler = (e, c, cb) => { cb(null, process.argv.slice(2)); };
`
	for _, node := range nodes(t) {
		t.Run(version(t, node), func(t *testing.T) {
			t.Parallel()
			core := newFakeCore(t)
			files := make(map[string]string)
			dir := t.TempDir()
			environment := []string{"LOG_LEVEL=DEBUG"}
			var open []*os.File
			for i, level := range []string{"DEBUG", "WARN", "FATAL", "TRACE"} {
				file, err := os.Create(filepath.Join(dir, level))
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				open = append(open, file)
				environment = append(environment, "_GG_LOG_FD_"+level+"="+string(rune('3'+i)))
			}
			files["app.js"] = source
			core.extra = open
			p := core.runNode(t, node, files, environment...)
			core.work <- item{"i1", "", ""}
			if got := core.next(t); got.body != `["--handler=app.handler","more"]` {
				t.Errorf("arguments %q", got)
			}
			if err := p.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			p.wait(t)
			log := map[string]string{"INFO": p.out.String(), "ERROR": p.err.String()}
			for _, level := range []string{"DEBUG", "WARN", "FATAL", "TRACE"} {
				text, err := os.ReadFile(filepath.Join(dir, level))
				if err != nil {
					t.Fatal(err)
				}
				log[level] = string(text)
			}
			for level, lines := range map[string][]string{
				"INFO": {"app.js:2,two { w: 'örds' }\n", "app.js:2,info\n", "app.js:3,half a line\n", "app.js:4,first\napp.js:4,second\n",
					"app.js:5,group\n", "app.js:5,  within\n", "xend\n"},
				"DEBUG": {"app.js:2,fine\n"}, "WARN": {"app.js:2,careful\n"}, "ERROR": {"app.js:2,wrong\n", "app.js:3,raw\n"}, "FATAL": {"app.js:8,over 1\n"},
			} {
				for _, line := range lines {
					if !strings.Contains(log[level], line) {
						t.Errorf("%s lacks %q:\n%.3000s", level, line, log[level])
					}
				}
			}
			if log["TRACE"] != "" || strings.Contains(log["INFO"], "not said") {
				t.Errorf("what was not to be logged was: %q", log["TRACE"])
			}
		})
	}
}

func TestNodeLife(t *testing.T) {
	t.Parallel()
	for _, node := range nodes(t) {
		t.Run(version(t, node), func(t *testing.T) {
			t.Parallel()

			t.Run("it goes on after an error, in the same process and over one connection", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				core.runNode(t, node, app("let n = 0; exports.handler = (e, c, cb) => { n++; if (e) throw new Error('no'); cb(null, n); };"))
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

			t.Run("a poll that fails is repeated", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				core.fail <- http.StatusServiceUnavailable
				core.fail <- http.StatusInternalServerError
				core.runNode(t, node, app("exports.handler = (e, c, cb) => cb(null, 1);"))
				core.work <- item{"i1", "", ""}
				if got := core.next(t); got.body != "1" {
					t.Errorf("got %q, want 1", got)
				}
			})

			t.Run("a kept connection that the core closed is replaced", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				// The handler holds up all else, so that the end of the connection is
				// not noticed before the answer goes out.
				core.runNode(t, node, app(`const fs = require('fs');
exports.handler = (e, c, cb) => { fs.writeFileSync(e.began, ''); while (!fs.existsSync(e.go)) {} cb(null, 1); };`))
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

			t.Run("a refused token ends it", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				p := core.runNode(t, node, app("exports.handler = () => {};"), "AWS_CONTAINER_AUTHORIZATION_TOKEN=Basic wrong")
				if status := p.wait(t); status != 1 {
					t.Errorf("status %d, want 1", status)
				}
				if !strings.Contains(p.err.String(), "Stopping because the core cannot be reached: HTTP Error 401") {
					t.Errorf("log:\n%s", p.err.String())
				}
			})

			sdk := map[string]string{"node_modules/aws-greengrass-core-sdk/index.js": "exports.GreengrassInterfaceVersion = '1.5';"}
			for _, test := range []struct{ name, source, version, want string }{
				{"a module that fails", "throw new Error('broken');", "1.5", `Failed to import handler function "app.handler" due to exception: broken`},
				{"a module with a syntax error", "{{", "1.5", `Failed to import handler function "app.handler" due to exception: Unexpected`},
				{"a module that lacks another", "require('left-pad');", "1.5", `due to exception: Cannot find module 'left-pad'`},
				{"a module without the function", "", "1.5", `Failed to import handler function "app.handler" due to exception: `},
				{"a handler that is no function", "exports.handler = 1;", "1.5", `is not a function`},
				{"an SDK that is too new", "exports.handler = () => {};", "1.4", "Failed to initialize Lambda runtime due to exception: the Greengrass Core SDK"},
				{"an SDK of another generation", "exports.handler = () => {};", "2.5", "incompatible"},
			} {
				t.Run("it does not start with "+test.name, func(t *testing.T) {
					t.Parallel()
					core := newFakeCore(t)
					files := app(test.source)
					for name, source := range sdk {
						files[name] = source
					}
					p := core.runNode(t, node, files, "GGC_MAX_INTERFACE_VERSION="+test.version)
					core.startFails(t, p, test.want)
				})
			}

			t.Run("an ES module runs, or is refused with the reason", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				core.runNode(t, node, map[string]string{"app.mjs": "import fs from 'fs';\nexport const handler = (e, c, cb) => cb(null, typeof fs.readFileSync);\n"})
				core.work <- item{"i1", "", ""}
				got := core.next(t)
				if v := major(t, node); v < 13 && !strings.Contains(got.body, "app.mjs is an ES module, which Node.js v") && got.body != `"function"` || v >= 13 && got.body != `"function"` {
					t.Errorf("got %q", got)
				}
			})

			t.Run("SIGTERM ends it although a timer goes on for ever", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				p := core.runNode(t, node, app("setInterval(() => {}, 10); process.on('exit', () => console.log('bye')); exports.handler = (e, c, cb) => cb(null, 1);"))
				core.work <- item{"i1", "", ""}
				core.next(t)
				if err := p.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				if status := p.wait(t); status != 0 || !strings.Contains(p.out.String(), "app.js:1,bye\n") {
					t.Errorf("status %d, want 0 and what its exit listener says:\n%s", status, p.out.String())
				}
			})

			t.Run("a function that handles SIGTERM itself ends by itself", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				p := core.runNode(t, node, app("process.on('SIGTERM', () => setTimeout(() => process.exit(5), 20)); exports.handler = (e, c, cb) => cb(null, 1);"))
				core.work <- item{"i1", "", ""}
				core.next(t)
				if err := p.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				if status := p.wait(t); status != 5 {
					t.Errorf("status %d, want 5", status)
				}
			})

			t.Run("SIGTERM ends code that never leaves the module level", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				ready := filepath.Join(t.TempDir(), "ready")
				p := core.runNode(t, node, app("require('fs').writeFileSync(process.env.READY, ''); for (;;) {}"), "READY="+ready)
				testkit.Until(t, "its code runs", func() bool { _, err := os.Stat(ready); return err == nil })
				if err := p.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				p.wait(t)
			})

			t.Run("process.exit in the handler ends it with that status", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				p := core.runNode(t, node, app("exports.handler = () => process.exit(7);"))
				core.work <- item{"i1", "", ""}
				if status := p.wait(t); status != 7 {
					t.Errorf("status %d, want 7", status)
				}
			})

			t.Run("an error that nobody catches ends it and is logged", func(t *testing.T) {
				t.Parallel()
				core := newFakeCore(t)
				p := core.runNode(t, node, app("exports.handler = () => { setTimeout(() => { throw new Error('uncaught'); }, 5); };"))
				core.work <- item{"i1", "", ""}
				if status := p.wait(t); status == 0 || !strings.Contains(p.err.String(), "Error: uncaught") {
					t.Errorf("status %d:\n%s", status, p.err.String())
				}
			})
		})
	}
}
