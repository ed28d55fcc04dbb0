package lifecycle_test

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/testkit"
)

func TestStopping(t *testing.T) {
	t.Parallel()

	t.Run("SIGTERM lets a function end by itself", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(r.python("Polite", "import atexit\natexit.register(lambda: print('bye'))\ndef handler(e, c):\n    pass\n"))
		r.pid("Polite", invoke.Waiting)
		r.apply()
		if !strings.Contains(r.logs.String(), ",bye") {
			t.Errorf("the function could not say goodbye: %s", r.logs)
		}
		if !strings.Contains(r.runtime.String(), "exited with status 0") {
			t.Error("it did not end with status 0")
		}
	})

	t.Run("SIGKILL ends one that ignores it", func(t *testing.T) {
		t.Parallel()
		r := newSite(t, func(o *lifecycle.Options) { o.StopGrace = 50 * time.Millisecond })
		r.apply(executable("Stubborn", t.TempDir(), "stubborn"))
		testkit.Until(r.t, "it ignores SIGTERM", func() bool { return strings.Contains(r.logs.String(), "speaking") })
		pid := r.pid("Stubborn", invoke.Starting)
		r.apply()
		if alive(pid) {
			t.Error("it is still there")
		}
		if !strings.Contains(r.runtime.String(), "did not end after SIGTERM") {
			t.Error("runtime.log does not say so")
		}
	})

	t.Run("children go with their function", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(executable("Parent", t.TempDir(), "parent"))
		var child string
		testkit.Until(r.t, "the child runs", func() bool {
			for _, line := range r.sup.Tail(arn("Parent")) {
				child = strings.TrimPrefix(line.Text, "child ")
			}
			return child != ""
		})
		r.apply()
		testkit.Until(r.t, "the child is gone", func() bool { return !alive(child) })
	})

	t.Run("a shutdown that takes too long kills, and nothing starts after it", func(t *testing.T) {
		t.Parallel()
		r := newSite(t, func(o *lifecycle.Options) { o.StopGrace = time.Hour })
		r.apply(executable("Stubborn", t.TempDir(), "stubborn"))
		testkit.Until(r.t, "it ignores SIGTERM", func() bool { return strings.Contains(r.logs.String(), "speaking") })
		pid := r.pid("Stubborn", invoke.Starting)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := r.sup.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if alive(pid) {
			t.Error("it is still there")
		}
		if _, err := r.sup.Apply(t.Context(), nil); !errors.Is(err, invoke.ErrShuttingDown) {
			t.Errorf("Apply after Shutdown: %v", err)
		}
		if _, err := r.tryInvoke("Stubborn", ""); !errors.Is(err, invoke.ErrShuttingDown) {
			t.Errorf("Invoke after Shutdown: %v", err)
		}
	})

	t.Run("nothing survives a core that is killed", func(t *testing.T) {
		t.Parallel()
		dir, folder := t.TempDir(), t.TempDir()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		core := exec.Command(self)
		core.Dir = dir
		core.Env = append(os.Environ(), "FESCUE_TEST_MODE=core", "FESCUE_TEST_SANDBOX="+folder)
		out, err := core.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := core.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		pids := strings.Fields(line)
		killErr := core.Process.Kill()
		_ = core.Wait()
		if err != nil || killErr != nil || len(pids) != 3 {
			t.Fatalf("the core said %q, %v, %v", line, err, killErr)
		}
		r := newSite(t)
		testkit.Until(r.t, "the functions are gone", func() bool { return !alive(pids[0]) && !alive(pids[1]) })
		if !alive(pids[2]) {
			t.Log("the grandchild is gone already")
		}
		box, err := sandbox.Open(sandbox.Options{Folder: folder, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer box.Close()
		testkit.Until(r.t, "the grandchild is gone", func() bool { return !alive(pids[2]) })
	})
}
