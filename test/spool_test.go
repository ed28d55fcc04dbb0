//go:build linux

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fescue-edge/fescue/testkit"
)

// burst publishes numbered messages when it is invoked, and reports when all are
// accepted.
const burst = `
import base64, json, os
from greengrass_common.env_vars import MY_FUNCTION_ARN, ROUTER_FUNCTION_ARN
from greengrass_ipc_python_sdk.ipc_client import IPCClient

ipc = IPCClient()

def publish(topic, payload, policy):
    context = {"custom": {"source": MY_FUNCTION_ARN, "subject": topic, "queueFullPolicy": policy}}
    ipc.post_work(ROUTER_FUNCTION_ARN, payload.encode(), base64.b64encode(json.dumps(context).encode()), "Event")

def handler(event, context):
    order = json.loads(event) if isinstance(event, (str, bytes)) else event
    for i in range(order["from"], order["to"]):
        publish(order["topic"], "%d %s" % (i, "x" * order["size"]), order["policy"])
    publish("done", "done " + order["topic"], "BestEffort")
`

// spoolSite is a core with a queue on the disk, devices and a function that publish to
// the cloud, and one who listens there.
type spoolSite struct {
	*localCore
	// whole is the test that all parts belong to: what is started outlives them.
	whole     *testing.T
	line      *cable
	functions []function
	routes    []route
	devices   []*gateway
	viewer    *client
	got       testkit.Monitor
	numbers   map[string][]int // by topic, in the order of their coming
	count     int              // of all messages
}

func newSpoolSite(t *testing.T) *spoolSite {
	h := startServer(t).site(region)
	r := &spoolSite{localCore: h.serveDevices(t, "Spool_Core"), whole: t, numbers: make(map[string][]int)}
	r.line = lay(t, h.mqtt)
	r.configure(t, "iotMqttPort", r.line.port)
	r.edit(t, func(config map[string]any) { config["mqttMaxConnectionRetryInterval"] = 1 })
	r.run(t)
	r.devices = []*gateway{h.provision(t, "Meter"), h.provision(t, "Gauge")}
	arn := h.python(t, "Burst", burst)
	r.functions = []function{{arn: arn, pinned: true, timeout: 300}}
	r.routes = []route{
		{r.devices[0].thingARN, "go", arn}, {arn, "done", r.devices[0].thingARN}, {arn, "up/#", "cloud"},
		{r.devices[0].thingARN, "up/#", "cloud"}, {r.devices[1].thingARN, "up/#", "cloud"},
	}
	r.viewer = h.connect(t, "Viewer")
	await(t, "subscribe", r.viewer.Subscribe("up/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		number, _, _ := strings.Cut(string(m.Payload()), " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Errorf("%q came on %s", m.Payload(), m.Topic())
		}
		r.got.Change(func() {
			r.numbers[m.Topic()] = append(r.numbers[m.Topic()], n)
			r.count++
		})
	}))
	return r
}

// queue deploys the group with settings of the spooler.
func (r *spoolSite) queue(t *testing.T, variables map[string]string) {
	t.Helper()
	spooler := function{arn: "arn:aws:lambda:::function:GGCloudSpooler:1", pinned: true, variables: variables}
	r.deployWith(t, append([]function{spooler}, r.functions...), r.routes, r.devices...)
}

// publish has a device publish numbered messages with QoS 1, and waits until all are
// acknowledged.
func (r *spoolSite) publish(t *testing.T, c *client, topic string, from, to, size int) {
	t.Helper()
	var tokens []mqtt.Token
	for i := from; i < to; i++ {
		tokens = append(tokens, c.Publish(topic, 1, false, fmt.Sprintf("%d %s", i, strings.Repeat("x", size))))
	}
	for _, token := range tokens {
		await(t, "a PUBACK on "+topic, token)
	}
}

// call has the function publish, and waits until all is accepted.
func (r *spoolSite) call(t *testing.T, c *client, topic string, from, to, size int, policy string) {
	t.Helper()
	await(t, "publish", c.Publish("go", 1, false, fmt.Sprintf(`{"topic": %q, "from": %d, "to": %d, "size": %d, "policy": %q}`, topic, from, to, size, policy)))
	c.nextWithin(t, 5*patience, "done "+topic) // the disk flushes for each
}

// came waits until the numbers of a topic have come: each at least once, none for the
// first time after a higher one, from first to last. With first below 0 the beginning
// may be missing; the first that came is returned.
func (r *spoolSite) came(t *testing.T, topic string, first, last int) int {
	t.Helper()
	var news []int
	// How long it takes is the machine's affair, as long as any message comes.
	for seen, all := -1, false; !all; {
		eventually(t, "more messages", func() error {
			r.got.Lock()
			defer r.got.Unlock()
			news = nil
			for _, n := range r.numbers[topic] {
				if len(news) == 0 || n > news[len(news)-1] {
					news = append(news, n)
				}
			}
			if all = len(news) > 0 && news[len(news)-1] >= last; !all && r.count == seen {
				return fmt.Errorf("%d messages of %s came, the last is %v; %d of all topics", len(news), topic, news[max(0, len(news)-1):], r.count)
			}
			seen = r.count
			return nil
		})
	}
	if first < 0 {
		first = news[0]
	}
	for i, n := range news {
		if n != first+i {
			t.Fatalf("%s: %d came where %d was due", topic, n, first+i)
		}
	}
	if news[len(news)-1] != last {
		t.Fatalf("%s ends with %d, not %d", topic, news[len(news)-1], last)
	}
	return first
}

func (r *spoolSite) restartCore() {
	r.whole.Helper()
	r.process.Kill()
	r.run(r.whole)
}

// TestSpool has a core without its line be killed with thousands of messages for the
// cloud on its disk: 2,000, or FESCUE_SPOOL_MESSAGES.
func TestSpool(t *testing.T) {
	t.Parallel()
	needPython(t)
	r := newSpoolSite(t)
	join := func(t *testing.T) (meter, gauge *client) {
		meter, gauge = r.join(r.whole, r.devices[0]), r.join(r.whole, r.devices[1])
		meter.listen(t, "done")
		return meter, gauge
	}
	spooled := 2000
	if text := os.Getenv("FESCUE_SPOOL_MESSAGES"); text != "" {
		var err error
		if spooled, err = strconv.Atoi(text); err != nil || spooled < 1000 {
			t.Fatalf("FESCUE_SPOOL_MESSAGES=%s: give a number from 1000 on", text)
		}
	}
	fromFunction := spooled / 20
	fromDevices := (spooled - fromFunction) / 2
	disk := map[string]string{"GG_CONFIG_STORAGE_TYPE": "FileSystem", "GG_CONFIG_MAX_SIZE_BYTES": "16777216"}

	t.Run(fmt.Sprintf("killed with %d messages", spooled), func(t *testing.T) {
		r.queue(t, disk)
		meter, gauge := join(t)
		r.line.pull()
		var all sync.WaitGroup
		all.Go(func() { r.publish(t, meter, "up/meter", 0, fromDevices, 20) })
		all.Go(func() { r.publish(t, gauge, "up/gauge", 0, fromDevices, 20) })
		all.Wait()
		r.call(t, meter, "up/burst", 0, fromFunction, 20, "AllOrError")
		r.restartCore()
		meter, gauge = join(t)
		r.publish(t, meter, "up/meter", fromDevices, fromDevices+100, 20)
		r.publish(t, gauge, "up/gauge", fromDevices, fromDevices+100, 20)
		r.restartCore() // again, and without its line
		r.line.plug(t)
		began := time.Now()
		r.came(t, "up/meter", 0, fromDevices+99)
		r.came(t, "up/gauge", 0, fromDevices+99)
		r.came(t, "up/burst", 0, fromFunction-1)
		t.Logf("%d messages of three topics came %.1f s after the line", spooled+200, time.Since(began).Seconds())
	})
	t.Run("the oldest give way when it is full", func(t *testing.T) {
		r.queue(t, map[string]string{"GG_CONFIG_STORAGE_TYPE": "FileSystem", "GG_CONFIG_MAX_SIZE_BYTES": "262144"})
		meter, _ := join(t)
		r.line.pull()
		for i, policy := range []string{"BestEffort", "AllOrError"} {
			r.call(t, meter, "up/full", i*150, (i+1)*150, 1000, policy)
		}
		r.publish(t, meter, "up/fullmeter", 0, 50, 1000)
		r.restartCore()
		r.line.plug(t)
		if first := r.came(t, "up/full", -1, 299); first < 90 || first > 125 {
			t.Errorf("the first that came is %d; about 243 fit, 50 of them of the device", first)
		}
		r.came(t, "up/fullmeter", 0, 49)
	})
	t.Run("from the disk to memory and back", func(t *testing.T) {
		r.queue(t, disk)
		meter, _ := join(t)
		r.line.pull()
		r.publish(t, meter, "up/places", 0, 200, 20)
		r.queue(t, map[string]string{"GG_CONFIG_STORAGE_TYPE": "Memory", "GG_CONFIG_MAX_SIZE_BYTES": "16777216"})
		meter, _ = join(t)
		r.publish(t, meter, "up/places", 200, 300, 20)
		r.queue(t, disk)
		meter, _ = join(t)
		r.publish(t, meter, "up/places", 300, 400, 20)
		r.restartCore()
		r.line.plug(t)
		r.came(t, "up/places", 0, 399)
	})
	t.Run("files are the core's own", func(t *testing.T) {
		files, err := filepath.Glob(filepath.Join(r.root, "ggc", "var", "state", "core.db*"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", file, info, err)
			}
		}
	})
}
