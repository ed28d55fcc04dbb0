//go:build linux

package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

// talker prints and logs what it is sent; "flood" is a hundred megabytes, "tick" goes
// on.
const talker = greeter + `
import itertools, logging, sys, threading, time
logging.getLogger().setLevel(logging.DEBUG)

def tick():
    for i in itertools.count():
        print("tick %d" % i)
        time.sleep(0.2)

def flood():
    for i in range(25 * 1024):
        print("%06d %s" % (i, "x" * 4088))
    print("flood is over")
    publish("said flood is over")

def handler(event, context):
    text = event["say"]
    if text in ("tick", "flood"):
        threading.Thread(target=globals()[text], daemon=True).start()
    print("out " + text)
    print("err " + text, file=sys.stderr)
    logging.debug("fine " + text)
    publish("said " + text)
`

// logger is one of a group.
func logger(kind types.LoggerType, component types.LoggerComponent, level types.LoggerLevel) types.Logger {
	l := types.Logger{Id: aws.String(string(kind) + string(component)), Type: kind, Component: component, Level: level}
	if kind == types.LoggerTypeFileSystem {
		l.Space = aws.Int32(64)
	}
	return l
}

// printed are the lines that fescue logs prints as JSON.
func (h *site) printed(t *testing.T, environment []string, args ...string) []ownapi.LogEvent {
	t.Helper()
	out, errs, code := programIn(t, environment, fescueBin, append([]string{"logs", "--json"}, args...)...)
	if code != 0 {
		t.Fatalf("fescue logs %v: %d\n%s", args, code, errs)
	}
	var list []ownapi.LogEvent
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		var e ownapi.LogEvent
		if err := dec.Decode(&e); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
}

// awaitLine waits for a line of a group's logs that ends so.
func (h *site) awaitLine(t *testing.T, group, function, end string) (line ownapi.LogEvent) {
	t.Helper()
	eventually(t, "a line "+end, func() error {
		for _, e := range h.printed(t, h.environment(), "--group", group, "--function", function) {
			if strings.HasSuffix(e.Message, end) {
				line = e
				return nil
			}
		}
		return fmt.Errorf("no such line of %s", function)
	})
	return line
}

// TestLogs: what functions print is written by their group's loggers, sent to the
// server, and read from there by those who may.
func TestLogs(t *testing.T) {
	t.Parallel()
	needPython(t)
	whole := t
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")
	groups, cores := make(map[string]string), make(map[string]*gateway)
	var loud, calm string
	for _, thing := range []string{"Log_Core_A", "Log_Core_B"} {
		g := h.provision(t, thing)
		g.loggers = []types.Logger{
			logger(types.LoggerTypeFileSystem, types.LoggerComponentLambda, types.LoggerLevelInfo),
			logger(types.LoggerTypeAWSCloudWatch, types.LoggerComponentLambda, types.LoggerLevelDebug),
			logger(types.LoggerTypeAWSCloudWatch, types.LoggerComponentGreengrassSystem, types.LoggerLevelInfo),
		}
		viewer.subscribe(t, thing+"/out")
		g.run(t)
		loud, calm = h.python(t, thing+"_Loud", talker), h.python(t, thing+"_Calm", talker)
		group, version := g.groupVersion(t, "", []function{
			{arn: loud, pinned: true, variables: out(thing, "loud")}, {arn: calm, pinned: true, variables: out(thing, "calm")},
		}, []route{
			{loud, thing + "/out", "cloud"}, {"cloud", thing + "/loud", loud}, {calm, thing + "/out", "cloud"}, {"cloud", thing + "/calm", calm},
		})
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		groups[thing], cores[thing] = group, g
		viewer.next(t, "started loud", "started calm")

		t.Run("by level, to the files and to the server, of "+thing, func(t *testing.T) {
			await(t, "publish", viewer.Publish(thing+"/calm", 1, false, `{"say":"hello"}`))
			viewer.next(t, "said hello")
			got := map[string]string{}
			for _, line := range []string{"out hello", "err hello", "fine hello"} { // each comes by its own way
				h.awaitLine(t, group, calm, line)
			}
			for _, e := range h.printed(t, h.environment(), "--group", group, "--function", calm) {
				got[e.Message[strings.LastIndexByte(e.Message, ',')+1:]] = e.Level
				if e.CoreThingName != thing || e.Component != "Lambda" || e.Name != thing+"_Calm" {
					t.Errorf("%+v", e)
				}
			}
			if got["out hello"] != "INFO" || got["err hello"] != "ERROR" || got["fine hello"] != "DEBUG" {
				t.Errorf("levels %v", got)
			}
			text := string(readFile(t, filepath.Join(g.root, "ggc", "var", "log", "user", region, account, thing+"_Calm.log")))
			if !strings.Contains(text, "err hello") || !strings.Contains(text, "out hello") || strings.Contains(text, "fine hello") {
				t.Errorf("the file has:\n%s", text)
			}
		})
	}
	thing, group := "Log_Core_B", groups["Log_Core_B"]

	t.Run("of the core itself, for people", func(t *testing.T) {
		eventually(t, "the core's own lines", func() error {
			out, errs, code := programIn(t, h.environment(), fescueBin, "logs", "--group", thing, "--system")
			if code != 0 || !strings.Contains(out, " INFO  runtime  ") || strings.Contains(out, "hello") {
				return fmt.Errorf("%d %s\n%s", code, errs, out)
			}
			return nil
		})
	})
	t.Run("only those who may read the group", func(t *testing.T) {
		arn := "arn:aws:greengrass:" + region + ":" + account + ":/greengrass/groups/" + groups["Log_Core_A"]
		if _, err := h.greengrass.TagResource(t.Context(), &greengrass.TagResourceInput{ResourceArn: &arn, Tags: map[string]string{"site": "north"}}); err != nil {
			t.Fatal(err)
		}
		var key struct{ AccessKeyID, SecretAccessKey string }
		text := runProgram(t, "keys", "create", "--data", h.data, "--name", "north", "--role", "reader", "--groups", "site=north", "--json")
		if err := json.Unmarshal([]byte(text), &key); err != nil {
			t.Fatal(err)
		}
		limited := append(h.environment(), "AWS_ACCESS_KEY_ID="+key.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+key.SecretAccessKey)
		if list := h.printed(t, limited, "--group", groups["Log_Core_A"]); len(list) == 0 {
			t.Error("the key does not read its own group")
		}
		if _, errs, code := programIn(t, limited, fescueBin, "logs", "--group", group); code != 1 || !strings.Contains(errs, "is not authorized to perform") {
			t.Errorf("another group: exit code %d\n%s", code, errs)
		}
	})
	t.Run("a core does not write into another's group", func(t *testing.T) {
		cert := h.provision(t, "Foreign_Core")
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: cert.tls(t)}}
		for path, status := range map[string]int{"Foreign_Core": http.StatusForbidden, thing: http.StatusForbidden} {
			body := fmt.Sprintf(`{"id":%q,"groupId":%q,"logs":[{"component":"Lambda","name":"F","lines":[{"t":1,"l":"INFO","m":"forged"}]}]}`, fescue.NewID(), group)
			req, err := http.NewRequest(http.MethodPut, "https://"+h.device+"/greengrass/cores/"+path+"/logs", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != status {
				t.Errorf("as %s: %s", path, resp.Status)
			}
		}
	})
	t.Run("a hundred megabytes hurt nobody", func(t *testing.T) {
		await(t, "publish", viewer.Publish(thing+"/loud", 1, false, `{"say":"flood"}`))
		await(t, "publish", viewer.Publish(thing+"/calm", 1, false, `{"say":"meanwhile"}`))
		viewer.nextWithin(t, 5*patience, "said meanwhile", "said flood is over")
		h.awaitLine(t, group, calm, "out meanwhile")
		h.awaitLine(t, group, loud, ",flood is over")
		files, err := filepath.Glob(filepath.Join(cores[thing].root, "ggc", "var", "log", "user", region, account, thing+"_Loud.log*"))
		if err != nil || len(files) != 4 {
			t.Errorf("files %v, %v", files, err)
		}
		size := 0
		for _, file := range files {
			size += len(readFile(t, file))
		}
		if size > 64<<10 || size < 32<<10 {
			t.Errorf("the files have %d bytes, of a Space of 64 KB", size)
		}
		lost := 0
		for _, e := range h.printed(t, h.environment(), "--group", group, "--function", loud) {
			lost += e.Lost
		}
		if lost == 0 {
			t.Error("nothing is said of what was lost")
		}
		for _, e := range h.printed(t, h.environment(), "--group", group, "--function", calm) {
			if e.Lost != 0 {
				t.Errorf("the other one's log has lost lines: %+v", e)
			}
		}
	})
	t.Run("what is printed while the server is away comes later", func(t *testing.T) {
		await(t, "publish", viewer.Publish(thing+"/calm", 1, false, `{"say":"tick"}`))
		h.awaitLine(t, group, calm, "tick 3")
		h.Kill()
		file := filepath.Join(cores[thing].root, "ggc", "var", "log", "user", region, account, thing+"_Calm.log")
		before := strings.Count(string(readFile(t, file)), "tick ")
		eventually(t, "it prints meanwhile", func() error {
			text, err := os.ReadFile(file)
			if n := strings.Count(string(text), "tick "); n < before+20 {
				return fmt.Errorf("%d lines, before %d, %v", n, before, err)
			}
			return nil
		})
		h.run(whole)
		h.awaitLine(t, group, calm, fmt.Sprint("tick ", before+20))
		next := 0
		for _, e := range h.printed(t, h.environment(), "--group", group, "--function", calm) {
			if i := strings.LastIndex(e.Message, "tick "); i >= 0 && e.Level == "INFO" && !strings.HasSuffix(e.Message, " tick") {
				if got := e.Message[i:]; got != fmt.Sprint("tick ", next) {
					t.Fatalf("%s came in the place of tick %d", got, next)
				}
				next++
			}
		}
	})
	t.Run("lines as they come", func(t *testing.T) {
		p := start(t, h.environment(), "logs", "--group", group, "--function", calm, "--follow", "--since", "1s")
		eventually(t, "two lines come", func() error {
			if _, ok := p.out.Find(`(?s)(tick \d+\n.*tick \d+\n)`); !ok {
				return fmt.Errorf("not yet")
			}
			return nil
		})
		if err := p.interrupt(t); err != nil {
			t.Errorf("interrupted: %v", err)
		}
	})
}
