package core_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/core/store"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/ports"
)

// atLine is a log that calls a function at a line with some words, before whoever logs
// goes on.
type atLine struct {
	words string
	do    func()
}

func (a atLine) Write(p []byte) (int, error) {
	if strings.Contains(string(p), a.words) {
		a.do()
	}
	return len(p), nil
}

// TestQueueIsKnownBeforeDevicesAreServed: what the first message of a device meets after a
// start is the queue on the disk, where the group has it: an acknowledged one outlives a
// kill that comes at once.
func TestQueueIsKnownBeforeDevicesAreServed(t *testing.T) {
	t.Parallel()
	const device, topic = "arn:aws:iot:us-east-1:123456789012:thing/Meter", "up/first"
	c := newCloud(t)
	root := newRoot(t, c)
	port := ports.Take(t)
	_, _, stop := start(t, root, func(o *core.Options) { o.DevicesPort = port })
	var g bundle.Group
	g.Devices = []bundle.Identity{{ThingArn: device, CertArn: "arn:aws:iot:us-east-1:123456789012:cert/" + strings.Repeat("a", 64)}}
	g.GroupDefinitions.Lambdas.Content = []bundle.Lambda{{
		FunctionArn: fescue.SpoolerFunction.ARN() + ":1",
		DeploymentConfiguration: bundle.LambdaConfiguration{Environment: fescue.FunctionEnvironment{
			Variables: map[string]string{bundle.SpoolStorage: bundle.SpoolFileSystem},
		}},
	}}
	g.GroupDefinitions.Subscriptions.Content = []fescue.Subscription{{Id: "1", Source: device, Subject: "up/#", Target: fescue.CloudEndpoint}}
	c.deploy(1, g, nil)
	if end := c.outcome(); end.Event != fescue.EventSucceeded {
		t.Fatalf("the deployment failed: %+v", end)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	type outcome struct {
		list []store.Numbered
		err  error
	}
	made, got := make(chan *core.Core, 1), make(chan outcome, 1)
	served := atLine{words: "Client devices are served.", do: sync.OnceFunc(func() {
		k := <-made
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		var o outcome
		if o.err = k.Publish(ctx, router.Message{Source: device, Topic: topic, Payload: []byte("x")}); o.err == nil {
			// What lies there now is what a kill would leave.
			file := store.New(filepath.Join(root, "ggc", "var", "state", store.FileName), slog.New(slog.DiscardHandler))
			defer file.Close()
			o.list, o.err = file.Queue().Read(ctx, 0, 1<<20)
		}
		got <- o
	})}
	nobody, anyPort := uint32(65534), 0
	k, err := core.New(core.Options{
		Root: root, IPCPort: &anyPort, DevicesPort: port, DefaultUID: &nobody, DefaultGID: &nobody, Output: served,
		IoTHost: "localhost:1", GGHost: "localhost:1",
	})
	if err != nil {
		t.Fatal(err)
	}
	made <- k
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	o := testkit.Receive(t, "devices are served", got)
	if o.err != nil || len(o.list) != 1 || o.list[0].Topic != topic {
		t.Errorf("an acknowledged message is not on the disk: there is %+v; %v", o.list, o.err)
	}
	cancel()
	if err := testkit.Receive(t, "the end of the core", ended); err != nil {
		t.Error(err)
	}
}
