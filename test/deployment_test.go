//go:build linux

package test

import (
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
)

// needPython skips where there is no interpreter; .ci/run installs one and fails
// on the skip.
func needPython(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
}

// greeter publishes at import, and answers invocations by publishing them.
const greeter = `
import base64, json, os
from greengrass_common.env_vars import MY_FUNCTION_ARN, ROUTER_FUNCTION_ARN
from greengrass_ipc_python_sdk.ipc_client import IPCClient

ipc = IPCClient()

def publish(payload):
    context = {"custom": {"source": MY_FUNCTION_ARN, "subject": os.environ["OUT"]}}
    ipc.post_work(ROUTER_FUNCTION_ARN, payload.encode(), base64.b64encode(json.dumps(context).encode()), "Event")

publish("started %s pid=%d" % (os.environ.get("TAG"), os.getpid()))

def handler(event, context):
    publish("echo %s from %s" % (json.dumps(event), context.client_context.custom["subject"]))
`

// echo publishes the executable function.
func (h *site) echo(t testing.TB, name string) string {
	t.Helper()
	code := readFile(t, echoBin)
	return h.publish(t, name, fescue.ExecutableRuntime, "echo", zipOf(t, map[string][]byte{"echo": code}))
}

// ends are the two directions between a function and the cloud.
func ends(arn, thing string) []route {
	return []route{{arn, thing + "/out", "cloud"}, {"cloud", thing + "/in/#", arn}}
}

func out(thing, tag string) map[string]string {
	return map[string]string{"OUT": thing + "/out", "TAG": tag}
}

func TestDeployment(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")

	t.Run("a Python function runs, speaks and is spoken to", func(t *testing.T) {
		needPython(t)
		g := h.provision(t, "Python_Core")
		viewer.subscribe(t, "Python_Core/out")
		g.run(t)
		arn := h.python(t, "Greeter", greeter)
		group, version := g.groupVersion(t, "", []function{{arn: arn, pinned: true, variables: out(g.thing, "python")}}, ends(arn, g.thing))
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		viewer.next(t, "started python")
		await(t, "publish", viewer.Publish("Python_Core/in/x", 1, false, `{"a":1}`))
		viewer.next(t, `echo {"a": 1} from Python_Core/in/x`)
	})

	t.Run("an executable runs, speaks and is spoken to", func(t *testing.T) {
		g := h.provision(t, "Executable_Core")
		viewer.subscribe(t, "Executable_Core/out")
		g.run(t)
		arn := h.echo(t, "Echo")
		group, version := g.groupVersion(t, "", []function{
			{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "binary")},
		}, ends(arn, g.thing))
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		viewer.next(t, "started binary")
		await(t, "publish", viewer.Publish("Executable_Core/in", 1, false, "no match for in/#"))
		await(t, "publish", viewer.Publish("Executable_Core/in/x", 1, false, "ping"))
		viewer.next(t, "echo ping")
	})

	t.Run("a message goes from function to function", func(t *testing.T) {
		g := h.provision(t, "Chain_Core")
		viewer.subscribe(t, "Chain_Core/out")
		g.run(t)
		first, last := h.echo(t, "First"), h.echo(t, "Last")
		group, version := g.groupVersion(t, "", []function{
			{arn: first, pinned: true, encoding: types.EncodingTypeBinary, variables: map[string]string{"OUT": "between/a", "TAG": "first"}},
			{arn: last, encoding: types.EncodingTypeBinary, variables: out(g.thing, "last")}, // on demand
		}, []route{{first, "between/+", last}, {last, "Chain_Core/out", "cloud"}})
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		viewer.next(t, "echo started first")
	})

	t.Run("each function handles a message once, whatever filters overlap", func(t *testing.T) {
		g := h.provision(t, "Overlap_Core")
		listener := h.connect(t, "Listener")
		listener.subscribe(t, "Overlap_Core/out/+")
		g.run(t)
		first, second := h.echo(t, "OverlapFirst"), h.echo(t, "OverlapSecond")
		speaking := func(arn, name string) function {
			return function{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: map[string]string{"OUT": "Overlap_Core/out/" + name, "TAG": name}}
		}
		group, version := g.groupVersion(t, "", []function{speaking(first, "first"), speaking(second, "second")}, []route{
			{"cloud", "Overlap_Core/in/job", first}, {"cloud", "Overlap_Core/+/job", first}, {"cloud", "Overlap_Core/in/#", second},
			{"cloud", "Overlap_Core/in/end", first}, {first, "Overlap_Core/out/#", "cloud"}, {second, "Overlap_Core/out/#", "cloud"},
		})
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		for _, name := range []string{"job", "end"} { // the subscriptions are there
			listener.ask(t, "Overlap_Core/in/"+name, "ready "+name, "echo ready "+name)
		}
		got := map[string]int{}
		// Topics may overtake each other, so every round is waited for.
		for _, payload := range []string{"1", "2", "3", "end"} {
			for _, name := range []string{"job", "end"} {
				await(t, "publish", listener.Publish("Overlap_Core/in/"+name, 1, false, name+" "+payload))
			}
			for done := false; !done; {
				select {
				case m := <-listener.messages:
					got[path.Base(m.Topic())+" "+string(m.Payload())]++
				case <-time.After(patience):
					t.Fatalf("got %v", got)
				}
				done = true
				for _, function := range []string{"first", "second"} {
					done = done && got[function+" echo job "+payload] > 0 && got[function+" echo end "+payload] > 0
				}
			}
		}
		for what, n := range got {
			if n != 1 && !strings.Contains(what, "ready") {
				t.Errorf("%s: %d times", what, n)
			}
		}
	})

	t.Run("a core that starts later takes the deployment", func(t *testing.T) {
		g := h.provision(t, "Late_Core")
		arn := h.echo(t, "Late")
		group, version := g.groupVersion(t, "", []function{
			{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "late")},
		}, ends(arn, g.thing))
		deployment := h.deploy(t, group, version)
		h.await(t, group, deployment, fescue.InProgress)
		g.run(t)
		h.await(t, group, deployment, fescue.Success)
	})

	t.Run("a restarted core runs what was deployed", func(t *testing.T) {
		g := h.provision(t, "Again_Core")
		viewer.subscribe(t, "Again_Core/out")
		g.run(t)
		arn := h.echo(t, "Again")
		group, version := g.groupVersion(t, "", []function{
			{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "again")},
		}, ends(arn, g.thing))
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		viewer.next(t, "started again")
		g.process.Kill()
		g.process = start(t, nil, "core", "--root", g.root) // the operator's program runs cores too
		viewer.next(t, "started again")
	})

	t.Run("a newer deployment takes the place of an unclaimed one", func(t *testing.T) {
		g := h.provision(t, "Superseded_Core")
		arn := h.echo(t, "Superseded")
		group, version := g.groupVersion(t, "", []function{
			{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "x")},
		}, ends(arn, g.thing))
		first := h.deploy(t, group, version)
		h.await(t, group, first, fescue.InProgress)
		second := h.deploy(t, group, version)
		status := h.await(t, group, first, fescue.Failure)
		if got := details(status); !strings.Contains(got, string(fescue.DeploymentSuperseded)) || !strings.Contains(got, second) {
			t.Errorf("details %q do not name the newer deployment %s", got, second)
		}
		g.run(t)
		h.await(t, group, second, fescue.Success)
	})
}

func TestDeploymentFailures(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")

	t.Run("every problem of the group is reported at once", func(t *testing.T) {
		g := h.provision(t, "Broken_Core")
		other := h.provision(t, "Other_Core")
		g.certARN = other.certARN // not attached to Broken_Core
		arn := h.echo(t, "Present")
		missing := arn + "7"
		group, version := g.groupVersion(t, "", []function{{arn: missing, encoding: types.EncodingTypeBinary}}, []route{{arn, "a", "cloud"}})
		status := h.await(t, group, h.deploy(t, group, version), fescue.Failure)
		for _, code := range []fescue.FailureCode{fescue.ThingCertNotFound, fescue.FunctionNotFound, fescue.EndpointNotFound} {
			if !strings.Contains(details(status), string(code)) {
				t.Errorf("no detail %s in %q", code, details(status))
			}
		}
		if want := "We cannot deploy because the group definition is invalid or corrupted"; !strings.HasPrefix(*status.ErrorMessage, want) {
			t.Errorf("message %q does not begin with %q", *status.ErrorMessage, want)
		}
	})

	t.Run("a function that crashes at its start brings the version before back", func(t *testing.T) {
		needPython(t)
		g := h.provision(t, "Rollback_Core")
		viewer.subscribe(t, "Rollback_Core/out")
		g.run(t)
		good := h.python(t, "Steady", greeter)
		group, version := g.groupVersion(t, "", []function{{arn: good, pinned: true, variables: out(g.thing, "good")}}, ends(good, g.thing))
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		viewer.next(t, "started good")
		bad := h.python(t, "Steady", "raise RuntimeError('no such sensor')")
		// This one would be waited for until the health bound, 30 s.
		busy := h.python(t, "Busy", "import time\nwhile True: time.sleep(1)")
		_, broken := g.groupVersion(t, group, []function{
			{arn: bad, pinned: true, variables: out(g.thing, "bad")}, {arn: busy, pinned: true},
		}, ends(bad, g.thing))
		begin := time.Now()
		status := h.await(t, group, h.deploy(t, group, broken), fescue.Failure)
		if took := time.Since(begin); took > 25*time.Second {
			t.Errorf("the failure was reported after %v", took)
		}
		message := *status.ErrorMessage
		for _, want := range []string{"failed error: Function " + bad, "no such sensor", "publish and deploy again"} {
			if !strings.Contains(message, want) {
				t.Errorf("message %q lacks %q", message, want)
			}
		}
		if strings.ContainsAny(message, "\n") || strings.Contains(message, "Traceback") || strings.Contains(message, "log lines") {
			t.Errorf("message %q has more than the cause", message)
		}
		if got := details(status); !strings.Contains(got, "Traceback") || !strings.Contains(got, "no such sensor") || !strings.Contains(got, bad) {
			t.Errorf("details %q have not the function and its traceback", got)
		}
		viewer.next(t, "started good")
		await(t, "publish", viewer.Publish("Rollback_Core/in/x", 1, false, `"alive"`))
		viewer.next(t, `echo "alive"`)
	})
}

func TestServerRestart(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	h := s.site(region)
	viewer := h.connect(t, "Viewer")
	viewer.subscribe(t, "Patient_Core/out")
	g := h.provision(t, "Patient_Core")
	arn := h.echo(t, "Patient")
	group, version := g.groupVersion(t, "", []function{
		{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "patient")},
	}, ends(arn, g.thing))
	deployment := h.deploy(t, group, version)
	s.restart(t) // killed: whatever it was doing is taken up again
	g.run(t)
	h.await(t, group, deployment, fescue.Success)
	s.restart(t)
	second := h.deploy(t, group, version)
	h.await(t, group, second, fescue.Success)
	// The subscription was the connection's: the client subscribes again once it
	// is back.
	eventually(t, "viewer back", func() error {
		token := viewer.Subscribe("Patient_Core/out", 1, nil)
		token.Wait()
		return token.Error()
	})
	viewer.ask(t, "Patient_Core/in/x", "still there", "echo still there")
	list, err := h.greengrass.ListDeployments(t.Context(), &greengrass.ListDeploymentsInput{GroupId: &group})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Deployments) != 2 || *list.Deployments[0].DeploymentId != second {
		t.Errorf("deployments %+v: want two, the newest first", list.Deployments)
	}
}

func TestFunctionLog(t *testing.T) {
	t.Parallel()
	needPython(t)
	h := startServer(t).site(region)
	g := h.provision(t, "Log_Core")
	g.run(t)
	arn := h.python(t, "Talker", "import sys\nprint('to the log')\nprint('to the error log', file=sys.stderr)\ndef handler(e, c): pass\n")
	group, version := g.groupVersion(t, "", []function{{arn: arn, pinned: true}}, nil)
	h.await(t, group, h.deploy(t, group, version), fescue.Success)
	file := filepath.Join(g.root, "ggc", "var", "log", "user", region, account, "Talker.log")
	eventually(t, "log lines", func() error {
		return matchFile(file,
			`(?m)^\[20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\]\[INFO\]-.*,to the log`,
			`(?m)^\[20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\]\[ERROR\]-.*,to the error log`)
	})
}
