package lifecycle_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/testkit"
)

// onDemand makes a function one that is started when somebody calls.
func onDemand(f plan.Function) plan.Function {
	f.Pinned = false
	return f
}

func TestOnDemand(t *testing.T) {
	t.Parallel()
	t.Run("it starts when called, and is used again", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(onDemand(r.python("F", "import os\ncount = 0\ndef handler(e, c):\n    global count\n    count += 1\n    return count\n")))
		if got := r.workers("F"); len(got) != 0 {
			t.Errorf("running before anybody called: %v", got)
		}
		for want := 1; want <= 5; want++ {
			r.wantResult("F", "", fmt.Sprint(want))
		}
	})

	t.Run("several calls run side by side", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		// Each call waits until the files of both are there.
		r.apply(onDemand(r.python("F", `
import os, time
def handler(event, context):
    open(event["mine"], "w").close()
    while not os.path.exists(event["other"]):
        time.sleep(0.01)
    return os.getpid()
`)))
		dir := t.TempDir()
		var pids [2]string
		var wait sync.WaitGroup
		for i := range 2 {
			wait.Go(func() {
				got, err := r.tryInvoke("F", fmt.Sprintf(`{"mine": "%[1]s/%[2]d", "other": "%[1]s/%[3]d"}`, dir, i, 1-i))
				if err != nil || got.Error != invoke.Succeeded {
					t.Errorf("%v %s %s", err, got.Error, got.Payload)
				}
				pids[i] = string(got.Payload)
			})
		}
		wait.Wait()
		if pids[0] == pids[1] {
			t.Errorf("both ran in process %s", pids[0])
		}
	})

	t.Run("an idle process ends", func(t *testing.T) {
		t.Parallel()
		r := newSite(t, func(o *lifecycle.Options) { o.Idle = 10 * time.Millisecond })
		r.apply(onDemand(executable("F", t.TempDir(), "upper")))
		r.wantResult("F", "x", "X")
		testkit.Until(r.t, "no process is left", func() bool { return len(r.workers("F")) == 0 })
		r.wantResult("F", "y", "Y")
	})

	t.Run("at the limit, the process that idles longest gives way", func(t *testing.T) {
		t.Parallel()
		r := newSite(t, func(o *lifecycle.Options) { o.MaxConcurrent = 2 })
		r.apply(
			onDemand(executable("A", t.TempDir(), "upper")),
			onDemand(executable("B", t.TempDir(), "upper")),
			onDemand(executable("C", t.TempDir(), "upper")),
		)
		r.wantResult("A", "a", "A")
		r.pid("A", invoke.Waiting)
		r.wantResult("B", "b", "B")
		r.pid("B", invoke.Waiting)
		r.wantResult("C", "c", "C")
		if len(r.workers("A")) != 0 || len(r.workers("B")) != 1 || len(r.workers("C")) != 1 {
			t.Errorf("got %v", r.sup.Workers())
		}
	})

	t.Run("one that cannot start fails its calls after some attempts", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(onDemand(executable("F", t.TempDir(), "exit3")))
		got := r.invoke("F", "x")
		if got.Error != invoke.Unhandled || !strings.Contains(string(got.Payload), "failed to initialize with reason exited with status 3") {
			t.Errorf("got %s %s", got.Error, got.Payload)
		}
		if !strings.Contains(r.runtime.String(), "WorkItem reached max retry limit.") {
			t.Error("runtime.log does not say so")
		}
	})

	t.Run("one that never asks for work fails its calls", func(t *testing.T) {
		t.Parallel()
		r := newSite(t, func(o *lifecycle.Options) { o.InitTimeout = 50 * time.Millisecond })
		r.apply(onDemand(executable("F", t.TempDir(), "silent")))
		got := r.invoke("F", "x")
		if got.Error != invoke.Unhandled || !strings.Contains(string(got.Payload), "did not ask for work within 50ms") {
			t.Errorf("got %s %s", got.Error, got.Payload)
		}
	})
}
