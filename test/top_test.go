//go:build linux

package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/fescue-edge/fescue"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// worker does what its event names: fails, sleeps, ends.
const worker = greeter + `
import time
def handler(event, context):
    if event.get("fail"):
        raise ValueError("told to")
    time.sleep(event.get("sleep", 0))
    publish("done")
`

// TestTop: what a core does is shown in its own words.
func TestTop(t *testing.T) {
	t.Parallel()
	needPython(t)
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")
	groups := make(map[string]string)
	var g *gateway
	var pinned, idle string
	for _, thing := range []string{"Top_Core_A", "Top_Core_B"} {
		g = h.provision(t, thing)
		viewer.subscribe(t, thing+"/out")
		g.run(t)
		pinned, idle = h.python(t, thing+"_Pinned", worker), h.python(t, thing+"_Idle", worker)
		group, version := g.groupVersion(t, "", []function{{arn: pinned, pinned: true, variables: out(thing, "pinned")}, {arn: idle, variables: out(thing, "idle")}},
			[]route{{pinned, thing + "/out", "cloud"}, {"cloud", thing + "/do", pinned}})
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		groups[thing] = group
		viewer.next(t, "started pinned")
	}
	thing, group := "Top_Core_B", groups["Top_Core_B"]
	top := func(t *testing.T) ownapi.GroupActivity {
		t.Helper()
		out, errs, code := programIn(t, h.environment(), fescueBin, "top", "--group", group, "--once", "--json")
		var a ownapi.GroupActivity
		if err := json.Unmarshal([]byte(out), &a); err != nil || code != 0 {
			t.Fatalf("%d %v\n%s%s", code, err, out, errs)
		}
		return a
	}
	of := func(t *testing.T, arn string) corelink.FunctionActivity {
		t.Helper()
		a := top(t)
		for _, f := range a.Activity.Functions {
			if f.ARN == arn {
				return f
			}
		}
		t.Fatalf("%s is not listed: %+v", arn, a.Activity)
		return corelink.FunctionActivity{}
	}
	t.Run("processes and their memory", func(t *testing.T) {
		a := top(t)
		if a.Core.ThingName != thing || a.Activity.MemoryKB < 1024 || len(a.Activity.Functions) != 2 || a.Activity.Since.After(a.Activity.At) {
			t.Errorf("%+v", a)
		}
		f := of(t, pinned)
		if len(f.Workers) != 1 || f.Workers[0].State != "Waiting" || f.Workers[0].MemoryKB < 1024 || f.Restarts+f.Errors+f.Timeouts != 0 {
			t.Errorf("%+v", f)
		}
		if f := of(t, idle); len(f.Workers) != 0 || f.Pinned {
			t.Errorf("%+v", f)
		}
	})
	t.Run("queues, failures and restarts", func(t *testing.T) {
		for _, payload := range []string{`{"fail":1}`, `{"sleep":50}`, `{}`, `{}`} {
			await(t, "publish", viewer.Publish(thing+"/do", 1, false, payload))
		}
		eventually(t, "calls wait", func() error {
			if f := of(t, pinned); f.Queued != 2 || f.Errors != 1 || len(f.Workers) != 1 || f.Workers[0].State != "Working" {
				return fmt.Errorf("%+v", f)
			}
			return nil
		})
		before := of(t, pinned).Workers[0]
		if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "another process", func() error {
			if f := of(t, pinned); f.Restarts != 1 || len(f.Workers) != 1 || f.Workers[0].ID == before.ID {
				return fmt.Errorf("%+v", f)
			}
			return nil
		})
	})
	t.Run("for people", func(t *testing.T) {
		out, errs, code := programIn(t, h.environment(), fescueBin, "top", "--group", thing, "--once")
		if code != 0 || !strings.Contains(out, "FUNCTION ") || !strings.Contains(out, thing+"_Pinned:1 ") || strings.Contains(out, "\x1b") {
			t.Errorf("%d %s\n%s", code, errs, out)
		}
		t.Log("\n" + out)
	})
	t.Run("a core that is away", func(t *testing.T) {
		g.process.Kill()
		eventually(t, "it is reported", func() error {
			out, errs, code := programIn(t, h.environment(), fescueBin, "top", "--group", group, "--once")
			if code != 3 || !strings.Contains(out, "is offline") && !strings.Contains(out, "did not answer") || !strings.Contains(errs, "the core reported nothing") {
				return fmt.Errorf("%d %s%s", code, out, errs)
			}
			return nil
		})
		if out, _, code := programIn(t, h.environment(), fescueBin, "top", "--group", "Top_Core_A", "--once"); code != 0 || !strings.Contains(out, "Top_Core_A_Pinned:1") {
			t.Errorf("the other core: %d\n%s", code, out)
		}
	})
}
