//go:build linux

package test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	iottypes "github.com/aws/aws-sdk-go-v2/service/iot/types"
	mqtt "github.com/eclipse/paho.mqtt.golang"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
)

// atOnce is within what time one server has to follow another.
const atOnce = time.Second

// TestTwoServers: two servers on one PostgreSQL serve one fleet, also while one of
// them is killed.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	database, shared := pgtest.Database(t), t.TempDir()
	environment := []string{"FESCUE_DATABASE=" + database, "FESCUE_MASTER_KEY_FILE=" + filepath.Join(shared, "master.key")}
	serve := func() *server {
		return startServerWith(t, environment, t.TempDir(), "--artifacts", filepath.Join(shared, "artifacts"))
	}
	far, near := serve(), serve()
	a, b := far.site(region), near.site(region)

	// The core and its viewer are connected to one server, the operator to the other.
	viewer := b.connect(t, "Viewer")
	g := b.provision(t, "Shared_Core")
	viewer.subscribe(t, g.thing+"/out")
	g.run(t)
	operator := &gateway{site: a, thing: g.thing, root: g.root, thingARN: g.thingARN, certARN: g.certARN, isolation: g.isolation}
	var group string
	version := func(t *testing.T, tag string) string {
		t.Helper()
		var v string
		arn := a.echo(t, "Echo")
		group, v = operator.groupVersion(t, group, []function{
			{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, tag)},
		}, ends(arn, g.thing))
		return v
	}

	db, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// steps are the times at which events of a deployment happened.
	steps := func(t *testing.T, deployment string, event fescue.DeploymentEvent) []time.Time {
		t.Helper()
		rows, err := db.QueryContext(t.Context(), `SELECT at FROM deployment_step WHERE deployment_id = $1 AND event = $2`, deployment, event)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var list []time.Time
		for rows.Next() {
			var ms int64
			if err := rows.Scan(&ms); err != nil {
				t.Fatal(err)
			}
			list = append(list, time.UnixMilli(ms))
		}
		return list
	}
	once := func(t *testing.T, deployment string) (took time.Duration) {
		t.Helper()
		built, claimed, ended := steps(t, deployment, fescue.EventBuilt), steps(t, deployment, fescue.EventClaimed), steps(t, deployment, fescue.EventSucceeded)
		if len(built) != 1 || len(claimed) != 1 || len(ended) != 1 {
			t.Fatalf("built %d times, claimed %d times, succeeded %d times", len(built), len(claimed), len(ended))
		}
		return claimed[0].Sub(built[0])
	}

	t.Run("a core learns at once of what is deployed through the other server", func(t *testing.T) {
		var took []time.Duration
		for i := range 3 {
			tag := fmt.Sprint("deployed ", i)
			deployment := a.deploy(t, group, version(t, tag))
			a.await(t, group, deployment, fescue.Success)
			b.await(t, group, deployment, fescue.Success)
			viewer.next(t, "started "+tag)
			took = append(took, once(t, deployment))
		}
		t.Logf("from the offer to the core's claim: %v", took)
		if slices.Min(took) > atOnce {
			t.Errorf("never within %s", atOnce)
		}
	})
	t.Run("a certificate that is deactivated on one is gone from the other", func(t *testing.T) {
		doomed := b.connect(t, "Doomed")
		things, err := a.iot.ListThingPrincipals(t.Context(), &iot.ListThingPrincipalsInput{ThingName: new("Doomed")})
		if err != nil {
			t.Fatal(err)
		}
		id := things.Principals[0][len(things.Principals[0])-64:]
		if _, err := a.iot.UpdateCertificate(t.Context(), &iot.UpdateCertificateInput{
			CertificateId: &id, NewStatus: iottypes.CertificateStatusInactive,
		}); err != nil {
			t.Fatal(err)
		}
		changed := time.Now()
		eventually(t, "connection ended", func() error {
			if doomed.IsConnectionOpen() {
				return errors.New("it is there")
			}
			return nil
		})
		t.Logf("its connection ended after %s", time.Since(changed))
	})
	whole := t // what is started again outlives its part of the test
	t.Run("the work of a server that is killed is picked up, once", func(t *testing.T) {
		for i := range 2 {
			tag := fmt.Sprint("survived ", i)
			deployment := a.deploy(t, group, version(t, tag))
			far.Kill()
			b.await(t, group, deployment, fescue.Success)
			viewer.next(t, "started "+tag)
			once(t, deployment)
			far.restart(whole)
		}
	})
	t.Run("the server that the core is connected to is killed", func(t *testing.T) {
		deployment := a.deploy(t, group, version(t, "afterwards"))
		near.Kill()
		near.restart(whole)
		a.await(t, group, deployment, fescue.Success)
		once(t, deployment)
	})
}

// TestServersOnNATS: with a cluster of NATS between them, it does not matter which server a
// device, a core or a program is connected to, also while a node and a server are killed.
func TestServersOnNATS(t *testing.T) {
	t.Parallel()
	database, shared, nodes := pgtest.Database(t), t.TempDir(), natstest.Start(t, 3)
	environment := []string{
		"FESCUE_DATABASE=" + database, "FESCUE_MASTER_KEY_FILE=" + filepath.Join(shared, "master.key"), "FESCUE_BROKER=" + natstest.URL(nodes...),
	}
	serve := func() *server {
		return startServerWith(t, environment, t.TempDir(), "--artifacts", filepath.Join(shared, "artifacts"))
	}
	far, near := serve(), serve()
	a, b := far.site(region), near.site(region)
	whole := t

	// lasting is a client with a persistent session, at one of the servers, which may connect again when
	// its connection ends: where another one has taken the session it would take it back.
	lasting := func(t *testing.T, h *site, g *gateway, again bool) *client {
		t.Helper()
		c := &client{messages: make(chan mqtt.Message, 4096)}
		c.Client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + h.mqtt).SetClientID(g.thing).SetCleanSession(false).
			SetTLSConfig(g.tls(t)).SetPingTimeout(patience).SetAutoReconnect(again).SetMaxReconnectInterval(time.Second).
			SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { c.messages <- m }))
		await(t, "connect", c.Connect())
		t.Cleanup(func() { c.Disconnect(0) })
		return c
	}

	t.Run("a function's message reaches a device of the other server", func(t *testing.T) {
		viewer := a.connect(t, "Viewer")
		g := b.provision(t, "Apart_Core")
		viewer.subscribe(t, g.thing+"/out")
		g.run(t)
		operator := &gateway{site: a, thing: g.thing, root: g.root, thingARN: g.thingARN, certARN: g.certARN, isolation: g.isolation}
		arn := a.echo(t, "Echo")
		group, version := operator.groupVersion(t, "", []function{
			{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "apart")},
		}, ends(arn, g.thing))
		a.await(t, group, a.deploy(t, group, version), fescue.Success)
		viewer.next(t, "started apart")
	})
	t.Run("a shadow's delta reaches a device of the other server", func(t *testing.T) {
		lamp := b.connect(t, "Lamp")
		lamp.subscribe(t, "$aws/things/Lamp/shadow/update/delta")
		p := startOn(t, a.server.host, fescueBin, a.environment(), "shadow", "update", "--thing", "Lamp", `{"state":{"desired":{"light":"green"}}}`)
		if <-p.Done; p.Err != nil {
			t.Fatalf("shadow update: %v\n%s", p.Err, p.out)
		}
		lamp.next(t, "green")
	})
	t.Run("a session goes on at the other server", func(t *testing.T) {
		g := b.provision(t, "Mover")
		sender := a.connect(t, "Sender")
		c := lasting(t, b, g, false)
		c.subscribe(t, "mover/in")
		c.Disconnect(100)
		for i := range 5 {
			await(t, "publish", sender.Publish("mover/in", 1, false, fmt.Sprint("away ", i)))
		}
		c = lasting(t, a, g, false)
		for i := range 5 {
			c.next(t, fmt.Sprint("away ", i))
		}
		// The connection at the one server ends that at the other.
		again := lasting(t, b, g, false)
		await(t, "publish", sender.Publish("mover/in", 1, false, "back"))
		again.next(t, "back")
	})
	t.Run("a node and a server are killed, and no message is lost", func(t *testing.T) {
		reader := lasting(t, b, b.provision(t, "Reader"), true)
		reader.subscribe(t, "steady/+")
		writer := a.connect(t, "Writer")
		const messages = 300
		for i := range messages {
			switch i {
			case messages / 3:
				nodes[0].Kill()
			case messages * 2 / 3:
				near.Kill()
				near.restart(whole)
			}
			await(t, "publish", writer.Publish(fmt.Sprint("steady/", i%3), 1, false, fmt.Sprint(i)))
		}
		missing := map[string]bool{}
		for i := range messages {
			missing[fmt.Sprint(i)] = true
		}
		for deadline := time.After(patience); len(missing) > 0; {
			select {
			case m := <-reader.messages:
				delete(missing, string(m.Payload()))
			case <-deadline:
				t.Fatalf("%d of %d messages did not come: %v", len(missing), messages, missing)
			}
		}
	})
}
