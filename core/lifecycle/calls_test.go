package lifecycle_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/testkit"
)

func TestCalls(t *testing.T) {
	t.Parallel()

	t.Run("an executable answers in bytes", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(executable("Upper", t.TempDir(), "upper"))
		r.wantResult("Upper", "not json {", "NOT JSON {")
	})

	t.Run("a function calls another and waits", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(
			r.python("Caller", `
from greengrass_ipc_python_sdk.ipc_client import IPCClient
ipc = IPCClient()
def handler(event, context):
    target = context.invoked_function_arn.replace("Caller", event["target"])
    id = ipc.post_work(target, b'{"n": 20}', b'')
    result = ipc.get_work_result(target, id)
    return {"payload": result.payload.decode(), "error": result.func_err}
`),
			r.python("Doubler", "def handler(event, context):\n    return {'n': event['n'] * 2}\n"),
			r.python("Refuser", "def handler(event, context):\n    raise ValueError('not twenty')\n"),
		)
		r.wantResult("Caller", `{"target": "Doubler"}`, `{"payload": "{\"n\": 40}", "error": ""}`)
		r.wantResult("Caller", `{"target": "Refuser"}`, `{"payload": "{\"errorMessage\": \"not twenty\"}", "error": "Handled"}`)
		if got := r.invoke("Caller", `{"target": "Nobody"}`); got.Error != invoke.Handled || !strings.Contains(string(got.Payload), "HTTP Error 404") {
			t.Errorf("calling an unknown function: %s %s", got.Error, got.Payload)
		}
	})

	t.Run("a published message goes through the router into a function and on to the cloud", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		const publish = `
import base64, json, os
from greengrass_ipc_python_sdk.ipc_client import IPCClient
ipc = IPCClient()
def publish(topic, payload, policy=""):
    custom = {"source": os.environ["MY_FUNCTION_ARN"], "subject": topic, "queueFullPolicy": policy}
    context = base64.b64encode(json.dumps({"custom": custom}).encode())
    router = os.environ["ROUTER_FUNCTION_ARN"]
    id = ipc.post_work(router, payload, context, "Event")
    return ipc.get_work_result(router, id)
`
		r.apply(
			r.python("Publisher", publish+"def handler(event, context):\n    return publish(event['topic'], '{\"v\": 1}', 'AllOrError').func_err\n"),
			r.python("Relay", publish+"def handler(event, context):\n    publish('relayed', context.client_context.custom['subject'] + ' ' + json.dumps(event))\n"),
		)
		table, err := router.NewTable([]fescue.Subscription{
			{Id: "1", Source: arn("Publisher"), Subject: "in/+", Target: arn("Relay")},
			{Id: "2", Source: arn("Relay"), Subject: "relayed", Target: "cloud"},
		})
		if err != nil {
			t.Fatal(err)
		}
		r.router.SetTable(table)
		r.wantResult("Publisher", `{"topic": "in/x"}`, `""`)
		select {
		case got := <-r.cloud:
			if got.Topic != "relayed" || string(got.Payload) != `in/x {"v": 1}` {
				t.Errorf("the cloud got %s %s", got.Topic, got.Payload)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("nothing reached the cloud")
		}
		r.wantResult("Publisher", `{"topic": "elsewhere"}`, `""`)
		if want := "Failed to get routes. Discarding message."; !strings.Contains(r.runtime.String(), want) {
			t.Errorf("runtime.log lacks %q", want)
		}
		if got := r.invoke("Publisher", `{"topic": "in/#"}`); got.Error != invoke.Handled || !strings.Contains(string(got.Payload), "HTTP Error 400") {
			t.Errorf("publishing to a filter: %s %s", got.Error, got.Payload)
		}
		if err := r.router.FromCloud(t.Context(), "x", nil); err != nil {
			t.Errorf("a message from the cloud without a subscription: %v", err)
		}
	})

	t.Run("a call that takes too long is ended and its process killed", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		slow := r.python("Slow", "import time\ndef handler(event, context):\n    while event: time.sleep(1)\n    return 'quick'\n")
		slow.Timeout = 500 * time.Millisecond
		r.apply(slow)
		pid := r.pid("Slow", invoke.Waiting)
		got := r.invoke("Slow", "1")
		want := `{"errorMessage":"` + arn("Slow") + ` timed out after 0.5 seconds"}`
		if got.Error != invoke.Unhandled || string(got.Payload) != want {
			t.Errorf("got %s %s, want Unhandled %s", got.Error, got.Payload, want)
		}
		testkit.Until(r.t, "the process is gone", func() bool { return !alive(pid) })
		for _, want := range []string{"Timing out work item.", `invoker="the core"`, "invocationId=", "workerId="} {
			if !strings.Contains(r.runtime.String(), want) {
				t.Errorf("runtime.log lacks %q", want)
			}
		}
		if again := r.pid("Slow", invoke.Waiting); again == pid {
			t.Error("the same process goes on")
		}
	})

	t.Run("a result or an error that is too large ends its call at once, and nothing else", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		large := r.python("Large", `
def handler(event, context):
    if event == 'raise':
        raise ValueError('x' * (7 << 20))
    return 'x' * event
`)
		large.Timeout = 10 * time.Minute
		r.apply(large)
		pid := r.pid("Large", invoke.Waiting)
		for payload, want := range map[string]string{
			"7340032":  "the function's result has 7340034 bytes; the core passes on at most 6291456",
			"99000000": "the function's result has 99000002 bytes; the core passes on at most 6291456",
			`"raise"`:  "the function's error has 7340052 bytes; the core passes on at most 6291456",
		} {
			got := r.invoke("Large", payload)
			if got.Error != invoke.Unhandled || string(got.Payload) != `{"errorMessage":"`+want+`"}` {
				t.Errorf("%s: %s %.300s", payload, got.Error, got.Payload)
			}
		}
		r.wantResult("Large", "3", `"xxx"`)
		if again := r.pid("Large", invoke.Waiting); again != pid {
			t.Error("the process was replaced")
		}
	})

	t.Run("an exception that cannot say what it is fails its call alone", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(r.python("Mute", `
class Mute(Exception):
    def __str__(self):
        raise ValueError('no words')
    __repr__ = __str__
def handler(event, context):
    if event:
        raise Mute()
    return 'fine'
`))
		pid := r.pid("Mute", invoke.Waiting)
		if got := r.invoke("Mute", "1"); got.Error != invoke.Handled || string(got.Payload) != `{"errorMessage": "Mute"}` {
			t.Errorf("got %s %s", got.Error, got.Payload)
		}
		r.wantResult("Mute", "0", `"fine"`)
		if again := r.pid("Mute", invoke.Waiting); again != pid {
			t.Error("the process was replaced")
		}
	})

	t.Run("a process that dies at work fails the call and comes back", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(executable("Crash", t.TempDir(), "crash"))
		first := r.pid("Crash", invoke.Waiting)
		got := r.invoke("Crash", "x")
		if got.Error != invoke.Unhandled || !strings.Contains(string(got.Payload), "exited with status 9") {
			t.Errorf("got %s %s, want Unhandled with the exit status", got.Error, got.Payload)
		}
		if second := r.pid("Crash", invoke.Waiting); second == first {
			t.Error("the same process goes on")
		}
	})

	t.Run("a token dies with its process", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		token := r.python("Token", "import os\ndef handler(event, context):\n    return os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN']\n")
		r.apply(token)
		var secret string
		if err := json.Unmarshal(r.invoke("Token", "").Payload, &secret); err != nil {
			t.Fatal(err)
		}
		status := func() int {
			url := fmt.Sprintf("http://localhost:%d/2016-11-01/functions/%s", r.port, arn("Token"))
			request, err := http.NewRequest(http.MethodPost, url, strings.NewReader("1"))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", secret)
			request.Header.Set("X-Amz-Invocation-Type", "Event")
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
			return response.StatusCode
		}
		if got := status(); got != http.StatusAccepted {
			t.Errorf("a live token: %d, want 202", got)
		}
		r.apply()
		if got := status(); got != http.StatusUnauthorized {
			t.Errorf("a dead token: %d, want 401", got)
		}
		if strings.Contains(r.runtime.String(), secret) || strings.Contains(r.logs.String(), secret) {
			t.Error("the token is in a log")
		}
	})

	t.Run("a full queue refuses, and all-or-error delivers to none", func(t *testing.T) {
		t.Parallel()
		r := newSite(t, func(o *lifecycle.Options) { o.MaxWorkItems = 2; o.MaxBytes = 1000 })
		r.apply(executable("Silent", t.TempDir(), "silent"), executable("Silent2", t.TempDir(), "silent"))
		table, err := router.NewTable([]fescue.Subscription{
			{Id: "1", Source: "s", Subject: "t", Target: arn("Silent")},
			{Id: "2", Source: "s", Subject: "t", Target: "cloud"},
			{Id: "3", Source: "s", Subject: "t", Target: arn("Silent2")},
		})
		if err != nil {
			t.Fatal(err)
		}
		r.router.SetTable(table)
		call := invoke.Call{ARN: arn("Silent"), Type: invoke.Event, Payload: []byte("x")}
		if n := r.flood("s", "Silent", 1); n != 2 {
			t.Errorf("%d items were taken, want 2", n)
		}
		for range 4 {
			r.flood("others", "Silent", 1)
			_, _ = r.calls.Invoke(t.Context(), invoke.Worker{}, call)
		}
		if err := r.router.Publish(t.Context(), router.Message{Source: "s", Topic: "t", Payload: []byte("m")}, true); !errors.Is(err, invoke.ErrQueueFull) {
			t.Errorf("all or error: %v, want a full queue", err)
		}
		if len(r.cloud) != 0 {
			t.Error("the cloud got a message that not everyone got")
		}
		if err := r.router.Publish(t.Context(), router.Message{Source: "s", Topic: "t", Payload: []byte("m")}, false); err != nil {
			t.Errorf("best effort: %v", err)
		}
		if len(r.cloud) != 1 {
			t.Error("the cloud did not get the message that there was room for")
		}
		if _, err := r.calls.Invoke(t.Context(), invoke.Worker{}, call); !errors.Is(err, invoke.ErrQueueFull) {
			t.Errorf("one more item: %v, want a full queue", err)
		}
		call.Payload = make([]byte, 1001)
		if _, err := r.calls.Invoke(t.Context(), invoke.Worker{}, call); !errors.Is(err, invoke.ErrTooLarge) {
			t.Errorf("an item larger than the queue: %v, want too large", err)
		}
	})

	t.Run("an item that did not reach its process is handed out again, but not for ever", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(executable("Silent", t.TempDir(), "silent"))
		r.pid("Silent", invoke.Starting)
		worker := invoke.Worker{ID: r.workers("Silent")[0].WorkerId, FunctionARN: arn("Silent")}
		id, err := r.calls.Invoke(t.Context(), invoke.Worker{}, invoke.Call{ARN: arn("Silent"), Type: invoke.RequestResponse, Payload: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			work, err := r.sup.NextWork(t.Context(), worker)
			if err != nil || work.ID != id || string(work.Payload) != "x" {
				t.Fatalf("got %+v, %v, want the item", work, err)
			}
			r.sup.Undelivered(worker, id)
		}
		got, err := r.result(t.Context(), invoke.Worker{}, arn("Silent"), id)
		if err != nil || got.Error != invoke.Unhandled {
			t.Errorf("got %+v, %v, want Unhandled", got, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.sup.NextWork(ctx, worker); !errors.Is(err, context.Canceled) {
			t.Errorf("a poll that was given up: %v", err)
		}
		if err := r.sup.Complete(t.Context(), worker, id, invoke.Outcome{}); !errors.Is(err, invoke.ErrNotFound) {
			t.Errorf("answering an item that is not held: %v, want not found", err)
		}
	})

	t.Run("a log line sent by HTTP is as long as others at most", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(executable("Silent", t.TempDir(), "silent"))
		r.pid("Silent", invoke.Starting)
		worker := invoke.Worker{ID: r.workers("Silent")[0].WorkerId, FunctionARN: arn("Silent")}
		line := invoke.LogLine{Level: "WARN", Text: strings.Repeat("x", 1<<20)}
		if err := r.sup.AppendLog(t.Context(), worker, []invoke.LogLine{line}); err != nil {
			t.Fatal(err)
		}
		if own := r.logs.String(); !strings.Contains(own, "WARN log|xxx") || len(own) > 64<<10 {
			t.Errorf("its log has %d bytes", len(own))
		}
	})

	t.Run("the health API shows what workers do", func(t *testing.T) {
		t.Parallel()
		r := newSite(t)
		r.apply(executable("Upper", t.TempDir(), "upper"), executable("Silent", t.TempDir(), "silent"))
		r.pid("Upper", invoke.Waiting)
		r.pid("Silent", invoke.Starting)
		response, err := http.Get(fmt.Sprintf("http://localhost:%d/2016-11-01/health/workers", r.port))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var workers []map[string]string
		if err := json.NewDecoder(response.Body).Decode(&workers); err != nil {
			t.Fatal(err)
		}
		if len(workers) != 2 || workers[0]["WorkerState"] != "Starting" || workers[1]["WorkerState"] != "Waiting" {
			t.Errorf("got %v", workers)
		}
	})
}
