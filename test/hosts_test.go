//go:build linux

package test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/shadow"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/hosts"
)

// startServerAt starts a control plane on a host of its own, with its API on port 9080 and
// everything else on 443, as the original had it.
func startServerAt(t testing.TB, host *hosts.Host) *server {
	t.Helper()
	at := net.JoinHostPort(host.Address, "443")
	s := &server{data: t.TempDir(), host: host}
	s.args = []string{
		"server", "--data", s.data, "--account", account, "--region", region, "--api", net.JoinHostPort(host.Address, "9080"), "--insecure-http",
		"--device", at, "--mqtt", at, "--public-host", host.Address,
	}
	s.run(t)
	return s
}

// serveDevicesAt makes a core on a host that serves devices there, and is found by its
// address.
func (h *site) serveDevicesAt(t testing.TB, thing string, host *hosts.Host) *localCore {
	t.Helper()
	l := &localCore{gateway: h.provision(t, thing), at: host.Address, port: 8883}
	l.host = host
	l.edit(t, func(config map[string]any) { config["mqttMaxConnectionRetryInterval"] = 1 })
	l.fix(t, l.at)
	return l
}

// from has a client connect from a host.
func from(host *hosts.Host) func(*mqtt.ClientOptions) {
	return func(o *mqtt.ClientOptions) {
		o.SetCustomOpenConnectionFn(func(to *url.URL, o mqtt.ClientOptions) (net.Conn, error) {
			return dialTLS(host, to.Host, o.TLSConfig)
		})
	}
}

func dialTLS(host *hosts.Host, address string, config *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := host.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// traffic is a stream of numbered messages with QoS 1 from a device, one after the
// other, to devices that each must get every one, once and in order.
type traffic struct {
	topic string
	// turn is held while a message is on its way to the core.
	turn sync.Mutex

	mu       sync.Mutex
	sender   *client
	sent     int
	received map[string]int
	wrong    string
}

func newTraffic(topic string) *traffic { return &traffic{topic: topic, received: make(map[string]int)} }

// by has another connection send from here on.
func (f *traffic) by(c *client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sender = c
}

// watch holds what comes to a device against what was sent.
func (f *traffic) watch(name string, c *client) {
	go func() {
		for m := range c.messages {
			number, err := strconv.Atoi(string(m.Payload()))
			f.mu.Lock()
			if want := f.received[name] + 1; f.wrong == "" && (err != nil || number != want) {
				f.wrong = fmt.Sprintf("%s got %q on %s, want %d", name, m.Payload(), m.Topic(), want)
			}
			f.received[name] = number
			f.mu.Unlock()
		}
	}()
}

// run sends until the test ends: one message when the one before is acknowledged.
func (f *traffic) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	running.Go(func() {
		pace := time.NewTicker(5 * time.Millisecond)
		defer pace.Stop()
		for ctx.Err() == nil {
			f.turn.Lock()
			f.mu.Lock()
			sender, number := f.sender, f.sent+1
			f.mu.Unlock()
			if token := sender.Publish(f.topic, 1, false, fmt.Sprint(number)); token.WaitTimeout(patience) && token.Error() == nil {
				f.mu.Lock()
				f.sent = number
				f.mu.Unlock()
			}
			f.turn.Unlock()
			select {
			case <-pace.C:
			case <-ctx.Done():
			}
		}
	})
}

// passes waits until so many more messages have reached all, without a gap.
func (f *traffic) passes(t testing.TB, what string, more int) {
	t.Helper()
	f.mu.Lock()
	until := f.sent + more
	f.mu.Unlock()
	eventually(t, what, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.wrong != "" {
			t.Fatalf("%s: %s", what, f.wrong)
		}
		for name, n := range f.received {
			if n < until {
				return fmt.Errorf("%s has %d of %d messages", name, n, until)
			}
		}
		return nil
	})
}

// TestSeparateHosts has a core, its devices and the cloud on hosts of their own, and does
// to the lines between them what happens to lines, while messages pass.
func TestSeparateHosts(t *testing.T) {
	t.Parallel()
	whole := t // what connects anew outlives its subtest
	n := hosts.New(t)
	cloud, edge, desk, hall, spare := n.Host(t, "cloud"), n.Host(t, "edge"), n.Host(t, "desk"), n.Host(t, "hall"), n.Host(t, "spare")
	h := startServerAt(t, cloud).site(region)
	l := h.serveDevicesAt(t, "Site_Core", edge)
	l.run(t)
	button, lamp, horn, deaf := h.provision(t, "Button"), h.provision(t, "Lamp"), h.provision(t, "Horn"), h.provision(t, "Deaf")
	shade, ofShade := h.provision(t, "Shade"), shadow.ID{Thing: "Shade"}
	shade.syncShadow = true
	viewerOptions := func(o *mqtt.ClientOptions) {
		from(cloud)(o)
		cfg := h.provision(t, "Viewer").tls(t)
		cfg.NextProtos = []string{"x-amzn-mqtt-ca"}
		o.SetTLSConfig(cfg)
	}
	routes := []route{
		{button.thingARN, "button/+", lamp.thingARN}, {button.thingARN, "button/#", horn.thingARN}, {button.thingARN, "button/+", horn.thingARN},
		{button.thingARN, "up/#", "cloud"}, {button.thingARN, "#", deaf.thingARN},
		{shade.thingARN, ofShade.Topic("#"), fescue.ShadowServiceEndpoint}, {fescue.ShadowServiceEndpoint, ofShade.Topic("#"), shade.thingARN},
	}
	l.deployWith(t, nil, routes, button, lamp, horn, deaf, shade)

	// Lamp and horn have overlapping subscriptions, and rows.
	pressed, lit, loud := l.join(t, button, from(desk)), l.join(t, lamp, from(hall)), l.join(t, horn, from(hall))
	lit.listen(t, "button/1", "button/+", "#")
	loud.listen(t, "button/#", "button/1")
	stream := newTraffic("button/1")
	stream.by(pressed)
	stream.watch("lamp", lit)
	stream.watch("horn", loud)
	stream.received["lamp"], stream.received["horn"] = 0, 0
	stream.run(t)
	stream.passes(t, "devices speak to each other", 20)

	viewer := &client{messages: make(chan mqtt.Message, 4096)}
	o := mqtt.NewClientOptions().AddBroker("ssl://" + h.mqtt).SetClientID("Viewer").SetAutoReconnect(true)
	viewerOptions(o)
	viewer.Client = mqtt.NewClient(o)
	await(t, "connect to the cloud", viewer.Connect())
	t.Cleanup(func() { viewer.Disconnect(0) })
	viewer.subscribe(t, "up/#")

	// The shade's shadow is changed by it and by the cloud's users, and looked at by both.
	shady := l.join(t, shade, from(hall))
	shady.listen(t, ofShade.Topic("get/accepted"), ofShade.Topic("get/rejected"))
	changes := func(t *testing.T, reported, desired string) {
		t.Helper()
		await(t, "publish", shady.Publish(ofShade.Topic("update"), 1, false, `{"state":{"reported":`+reported+`}}`))
		if desired != "" {
			h.shadow(t, "update", "--thing", "Shade", `{"state":{"desired":`+desired+`}}`)
		}
	}
	inStep := func(t *testing.T, want string) {
		t.Helper()
		began := time.Now()
		eventually(t, "both sides have the shadow "+want, func() error {
			here, err := shady.shadow(ofShade.Topic(""))
			if err != nil || here != want {
				return fmt.Errorf("the core has %s: %v", here, err)
			}
			d, err := shadow.ParseGot([]byte(h.shadow(t, "get", "--thing", "Shade")))
			if there, _ := json.Marshal(d.State()); err != nil || string(there) != want {
				return fmt.Errorf("the cloud has %s: %v", there, err)
			}
			return nil
		})
		t.Logf("seen to be in step after %v", time.Since(began))
	}

	t.Run("the uplink is cut", func(t *testing.T) {
		changes(t, `{"dim":1}`, "")
		inStep(t, `{"reported":{"dim":1}}`)
		await(t, "publish", pressed.Publish("up/0", 1, false, "before"))
		viewer.next(t, "before")
		n.Cut(t, edge, cloud)
		const waiting = 20
		for i := range waiting {
			await(t, "publish", pressed.Publish("up/1", 1, false, fmt.Sprint("while cut ", i)))
		}
		group, version := l.groupWith(t, nil, routes, button, lamp, horn, deaf, shade)
		deployment := l.deploy(t, group, version)
		changes(t, `{"dim":2}`, `{"dim":3,"up":true}`)
		changes(t, `{"dim":4}`, `{"dim":5}`)
		stream.passes(t, "devices speak to each other while the line is cut", 50)
		if out, err := h.status(t.Context(), group, deployment); err != nil || fescue.DeploymentStatus(*out.DeploymentStatus).Final() {
			t.Errorf("a deployment that the core cannot know of has ended: %v %v", *out.DeploymentStatus, err)
		}
		n.Mend(t, edge, cloud)
		inStep(t, `{"desired":{"dim":5,"up":true},"reported":{"dim":4}}`)
		for i := range waiting {
			if m := viewer.nextAny(t); string(m.Payload()) != fmt.Sprint("while cut ", i) {
				t.Fatalf("got %s, want what was sent while the line was cut, in order: %d", m.Payload(), i)
			}
		}
		l.await(t, group, deployment, fescue.Success)
		stream.passes(t, "devices speak to each other after the deployment", 20)
	})
	t.Run("a slow and lossy uplink during a deployment and the renewal of the certificate", func(t *testing.T) {
		cloud.Slow(t, "8mbit")
		n.Lose(t, edge, cloud, 3)
		defer func() {
			cloud.Slow(t, "")
			n.Mend(t, edge, cloud)
		}()
		ballast := make([]byte, 300<<10)
		_, _ = rand.Read(ballast)
		arn := h.publish(t, "Heavy", fescue.ExecutableRuntime, "echo", zipOf(t, map[string][]byte{"echo": readFile(t, echoBin), "ballast": ballast}))
		before := l.serial(t, desk, lamp)
		l.fix(t, l.at, "site.example.com")
		l.deployWith(t, []function{{arn: arn, pinned: true, variables: map[string]string{"OUT": "out", "TAG": "x"}}}, routes, button, lamp, horn, deaf, shade)
		changes(t, `{"dim":6}`, `{"up":null}`)
		inStep(t, `{"desired":{"dim":5},"reported":{"dim":6}}`)
		stream.passes(t, "devices speak to each other over the deployment", 20)
		eventually(t, "a certificate with the new name", func() error {
			if l.serial(t, desk, lamp) == before {
				return errors.New("the old one")
			}
			return nil
		})
		stream.passes(t, "the new certificate cuts no connection", 20)
	})
	t.Run("a device's line loses packets", func(t *testing.T) {
		n.Lose(t, desk, edge, 10)
		defer n.Mend(t, desk, edge)
		stream.passes(t, "every message arrives", 50)
	})
	t.Run("port 443, once the connectivity information has it, with ALPN and without", func(t *testing.T) {
		l.fix(t, l.at, "site.example.com", l.at+":443")
		for _, protocol := range []string{"x-amzn-mqtt-ca", ""} {
			config := l.tlsFor(t, deaf)
			if protocol != "" {
				config.NextProtos = []string{protocol}
			}
			eventually(t, "a device connects", func() error {
				conn, err := l.mute(spare, 443, config, deaf.thing)
				if err != nil {
					return err
				}
				defer conn.Close()
				if got := conn.ConnectionState().NegotiatedProtocol; got != protocol {
					t.Errorf("the protocol %q was negotiated, want %q", got, protocol)
				}
				return nil
			})
		}
		stream.passes(t, "the others notice nothing", 20)
	})
	t.Run("a device moves to another host without a word", func(t *testing.T) {
		stream.turn.Lock() // no message is on its way, nor sent until the new connection is there
		n.Cut(t, desk, edge)
		moved := l.join(whole, button, from(spare))
		stream.by(moved)
		stream.turn.Unlock()
		stream.passes(t, "the device speaks from its new place", 20)
		n.Mend(t, desk, edge)
		eventually(t, "the connection from the old place has ended", func() error {
			if pressed.IsConnected() {
				return errors.New("it goes on")
			}
			return nil
		})
		stream.passes(t, "the device speaks on", 20)
		pressed = moved
	})
	t.Run("a device that does not read", func(t *testing.T) {
		conn, err := l.mute(spare, l.port, l.tlsFor(t, deaf), deaf.thing)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		large := strings.Repeat("x", 100<<10)
		for range 100 { // 10 MB, more than all buffers have
			await(t, "publish", pressed.Publish("large", 1, false, large))
		}
		stream.passes(t, "devices speak to each other", 50)
	})
	t.Run("a device that a deployment removes", func(t *testing.T) {
		gone := make(chan time.Time, 1)
		l.join(t, deaf, from(spare), func(o *mqtt.ClientOptions) {
			o.SetConnectionLostHandler(func(mqtt.Client, error) { gone <- time.Now() })
		})
		l.deployWith(t, nil, routes[:4], button, lamp, horn)
		done := time.Now()
		if late := testkit.Receive(t, "the end of its connection", gone).Sub(done); late > time.Second {
			t.Errorf("it was connected for %v after the deployment", late)
		}
		stream.passes(t, "the others speak on", 20)
	})
	if !lit.IsConnected() || !loud.IsConnected() || !pressed.IsConnected() {
		t.Error("a connection was cut")
	}
}

// shadow runs a command about shadows where the server is, and returns what it prints.
func (h *site) shadow(t testing.TB, args ...string) string {
	t.Helper()
	p := startOn(t, h.server.host, fescueBin, h.environment(), append([]string{"shadow"}, args...)...)
	<-p.Done
	if p.Err != nil {
		t.Fatalf("shadow %v: %v\n%s", args, p.Err, p.out)
	}
	return p.out.String()
}

// serial is that of the certificate that the core shows to a device.
func (l *localCore) serial(t testing.TB, host *hosts.Host, d *gateway) string {
	t.Helper()
	conn, err := dialTLS(host, fmt.Sprintf("%s:%d", l.at, l.port), l.tlsFor(t, d))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// mute connects a device to a port of the core. It subscribes to everything and then reads
// nothing.
func (l *localCore) mute(host *hosts.Host, port int, config *tls.Config, id string) (*tls.Conn, error) {
	conn, err := dialTLS(host, fmt.Sprintf("%s:%d", l.at, port), config)
	if err != nil {
		return nil, err
	}
	connect := "\x10" + string(rune(12+len(id))) + "\x00\x04MQTT\x04\x02\x02\x58\x00" + string(rune(len(id))) + id
	answers := make([]byte, 9) // CONNACK and SUBACK
	if _, err = io.WriteString(conn, connect+"\x82\x06\x00\x01\x00\x01#\x01"); err == nil {
		_, err = io.ReadFull(conn, answers)
	}
	if want := "\x20\x02\x00\x00\x90\x03\x00\x01\x01"; err == nil && string(answers) != want {
		err = fmt.Errorf("the core answers %q, want %q", answers, want)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// TestDeviceSDKv2 has two devices with the AWS IoT Device SDK for JavaScript v2, as it comes
// from the npm registry, ask where their core is, connect to it and speak to each other.
// That SDK always asks on port 443, which is why the cloud has a host of its own.
func TestDeviceSDKv2(t *testing.T) {
	t.Parallel()
	dir := nodePackage(t, "devicesdk2", "aws-iot-device-sdk-v2")
	n := hosts.New(t)
	cloud, edge, hall := n.Host(t, "cloud"), n.Host(t, "edge"), n.Host(t, "hall")
	loads := exec.Command("node", "-e", "require('aws-iot-device-sdk-v2')")
	loads.Dir = dir
	if out, err := loads.CombinedOutput(); err != nil {
		t.Skipf("the native part of aws-iot-device-sdk-v2 does not load on this machine: %v\n%s", err, out)
	}
	h := startServerAt(t, cloud).site(region)
	l := h.serveDevicesAt(t, "Sdk_Core", edge)
	l.run(t)
	l.deployWith(t, nil, nil)
	lamp, button := h.provisionDevice(t, "Lamp", l.group), h.provisionDevice(t, "Button", l.group)
	for _, name := range []string{"Button.cert.pem", "Button.private.key"} {
		if err := os.Rename(filepath.Join(button.folder, name), filepath.Join(lamp.folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	arn := func(name string) string { return strings.TrimSuffix(l.thingARN, l.thing) + name }
	l.subscribeAndDetect(t, route{arn("Button"), "button/+", arn("Lamp")})
	var out strings.Builder
	eventually(t, "the devices speak to each other", func() error {
		var said strings.Builder
		out.Reset()
		script := exec.Command("node", "pair.js", cloud.Address, lamp.folder)
		script.Dir, script.Stdout, script.Stderr = dir, &out, &said
		err := hall.Start(script)
		if err == nil {
			err = script.Wait()
		}
		if err != nil {
			return fmt.Errorf("%w: %s", err, said.String())
		}
		return nil
	})
	want := fmt.Sprintf(`{"group":%q,"core":%q,"host":%q,"port":8883,"got":{"button/0":"once","button/1":"acknowledged"}}`, l.group, l.thingARN, edge.Address)
	if got := strings.TrimSpace(out.String()); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
