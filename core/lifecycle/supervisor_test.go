package lifecycle_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/testkit"
)

func TestApply(t *testing.T) {
	t.Parallel()

	t.Run("only what changed is restarted", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		same := executable("Same", t.TempDir(), "upper")
		changed := executable("Changed", t.TempDir(), "upper")
		gone := executable("Gone", t.TempDir(), "upper")
		report := r.apply(same, changed, gone)
		if diff := cmp.Diff([]string{arn("Changed"), arn("Gone"), arn("Same")}, report.Started); diff != "" {
			t.Error(diff)
		}
		pids := map[string]string{}
		for _, name := range []string{"Same", "Changed", "Gone"} {
			pids[name] = r.pid(name, invoke.Waiting)
		}
		changed.Hash = "2"
		report = r.apply(same, changed, executable("New", t.TempDir(), "upper"))
		want := lifecycle.Report{
			Started: []string{arn("New")}, Stopped: []string{arn("Gone")},
			Restarted: []string{arn("Changed")}, Unchanged: []string{arn("Same")},
		}
		if diff := cmp.Diff(want, report); diff != "" {
			t.Error(diff)
		}
		if alive(pids["Gone"]) || alive(pids["Changed"]) {
			t.Error("a process that was to stop still runs after Apply")
		}
		if got := r.pid("Same", invoke.Waiting); got != pids["Same"] {
			t.Errorf("the unchanged function has process %s now, had %s", got, pids["Same"])
		}
		if got := r.pid("Changed", invoke.Waiting); got == pids["Changed"] {
			t.Error("the changed function has its old process")
		}
		r.wantResult("New", "x", "X")
		if _, err := r.tryInvoke("Gone", ""); !errors.Is(err, invoke.ErrNotFound) {
			t.Errorf("calling a removed function: %v, want not found", err)
		}
	})

	t.Run("what waits for a changed function reaches its new version", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		f := executable("F", t.TempDir(), "silent")
		r.apply(f)
		result := make(chan invoke.Outcome, 1)
		go func() {
			got, err := r.tryInvoke("F", "x")
			if err != nil {
				got.Payload = []byte(err.Error())
			}
			result <- got
		}()
		r.pid("F", invoke.Starting)
		f.Hash, f.Environment = "2", map[string]string{"FESCUE_TEST_MODE": "upper"}
		r.apply(f)
		if got := <-result; string(got.Payload) != "X" {
			t.Errorf("got %s %s, want X", got.Error, got.Payload)
		}
	})

	t.Run("what cannot run is reported, and the rest runs", func(t *testing.T) {
		t.Parallel()
		r := newSite(t, func(o *lifecycle.Options) { o.SearchPath = []string{t.TempDir()} })
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		with := func(name, runtime, handler string) plan.Function {
			f := function(name)
			f.Code, f.Runtime, f.Handler = sandbox.HostPath(dir), runtime, handler
			return f
		}
		noDir := with("NoDir", "python3.8", "a.b")
		noDir.Code = noDir.Code.Join("missing")
		functions := []plan.Function{
			executable("Good", dir, "upper"), noDir,
			with("Java", "java8", "a.B::c"), with("Ruby", "ruby2.5", "a.b"), with("Node", "nodejs12.x", "a.b"), with("Python", "python3.8", "a.b"),
			with("Python2", "python2.7", "a.b"), with("Python4", "python4.0", "a.b"),
			with("NoFile", fescue.ExecutableRuntime, "missing"), with("NoExec", fescue.ExecutableRuntime, "plain"),
			with("Outside", fescue.ExecutableRuntime, "../../../bin/sh"), with("Dir", fescue.ExecutableRuntime, "."),
		}
		report := r.apply(functions...)
		got := map[string]string{}
		for _, problem := range report.Problems {
			var unsupported *lifecycle.UnsupportedRuntimeError
			var missing *lifecycle.InterpreterMissingError
			var code *lifecycle.CodeError
			kind := "other"
			switch {
			case errors.As(problem, &unsupported):
				kind = "unsupported"
			case errors.As(problem, &missing):
				kind = "missing"
			case errors.As(problem, &code):
				kind = "code"
			}
			got[problem.ARN] = kind
		}
		want := map[string]string{
			arn("NoDir"): "code", arn("Java"): "missing", arn("Ruby"): "unsupported", arn("Node"): "missing",
			arn("Python"): "missing", arn("Python2"): "missing", arn("Python4"): "unsupported",
			arn("NoFile"): "code", arn("NoExec"): "code", arn("Outside"): "code", arn("Dir"): "code",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if len(r.sup.Check(t.Context(), functions)) != len(want) {
			t.Error("Check does not agree with Apply")
		}
		r.wantResult("Good", "x", "X")
		if got := r.invoke("Ruby", ""); got.Error != invoke.Unhandled || !strings.Contains(string(got.Payload), "ruby2.5 is not supported") {
			t.Errorf("calling it: %s %s", got.Error, got.Payload)
		}
	})

	t.Run("a newer Node.js takes over, with one warning", func(t *testing.T) {
		t.Parallel()
		r := newSite(t, func(o *lifecycle.Options) { o.SearchPath = []string{nodeFolder(t)} })
		functions := []plan.Function{
			r.node("One", "exports.handler = (e, c, cb) => cb(null, 1);"), r.node("Two", "exports.handler = (e, c, cb) => cb(null, 2);"),
		}
		for i := range functions {
			functions[i].Runtime = "nodejs6.10"
		}
		r.apply(functions...)
		r.wantResult("One", "", "1")
		r.wantResult("Two", "", "2")
		log := r.runtime.String()
		if strings.Count(log, "runtime=nodejs6.10 installed=") != 1 || !strings.Contains(log, "another Node.js runs its functions") {
			t.Errorf("want one warning that names both versions in:\n%s", log)
		}
		future := functions[0]
		future.Runtime = "nodejs99.x"
		problems := r.sup.Check(t.Context(), []plan.Function{future})
		var missing *lifecycle.InterpreterMissingError
		if len(problems) != 1 || !errors.As(problems[0], &missing) || !strings.Contains(missing.Error(), "cannot find executable nodejs99.x") ||
			!strings.Contains(missing.Error(), "apt-get install nodejs") {
			t.Errorf("an older Node.js would run it: %v", problems)
		}
	})

	t.Run("the very version is taken, wherever it is", func(t *testing.T) {
		t.Parallel()
		folder := nodeFolder(t)
		said, err := exec.Command(filepath.Join(folder, "node"), "--version").Output()
		if err != nil {
			t.Fatal(err)
		}
		major, _, _ := strings.Cut(strings.TrimPrefix(string(said), "v"), ".")
		newer := t.TempDir()
		if err := os.WriteFile(filepath.Join(newer, "node"), []byte("#!/bin/sh\necho v999.0.0\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		r := newSite(t, func(o *lifecycle.Options) { o.SearchPath = []string{newer, folder} })
		f := r.node("F", "exports.handler = (e, c, cb) => cb(null, process.execPath);")
		f.Runtime = "nodejs" + major + ".x"
		r.apply(f)
		if got := r.invoke("F", ""); got.Error != invoke.Succeeded {
			t.Errorf("%s %s", got.Error, got.Payload)
		}
		if log := r.runtime.String(); strings.Contains(log, "runtime="+f.Runtime+" installed=") {
			t.Errorf("it is said not to be installed:\n%s", log)
		}
	})

	t.Run("another Python 3 takes over, with one warning", func(t *testing.T) {
		t.Parallel()
		real, err := exec.LookPath("/usr/bin/python3")
		if err != nil {
			t.Skip("python3 is not installed in /usr/bin; install it to run this test")
		}
		dir := t.TempDir()
		if err := os.Symlink(real, filepath.Join(dir, "python3")); err != nil {
			t.Fatal(err)
		}
		// A version switcher's stub: there, but not working.
		if err := os.WriteFile(filepath.Join(dir, "python3.1"), []byte("#!/bin/sh\nexit 127\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		r := newSite(t, func(o *lifecycle.Options) { o.SearchPath = []string{dir} })
		one := r.python("One", "def handler(e, c):\n    return 1\n")
		two := r.python("Two", "def handler(e, c):\n    return 2\n")
		one.Runtime, two.Runtime = "python3.1", "python3.1"
		r.apply(one, two)
		r.wantResult("One", "", "1")
		r.wantResult("Two", "", "2")
		log := r.runtime.String()
		if strings.Count(log, "runtime=python3.1 installed=3.") != 1 {
			t.Errorf("want one warning that names both versions in:\n%s", log)
		}
	})
}

// TestInterpretersThatComeAndGo: a folder in which nothing changed for long is remembered.
func TestInterpretersThatComeAndGo(t *testing.T) {
	t.Parallel()
	const real = "/usr/bin/python3"
	if _, err := exec.LookPath(real); err != nil {
		t.Skip("python3 is not installed in /usr/bin; install it to run this test")
	}
	dir := t.TempDir()
	r := newSite(t, func(o *lifecycle.Options) { o.SearchPath = []string{filepath.Join(dir, "none"), dir} })
	changed := time.Now().Add(-time.Hour)
	for _, step := range []struct {
		name   string
		change func() error
		want   string
	}{
		{"none", func() error { return nil }, ""},
		{"one comes", func() error { return os.Symlink(real, filepath.Join(dir, "python3.1")) }, "python3.1"},
		{"a better one comes", func() error { return os.Symlink(real, filepath.Join(dir, "python3.12")) }, "python3.12"},
		{"one comes whose name holds no number", func() error { return os.Symlink(real, filepath.Join(dir, "python3")) }, "python3"},
		{"that one goes", func() error { return os.Remove(filepath.Join(dir, "python3")) }, "python3.12"},
		{"the better one goes", func() error { return os.Remove(filepath.Join(dir, "python3.12")) }, "python3.1"},
		{"the last goes", func() error { return os.Remove(filepath.Join(dir, "python3.1")) }, ""},
		{"another folder of the same time takes its place", func() error {
			changed = changed.Add(-time.Minute)
			return errors.Join(os.Rename(dir, dir+".old"), os.Mkdir(dir, 0o755), os.Symlink(real, filepath.Join(dir, "python3.2")))
		}, "python3.2"},
	} {
		err := step.change()
		changed = changed.Add(time.Minute)
		if err := errors.Join(err, os.Chtimes(dir, changed, changed)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			got := ""
			for _, found := range r.sup.Interpreters(t.Context()) {
				got += filepath.Base(found.Path)
			}
			if got != step.want {
				t.Errorf("%s: found %q, want %q", step.name, got, step.want)
			}
		}
	}
}

func TestWaitReady(t *testing.T) {
	t.Parallel()

	t.Run("it ends as soon as all are decided, and says how", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(
			executable("Ready", t.TempDir(), "upper"),
			executable("Exit", t.TempDir(), "exit3"),
			r.python("Broken", "print('before')\nraise Exception('no sensor')\n"),
		)
		// The first that fails ends the wait for others.
		testkit.Until(t, "Broken failed", func() bool { return strings.Contains(r.runtime.String(), "no sensor") })
		r.pid("Ready", invoke.Waiting)
		got, err := r.sup.WaitReady(t.Context(), 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		find := func(name string) lifecycle.Started {
			for _, each := range got {
				if each.ARN == arn(name) {
					return each
				}
			}
			t.Fatalf("nothing about %s", name)
			return lifecycle.Started{}
		}
		if got := find("Ready"); got.State != lifecycle.Ready {
			t.Errorf("Ready: %+v", got)
		}
		exit := find("Exit")
		if exit.State != lifecycle.Failed || exit.Cause != `exited with status 3 after it wrote "giving up"` {
			t.Errorf("Exit: %+v", exit)
		}
		if len(exit.Log) == 0 || exit.Log[0].Text != "giving up" || exit.Log[0].Level != "ERROR" {
			t.Errorf("Exit's last lines: %+v", exit.Log)
		}
		broken := find("Broken")
		if broken.State != lifecycle.Failed || !strings.Contains(broken.Cause, "no sensor") {
			t.Errorf("Broken: %+v", broken)
		}
		if !strings.Contains(r.runtime.String(), "failed to initialize with reason Failed to import handler function") {
			t.Error("runtime.log does not say why the function failed to initialize")
		}
	})

	t.Run("it does not wait for the others once one has failed", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		onDemand := executable("Missing", t.TempDir(), "upper")
		onDemand.Handler, onDemand.Pinned = "nothing", false
		for name, failing := range map[string]plan.Function{
			"a process that ends":           executable("Exit", t.TempDir(), "exit3"),
			"a function that cannot be run": onDemand,
		} {
			looping := r.python("Looping", "import time\nprint('looping')\nwhile True:\n    time.sleep(1)\n")
			r.apply(failing, looping)
			begin := time.Now()
			got, err := r.sup.WaitReady(t.Context(), 10*time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("%s: it took %v", name, took)
			}
			var failed []string
			for _, each := range got {
				if each.State == lifecycle.Failed {
					failed = append(failed, each.ARN)
				}
			}
			if diff := cmp.Diff([]string{failing.ARN}, failed); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			r.apply()
		}
	})

	t.Run("of a reason with a traceback one sentence counts, and its log has all", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(r.python("Wordy", `
import os
from greengrass_ipc_python_sdk.ipc_client import IPCClient
ipc = IPCClient()
reason = 'Traceback (most recent call last):\n  File "app.py", line 7\n' + '    at it\n' * 50000 + 'KeyError: no sensor\n'
for n in range(20):
    ipc.put_initialization_result(os.environ['MY_FUNCTION_ARN'], reason)
os._exit(4)
`))
		got, err := r.sup.WaitReady(t.Context(), 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || !strings.HasPrefix(got[0].Cause, "it failed to initialize: KeyError: no sensor") {
			t.Errorf("got %.2000v", got)
		}
		r.apply()
		log := r.runtime.String()
		if n := strings.Count(log, "failed to initialize with reason KeyError: no sensor"); n == 0 || n > strings.Count(log, "A function's process started.") {
			t.Errorf("the reason stands in runtime.log %d times:\n%.2000s", n, log)
		}
		if strings.Contains(log, "at it") || len(log) > 100<<10 {
			t.Errorf("runtime.log has %d bytes: %.2000s", len(log), log)
		}
		if own := r.logs.String(); !strings.Contains(own, `ERROR initialized|  File "app.py", line 7`) ||
			!strings.Contains(own, "ERROR initialized|KeyError: no sensor") || len(own) > 1<<20 {
			t.Errorf("the function's log lacks the traceback: %.2000s", r.logs)
		}
	})

	t.Run("at the bound, what runs is alive", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(
			executable("Silent", t.TempDir(), "silent"),
			r.python("Looping", "import time\nprint('looping')\nwhile True:\n    time.sleep(1)\n"),
		)
		testkit.Until(r.t, "both have spoken", func() bool {
			return strings.Contains(r.logs.String(), "looping") && strings.Contains(r.logs.String(), "speaking")
		})
		got, err := r.sup.WaitReady(t.Context(), time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || got[0].State != lifecycle.Alive || got[1].State != lifecycle.Alive {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("it asks only for what the last Apply started", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		old := executable("Old", t.TempDir(), "silent")
		r.apply(old)
		r.apply(old, executable("New", t.TempDir(), "upper"))
		got, err := r.sup.WaitReady(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].ARN != arn("New") {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("it heeds its context", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(executable("Silent", t.TempDir(), "silent"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.sup.WaitReady(ctx, time.Hour); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}
