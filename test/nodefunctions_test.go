//go:build linux

package test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fescue-edge/fescue"
)

// coreSDKForNode are the files of aws-greengrass-core-sdk and of what it needs, as a
// function's package has them, from the npm registry.
func coreSDKForNode(t *testing.T) map[string][]byte {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " (Debian's packages nodejs and npm) is not installed")
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "nodecoresdk"))); err != nil {
		t.Fatal(err)
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("the npm registry has not given aws-greengrass-core-sdk: %v\n%s", err, out)
	}
	files := make(map[string][]byte)
	err := fs.WalkDir(os.DirFS(dir), "node_modules", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			files[path], err = os.ReadFile(filepath.Join(dir, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// node publishes a Node.js function with the SDK in its package.
func (h *site) node(t *testing.T, name, code string, sdk map[string][]byte) string {
	t.Helper()
	files := map[string][]byte{"index.js": []byte(code)}
	for path, content := range sdk {
		files[path] = content
	}
	return h.publish(t, name, "nodejs12.x", "index.handler", zipOf(t, files))
}

// nodeCaller publishes at its load; what it is sent names a function, with which it
// calls that one and publishes what came of it.
const nodeCaller = `
const GG = require('aws-greengrass-core-sdk');
const iot = new GG.IotData();
const lambda = new GG.Lambda();
const publish = (text) => iot.publish({topic: process.env.OUT, payload: text, queueFullPolicy: 'AllOrError'}, (err) => err && console.error(err));
console.warn('loading');
publish('started ' + process.env.TAG);
exports.handler = (event, context, callback) => {
    const params = {FunctionName: event.arn, ClientContext: Buffer.from('{"custom":{"from":"Node.js"}}').toString('base64'), Payload: JSON.stringify(event.payload)};
    lambda.invoke(params, (err, data) => {
        if (err) {
            publish('failed ' + err.message);
        } else {
            publish('on ' + context.clientContext.Custom.subject + ' ' + data.FunctionError + ' ' + data.StatusCode + ' ' + JSON.stringify(JSON.parse(data.Payload)));
        }
        callback();
    });
};
`

const nodeCallee = `
exports.handler = async (event, context) => {
    if (event.fail) throw new RangeError(event.fail);
    return {node: event.n * 2, from: context.clientContext.custom.from};
};
`

const pythonCallee = `
def handler(event, context):
    if event.get("fail"):
        raise ValueError(event["fail"])
    return {"python": event["n"] * 2, "from": context.client_context.custom["from"]}
`

const pythonCaller = `
import base64, json, os
from greengrass_common.env_vars import MY_FUNCTION_ARN, ROUTER_FUNCTION_ARN
from greengrass_ipc_python_sdk.ipc_client import IPCClient
ipc = IPCClient()
def encode(context):
    return base64.b64encode(json.dumps({"custom": context}).encode())
def handler(event, context):
    id = ipc.post_work(event["arn"], json.dumps(event["payload"]), encode({"from": "Python"}))
    result = ipc.get_work_result(event["arn"], id)
    said = json.loads(result.payload.decode())
    said.pop("stackTrace", None)
    text = "%s %s" % (result.func_err, json.dumps(said))
    ipc.post_work(ROUTER_FUNCTION_ARN, text, encode({"source": MY_FUNCTION_ARN, "subject": os.environ["OUT"]}), "Event")
`

// TestNodeFunctions deploys Node.js functions with the SDK of the npm registry: they
// publish, and call and are called by functions in Node.js and in Python.
func TestNodeFunctions(t *testing.T) {
	t.Parallel()
	needPython(t)
	sdk := coreSDKForNode(t)
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")
	g := h.provision(t, "Node_Core")
	viewer.subscribe(t, "Node_Core/out")
	g.run(t)
	caller, python := h.node(t, "NodeCaller", nodeCaller, sdk), h.python(t, "PythonCaller", pythonCaller)
	nodeTarget, pythonTarget := h.node(t, "NodeCallee", nodeCallee, nil), h.python(t, "PythonCallee", pythonCallee)
	group, version := g.groupVersion(t, "", []function{
		{arn: caller, pinned: true, variables: out(g.thing, "node")}, {arn: python, pinned: true, variables: out(g.thing, "python")},
		{arn: nodeTarget}, {arn: pythonTarget},
	}, []route{
		{caller, "Node_Core/out", "cloud"}, {"cloud", "Node_Core/node", caller}, {python, "Node_Core/out", "cloud"}, {"cloud", "Node_Core/python", python},
	})
	h.await(t, group, h.deploy(t, group, version), fescue.Success)
	viewer.next(t, "started node")
	for _, call := range []struct{ name, topic, target, payload, want string }{
		{"Node.js calls Python", "node", pythonTarget, `{"n":4}`, `on Node_Core/node  200 {"python":8,"from":"Node.js"}`},
		{"Node.js calls Python, which fails", "node", pythonTarget, `{"fail":"no"}`, `on Node_Core/node Handled 200 {"errorMessage":"no"}`},
		{"Node.js calls Node.js", "node", nodeTarget, `{"n":5}`, `on Node_Core/node  200 {"node":10,"from":"Node.js"}`},
		{"Node.js calls nobody", "node", nodeTarget + "9", `{}`, `failed HTTP Error 404: Not Found`},
		{"Python calls Node.js", "python", nodeTarget, `{"n":6}`, ` {"node": 12, "from": "Python"}`},
		{"Python calls Node.js, which fails", "python", nodeTarget, `{"fail":"far"}`, `Handled {"errorMessage": "far", "errorType": "RangeError"}`},
	} {
		t.Run(call.name, func(t *testing.T) {
			await(t, "publish", viewer.Publish("Node_Core/"+call.topic, 1, false, `{"arn":"`+call.target+`","payload":`+call.payload+`}`))
			viewer.next(t, call.want)
		})
	}
	t.Run("logs have levels and origins", func(t *testing.T) {
		file := filepath.Join(g.root, "ggc", "var", "log", "user", region, account, "NodeCaller.log")
		eventually(t, "log lines", func() error {
			return matchFile(file, `(?m)\[WARN\]-index\.js:\d+,loading$`, `(?m)\[INFO\]-iotdata\.js:\d+,Publishing message on topic "Node_Core/out"`)
		})
	})
}

// TestNodeExample: the example says what it is there to say.
func TestNodeExample(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node (Debian's package nodejs) is not installed")
	}
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")
	g := h.provision(t, "Example_Core")
	viewer.subscribe(t, "hello/world")
	g.run(t)
	arn := h.publish(t, "Hello", "nodejs12.x", "hello.handler", zipOf(t, map[string][]byte{"hello.js": readFile(t, filepath.Join("..", "examples", "hello-node", "hello.js"))}))
	group, version := g.groupVersion(t, "", []function{{arn: arn, pinned: true}}, []route{{arn, "hello/#", "cloud"}})
	h.await(t, group, h.deploy(t, group, version), fescue.Success)
	viewer.next(t, `{"message":"Hello from a Greengrass function","count":2,"thing":"Example_Core"}`)
}
