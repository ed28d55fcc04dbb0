//go:build linux

package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
)

// contained is a gateway whose groups say nothing of isolation.
func (h *house) contained(t *testing.T, thing string) *gateway {
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
	eventually(t, "the deployment ends", func() error {
		out, err := g.status(t.Context(), group, deployment)
		if err == nil && strings.Contains(details(out), string(fescue.ContainerUnsupported)) {
			t.Skip(details(out))
		}
		if err == nil && !fescue.DeploymentStatus(*out.DeploymentStatus).Final() {
			err = errors.New("not yet")
		}
		return err
	})
	g.await(t, group, deployment, fescue.Success)
}

// many publishes from Python what several processes worked out, and what it sees.
const many = greeter + `
import multiprocessing, sys

def square(n):
    return n * n

def look():
    with multiprocessing.Pool(2) as pool:
        publish("squares %s" % sum(pool.map(square, range(10))))
    queue = multiprocessing.Queue()
    child = multiprocessing.Process(target=queue.put, args=(os.getuid(),))
    child.start()
    publish("child %d cwd %s home %s" % (queue.get(), os.getcwd(), os.environ["HOME"]))
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
	h := startServer(t).house(region)
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
		eater, other := h.python(t, "Hungry", hungry), h.python(t, "Neighbour", greeter)
		group, version := g.groupVersion(t, "", []function{
			{arn: eater, memory: aws.Int32(32768), variables: out(g.thing, "eater")},
			{arn: other, pinned: true, memory: aws.Int32(32768), variables: out(g.thing, "other")},
		}, []route{{eater, g.thing + "/out", "cloud"}, {"cloud", g.thing + "/eat", eater}, {other, g.thing + "/out", "cloud"}, {"cloud", g.thing + "/in", other}})
		g.awaitContained(t, group, version)
		viewer.next(t, "started other")
		await(t, "publish", viewer.Publish("Hungry_Core/eat", 1, false, `{}`))
		viewer.next(t, "eating")
		const told = "killed for using more memory than its MemorySize of 32768 KB"
		eventually(t, "the log says so", func() error {
			text, err := os.ReadFile(filepath.Join(g.root, "ggc", "var", "log", "system", "runtime.log"))
			if err == nil && strings.Count(string(text), told) < 2 { // the end of the process, and the caller's error
				err = fmt.Errorf("not told twice:\n%s", text)
			}
			return err
		})
		await(t, "publish", viewer.Publish("Hungry_Core/in", 1, false, `{"alive":1}`))
		viewer.next(t, `echo {"alive": 1}`)
	})
}
