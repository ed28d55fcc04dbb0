package lifecycle_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/router"
)

// BenchmarkInvoke has one warm function call another of its language, one call after
// the other, and reports the times from a call to its answer as the caller sees them.
func BenchmarkInvoke(b *testing.B) {
	const calls = 1000
	for _, language := range []struct {
		name string
		make func(r *site, name, source string) plan.Function
		// caller is sent how often to call Echo, and answers with the times in
		// milliseconds, rising; echo answers with what it got.
		caller, echo string
	}{
		{"Python", (*site).python, `
import time
from greengrass_ipc_python_sdk.ipc_client import IPCClient
ipc = IPCClient()
def handler(calls, context):
    took = []
    for n in range(calls):
        start = time.perf_counter()
        id = ipc.post_work("` + arn("Echo") + `", b'{"n":1}', b'')
        ipc.get_work_result("` + arn("Echo") + `", id)
        took.append((time.perf_counter() - start) * 1000)
    return sorted(took)
`, "def handler(event, context):\n    return event\n"},
		{"Node.js", (*site).node, `
const IPCClient = require('aws-greengrass-ipc-sdk-js');
const ipc = new IPCClient(process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN);
exports.handler = (calls, context, callback) => {
    const took = [];
    const call = () => {
        if (took.length === calls) {
            callback(null, took.sort((a, b) => a - b));
            return;
        }
        const start = process.hrtime();
        ipc.postWork('` + arn("Echo") + `', '{"n":1}', '', 'RequestResponse', (err, id) => {
            if (err) throw err;
            ipc.getWorkResult('` + arn("Echo") + `', id, (err) => {
                if (err) throw err;
                const spent = process.hrtime(start);
                took.push(spent[0] * 1000 + spent[1] / 1e6);
                call();
            });
        });
    };
    call();
};
`, "exports.handler = (event, context, callback) => callback(null, event);"},
		{"Java", (*site).java, `
import com.amazonaws.greengrass.ipcsdk.*;
import java.util.*;
public class App {
    private final DefaultIPCClient ipc = new DefaultIPCClient();
    public List<Double> handle(int calls) throws IPCException {
        List<Double> took = new ArrayList<>();
        while (took.size() < calls) {
            long start = System.nanoTime();
            String id = ipc.postWork("` + arn("Echo") + `", "RequestResponse", "{\"n\":1}".getBytes(), null);
            ipc.getWorkResult("` + arn("Echo") + `", id);
            took.add((System.nanoTime() - start) / 1e6);
        }
        Collections.sort(took);
        return took;
    }
}
`, "public class App { public Object handle(Object event) { return event; } }"},
	} {
		b.Run(language.name, func(b *testing.B) {
			r := newSite(b)
			r.apply(language.make(r, "Caller", language.caller), language.make(r, "Echo", language.echo))
			r.invoke("Caller", "100")
			var took []float64
			for b.Loop() {
				if err := json.Unmarshal(r.invoke("Caller", fmt.Sprint(calls)).Payload, &took); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(took[len(took)/2], "p50-ms")
			b.ReportMetric(took[len(took)*99/100], "p99-ms")
		})
	}
}

// BenchmarkHop has a function publish a thousand messages a second, which the router hands
// to another one, and reports the times from the call that publishes one to the handler
// that gets it. Each operation is a second. A publisher that finds no room waits and
// publishes again, and a message that does not come, or comes twice, is an error.
func BenchmarkHop(b *testing.B) {
	const rate = 1000
	for _, language := range []struct {
		name string
		make func(r *site, name, source string) plan.Function
		// source is sent how many messages to publish in a second, and sink what it is to
		// do with that: a time to keep, or to answer with those that it has, rising.
		source, sink string
	}{
		{"Python", (*site).python, `
import base64, json, os, time
from greengrass_ipc_python_sdk.ipc_client import IPCClient, IPCException
ipc, router = IPCClient(), os.environ["ROUTER_FUNCTION_ARN"]
context = base64.b64encode(json.dumps({"custom": {"source": os.environ["MY_FUNCTION_ARN"], "subject": "hop", "queueFullPolicy": "AllOrError"}}).encode())
def handler(count, about):
    start = time.perf_counter()
    for n in range(count):
        early = start + n / float(count) - time.perf_counter()
        if early > 0:
            time.sleep(early)
        while True:
            try:
                ipc.post_work(router, str(time.perf_counter()), context, "Event")
                break
            except IPCException as full:
                if full.code != 429:
                    raise
                time.sleep(0.001)
`, `
import time
took = []
def handler(sent, about):
    if sent == "all":
        return sorted(took)
    took.append((time.perf_counter() - sent) * 1000)
`},
		{"Node.js", (*site).node, `
const IPCClient = require('aws-greengrass-ipc-sdk-js');
const ipc = new IPCClient(process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN), router = process.env.ROUTER_FUNCTION_ARN;
const context = Buffer.from(JSON.stringify({custom: {source: process.env.MY_FUNCTION_ARN, subject: 'hop', queueFullPolicy: 'AllOrError'}})).toString('base64');
const now = () => { const t = process.hrtime(); return t[0] + t[1] / 1e9; };
const publish = (done) => ipc.postWork(router, String(now()), context, 'Event', (err) => {
    if (!err) return done();
    if (err.statusCode !== 429) throw err;
    setTimeout(publish, 1, done);
});
exports.handler = (count, about, callback) => {
    const start = now();
    let published = 0, n = 0;
    const due = () => {
        for (; n < count && n / count <= now() - start; n++) publish(() => ++published === count && callback());
        if (n < count) setTimeout(due, 1);
    };
    due();
};
`, `
const took = [];
const now = () => { const t = process.hrtime(); return t[0] + t[1] / 1e9; };
exports.handler = (sent, about, callback) => {
    if (sent === 'all') return callback(null, took.sort((a, b) => a - b));
    took.push((now() - sent) * 1000);
    callback();
};
`},
		{"Java", (*site).java, `
import com.amazonaws.greengrass.ipcsdk.*;
import java.util.Base64;
public class App {
    private final DefaultIPCClient ipc = new DefaultIPCClient();
    private final String context = Base64.getEncoder().encodeToString(("{\"custom\":{\"source\":\"" + System.getenv("MY_FUNCTION_ARN")
        + "\",\"subject\":\"hop\",\"queueFullPolicy\":\"AllOrError\"}}").getBytes());
    public void handle(int count) throws Exception {
        long start = System.nanoTime();
        for (int n = 0; n < count; n++) {
            long early = start + n * 1000000000L / count - System.nanoTime();
            if (early > 0) Thread.sleep(early / 1000000, (int) (early % 1000000));
            while (true) {
                try {
                    ipc.postWork(System.getenv("ROUTER_FUNCTION_ARN"), "Event", String.valueOf(System.nanoTime() / 1e9).getBytes(), context);
                    break;
                } catch (IPCException full) {
                    if (full.getStatusCode() != 429) throw full;
                    Thread.sleep(1);
                }
            }
        }
    }
}
`, `
import java.util.*;
public class App {
    private final List<Double> took = new ArrayList<>();
    public Object handle(Object sent) {
        if (sent.equals("all")) {
            Collections.sort(took);
            return took;
        }
        took.add((System.nanoTime() / 1e9 - ((Number) sent).doubleValue()) * 1000);
        return null;
    }
}
`},
	} {
		b.Run(language.name, func(b *testing.B) {
			r := newSite(b)
			source, sink := language.make(r, "Source", language.source), language.make(r, "Sink", language.sink)
			source.Timeout, sink.Timeout = time.Hour, time.Hour
			r.apply(source, sink)
			table, err := router.NewTable([]fescue.Subscription{{Id: "1", Source: arn("Source"), Subject: "hop", Target: arn("Sink")}})
			if err != nil {
				b.Fatal(err)
			}
			r.router.SetTable(table)
			// On a busy machine a second takes longer than tests wait.
			call := func(name, payload string) []byte {
				id, err := r.calls.Invoke(b.Context(), invoke.Worker{}, invoke.Call{ARN: arn(name), Type: invoke.RequestResponse, Payload: []byte(payload)})
				if err != nil {
					b.Fatal(err)
				}
				got, err := r.result(b.Context(), invoke.Worker{}, arn(name), id)
				if err != nil || got.Error != invoke.Succeeded {
					b.Fatalf("%v %s %s", err, got.Error, got.Payload)
				}
				return got.Payload
			}
			publish := func() { call("Source", fmt.Sprint(rate)) }
			// arrived waits behind all messages in the sink's queue.
			arrived := func() (took []float64) {
				if err := json.Unmarshal(call("Sink", `"all"`), &took); err != nil {
					b.Fatal(err)
				}
				return took
			}
			publish()
			if warm := len(arrived()); warm != rate {
				b.Fatalf("of %d messages %d came", rate, warm)
			}
			start, seconds := time.Now(), 0
			for b.Loop() {
				publish()
				seconds++
			}
			took := arrived()
			b.ReportMetric(float64(seconds*rate)/time.Since(start).Seconds(), "messages/s")
			if len(took) != (seconds+1)*rate {
				b.Errorf("of %d messages %d came", (seconds+1)*rate, len(took))
			}
			b.ReportMetric(took[len(took)/2], "p50-ms")
			b.ReportMetric(took[len(took)*99/100], "p99-ms")
		})
	}
}
