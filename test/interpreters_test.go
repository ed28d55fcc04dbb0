//go:build linux

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue/core/sandbox"
)

// versionInPython and versionInNode say which interpreter runs them when they are sent
// something. The one in Node.js does so by the SDK of the npm registry, or, where that does
// not load, by the core's own module.
const (
	versionInPython = greeter + `
import sys
def handler(event, context):
    publish("%s runs on %d.%d as %d, sent %s" % (os.environ["TAG"], sys.version_info[0], sys.version_info[1], os.getuid(), event["word"]))
`
	nodePublishesBySDK = `
const GG = require('aws-greengrass-core-sdk');
const iot = new GG.IotData();
const publish = (text, done) => iot.publish({topic: process.env.OUT, payload: text, queueFullPolicy: 'AllOrError'}, done);
`
	nodePublishes = `
const IPCClient = require('aws-greengrass-ipc-sdk-js');
const {envVars} = require('aws-greengrass-common-js');
const ipc = new IPCClient(envVars.AUTH_TOKEN);
const publish = (text, done) => ipc.postWork(envVars.ROUTER_FUNCTION_ARN, text,
    Buffer.from(JSON.stringify({custom: {source: envVars.MY_FUNCTION_ARN, subject: process.env.OUT}})).toString('base64'), 'Event', done);
`
	versionInNode = `
publish('started ' + process.env.TAG, (err) => err && console.error(err));
exports.handler = (event, context, callback) => {
    const version = process.versions.node.split('.')[0];
    publish(process.env.TAG + ' runs on ' + version + ' as ' + process.getuid() + ', sent ' + event.word, callback);
};
`
)

// interpreter is one that this machine has, and the runtime of Lambda's that it is for.
type interpreter struct{ path, runtime, says string }

// interpreters are those of a list that is separated as PATH is, or one that is always
// there, of which everybody may run. said takes the version from what they print.
func interpreters(t *testing.T, list, standard string, said *regexp.Regexp, runtime func(major, minor string) (name, says string)) (found []interpreter) {
	t.Helper()
	paths := filepath.SplitList(os.Getenv(list))
	if len(paths) == 0 {
		paths = []string{standard}
	}
	for _, path := range paths {
		text, err := exec.Command(path, "--version").CombinedOutput()
		parts := said.FindStringSubmatch(string(text))
		if err != nil || parts == nil {
			t.Fatalf("%s: %v: %s", path, err, text)
		}
		name, says := runtime(parts[1], parts[2])
		if slices.ContainsFunc(found, func(i interpreter) bool { return i.runtime == name }) {
			continue
		}
		if os.Getuid() == 0 {
			if err := (&sandbox.Credential{UID: 65534, GID: 65534}).MayRead(sandbox.HostPath(path)); err != nil {
				t.Skipf("%v; copy what %s names to where functions' users may read it to include this test", err, list)
			}
		}
		found = append(found, interpreter{path, name, says})
	}
	return found
}

// TestInterpreters: functions of each version of Python and Node.js that the machine has run
// on that very version, by users that are not root, with containers and without.
func TestInterpreters(t *testing.T) {
	t.Parallel()
	needPython(t)
	sdk := coreSDKForNode(t)
	all := slices.Concat(
		interpreters(t, "FESCUE_TEST_PYTHONS", "/usr/bin/python3", regexp.MustCompile(`Python (\d+)\.(\d+)`),
			func(major, minor string) (string, string) { return "python" + major + "." + minor, major + "." + minor }),
		interpreters(t, "FESCUE_TEST_NODES", "/usr/bin/node", regexp.MustCompile(`v(\d+)\.(\d+)`),
			func(major, _ string) (string, string) {
				// Lambda's names of the first two.
				if major == "6" || major == "8" {
					return "nodejs" + major + ".10", major
				}
				return "nodejs" + major + ".x", major
			}))
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")
	viewer.subscribe(t, "Version_Core/out")
	g := h.provision(t, "Version_Core")
	if os.Getuid() != 0 {
		t.Skip("only a core that runs as root makes containers; run the tests as root to include this one")
	}
	g.isolation = ""
	var folders []string
	for _, i := range all {
		folders = append(folders, filepath.Dir(i.path))
	}
	g.process = startProgram(t, edgeBin, []string{"PATH=" + strings.Join(append(folders, "/usr/bin", "/bin"), ":")}, "--root", g.root)
	var functions []function
	var routes []route
	var started, said []string
	for _, i := range all {
		files, handler := map[string][]byte{"main.py": []byte(versionInPython)}, "main.handler"
		if strings.HasPrefix(i.runtime, "node") {
			files, handler = map[string][]byte{"index.js": []byte(nodePublishesBySDK + versionInNode)}, "index.handler"
			if i.says == "6" { // the SDK's version 1.7.0 needs 8
				files["index.js"] = []byte(nodePublishes + versionInNode)
			}
			for name, content := range sdk {
				files[name] = content
			}
		}
		arn := h.publish(t, strings.ReplaceAll(i.runtime, ".", "_"), i.runtime, handler, zipOf(t, files))
		for _, isolation := range []types.FunctionIsolationMode{types.FunctionIsolationModeNoContainer, types.FunctionIsolationModeGreengrassContainer} {
			f := function{arn: arn, pinned: true, timeout: 60, isolation: isolation}
			if isolation == types.FunctionIsolationModeGreengrassContainer {
				// Each function is in a group once.
				f.arn = h.publish(t, strings.ReplaceAll(i.runtime, ".", "_")+"_contained", i.runtime, handler, zipOf(t, files))
				f.memory = aws.Int32(131072)
			}
			tag := i.runtime + string(isolation)
			f.variables = out(g.thing, tag)
			// A Python that was built for another folder finds its library by this one.
			f.variables["LD_LIBRARY_PATH"] = filepath.Join(filepath.Dir(filepath.Dir(i.path)), "lib")
			functions = append(functions, f)
			routes = append(routes, route{f.arn, g.thing + "/out", "cloud"}, route{"cloud", g.thing + "/in", f.arn})
			started = append(started, "started "+tag)
			said = append(said, fmt.Sprintf("%s runs on %s as 65534, sent hello", tag, i.says))
		}
	}
	group, version := g.groupVersion(t, "", functions, routes)
	g.awaitContained(t, group, version)
	viewer.next(t, started...)
	await(t, "publish", viewer.Publish(g.thing+"/in", 1, false, `{"word":"hello"}`))
	viewer.next(t, said...)
	if text := string(readFile(t, filepath.Join(g.root, "ggc", "var", "log", "system", "runtime.log"))); strings.Contains(text, "runs its functions") {
		t.Errorf("others stand in:\n%s", text)
	}
	g.leaveNothing(t)
}
