//go:build linux

package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iot"
	iottypes "github.com/aws/aws-sdk-go-v2/service/iot/types"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// drill is a site of which everything is lost and restored.
type drill struct {
	*testing.T
	backup, masterKey string
	database          *pgtest.Node
	nodes             []*natstest.Node
	objects           *server // the store that speaks S3
}

func (d *drill) run(environment []string, name string, args ...string) {
	d.Helper()
	if err := d.try(environment, name, args...); err != nil {
		d.Fatal(err)
	}
}

func (d *drill) try(environment []string, name string, args ...string) error {
	cmd := exec.CommandContext(d.Context(), name, args...)
	cmd.Env = append(programs.Environment(), environment...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// nats runs the tool of NATS against the nodes.
func (d *drill) nats(args ...string) {
	d.Helper()
	if err := d.tryNATS(args...); err != nil {
		d.Fatal(err)
	}
}

func (d *drill) tryNATS(args ...string) error {
	return d.try([]string{"NATS_URL=" + natstest.URL(d.nodes...), "XDG_CONFIG_HOME=" + d.TempDir()}, "nats", args...)
}

// access is where the store is, and who may use it.
func (d *drill) access() []string {
	return []string{"AWS_ENDPOINT_URL_S3=http://" + d.objects.api, "AWS_REGION=" + region, "AWS_ACCESS_KEY_ID=" + keyID, "AWS_SECRET_ACCESS_KEY=" + secret}
}

func (d *drill) s3(args ...string) {
	d.Helper()
	d.run(append(d.access(), "AWS_DEFAULT_REGION="+region, "AWS_CONFIG_FILE=/nonexistent", "AWS_EC2_METADATA_DISABLED=true"),
		"aws", append([]string{"--endpoint-url", "http://" + d.objects.api, "s3"}, args...)...)
}

func (d *drill) fescueURL() string {
	return strings.Replace(d.database.URL(), "/postgres", "/fescue", 1)
}

// settings are the environment of a server.
func (d *drill) settings() []string {
	return append(d.access(), "FESCUE_DATABASE="+d.fescueURL(), "FESCUE_MASTER_KEY_FILE="+d.masterKey,
		"FESCUE_BROKER="+natstest.URL(d.nodes...), "FESCUE_ARTIFACTS=s3://fescue/production")
}

// begin starts what a server stands on, empty.
func (d *drill) begin() {
	d.Helper()
	d.database, d.objects = pgtest.StartNode(d), startServer(d)
	d.database.Run(d, "psql", "-d", d.database.URL(), "-c", "CREATE DATABASE fescue")
	d.s3("mb", "s3://fescue")
	if d.nodes == nil {
		d.nodes = natstest.Start(d, 3)
	} else if err := natstest.StartAll(d.nodes); err != nil {
		d.Fatal(err)
	}
	eventually(d, "the nodes have a leader", func() error { return d.tryNATS("stream", "list") })
}

func (d *drill) lose(s *server) {
	d.Helper()
	s.Kill()
	d.database.Kill()
	d.objects.Kill()
	for _, n := range d.nodes {
		n.Kill()
	}
	for _, folder := range []string{s.data, d.objects.data, d.nodes[0].Dir, d.nodes[1].Dir, d.nodes[2].Dir} {
		if err := os.RemoveAll(folder); err != nil {
			d.Fatal(err)
		}
	}
}

// lasting is a client that comes back to its session.
type lasting struct {
	mqtt.Client
	messages chan mqtt.Message
	present  bool // the session was there
}

func (h *site) lasting(t *testing.T, g *gateway) *lasting {
	t.Helper()
	c := &lasting{messages: make(chan mqtt.Message, 4096)}
	c.Client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + h.mqtt).SetClientID(g.thing).SetCleanSession(false).
		SetTLSConfig(g.tls(t)).SetPingTimeout(patience).SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { c.messages <- m }))
	token := c.Connect().(*mqtt.ConnectToken)
	await(t, "connect", token)
	c.present = token.SessionPresent()
	t.Cleanup(func() { c.Disconnect(0) })
	return c
}

// gets waits for messages with payloads, in any order, and returns what came besides.
func (c *lasting) gets(t *testing.T, payloads ...string) (others []string) {
	t.Helper()
	for deadline := time.After(patience); len(payloads) > 0; {
		select {
		case m := <-c.messages:
			if i := slices.Index(payloads, string(m.Payload())); i >= 0 {
				payloads = slices.Delete(payloads, i, i+1)
			} else {
				others = append(others, string(m.Payload()))
			}
		case <-deadline:
			t.Fatalf("%v did not come, but %v", payloads, others)
		}
	}
	return others
}

// TestRestoreDrill is the drill of docs/operations.md: PostgreSQL, the nodes of NATS and the
// store of artifacts are lost together, and what was backed up of them, one after the
// other while a server ran, is all that there is.
func TestRestoreDrill(t *testing.T) {
	t.Parallel()
	for program, from := range map[string]string{"aws": "the AWS CLI, Debian's package awscli", "nats": "go install github.com/nats-io/natscli/nats@v0.3.0"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed (%s)", program, from)
		}
	}
	d := &drill{T: t, backup: t.TempDir(), masterKey: filepath.Join(t.TempDir(), "master.key")}
	d.begin()
	s := startServerWith(t, d.settings(), t.TempDir())
	h := s.site(region)

	// What is backed up: a core that runs something, a client that is away, a shadow.
	viewing := h.provision(t, "Viewer")
	revoked := h.provision(t, "Revoked")
	g := h.provision(t, "Mill_Core")
	g.run(t)
	arn := h.echo(t, "Echo")
	group, version := g.echoes(t, "", arn, "saved")
	saved := h.deploy(t, group, version)
	h.await(t, group, saved, fescue.Success)
	viewer := h.lasting(t, viewing)
	await(t, "subscribe", viewer.Subscribe("mill/#", 1, nil))
	viewer.Disconnect(100)
	publish := func(t *testing.T, args ...string) {
		t.Helper()
		if out, errs, code := h.program(t, append([]string{"mqtt", "pub"}, args...)...); code != 0 {
			t.Fatal(out, errs)
		}
	}
	publish(t, "mill/1", "waits")
	publish(t, "mill/1", "waits, too")
	publish(t, "state/mill", "retained", "--retain")
	report := func(state string) {
		t.Helper()
		h.shadow(t, "update", "--thing", "Viewer", `{"state":{"desired":{"is":"`+state+`"}}}`)
	}
	report("saved")

	dump, objects, messages := filepath.Join(d.database.Folder(), "fescue.dump"), filepath.Join(d.backup, "artifacts"), filepath.Join(d.backup, "messages")
	d.s3("sync", "s3://fescue", objects)
	d.database.Run(t, "pg_dump", "--format=custom", "--file="+dump, d.fescueURL())
	d.s3("sync", "s3://fescue", objects)
	d.nats("account", "backup", "--force", "--no-consumers", messages)
	d.run(nil, "cp", dump, d.backup)

	// What happens afterwards is in no backup.
	viewer = h.lasting(t, viewing)
	viewer.gets(t, "waits", "waits, too")
	viewer.Disconnect(100)
	_, version = g.echoes(t, group, h.publish(t, "Later", fescue.ExecutableRuntime, "echo", zipOf(t, map[string][]byte{"echo": readFile(t, echoBin)})), "lost")
	lost := h.deploy(t, group, version)
	h.await(t, group, lost, fescue.Success)
	unknown := h.provision(t, "Later_Core")
	id := revoked.certARN[len(revoked.certARN)-64:]
	if _, err := h.iot.UpdateCertificate(t.Context(), &iot.UpdateCertificateInput{CertificateId: &id, NewStatus: iottypes.CertificateStatusRevoked}); err != nil {
		t.Fatal(err)
	}
	publish(t, "state/mill", "lost", "--retain")
	report("lost")
	report("lost, too")

	d.lose(s)
	d.begin()

	// In the order in which nothing refers to what is missing.
	began := time.Now()
	d.s3("sync", objects, "s3://fescue")
	again := filepath.Join(d.database.Folder(), "fescue.dump")
	d.run(nil, "cp", filepath.Join(d.backup, "fescue.dump"), again)
	d.run(nil, "chmod", "644", again)
	d.database.Run(t, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--dbname="+d.fescueURL(), again)
	d.nats("stream", "restore", "--no-progress", filepath.Join(messages, "FESCUE_retained"))
	s.environment = d.settings()
	s.run(t)
	t.Logf("%v from empty machines to a server that is ready", time.Since(began))

	t.Run("nothing refers to what is missing", func(t *testing.T) {
		out, errs, code := programIn(t, append(slices.Clone(programs.ServerKey), s.environment...), fescueBin, append([]string{"doctor"}, s.args[1:]...)...)
		if code != 0 {
			t.Errorf("fescue doctor: exit code %d\n%s%s", code, out, errs)
		}
		fresh := h.provision(t, "Fresh_Core")
		fresh.run(t)
		group, version := fresh.echoes(t, "", arn, "restored")
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
	})
	t.Run("what was backed up is there, and what came later is not", func(t *testing.T) {
		h.await(t, group, saved, fescue.Success)
		if _, err := h.status(t.Context(), group, lost); err == nil {
			t.Error("a deployment of after the backup is there")
		}
		got := h.shadow(t, "get", "--thing", "Viewer")
		if !strings.Contains(got, `"saved"`) || strings.Contains(got, "lost") {
			t.Errorf("the shadow is %s", got)
		}
	})
	t.Run("retained messages are there, and sessions begin anew", func(t *testing.T) {
		c := h.lasting(t, viewing)
		if c.present {
			t.Error("the session is there")
		}
		await(t, "subscribe", c.SubscribeMultiple(map[string]byte{"mill/#": 1, "state/mill": 1}, nil))
		if others := c.gets(t, "retained"); len(others) > 0 {
			t.Errorf("%q came", others)
		}
	})
	t.Run("the core takes the next deployment", func(t *testing.T) {
		_, version := g.echoes(t, group, arn, "next")
		// One that was made before the core has said what it has been through may be outdated.
		eventually(t, "a deployment succeeds", func() error {
			if out, errs, code := h.program(t, "deploy", "--group", group, "--version", version, "--wait"); code != 0 {
				return errors.New(out + errs)
			}
			return nil
		})
	})
	// connects is whether a device may.
	connects := func(t *testing.T, g *gateway) error {
		t.Helper()
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + h.mqtt).SetClientID(g.thing).SetTLSConfig(g.tls(t)).SetConnectRetry(false))
		token := c.Connect()
		if !token.WaitTimeout(patience) {
			return errors.New("it does not answer")
		}
		c.Disconnect(0)
		return token.Error()
	}
	t.Run("certificates are as they were", func(t *testing.T) {
		if connects(t, unknown) == nil {
			t.Error("one that was registered later is known")
		}
		if err := connects(t, revoked); err != nil {
			t.Errorf("one that was revoked later: %v", err)
		}
	})

	// The other streams, with what was not acknowledged.
	s.Kill()
	for _, stream := range []string{"messages", "retained", "sessions", "wills"} {
		d.nats("stream", "rm", "--force", "FESCUE_"+stream)
	}
	d.nats("account", "restore", messages)
	s.run(t)
	t.Run("with their streams, sessions go on where they were", func(t *testing.T) {
		c := h.lasting(t, viewing)
		if !c.present {
			t.Error("the session is not there")
		}
		// They were acknowledged after the backup.
		if others := c.gets(t, "waits", "waits, too"); len(others) > 0 {
			t.Errorf("%q came", others)
		}
		publish(t, "mill/1", "new")
		c.gets(t, "new")
	})
}
