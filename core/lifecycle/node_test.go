package lifecycle_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/testkit"
)

// nodeFolder is a folder with the machine's node in it and nothing else.
func nodeFolder(t *testing.T) string {
	t.Helper()
	real, err := exec.LookPath("/usr/bin/node")
	if err != nil {
		t.Skip("node is not installed in /usr/bin (Debian's package nodejs); install it to run this test")
	}
	dir := t.TempDir()
	if err := os.Symlink(real, filepath.Join(dir, "node")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// node is a function with a module app whose handler is named handler.
func (r *site) node(name, source string) plan.Function {
	r.t.Helper()
	f := function(name)
	f.Code, f.Handler, f.Runtime = sandbox.HostPath(r.t.TempDir()), "app.handler", "nodejs12.x"
	if err := os.WriteFile(string(f.Code.Join("app.js")), []byte(source), 0o644); err != nil {
		r.t.Fatal(err)
	}
	var missing *lifecycle.InterpreterMissingError
	for _, problem := range r.sup.Check(r.t.Context(), []plan.Function{f}) {
		if errors.As(problem, &missing) {
			r.t.Skip("node is not installed in /usr/bin or /usr/local/bin (Debian's package nodejs); install it to run this test:", problem)
		}
		r.t.Fatal(problem)
	}
	return f
}

func TestNode(t *testing.T) {
	t.Parallel()

	t.Run("many calls at once, to Python and back, share few connections", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		target := r.python("Doubler", "def handler(event, context):\n    return event * 2\n")
		r.apply(target, r.node("Caller", `
const IPCClient = require('aws-greengrass-ipc-sdk-js');
const ipc = new IPCClient(require('aws-greengrass-common-js').envVars.AUTH_TOKEN);
const call = (n) => new Promise((resolve, reject) => ipc.postWork('`+arn("Doubler")+`', String(n), '', 'RequestResponse', (err, id) =>
    err ? reject(err) : ipc.getWorkResult('`+arn("Doubler")+`', id, (err, body) => err ? reject(err) : resolve(Number(body)))));
exports.handler = (event) => Promise.all(Array.from({length: event}, (_, i) => call(i))).then((list) => list.reduce((a, b) => a + b, 0));
`))
		r.wantResult("Caller", "300", "89700")
	})

	t.Run("one that has no more memory for objects says so", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		f := r.node("F", "exports.handler = () => { for (const kept = []; ;) kept.push(new Array(512).fill(1)); };")
		f.Environment = map[string]string{"NODE_OPTIONS": "--max-old-space-size=32"}
		r.apply(f)
		if got := r.invoke("F", "1"); got.Error != invoke.Unhandled ||
			!strings.Contains(string(got.Payload), "aborted, as Node.js does when its objects need more memory than its interpreter takes for them") {
			t.Errorf("%s %s", got.Error, got.Payload)
		}
		for _, totals := range r.sup.Totals() {
			if totals.OutOfMemory != 1 || totals.Ungraceful != 0 {
				t.Errorf("counted %+v", totals)
			}
		}
	})

	t.Run("one that takes too long is ended, and runs again", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		f := r.node("F", "exports.handler = (e, c, cb) => { if (e) for (;;) {} cb(null, process.pid); };")
		f.Timeout = time.Second
		r.apply(f)
		before := r.invoke("F", "false")
		if got := r.invoke("F", "true"); got.Error != invoke.Unhandled || !strings.Contains(string(got.Payload), "timed out") {
			t.Errorf("got %s %s", got.Error, got.Payload)
		}
		if after := r.invoke("F", "false"); after.Error != invoke.Succeeded || string(after.Payload) == string(before.Payload) {
			t.Errorf("got %s %s, want another process than %s", after.Error, after.Payload, before.Payload)
		}
	})

	t.Run("an error that nobody catches is its caller's Unhandled", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(r.node("F", "exports.handler = (e, c, cb) => { setTimeout(() => { throw new Error('uncaught'); }, 1); };"))
		if got := r.invoke("F", ""); got.Error != invoke.Unhandled {
			t.Errorf("got %s %s", got.Error, got.Payload)
		}
		testkit.Until(r.t, "its log says why", func() bool { return strings.Contains(r.logs.String(), "Error: uncaught") })
	})

	t.Run("what it prints has levels and origins", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		f := r.node("F", "console.log('said');\nconsole.warn('careful');\nconsole.error('wrong');\nexports.handler = (e, c, cb) => cb();")
		r.apply(f)
		r.wantResult("F", "", "null")
		r.apply()
		log := r.logs.String()
		for _, want := range []string{"F INFO |app.js:1,said", "F WARN |app.js:2,careful", "F ERROR |app.js:3,wrong", "F INFO |lambda_nodejs_runtime.js:"} {
			if !strings.Contains(log, want) {
				t.Errorf("log lacks %q", want)
			}
		}
	})

	t.Run("one that cannot load says why, and one that never leaves the module level is alive", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(r.node("Broken", "throw new Error('no sensor');"), r.node("Looping", "console.log('looping'); for (;;) {}"))
		testkit.Until(r.t, "it loops", func() bool { return strings.Contains(r.logs.String(), "looping") })
		got, err := r.sup.WaitReady(t.Context(), 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		want := `it failed to initialize: Failed to import handler function "app.handler" due to exception: no sensor`
		if len(got) != 2 || got[0].State != lifecycle.Failed || got[0].Cause != want || got[1].State != lifecycle.Alive {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("the lists in its environment", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		f := r.node("F", "exports.handler = (e, c, cb) => cb(null, process.env.NODE_PATH);")
		f.Environment = map[string]string{"NODE_PATH": "/extra"}
		r.apply(f)
		code := string(f.Code)
		r.wantResult("F", "", `"`+code+"/:"+runtimeDir+"/nodejs/node_modules:"+code+`/node_modules:/extra"`)
	})
}
