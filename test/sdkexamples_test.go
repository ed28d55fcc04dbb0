//go:build linux && sdkexamples

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit/standin"
)

// sdkRegion is the one in the ARN that the invoker of C calls.
const sdkRegion = "us-west-2"

// sdkExample is an example of a published SDK.
type sdkExample struct {
	sdk, name string
	// needs says what the example needs that is not there; it is not run.
	needs string
	run   func(x *exampleRun)
}

// exampleRun is one example on its way. The core, its viewer and the group are the same
// for all.
type exampleRun struct {
	*testing.T
	g      *gateway
	viewer *client
	group  *string
	sdks   string
	// isolation is that of all functions.
	isolation types.FunctionIsolationMode
}

const (
	needsStreams  = "the stream manager, which this version does not serve"
	needsDynamoDB = "Amazon DynamoDB, which this version does not serve"
	needsOtherSDK = "an AWS SDK that has to be built for it"
)

var sdkExamples = []sdkExample{
	{sdk: "python", name: "HelloWorld", run: func(x *exampleRun) {
		arn := x.python("HelloWorld/greengrassHelloWorld", "function_handler")
		x.deploy([]function{{arn: arn, pinned: true}}, route{arn, "hello/world", "cloud"})
		x.sees("hello/world", "Hello world! Sent from Greengrass Core")
		x.sees("hello/world", "Hello world! Sent from Greengrass Core")
	}},
	{sdk: "python", name: "HelloWorldCounter", run: func(x *exampleRun) {
		arn := x.python("HelloWorldCounter/greengrassHelloWorldCounter", "function_handler")
		x.deploy([]function{{arn: arn, pinned: true}}, route{arn, "hello/world/counter", "cloud"}, route{"cloud", "trigger", arn})
		x.publish("trigger", "{}")
		x.publish("trigger", "{}")
		x.sees("hello/world/counter", "Invocation Count: 1")
		x.sees("hello/world/counter", "Invocation Count: 2")
	}},
	{sdk: "python", name: "BinaryLambdaInvoke", run: func(x *exampleRun) {
		invokee := x.python2("BinaryLambdaInvoke/invokee", "handler")
		invoker := x.python2("BinaryLambdaInvoke/invoker", "handler", "arn:aws:lambda:<region>:<accountId>:function:<targetFunctionName>:<targetFunctionQualifier>", invokee)
		x.deploy([]function{{arn: invoker, pinned: true}, {arn: invokee, encoding: types.EncodingTypeBinary}}, route{"cloud", "trigger", invoker})
		x.publish("trigger", "{}")
		x.logs(invoker, "Invoked successfully")
		x.logs(invokee, "Invoked with payload Non-JSON Data")
	}},
	{sdk: "python", name: "Storyline_UptimeLambda", run: func(x *exampleRun) {
		arn := x.python("Storyline_UptimeLambda/uptimeLambda", "uptime_handler")
		x.deploy([]function{{arn: arn}}, route{arn, "/topic/metering", "cloud"}, route{"cloud", "trigger", arn})
		x.publish("trigger", `{"state":"on"}`)
		x.sees("/topic/metering", "Robot arm turned ON")
		x.publish("trigger", `{"state":"off"}`)
		x.sees("/topic/metering", "Robot arm turned OFF")
	}},
	{sdk: "python", name: "Storyline_MessageLambda", run: func(x *exampleRun) {
		arn := x.python("Storyline_MessageLambda/messageLambda", "message_handler")
		watcher := x.g.python(x.T, "PyWatcher", watchesShadows)
		x.deploy([]function{{arn: arn}, {arn: watcher, pinned: true}}, route{"cloud", "trigger", arn},
			route{fescue.ShadowServiceEndpoint, "$aws/things/RobotArm_Thing/shadow/update/documents", watcher})
		x.publish("trigger", `{"state":"on"}`)
		x.logs(arn, "to set state to ON")
		x.logs(watcher, "document 1 has on")
		x.publish("trigger", `{"state":"off"}`)
		x.logs(watcher, "document 2 has off")
	}},
	{sdk: "python", name: "TES", run: func(x *exampleRun) {
		if err := exec.Command("/usr/bin/python3", "-c", "import botocore").Run(); err != nil {
			x.Skip("Debian's package python3-botocore is not installed")
		}
		arn := x.python("TES/lambda_function", "lambda_handler")
		x.role("PyTES")
		x.g.loggers = []types.Logger{logger(types.LoggerTypeFileSystem, types.LoggerComponentLambda, types.LoggerLevelDebug)}
		defer func() { x.g.loggers = nil }()
		x.deploy([]function{{arn: arn, pinned: true}}, route{"cloud", "trigger", arn})
		x.publish("trigger", "{}")
		x.logs(arn, "Inside handler") // it ends where it gets no credentials
	}},
	{sdk: "python", name: "TrafficLight", needs: needsDynamoDB},
	{sdk: "python", name: "StreamManagerKinesis, IoTSiteWise, S3", needs: needsStreams},

	{sdk: "js", name: "HelloWorld", run: func(x *exampleRun) {
		arn := x.node("HelloWorld/index", nil)
		x.deploy([]function{{arn: arn, pinned: true}}, route{arn, "hello/world", "cloud"})
		x.sees("hello/world", "using NodeJS")
		x.sees("hello/world", "using NodeJS")
	}},
	{sdk: "js", name: "LambdaInvoke, JSON", run: func(x *exampleRun) { x.nodeInvoke("invokerjson", types.EncodingTypeJson, "payload message") }},
	{sdk: "js", name: "LambdaInvoke, binary", run: func(x *exampleRun) {
		x.nodeInvoke("invokerbinary", types.EncodingTypeBinary, "<Buffer 70 61 79")
	}},
	{sdk: "js", name: "ShadowOperations", run: func(x *exampleRun) {
		arn := x.node("ShadowOperations/index", nil)
		x.deploy([]function{{arn: arn, pinned: true}}, route{"cloud", "trigger", arn})
		x.publish("trigger", "{}")
		x.logs(arn, `Shadow Get Operation(?s:.*)FunctionError: ''(?s:.*)FunctionError: ''`)
	}},
	{sdk: "js", name: "TES", run: func(x *exampleRun) {
		arn := x.node("TES/index", []string{"aws-sdk@2"})
		x.role("JsTES")
		x.deploy([]function{{arn: arn, pinned: true}})
		x.logs(arn, "Access Key: ASIA")
	}},
	{sdk: "js", name: "StreamManagerKinesis, IoTSiteWise, S3", needs: needsStreams},

	{sdk: "java", name: "HelloWorld", run: func(x *exampleRun) {
		arn := x.java("HelloWorld", "HelloWorld", "")
		x.deploy([]function{{arn: arn, pinned: true}}, route{arn, "hello/world", "cloud"})
		x.sees("hello/world", "using Java")
		x.sees("hello/world", "using Java")
	}},
	{sdk: "java", name: "LambdaInvoke", run: func(x *exampleRun) {
		invokee := x.java("LambdaInvoke", "Invokee", "")
		invoker := x.java("LambdaInvoke", "Invoker", invokee)
		x.deploy([]function{{arn: invoker, pinned: true}, {arn: invokee}}, route{"cloud", "trigger", invoker})
		x.publish("trigger", "{}")
		x.logs(invoker, "return message")
		x.logs(invokee, "payload message")
		x.logs(invokee, `\{customData=customData\}`)
	}},
	{sdk: "java", name: "BinaryLambdaInvoke", run: func(x *exampleRun) {
		invokee := x.java("BinaryLambdaInvoke", "Invokee", "")
		invoker := x.java("BinaryLambdaInvoke", "Invoker", invokee)
		x.deploy([]function{{arn: invoker, pinned: true}, {arn: invokee, encoding: types.EncodingTypeBinary}}, route{"cloud", "trigger", invoker})
		x.publish("trigger", "{}")
		x.logs(invoker, "Result received: ABCDEFG")
	}},
	{sdk: "java", name: "ShadowOperation", run: func(x *exampleRun) {
		arn := x.java("ShadowOperation", "ShadowOperations", "")
		x.deploy([]function{{arn: arn, pinned: true}}, route{"cloud", "trigger", arn})
		x.publish("trigger", "{}")
		x.logs(arn, `"reported":\{"platform":"Linux-(?s:.*)"reported":\{"platform":"Linux-`)
	}},
	{sdk: "java", name: "TES", needs: needsOtherSDK},
	{sdk: "java", name: "StreamManagerKinesis, IoTSiteWise, S3", needs: needsStreams},

	{sdk: "c", name: "hello_world_example", run: func(x *exampleRun) {
		arn := x.c("hello_world", "HelloC")
		x.deploy([]function{{arn: arn, pinned: true}}, route{arn, "hello/world", "cloud"})
		x.sees("hello/world", "hello world!\x00")
		x.sees("hello/world", "hello world!\x00")
	}},
	{sdk: "c", name: "simple_handler", run: func(x *exampleRun) {
		arn := x.c("simple_handler", "SimpleHandler")
		x.deploy([]function{{arn: arn, pinned: true}}, route{"cloud", "trigger", arn})
		x.publish("trigger", "the message")
		x.logs(arn, regexp.QuoteMeta("function arn: ["+arn+"]"))
		x.logs(arn, regexp.QuoteMeta(`client context: [{"custom":{"subject":"trigger"}}]`))
		x.logs(arn, regexp.QuoteMeta("Received message: [the message] size: [11]"))
	}},
	{sdk: "c", name: "publish_example", run: func(x *exampleRun) {
		arn := x.c("publish", "PublishC")
		x.deploy([]function{{arn: arn}}, route{arn, "to/cloud", "cloud"}, route{"cloud", "trigger", arn})
		x.publish("trigger", "x")
		x.sees("to/cloud", "hello from: "+arn+"\x00")
	}},
	{sdk: "c", name: "invoker, invokee", run: func(x *exampleRun) {
		invokee, invoker := x.c("invoke/invokee", "Invokee"), x.c("invoke/invoker", "InvokerC")
		x.deploy([]function{{arn: invoker, pinned: true}, {arn: invokee}}, route{"cloud", "trigger", invoker})
		x.publish("trigger", "x")
		x.logs(invoker, "Response: hello world read: 11")
		x.logs(invokee, regexp.QuoteMeta(`Client context: { "custom":{ "value": "key" }}`))
	}},
	{sdk: "c", name: "shadow_example", run: func(x *exampleRun) {
		arn := x.c("shadow", "ShadowC")
		x.deploy([]function{{arn: arn, pinned: true}}, route{"cloud", "trigger", arn})
		x.publish("trigger", "x")
		x.logs(arn, `update_thing_shadow succeed. response: \{.*"mode":"OFF"`)
		x.logs(arn, `get_thing_shadow succeeded. response: \{.*"mode":"OFF"`)
	}},
	{sdk: "c", name: "secretsmanager_example", run: func(x *exampleRun) {
		arn := x.c("secretsmanager", "SecretsC")
		x.g.resources = []types.Resource{secretResource("foo", x.g.keep(x.T, "foo", "told to nobody", "AWSCURRENT"))}
		defer func() { x.g.resources = nil }()
		x.deploy([]function{{arn: arn, pinned: true, resources: []types.ResourceAccessPolicy{{ResourceId: aws.String("foo"), Permission: types.PermissionRo}}}},
			route{"cloud", "trigger", arn})
		x.publish("trigger", "x")
		x.logs(arn, `get_secret_value succeeded. response: \{.*"SecretString":"told to nobody"`)
	}},
	{sdk: "c", name: "tes_example", needs: needsOtherSDK},
}

// watchesShadows is a Python function that logs the documents of a shadow.
const watchesShadows = `
seen = 0

def handler(event, context):
    global seen
    seen += 1
    print("document %d has %s" % (seen, event["current"]["state"]["desired"]["myState"]))
`

func TestSDKExamples(t *testing.T) {
	s := startBareServer(t, nil, t.TempDir(), "--account", account, "--region", sdkRegion)
	h := s.site(sdkRegion)
	g := h.provision(t, "Example_Core")
	g.run(t)
	isolation := types.FunctionIsolationModeNoContainer
	if os.Getenv("FESCUE_TEST_SDK_CONTAINER") == "true" {
		isolation = types.FunctionIsolationModeGreengrassContainer
	}
	var group string
	viewer := h.connect(t, "Viewer")
	viewer.subscribe(t, "#")
	table, err := os.Create(os.Getenv("FESCUE_TEST_SDK_TABLE"))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for _, e := range sdkExamples {
		outcome := "not run: needs " + e.needs
		if e.run != nil {
			ran := t.Run(e.sdk+" "+e.name, func(t *testing.T) {
				outcome = "not run: the machine lacks what it needs"
				e.run(&exampleRun{t, g, viewer, &group, os.Getenv("FESCUE_TEST_SDKS"), isolation})
				outcome = "passed"
			})
			if !ran {
				outcome = "FAILED"
			}
		}
		line, err := json.Marshal(map[string]string{"SDK": e.sdk, "Example": e.name, "Outcome": outcome})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(table, string(line))
	}
}

// deploy makes a group of an example's functions run.
func (x *exampleRun) deploy(functions []function, routes ...route) {
	x.Helper()
	for i := range functions {
		functions[i].isolation = x.isolation
		functions[i].timeout = 60 // machines may be slow
		functions[i].contain(262144)
	}
	group, version := x.g.groupVersion(x.T, *x.group, functions, routes)
	*x.group = group
	x.g.await(x.T, group, x.g.deploy(x.T, group, version), fescue.Success)
}

// role gives the group a role, of which functions get credentials.
func (x *exampleRun) role(name string) {
	x.Helper()
	if *x.group == "" {
		*x.group, _ = x.g.groupVersion(x.T, "", nil, nil)
	}
	x.g.associate(x.T, *x.group, x.g.site.role(x.T, name, "greengrass.amazonaws.com", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`))
}

func (x *exampleRun) publish(topic, payload string) {
	x.Helper()
	await(x.T, "publish", x.viewer.Publish(topic, 1, false, payload))
}

// sees waits for a message of a topic that contains a text.
func (x *exampleRun) sees(topic, text string) {
	x.Helper()
	deadline := time.After(patience)
	for {
		select {
		case m := <-x.viewer.messages:
			if m.Topic() == topic && strings.Contains(string(m.Payload()), text) {
				return
			}
		case <-deadline:
			x.Fatalf("no message on %s with %q", topic, text)
		}
	}
}

// logs waits for a line in a function's log.
func (x *exampleRun) logs(arn, pattern string) {
	x.Helper()
	name := strings.Split(arn, ":")[6]
	file := filepath.Join(x.g.root, "ggc", "var", "log", "user", sdkRegion, account, name+".log")
	eventually(x.T, pattern+" in the log of "+name, func() error {
		text, err := os.ReadFile(file)
		if err == nil && !regexp.MustCompile(pattern).Match(text) {
			err = fmt.Errorf("log:\n%s", text)
		}
		return err
	})
}

// read is a file of an SDK's repository, with placeholders replaced as its comments say.
func (x *exampleRun) read(path string, placeholders ...string) []byte {
	x.Helper()
	return []byte(strings.NewReplacer(placeholders...).Replace(string(readFile(x.T, filepath.Join(x.sdks, path)))))
}

// tree adds the files of a folder.
func (x *exampleRun) tree(files map[string][]byte, dir, as string) {
	x.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			files[filepath.Join(as, path)], err = os.ReadFile(filepath.Join(dir, path))
		}
		return err
	})
	if err != nil {
		x.Fatal(err)
	}
}

func (x *exampleRun) python(example, handler string) string {
	return x.pythonOf("python3.7", example, handler)
}

// python2 is for an example that is written for Python 2.
func (x *exampleRun) python2(example, handler string, placeholders ...string) string {
	if _, err := os.Stat("/usr/local/bin/python2.7"); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat("/usr/bin/python2.7"); err != nil {
			x.Skip("python2.7 is not installed in /usr/bin or /usr/local/bin")
		}
	}
	return x.pythonOf("python2.7", example, handler, placeholders...)
}

func (x *exampleRun) pythonOf(runtime, example, handler string, placeholders ...string) string {
	x.Helper()
	const repository = "aws-greengrass-core-sdk-python"
	module := filepath.Base(example)
	files := map[string][]byte{module + ".py": x.read(filepath.Join(repository, "examples", example+".py"), placeholders...)}
	x.tree(files, filepath.Join(x.sdks, repository, "greengrasssdk"), "greengrasssdk")
	return x.g.publish(x.T, "Py"+module, runtime, module+"."+handler, zipOf(x.T, files))
}

// node publishes an example with the SDK and what npm gives for it, and further packages.
func (x *exampleRun) node(example string, packages []string, placeholders ...string) string {
	x.Helper()
	const repository = "aws-greengrass-core-sdk-js"
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			x.Skip(program + " is not installed")
		}
	}
	dir := x.TempDir()
	sdk := filepath.Join(x.sdks, repository, "aws-greengrass-core-sdk")
	install := exec.Command("npm", append([]string{"install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--install-links", sdk}, packages...)...)
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		x.Fatalf("npm install: %v\n%s", err, out)
	}
	files := map[string][]byte{"index.js": x.read(filepath.Join(repository, "greengrassExamples", example+".js"), placeholders...)}
	x.tree(files, filepath.Join(dir, "node_modules"), "node_modules")
	return x.g.publish(x.T, "Js"+strings.ReplaceAll(example, "/", "-"), "nodejs12.x", "index.handler", zipOf(x.T, files))
}

func (x *exampleRun) nodeInvoke(name string, encoding types.EncodingType, arrives string) {
	x.Helper()
	invokee := x.node("LambdaInvoke/invokee", nil)
	invoker := x.node("LambdaInvoke/"+name, nil, "arn:<partition>:lambda:<region>:<accountId>:function:<targetFunctionName>:<targetFunctionQualifier>", invokee)
	x.deploy([]function{{arn: invoker, pinned: true}, {arn: invokee, encoding: encoding}}, route{"cloud", "trigger", invoker})
	x.publish("trigger", "{}")
	x.logs(invokee, arrives)
	x.logs(invokee, "customData: 'customData'")
	x.logs(invoker, "FunctionError: '")
}

// java publishes a class of a sample with the SDK and Jackson; invokes is the ARN that
// the sample's placeholder stands for.
func (x *exampleRun) java(sample, class, invokes string) string {
	x.Helper()
	const repository = "aws-greengrass-core-sdk-java"
	libraries := []string{filepath.Join(x.sdks, repository, "sdk", "GreengrassJavaSDK.jar")}
	for _, name := range []string{"annotations", "core", "databind"} {
		path := "/usr/share/java/jackson-" + name + ".jar"
		if _, err := os.Stat(path); err != nil {
			x.Skip("Debian's package libjackson2-databind-java is not installed")
		}
		libraries = append(libraries, path)
	}
	folder := filepath.Join(repository, "samples", sample, "src", "main", "java", "com", "amazonaws", "greengrass", "examples")
	entries, err := os.ReadDir(filepath.Join(x.sdks, folder))
	if err != nil {
		x.Fatal(err)
	}
	sources := make(map[string]string)
	for _, entry := range entries {
		sources[entry.Name()] = string(x.read(filepath.Join(folder, entry.Name()),
			"arn:aws:lambda:<region>:<accountId>:function:<targetFunctionName>:<targetFunctionQualifier>", invokes))
	}
	code := zipOf(x.T, standin.Java(x.T, functionRuntimes(x.T), sources, libraries...))
	return x.g.publish(x.T, "Java"+sample+class, "java8", "com.amazonaws.greengrass.examples."+class+"::handleRequest", code)
}

// c builds an example against the SDK's own header and library, as its CMake does.
func (x *exampleRun) c(example, name string) string {
	x.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		x.Skip("gcc is not installed")
	}
	repository := filepath.Join(x.sdks, "aws-greengrass-core-sdk-c")
	sdk, dir := filepath.Join(repository, "aws-greengrass-core-sdk-c"), x.TempDir()
	const soname = "libaws-greengrass-core-sdk-c.so"
	include := []string{"-I", filepath.Join(sdk, "include")}
	for _, arguments := range [][]string{
		{"-shared", "-fPIC", "-std=c89", "-Wl,-soname," + soname, "-Wl,--version-script=" + filepath.Join(sdk, "version", "greengrasssdk_versions.map"),
			"-o", filepath.Join(dir, soname), filepath.Join(sdk, "lib", "greengrasssdk.c")},
		{"-std=gnu99", "-o", filepath.Join(dir, "program"), filepath.Join(repository, "aws-greengrass-core-sdk-c-example", example+".c"),
			filepath.Join(dir, soname), "-Wl,--enable-new-dtags,-rpath,$ORIGIN/lib"},
	} {
		if out, err := exec.Command("gcc", append(include, arguments...)...).CombinedOutput(); err != nil {
			x.Fatalf("gcc: %v\n%s", err, out)
		}
	}
	code := zipOf(x.T, map[string][]byte{"program": readFile(x.T, filepath.Join(dir, "program"))})
	return x.g.publish(x.T, name, fescue.ExecutableRuntime, "program", code)
}
