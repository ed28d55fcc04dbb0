package lifecycle_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/fescue-edge/fescue/core/plan"
)

// BenchmarkInvoke has one warm function call another of its language, one call after
// the other, and tells the times from a call to its answer as the caller sees them.
func BenchmarkInvoke(b *testing.B) {
	const calls = 1000
	for _, language := range []struct {
		name string
		make func(r *rig, name, source string) plan.Function
		// caller is told how often to call Echo, and answers with the times in
		// milliseconds, rising; echo answers with what it got.
		caller, echo string
	}{
		{"Python", (*rig).python, `
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
		{"Node.js", (*rig).node, `
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
		{"Java", (*rig).java, `
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
			r := newRig(b)
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
