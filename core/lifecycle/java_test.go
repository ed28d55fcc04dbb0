package lifecycle_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/standin"
)

// java is a function of a class App whose handler is named handle.
func (r *site) java(name, source string) plan.Function {
	r.t.Helper()
	if _, err := exec.LookPath("/usr/bin/java"); err != nil {
		r.t.Skip("java is not installed in /usr/bin (Debian's package default-jre-headless); install it to run this test")
	}
	f := function(name)
	f.Code, f.Handler, f.Runtime = sandbox.HostPath(r.t.TempDir()), "App::handle", "java8"
	standin.Write(r.t, string(f.Code), standin.Java(r.t, runtimeDir, map[string]string{"App.java": source}))
	return f
}

func TestJava(t *testing.T) {
	t.Parallel()

	t.Run("a newer one takes over, with one warning", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		f := r.java("F", "public class App { public String handle() { return System.getProperty(\"java.class.path\"); } }")
		r.apply(f)
		code := string(f.Code)
		r.wantResult("F", "", `"`+runtimeDir+"/java/greengrass-runtime.jar:"+code+":"+code+`/lib/sdk.jar"`)
		log := r.runtime.String()
		if strings.Count(log, "runtime=java8 installed=") != 1 || !strings.Contains(log, "another Java runs its functions") {
			t.Errorf("want one warning that names both versions in:\n%s", log)
		}
	})

	t.Run("where there is none, what to install", func(t *testing.T) {
		t.Parallel()
		r := newSite(t, func(o *lifecycle.Options) { o.SearchPath = []string{t.TempDir()} })
		f := function("F")
		f.Code, f.Handler, f.Runtime = sandbox.HostPath(t.TempDir()), "App::handle", "java8"
		problems := r.sup.Check(t.Context(), []plan.Function{f})
		var missing *lifecycle.InterpreterMissingError
		if len(problems) != 1 || !errors.As(problems[0], &missing) || !strings.Contains(missing.Error(), "cannot find executable java8") ||
			!strings.Contains(missing.Error(), "apt-get install default-jre-headless") {
			t.Errorf("got %v", problems)
		}
	})

	t.Run("one that has no more memory for objects says so", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		f := r.java("F", `public class App {
			public void handle() {
				java.util.List<byte[]> kept = new java.util.ArrayList<>();
				while (true) kept.add(new byte[1 << 20]);
			}
		}`)
		f.Environment = map[string]string{"JAVA_TOOL_OPTIONS": "-Xmx24m"}
		r.apply(f)
		if got := r.invoke("F", ""); got.Error != invoke.Unhandled || !strings.Contains(string(got.Payload), "its objects need more memory than its interpreter takes for them") {
			t.Errorf("%s %s", got.Error, got.Payload)
		}
		for _, totals := range r.sup.Totals() {
			if totals.OutOfMemory != 1 || totals.Ungraceful != 0 {
				t.Errorf("counted %+v", totals)
			}
		}
	})

	t.Run("one that cannot load says why, and one that never leaves its static block is alive", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(r.java("Broken", "public class App { static { if (true) throw new RuntimeException(\"no sensor\"); } public void handle() { } }"),
			r.java("Looping", "public class App { static { System.out.println(\"looping\"); boolean on = true; while (on) { } } public void handle() { } }"))
		testkit.Until(t, "it loops", func() bool { return strings.Contains(r.logs.String(), "looping") })
		got, err := r.sup.WaitReady(t.Context(), 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		want := `it failed to initialize: Failed to import handler function "App::handle" due to exception: no sensor`
		if len(got) != 2 || got[0].State != lifecycle.Failed || got[0].Cause != want || got[1].State != lifecycle.Alive {
			t.Errorf("got %+v", got)
		}
	})
}
