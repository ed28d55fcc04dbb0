package lifecycle_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/standin"
)

// tongue is a language that functions are written in. Its function answers to words:
// "count" with the process and how many calls that has had; "meet FILE OTHER" makes a
// file and waits for another; "from" with whom the client context names; "publish POLICY"
// with whether the router took a message on the topic t; "fail", "exit" and "spin" do
// that. With CRASH in its environment it ends when it starts, with LOOP it never comes
// to its handler.
type tongue struct {
	name string
	// binary is for one that takes and gives bytes, not JSON.
	binary bool
	// lost is what it answers when it fails.
	lost string
	make func(r *site, name string) plan.Function
}

const pythonWords = `
import base64, json, os, sys, time
from greengrass_common.env_vars import MY_FUNCTION_ARN, ROUTER_FUNCTION_ARN
from greengrass_ipc_python_sdk.ipc_client import IPCClient, IPCException
if "CRASH" in os.environ:
    sys.exit(7)
while "LOOP" in os.environ:
    time.sleep(0.01)
ipc, calls = IPCClient(), 0

def handler(event, about):
    global calls
    calls += 1
    words = event.split(" ")
    if words[0] == "count":
        return "%d %d" % (os.getpid(), calls)
    elif words[0] == "meet":
        open(words[1], "w").close()
        while not os.path.exists(words[2]):
            time.sleep(0.01)
        return str(os.getpid())
    elif words[0] == "from":
        return about.client_context.custom["from"]
    elif words[0] == "publish":
        custom = {"source": MY_FUNCTION_ARN, "subject": "t", "queueFullPolicy": words[1]}
        try:
            id = ipc.post_work(ROUTER_FUNCTION_ARN, b"m", base64.b64encode(json.dumps({"custom": custom}).encode()), "Event")
            return "refused" if ipc.get_work_result(ROUTER_FUNCTION_ARN, id).func_err else "taken"
        except IPCException:
            return "refused"
    elif words[0] == "fail":
        raise ValueError("lost")
    elif words[0] == "exit":
        os._exit(3)
    while True:
        pass
`

const nodeWords = `
const fs = require('fs');
const {envVars} = require('aws-greengrass-common-js');
const IPCClient = require('aws-greengrass-ipc-sdk-js');
if (process.env.CRASH) process.exit(7);
while (process.env.LOOP) {}
const ipc = new IPCClient(envVars.AUTH_TOKEN);
let calls = 0;
const meet = (other, done) => fs.existsSync(other) ? done(null, String(process.pid)) : setTimeout(meet, 10, other, done);
exports.handler = (event, about, callback) => {
    calls++;
    const words = event.split(' ');
    switch (words[0]) {
    case 'count': return callback(null, process.pid + ' ' + calls);
    case 'meet':
        fs.writeFileSync(words[1], '');
        return meet(words[2], callback);
    case 'from': return callback(null, about.clientContext.Custom.from);
    case 'publish': {
        const custom = {source: envVars.MY_FUNCTION_ARN, subject: 't', queueFullPolicy: words[1]};
        return ipc.postWork(envVars.ROUTER_FUNCTION_ARN, 'm', Buffer.from(JSON.stringify({custom})).toString('base64'), 'Event',
            (err) => callback(null, err ? 'refused' : 'taken'));
    }
    case 'fail': return callback(new Error('lost'));
    case 'exit': process.exit(3);
    }
    for (;;) {}
};
`

const javaWords = `
import com.amazonaws.services.lambda.runtime.Context;
import java.io.File;
import standin.Greengrass;

public class App {
    static int calls;
    static {
        if (System.getenv("CRASH") != null) System.exit(7);
        while (System.getenv("LOOP") != null) { }
    }

    static String process() throws Exception {
        return new File("/proc/self").getCanonicalFile().getName();
    }

    public String handle(String event, Context about) throws Exception {
        calls++;
        String[] words = event.split(" ");
        switch (words[0]) {
            case "count":
                return process() + " " + calls;
            case "meet":
                new File(words[1]).createNewFile();
                while (!new File(words[2]).exists()) Thread.sleep(10);
                return process();
            case "from":
                return about.getClientContext().getCustom().get("from");
            case "publish":
                try {
                    Greengrass.publish("t", "m", words[1]);
                    return "taken";
                } catch (com.amazonaws.greengrass.ipcsdk.IPCException refused) {
                    return "refused";
                }
            case "fail":
                throw new IllegalStateException("lost");
            case "exit":
                Runtime.getRuntime().halt(3);
        }
        while (true) { }
    }
}
`

const cWords = `
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "greengrasssdk.h"

static int calls;
static gg_request request;

static void handle(const gg_lambda_context *about) {
    char event[4096], *word[3] = {event, "", ""}, text[128];
    size_t at = 0, n;
    int i;
    while (gg_lambda_handler_read(event + at, sizeof event - 1 - at, &n) == GGE_SUCCESS && n > 0) at += n;
    event[at] = 0;
    for (i = 1; i < 3 && (word[i] = strchr(word[i - 1], ' ')) != NULL; i++) *word[i]++ = 0;
    calls++;
    if (strcmp(event, "count") == 0) {
        snprintf(text, sizeof text, "%d %d", getpid(), calls);
    } else if (strcmp(event, "meet") == 0) {
        fclose(fopen(word[1], "w"));
        while (access(word[2], F_OK)) usleep(10000);
        snprintf(text, sizeof text, "%d", getpid());
    } else if (strcmp(event, "from") == 0) {
        const char *from = strstr(about->client_context, "\"from\"");
        text[0] = 0;
        sscanf(from ? from + 6 : "", "%*[ :]\"%63[^\"]", text);
    } else if (strcmp(event, "publish") == 0) {
        gg_publish_options options = NULL;
        gg_request_result result = {GG_REQUEST_SUCCESS};
        gg_error failed = gg_publish_options_init(&options);
        if (!failed) failed = gg_publish_options_set_queue_full_policy(options, strcmp(word[1], "AllOrError") == 0 ? GG_QUEUE_FULL_POLICY_ALL_OR_ERROR : GG_QUEUE_FULL_POLICY_BEST_EFFORT);
        if (!failed) failed = gg_publish_with_options(request, "t", "m", 1, options, &result);
        gg_publish_options_free(options);
        strcpy(text, failed || result.request_status ? "refused" : "taken");
    } else if (strcmp(event, "fail") == 0) {
        gg_lambda_handler_write_error("lost");
        return;
    } else if (strcmp(event, "exit") == 0) {
        _exit(3);
    } else {
        while (1) { }
    }
    gg_lambda_handler_write_response(text, strlen(text));
}

int main(void) {
    if (getenv("CRASH")) return 7;
    while (getenv("LOOP")) usleep(10000);
    if (gg_global_init(0) || gg_request_init(&request)) return 1;
    return gg_runtime_start(handle, 0) == GGE_TERMINATE ? 0 : 1;
}
`

var tongues = []tongue{
	{"Python", false, `{"errorMessage": "lost"`, func(r *site, name string) plan.Function { return r.python(name, pythonWords) }},
	{"Node", false, `{"errorMessage":"lost"`, func(r *site, name string) plan.Function { return r.node(name, nodeWords) }},
	{"Java", false, `{"errorMessage":"lost"`, func(r *site, name string) plan.Function { return r.java(name, javaWords) }},
	{"C", true, `{"errorMessage":"lost"`, func(r *site, name string) plan.Function {
		f := function(name)
		f.Code, f.Handler, f.Runtime, f.Encoding = sandbox.HostPath(r.t.TempDir()), "program", fescue.ExecutableRuntime, fescue.EncodingBinary
		standin.Write(r.t, string(f.Code), standin.C(r.t, cWords))
		if err := os.Chmod(string(f.Code.Join("program")), 0o755); err != nil {
			r.t.Fatal(err)
		}
		return f
	}},
}

// TestSemantics: how calls are carried out is the same in every language.
func TestSemantics(t *testing.T) {
	t.Parallel()
	for _, l := range tongues {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			l.test(t)
		})
	}
}

func (l tongue) test(t *testing.T) {
	// A function for each way to be called, of one package; at most two on-demand
	// processes at once.
	r := newSite(t, func(o *lifecycle.Options) {
		o.MaxConcurrent, o.MaxWorkItems, o.InitTimeout, o.Idle = 2, 4, 5*time.Minute, 10*time.Minute
	})
	made := l.make(r, "F")
	named := func(name string, environment ...string) plan.Function {
		f := made
		f.ARN, f.Name, f.Environment = arn(name), name, map[string]string{}
		for k, v := range made.Environment {
			f.Environment[k] = v
		}
		for _, k := range environment {
			f.Environment[k] = "1"
		}
		return f
	}
	hasty := named("Hasty")
	hasty.Timeout = 5 * time.Second
	r.apply(named("Lasting"), onDemand(named("OnDemand")), onDemand(named("Another")), hasty,
		named("Crashing", "CRASH"), named("Looping", "LOOP"), executable("Silent", t.TempDir(), "silent"))
	table, err := router.NewTable([]fescue.Subscription{{Id: "1", Source: arn("Lasting"), Subject: "t", Target: arn("Silent")}})
	if err != nil {
		t.Fatal(err)
	}
	r.router.SetTable(table)

	call := func(name, words string) invoke.Outcome {
		t.Helper()
		payload := []byte(words)
		if !l.binary {
			payload, _ = json.Marshal(words)
		}
		context := base64.StdEncoding.EncodeToString([]byte(`{"custom":{"from":"the core"}}`))
		id, err := r.calls.Invoke(t.Context(), invoke.Worker{}, invoke.Call{ARN: arn(name), Type: invoke.RequestResponse, ClientContext: context, Payload: payload})
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.result(t.Context(), invoke.Worker{}, arn(name), id)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	answer := func(name, words string) string {
		t.Helper()
		got := call(name, words)
		text := string(got.Payload)
		if !l.binary && got.Error == invoke.Succeeded {
			if err := json.Unmarshal(got.Payload, &text); err != nil {
				t.Errorf("%s(%s): %v in %s", name, words, err, got.Payload)
			}
		}
		if got.Error != invoke.Succeeded {
			t.Errorf("%s(%s) = %s %s", name, words, got.Error, got.Payload)
		}
		return text
	}
	failed := func(name, words string, how invoke.FunctionError, want string) {
		t.Helper()
		if got := call(name, words); got.Error != how || !strings.HasPrefix(string(got.Payload), want) {
			t.Errorf("%s(%s) = %s %s, want %s %s", name, words, got.Error, got.Payload, how, want)
		}
	}
	state := func(name string, want ...invoke.WorkerState) {
		t.Helper()
		testkit.Until(t, fmt.Sprintf("the workers of %s are %v", name, want), func() bool {
			var got []invoke.WorkerState
			for _, w := range r.workers(name) {
				got = append(got, w.WorkerState)
			}
			return fmt.Sprint(got) == fmt.Sprint(want)
		})
	}

	// A long-lived function has one process, whose memory lasts.
	state("Lasting", invoke.Waiting)
	pid := r.pid("Lasting", invoke.Waiting)
	for n := 1; n <= 3; n++ {
		if got, want := answer("Lasting", "count"), fmt.Sprintf("%s %d", pid, n); got != want {
			t.Errorf("call %d answered %q, want %q", n, got, want)
		}
	}
	if got := answer("Lasting", "from"); got != "the core" {
		t.Errorf("the client context names %q", got)
	}

	// An on-demand function has as many as there are calls, and each serves more of them.
	state("OnDemand")
	dir := t.TempDir()
	file := func(i int) string { return filepath.Join(dir, fmt.Sprint(i)) }
	var pids [2]string
	var wait sync.WaitGroup
	for i := range pids {
		wait.Go(func() { pids[i] = answer("OnDemand", "meet "+file(i)+" "+file(1-i)) })
	}
	wait.Wait()
	if pids[0] == pids[1] {
		t.Errorf("two calls at once ran in process %s", pids[0])
	}
	state("OnDemand", invoke.Waiting, invoke.Waiting)
	again, _, _ := strings.Cut(answer("OnDemand", "count"), " ")
	if again != pids[0] && again != pids[1] {
		t.Errorf("process %s, want one of the idle %v", again, pids)
	}
	// At the limit an idle one makes room for another function's.
	answer("Another", "count")
	state("OnDemand", invoke.Waiting)
	state("Another", invoke.Waiting)

	// What a handler reports is Handled, and its process goes on; what the core finds is
	// Unhandled, and the process does not.
	failed("Lasting", "fail", invoke.Handled, l.lost)
	if got := answer("Lasting", "count"); got != pid+" 6" {
		t.Errorf("after an error: %q, want process %s with 6 calls", got, pid)
	}
	failed("OnDemand", "fail", invoke.Handled, l.lost)
	failed("OnDemand", "exit", invoke.Unhandled, `{"errorMessage":`)
	failed("Lasting", "exit", invoke.Unhandled, `{"errorMessage":`)
	if next := r.pid("Lasting", invoke.Waiting); next == pid {
		t.Errorf("process %s is there still", pid)
	}

	// A call that takes too long ends with its process, and others do not notice.
	slow := r.pid("Hasty", invoke.Waiting)
	failed("Hasty", "spin", invoke.Unhandled, `{"errorMessage":"`+arn("Hasty")+` timed out after 5 seconds`)
	testkit.Until(t, "the process is gone", func() bool { return !alive(slow) })
	answer("Hasty", "count")

	// A full queue is the publisher's error, or nobody's, as it chose.
	for range 4 {
		if got := answer("Lasting", "publish AllOrError"); got != "taken" {
			t.Errorf("there is room, and a message is %s", got)
		}
	}
	if got := answer("Lasting", "publish AllOrError"); got != "refused" {
		t.Errorf("with AllOrError a message without room is %s", got)
	}
	if got := answer("Lasting", "publish BestEffort"); got != "taken" {
		t.Errorf("with BestEffort a message without room is %s", got)
	}

	// What never comes to its handler is alive; what ends before it is started again,
	// after a pause.
	if got := r.workers("Looping"); len(got) != 1 || got[0].WorkerState != invoke.Starting {
		t.Errorf("%+v", got)
	}
	testkit.Until(t, "it was started again and again", func() bool { return strings.Contains(r.runtime.String(), "failures=3") })
	ready, err := r.sup.WaitReady(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	crashed := slices.ContainsFunc(ready, func(s lifecycle.Started) bool {
		return s.ARN == arn("Crashing") && s.State == lifecycle.Failed && strings.HasPrefix(s.Cause, "exited with status 7")
	})
	if !crashed {
		t.Errorf("%+v", ready)
	}
}
