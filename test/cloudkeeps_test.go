//go:build linux

package test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit"
)

// keptSite is a core for which the cloud keeps messages, with a function that echoes them.
type keptSite struct {
	*gateway
	whole *testing.T
	group string
	arn   string
	line  *cable
	// sender publishes, and sees what the function says.
	sender *client
	last   int
}

// use has messages of the rows' topics go to the function.
func (k *keptSite) use(t *testing.T, quality string, rows ...string) {
	t.Helper()
	functions := []function{
		{arn: "arn:aws:lambda:::function:GGCloudSpooler:1", pinned: true, variables: map[string]string{"GG_CONFIG_SUBSCRIPTION_QUALITY": quality}},
		{arn: k.arn, pinned: true, encoding: types.EncodingTypeBinary, variables: map[string]string{"OUT": "said", "TAG": "x"}},
	}
	routes := []route{{k.arn, "said", "cloud"}}
	for _, row := range rows {
		routes = append(routes, route{"cloud", row, k.arn})
	}
	group, version := k.groupVersion(t, k.group, functions, routes)
	k.group = group
	k.await(t, group, k.gateway.deploy(t, group, version), fescue.Success)
}

// arrives publishes messages to topics and returns what waits until the function has got
// them.
func (k *keptSite) arrives(t *testing.T, topics ...string) (wait func()) {
	t.Helper()
	var want []string
	for _, topic := range topics {
		k.last++
		text := fmt.Sprintf("message %d;", k.last)
		await(t, "publish to "+topic, k.sender.Publish(topic, 1, false, text))
		want = append(want, "echo "+text)
	}
	return func() {
		t.Helper()
		k.sender.next(t, want...)
	}
}

// stored asserts what the first persistent session of the core, which is off, is
// subscribed to. There is to be none if no topic is to be.
func (k *keptSite) stored(t *testing.T, with, without []string) {
	t.Helper()
	got := make(chan string, 100)
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + k.mqtt).SetClientID(k.thing + "-c00").SetCleanSession(false).
		SetTLSConfig(k.tls(t)).SetPingTimeout(patience).SetAutoReconnect(false).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { got <- m.Topic() }))
	connected := c.Connect()
	await(t, "connect as the core", connected)
	defer c.Disconnect(250)
	if present := connected.(*mqtt.ConnectToken).SessionPresent(); present != (len(with) > 0) {
		t.Fatalf("the cloud has a session: %v", present)
	}
	for _, topic := range append(without, with...) {
		await(t, "publish to "+topic, k.sender.Publish(topic, 1, false, "for nobody"))
	}
	for missing := len(with); missing > 0; missing-- {
		topic := testkit.Receive(t, "a message of the session", got)
		for _, other := range without {
			if topic == other {
				t.Errorf("the session has %s", topic)
			}
		}
	}
}

// TestCloudKeeps has the cloud keep messages for a core with AtLeastOncePersistent, while
// either of them is killed and rows come and go.
func TestCloudKeeps(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	k := &keptSite{gateway: h.provision(t, "Keep_Core"), whole: t}
	k.line = lay(t, h.mqtt)
	k.configure(t, "iotMqttPort", k.line.port)
	k.edit(t, func(config map[string]any) { config["mqttMaxConnectionRetryInterval"] = 1 })
	k.run(t)
	k.arn = h.echo(t, "Echo")
	senders := 0
	listen := func(t *testing.T) {
		senders++
		k.sender = h.connect(k.whole, fmt.Sprint("Sender", senders))
		k.sender.subscribe(t, "said")
	}
	listen(t)
	const quality = "AtLeastOncePersistent"
	var rows []string
	for i := range 60 { // of which a connection has 50
		rows = append(rows, fmt.Sprintf("row/%02d", i))
	}
	k.use(t, quality, append(rows, "in/#")...)
	// Both sessions begin after the deployment.
	k.sender.ask(t, "in/a", "first", "echo first")
	k.sender.ask(t, "row/59", "second", "echo second")

	t.Run("while the core is killed", func(t *testing.T) {
		k.process.Kill()
		var topics []string
		for i := range 150 { // more than are on their way at a time
			topics = append(topics, fmt.Sprintf("in/%d", i))
		}
		wait := k.arrives(t, append(topics, "row/00", "row/59")...)
		k.run(k.whole)
		wait()
	})
	t.Run("while both are killed", func(t *testing.T) {
		k.process.Kill()
		wait := k.arrives(t, "in/b", "row/01", "row/58")
		h.restart(k.whole)
		listen(t)
		k.run(k.whole)
		wait()
	})
	t.Run("while the line is cut, and the server killed", func(t *testing.T) {
		k.line.pull()
		wait := k.arrives(t, "in/d", "row/02")
		k.line.plug(t)
		wait()
		h.restart(k.whole)
		listen(t)
		k.arrives(t, "in/e", "row/03")()
	})
	t.Run("a row that a deployment adds", func(t *testing.T) {
		k.use(t, quality, append(rows, "in/#", "new/+")...)
		k.sender.ask(t, "new/a", "third", "echo third")
		k.process.Kill()
		wait := k.arrives(t, "new/a", "row/04")
		k.run(k.whole)
		wait()
	})
	t.Run("no row that a deployment removes", func(t *testing.T) {
		k.use(t, quality, append(rows[1:], "new/+")...)
		k.arrives(t, "new/b", "row/59")()
		k.process.Kill()
		k.stored(t, []string{"row/01"}, []string{"row/00", "in/a"})
		k.run(k.whole)
	})
	t.Run("no row that one removed without a line, before a restart", func(t *testing.T) {
		k.arrives(t, "row/05")()
		k.line.pull()
		k.use(t, quality, rows[2:]...)
		k.process.Kill()
		k.line.plug(t)
		k.run(k.whole)
		k.arrives(t, "row/05", "row/58")()
		k.process.Kill()
		k.stored(t, []string{"row/05"}, []string{"row/01", "row/00"})
		k.run(k.whole)
	})
	t.Run("nothing with AtMostOnce", func(t *testing.T) {
		k.arrives(t, "row/06")()
		k.use(t, "AtMostOnce", "row/06")
		k.sender.ask(t, "row/06", "now", "echo now")
		eventually(t, "the end of the stored sessions", func() error {
			db, err := sql.Open("sqlite", "file:"+filepath.Join(k.root, "ggc", "var", "state", "core.db")+"?mode=ro")
			if err != nil {
				return err
			}
			defer db.Close()
			var left int
			if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM session`).Scan(&left); err != nil || left > 0 {
				return fmt.Errorf("%d filters are left, %v", left, err)
			}
			return nil
		})
		k.process.Kill()
		k.stored(t, nil, nil)
	})
}
