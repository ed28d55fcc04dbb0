//go:build linux

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
)

// contained is a gateway whose groups say nothing of isolation.
func (h *site) contained(t *testing.T, thing string) *gateway {
	t.Helper()
	g := h.provision(t, thing)
	g.startContained(t)
	return g
}

// startContained starts the core of a gateway whose groups say nothing of isolation.
func (g *gateway) startContained(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only a core that runs as root makes containers; run the tests as root to include this one")
	}
	g.isolation = ""
	g.run(t)
}

// awaitContained waits for a deployment that succeeds where there are containers.
func (g *gateway) awaitContained(t *testing.T, group, version string) {
	t.Helper()
	deployment := g.deploy(t, group, version)
	ended, step := false, ""
	for !ended { // of many functions each step may take long
		eventually(t, "the deployment goes on", func() error {
			out, err := g.status(t.Context(), group, deployment)
			if err != nil {
				return err
			}
			if strings.Contains(details(out), string(fescue.ContainerUnsupported)) {
				t.Skip(details(out))
			}
			ended = fescue.DeploymentStatus(*out.DeploymentStatus).Final()
			if !ended && *out.UpdatedAt == step {
				return errors.New("not yet")
			}
			step = *out.UpdatedAt
			return nil
		})
	}
	g.await(t, group, deployment, fescue.Success)
}

// many publishes from Python what several processes worked out, and what it sees.
const many = greeter + `
import multiprocessing, sys

def square(n):
    return n * n

def look():
    # The pool's threads have ended before the next process: what they hold at a fork
    # stays held in the child.
    pool = multiprocessing.Pool(2)
    squares = sum(pool.map(square, range(10)))
    pool.close()
    pool.join()
    publish("squares %s" % squares)
    here, there = multiprocessing.Pipe()
    child = multiprocessing.Process(target=there.send, args=(os.getuid(),))
    child.start()
    publish("child %d cwd %s home %s" % (here.recv(), os.getcwd(), os.environ["HOME"]))
    child.join()
    for path in ("/root", "/etc/ssh", os.environ["ROOT"]):
        try:
            seen = os.listdir(path)
        except OSError:
            seen = []
        publish("sees %s: %s" % (path, seen))

def handler(event, context):
    look()
`

const hungry = greeter + `
def handler(event, context):
    publish("eating")
    eaten = []
    while True:
        eaten.append(b"x" * (1 << 20))
`

func TestContainers(t *testing.T) {
	t.Parallel()
	needPython(t)
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")

	t.Run("a group that says nothing of isolation runs and speaks", func(t *testing.T) {
		g := h.contained(t, "Default_Core")
		viewer.subscribe(t, "Default_Core/out")
		arn := h.python(t, "Plain", greeter)
		group, version := g.groupVersion(t, "", []function{{arn: arn, pinned: true, memory: aws.Int32(16384), variables: out(g.thing, "contained")}}, ends(arn, g.thing))
		g.awaitContained(t, group, version)
		viewer.next(t, "started contained pid=")
		await(t, "publish", viewer.Publish("Default_Core/in/x", 1, false, `{"a":1}`))
		viewer.next(t, `echo {"a": 1} from Default_Core/in/x`)
	})

	t.Run("an executable runs, and Python with processes of its own", func(t *testing.T) {
		g := h.contained(t, "Many_Core")
		viewer.subscribe(t, "Many_Core/out")
		variables := out(g.thing, "many")
		variables["ROOT"] = g.root
		first, second := h.python(t, "Many", many), h.echo(t, "Contained")
		group, version := g.groupVersion(t, "", []function{
			{arn: first, pinned: true, memory: aws.Int32(131072), variables: variables},
			{arn: second, pinned: true, memory: aws.Int32(16384), encoding: types.EncodingTypeBinary, variables: out(g.thing, "binary")},
		}, append(ends(first, g.thing), route{second, g.thing + "/out", "cloud"}))
		g.awaitContained(t, group, version)
		viewer.next(t, "started many", "started binary")
		await(t, "publish", viewer.Publish("Many_Core/in/x", 1, false, `{}`))
		for _, text := range []string{
			"squares 285", "child 65534 cwd /lambda home /lambda", "sees /root: []", "sees /etc/ssh: []", "sees " + g.root + ": []",
		} {
			viewer.next(t, text)
		}
	})

	t.Run("Node.js calls and is called", func(t *testing.T) {
		sdk := coreSDKForNode(t)
		g := h.contained(t, "Node_Contained")
		viewer.subscribe(t, "Node_Contained/out")
		caller, callee := h.node(t, "ContainedCaller", nodeCaller, sdk), h.node(t, "ContainedCallee", nodeCallee, nil)
		group, version := g.groupVersion(t, "", []function{
			{arn: caller, pinned: true, memory: aws.Int32(131072), variables: out(g.thing, "node")}, {arn: callee, memory: aws.Int32(131072)},
		}, []route{{caller, g.thing + "/out", "cloud"}, {"cloud", g.thing + "/in", caller}})
		g.awaitContained(t, group, version)
		viewer.next(t, "started node")
		await(t, "publish", viewer.Publish(g.thing+"/in", 1, false, `{"arn":"`+callee+`","payload":{"n":5}}`))
		viewer.next(t, `on Node_Contained/in  200 {"node":10,"from":"Node.js"}`)
		g.leaveNothing(t)
	})

	t.Run("one that takes too much memory ends alone, and all say so", func(t *testing.T) {
		g := h.contained(t, "Hungry_Core")
		viewer.subscribe(t, "Hungry_Core/out")
		eater, other, caller := h.python(t, "Hungry", hungry), h.python(t, "Neighbour", greeter), h.python(t, "Hostess", pythonCaller)
		lasting := h.python(t, "Lasting", hungry)
		group, version := g.groupVersion(t, "", []function{
			{arn: eater, memory: aws.Int32(32768), variables: out(g.thing, "eater")},
			{arn: lasting, pinned: true, memory: aws.Int32(32768), variables: out(g.thing, "lasting")},
			{arn: caller, pinned: true, memory: aws.Int32(32768), timeout: 60, variables: out(g.thing, "caller")},
			{arn: other, pinned: true, memory: aws.Int32(32768), variables: out(g.thing, "other")},
		}, []route{
			{eater, g.thing + "/out", "cloud"}, {"cloud", g.thing + "/eat", lasting}, {other, g.thing + "/out", "cloud"}, {"cloud", g.thing + "/in", other},
			{caller, g.thing + "/out", "cloud"}, {"cloud", g.thing + "/call", caller},
		})
		g.awaitContained(t, group, version)
		viewer.next(t, "started other")
		neighbour := g.workers(t)[other]
		await(t, "publish", viewer.Publish("Hungry_Core/call", 1, false, `{"arn":"`+eater+`","payload":{}}`))
		const killed = "killed for using more memory than its MemorySize of 32768 KB"
		viewer.next(t, "eating", `Unhandled {"errorMessage": "the function's process ended before it answered: `+killed)
		eventually(t, "the log says so", func() error {
			text, err := os.ReadFile(filepath.Join(g.root, "ggc", "var", "log", "system", "runtime.log"))
			if err == nil && strings.Count(string(text), killed) < 2 { // the end of the process, and the caller's error
				err = fmt.Errorf("not reported twice:\n%s", text)
			}
			return err
		})
		// A long-lived one is not there until it is started again, after pauses that grow.
		eventually(t, "the health API says so", func() error {
			w := g.workers(t)[lasting]
			if w.WorkerState == "Waiting" {
				await(t, "publish", viewer.Publish("Hungry_Core/eat", 1, false, `{}`))
			}
			if w.WorkerState != "NotStarted" {
				return fmt.Errorf("it says %+v", w)
			}
			return nil
		})
		await(t, "publish", viewer.Publish("Hungry_Core/in", 1, false, `{"alive":1}`))
		viewer.next(t, `echo {"alive": 1}`)
		if now := g.workers(t)[other]; now.ProcessId != neighbour.ProcessId {
			t.Errorf("the neighbour was %+v and is %+v", neighbour, now)
		}
	})
}

// healthOfWorker is what the local health API says of a process.
type healthOfWorker struct{ FuncArn, ProcessId, WorkerState string }

// workers asks a core's local health API, as scripts on a gateway do, for the processes
// of its functions, by the functions' ARNs.
func (g *gateway) workers(t testing.TB) map[string]healthOfWorker {
	t.Helper()
	var config struct {
		CoreThing struct{ GGDaemonPort int }
	}
	if err := json.Unmarshal(readFile(t, filepath.Join(g.root, "config", "config.json")), &config); err != nil {
		t.Fatal(err)
	}
	answer, err := http.Get(fmt.Sprintf("http://localhost:%d/2016-11-01/health/workers", config.CoreThing.GGDaemonPort))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var list []healthOfWorker
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	workers := make(map[string]healthOfWorker)
	for _, w := range list {
		workers[w.FuncArn] = w
	}
	return workers
}
