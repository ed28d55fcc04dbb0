//go:build linux

package test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit/archive"
)

// escapee tries what testdata/escape.py lists, says what came of it, and leaves traps
// for who tidies up after it.
const escapee = greeter + `
import escape

def handler(event, context):
    refused, escaped = escape.attempts()
    if escape.CONTAINED:
        escape.prepare_for_removal()
    publish("%s refused=%d escaped=%s" % (os.environ["TAG"], refused, escaped))
`

// TestEscapes: nothing leads out of a container, for root neither. The same attempts
// succeed for a root function without one, which shows that they are real.
func TestEscapes(t *testing.T) {
	needPython(t)
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")
	viewer.subscribe(t, "Escape_Core/out")
	g := h.provision(t, "Escape_Core")
	g.edit(t, func(config map[string]any) { config["runtime"] = map[string]any{"allowFunctionsToRunAsRoot": "yes"} })
	g.startContained(t)
	other := h.python(t, "Other", greeter)
	root := &types.FunctionRunAsConfig{Uid: aws.Int32(0), Gid: aws.Int32(0)}
	functions := []function{{arn: other, pinned: true, memory: aws.Int32(32768), variables: out(g.thing, "other")}}
	routes := ends(other, g.thing)
	for _, f := range []function{
		{variables: out(g.thing, "user"), memory: aws.Int32(65536)},
		{variables: out(g.thing, "user-sysfs"), memory: aws.Int32(65536), sysfs: true},
		{variables: out(g.thing, "root"), memory: aws.Int32(65536), runAs: root},
		{variables: out(g.thing, "root-sysfs"), memory: aws.Int32(65536), runAs: root, sysfs: true},
		{variables: out(g.thing, "control"), isolation: types.FunctionIsolationModeNoContainer, runAs: root},
	} {
		f = g.escapee(t, f, g.root, g.process.Process.Pid, other)
		functions = append(functions, f)
		routes = append(routes, route{f.arn, g.thing + "/out", "cloud"}, route{"cloud", g.thing + "/try", f.arn})
	}
	group, version := g.groupVersion(t, "", functions, routes)
	g.awaitContained(t, group, version)
	viewer.collect(t, len(functions), "started ")
	await(t, "publish", viewer.Publish("Escape_Core/try", 1, false, `{}`))
	for _, line := range viewer.collect(t, len(functions)-1, " refused=") {
		tag, result, _ := strings.Cut(line, " ")
		switch escaped := strings.SplitN(result, "escaped=", 2)[1]; {
		case tag == "control":
			if strings.Count(escaped, ": ") < 12 {
				t.Errorf("without a container root did only %s", escaped)
			}
		case escaped != "[]":
			t.Errorf("%s did %s", tag, escaped)
		default:
			t.Log(tag, result)
		}
	}
	// The containers end, and the core tidies up after them.
	certs, err := os.ReadDir(filepath.Join(g.root, "certs"))
	if err != nil || len(certs) == 0 {
		t.Fatal(err)
	}
	group, version = g.groupVersion(t, group, functions[:1], routes[:2])
	h.await(t, group, g.deploy(t, group, version), fescue.Success)
	g.settle(t, 1)
	g.leaveNothing(t)
	after, err := os.ReadDir(filepath.Join(g.root, "certs"))
	if err != nil || len(after) != len(certs) {
		t.Errorf("of %d files in the core's folder %d are left: %v", len(certs), len(after), err)
	}
}

// escapee publishes a function that tries to escape, which finds the core's folder at
// root, the core as a process and another function there.
func (g *gateway) escapee(t *testing.T, f function, root string, core int, other string) function {
	t.Helper()
	var disk syscall.Stat_t
	if err := syscall.Stat("/", &disk); err != nil {
		t.Fatal(err)
	}
	code := archive.Zip(t,
		archive.Member{Name: "main.py", Content: escapee},
		archive.Member{Name: "escape.py", Content: string(readFile(t, "testdata/escape.py"))},
		archive.Member{Name: "setuid", Content: "#!/bin/sh\n", Mode: os.ModeSetuid | os.ModeSetgid | 0o755})
	f.pinned = true
	f.arn = g.publish(t, "Escapee-"+f.variables["TAG"], "python3.7", "main.handler", code)
	for name, value := range map[string]string{
		"ROOT": root, "CORE": strconv.Itoa(core), "OTHER": filepath.Join(root, "ggc", "deployment", "lambda", other),
		"DISK": strconv.FormatUint(disk.Dev, 10), "CODE": "/lambda",
	} {
		f.variables[name] = value
	}
	return f
}

// collect are the next n messages that hold a text.
func (c *client) collect(t testing.TB, n int, text string) []string {
	t.Helper()
	var list []string
	for range n {
		list = append(list, string(c.next(t, text).Payload()))
	}
	return list
}
