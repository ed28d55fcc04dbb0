//go:build linux

package test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	iottypes "github.com/aws/aws-sdk-go-v2/service/iot/types"
	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/ports"
)

// localCore is a core with client devices.
type localCore struct {
	*gateway
	group string
	// at is where devices reach it.
	at   string
	port int
}

// serveDevices makes a core that serves devices, and is found on 127.0.0.1.
func (h *site) serveDevices(t testing.TB, thing string) *localCore {
	t.Helper()
	l := &localCore{gateway: h.provision(t, thing), at: "127.0.0.1", port: ports.Take(t)}
	l.configure(t, "ggMqttPort", l.port)
	l.fix(t, l.at)
	return l
}

// fix says where devices reach the core: at its port, where a host comes without one.
func (l *localCore) fix(t testing.TB, hosts ...string) {
	t.Helper()
	in := &greengrass.UpdateConnectivityInfoInput{ThingName: &l.thing}
	for i, host := range hosts {
		port := l.port
		if name, other, err := net.SplitHostPort(host); err == nil {
			if port, err = strconv.Atoi(other); err != nil {
				t.Fatal(err)
			}
			host = name
		}
		in.ConnectivityInfo = append(in.ConnectivityInfo, types.ConnectivityInfo{
			Id: aws.String(fmt.Sprint(i)), HostAddress: aws.String(host), PortNumber: aws.Int32(int32(port)),
		})
	}
	if _, err := l.greengrass.UpdateConnectivityInfo(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

// deployWith deploys a group with devices, and waits until that succeeded.
func (l *localCore) deployWith(t testing.TB, functions []function, routes []route, devices ...*gateway) {
	t.Helper()
	group, version := l.groupWith(t, functions, routes, devices...)
	l.await(t, group, l.deploy(t, group, version), fescue.Success)
}

// groupWith makes a group version with devices.
func (l *localCore) groupWith(t testing.TB, functions []function, routes []route, devices ...*gateway) (groupID, versionID string) {
	t.Helper()
	ctx := t.Context()
	group, version := l.groupVersion(t, l.group, functions, routes)
	l.group = group
	v, err := l.greengrass.GetGroupVersion(ctx, &greengrass.GetGroupVersionInput{GroupId: &group, GroupVersionId: &version})
	if err != nil {
		t.Fatal(err)
	}
	definition := &types.DeviceDefinitionVersion{}
	for _, d := range devices {
		definition.Devices = append(definition.Devices, types.Device{Id: &d.thing, ThingArn: &d.thingARN, CertificateArn: &d.certARN, SyncShadow: &d.syncShadow})
	}
	made, err := l.greengrass.CreateDeviceDefinition(ctx, &greengrass.CreateDeviceDefinitionInput{InitialVersion: definition})
	if err != nil {
		t.Fatal(err)
	}
	with, err := l.greengrass.CreateGroupVersion(ctx, &greengrass.CreateGroupVersionInput{
		GroupId: &group, CoreDefinitionVersionArn: v.Definition.CoreDefinitionVersionArn, DeviceDefinitionVersionArn: made.LatestVersionArn,
		FunctionDefinitionVersionArn: v.Definition.FunctionDefinitionVersionArn, SubscriptionDefinitionVersionArn: v.Definition.SubscriptionDefinitionVersionArn,
	})
	if err != nil {
		t.Fatal(err)
	}
	return group, *with.Version
}

// authority is what devices trust: the group's.
func (l *localCore) authority(t testing.TB) *x509.CertPool {
	t.Helper()
	ctx := t.Context()
	list, err := l.greengrass.ListGroupCertificateAuthorities(ctx, &greengrass.ListGroupCertificateAuthoritiesInput{GroupId: &l.group})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	for _, a := range list.GroupCertificateAuthorities {
		got, err := l.greengrass.GetGroupCertificateAuthority(ctx, &greengrass.GetGroupCertificateAuthorityInput{
			GroupId: &l.group, CertificateAuthorityId: a.GroupCertificateAuthorityId,
		})
		if err != nil {
			t.Fatal(err)
		}
		pool.AppendCertsFromPEM([]byte(*got.PemEncodedCertificate))
	}
	return pool
}

// tlsFor is how a device connects to the core.
func (l *localCore) tlsFor(t testing.TB, d *gateway) *tls.Config {
	t.Helper()
	cfg := d.tls(t)
	cfg.RootCAs = l.authority(t)
	return cfg
}

// join connects a device to the core.
func (l *localCore) join(t testing.TB, d *gateway, change ...func(*mqtt.ClientOptions)) *client {
	t.Helper()
	return l.joinBy(t, d.thing, func() *tls.Config { return l.tlsFor(t, d) }, change...)
}

// joinBy connects a device to the core, trying again with what cfg returns then.
func (l *localCore) joinBy(t testing.TB, thing string, cfg func() *tls.Config, change ...func(*mqtt.ClientOptions)) *client {
	t.Helper()
	c := &client{messages: make(chan mqtt.Message, 4096)}
	eventually(t, thing+" connects", func() error {
		o := mqtt.NewClientOptions().AddBroker(fmt.Sprintf("ssl://%s:%d", l.at, l.port)).SetClientID(thing).
			SetTLSConfig(cfg()).SetPingTimeout(patience).SetAutoReconnect(false).SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { c.messages <- m })
		for _, f := range change {
			f(o)
		}
		c.Client = mqtt.NewClient(o)
		token := c.Connect()
		token.WaitTimeout(patience)
		return token.Error()
	})
	t.Cleanup(func() { c.Disconnect(0) })
	return c
}

// listen subscribes to filters at once. A message that matches several of them comes
// as often as the server sends it.
func (c *client) listen(t testing.TB, filters ...string) {
	t.Helper()
	asked := make(map[string]byte)
	for _, filter := range filters {
		asked[filter] = 1
	}
	await(t, "subscribe", c.SubscribeMultiple(asked, nil))
}

// sensor is a client device as the program's command makes it.
type sensor struct{ name, folder string }

func (h *site) provisionDevice(t testing.TB, name, group string) sensor {
	t.Helper()
	s := sensor{name, t.TempDir()}
	p := startOn(t, h.server.host, fescueBin, h.environment(), "provision", "--device", name, "--group", group, "--out", s.folder)
	if <-p.Done; p.Err != nil {
		t.Fatalf("provision: %v\n%s", p.Err, p.out)
	}
	return s
}

func (s sensor) tls(t testing.TB) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.folder, s.name+".cert.pem"), filepath.Join(s.folder, s.name+".private.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(readFile(t, filepath.Join(s.folder, "root.ca.pem")))
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}
}

// discover asks for the device's cores.
func (s sensor) discover(t testing.TB, h *site) (found corelink.Discovery) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: s.tls(t)}, Timeout: patience}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://" + h.device + "/greengrass/discover/thing/" + s.name)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&found); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return found
}

// nothing asserts that nothing has come, by a message that comes after.
func (c *client) nothing(t testing.TB, marker string) {
	t.Helper()
	if m := c.nextAny(t); string(m.Payload()) != marker {
		t.Errorf("got %q on %s, want nothing before %q", m.Payload(), m.Topic(), marker)
	}
}

func (c *client) nextAny(t testing.TB) mqtt.Message {
	t.Helper()
	select {
	case m := <-c.messages:
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
		return nil
	}
}

// TestClientDevices has devices, functions and the cloud speak to each other through a
// core, as the group's table says.
func TestClientDevices(t *testing.T) {
	t.Parallel()
	whole := t // what is started again outlives its subtest
	h := startServer(t).site(region)
	l := h.serveDevices(t, "Local_Core")
	l.run(t)
	lamp, button, other := h.provision(t, "Lamp"), h.provision(t, "Button"), h.provision(t, "Other")
	arn := h.echo(t, "Echo")
	cloud := h.connect(t, "Viewer")
	cloud.subscribe(t, "up/#")
	routes := []route{
		{button.thingARN, "button/+", lamp.thingARN},
		{button.thingARN, "button/#", lamp.thingARN}, // overlaps
		{button.thingARN, "up/#", "cloud"},
		{"cloud", "down/#", lamp.thingARN},
		{button.thingARN, "in/#", arn},
		{arn, "out", lamp.thingARN},
	}
	functions := []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: map[string]string{"OUT": "out", "TAG": "x"}}}
	l.deployWith(t, functions, routes, lamp, button)
	lit := l.join(t, lamp)
	pushed := l.join(t, button)
	lit.listen(t, "button/1", "button/#", "down/#", "out", "#", "nowhere")
	pushed.listen(t, "#")
	publish := func(t *testing.T, c *client, topic, payload string) {
		t.Helper()
		await(t, "publish", c.Publish(topic, 1, false, payload))
	}
	t.Run("device to device, once", func(t *testing.T) {
		publish(t, pushed, "button/1", "one")
		publish(t, pushed, "button/2/3", "two")
		if m := lit.nextAny(t); string(m.Payload()) != "one" || m.Topic() != "button/1" || m.Qos() != 1 || m.Retained() {
			t.Errorf("%s on %s with QoS %d", m.Payload(), m.Topic(), m.Qos())
		}
		lit.nothing(t, "two")
	})
	t.Run("nothing without a row", func(t *testing.T) {
		publish(t, lit, "button/1", "back")
		publish(t, pushed, "other", "astray")
		publish(t, pushed, "$aws/things/Lamp/shadow/update", `{"state":{"desired":{"on":true}}}`)
		publish(t, pushed, "button/3", "three")
		lit.nothing(t, "three")
		if len(pushed.messages) > 0 {
			t.Errorf("an echo: %v", (<-pushed.messages).Topic())
		}
	})
	t.Run("device to cloud and cloud to device", func(t *testing.T) {
		publish(t, pushed, "up/a", "to the cloud")
		cloud.next(t, "to the cloud")
		publish(t, cloud, "down/a/b", "from the cloud")
		lit.nothing(t, "from the cloud")
	})
	t.Run("device to function to device", func(t *testing.T) {
		publish(t, pushed, "in/x", "ping")
		lit.next(t, "echo ping")
	})
	t.Run("a device that the group has not", func(t *testing.T) {
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(fmt.Sprintf("ssl://127.0.0.1:%d", l.port)).SetClientID(other.thing).SetTLSConfig(l.tlsFor(t, other)))
		if token := c.Connect(); token.WaitTimeout(patience) && token.Error() == nil {
			t.Error("it is let in")
		}
	})
	t.Run("a new table and another device cut no connection", func(t *testing.T) {
		l.deployWith(t, functions, append(routes, route{lamp.thingARN, "button/1", button.thingARN}), lamp, button, other)
		publish(t, lit, "button/1", "answer")
		pushed.nothing(t, "answer")
		publish(t, pushed, "button/1", "again")
		lit.next(t, "again")
		l.join(t, other)
	})
	t.Run("a new certificate cuts no connection", func(t *testing.T) {
		serial := func() (serial string, err error) {
			conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", l.port), l.tlsFor(t, lamp))
			if err != nil {
				return "", err
			}
			defer conn.Close()
			return conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
		}
		before, err := serial()
		if err != nil {
			t.Fatal(err)
		}
		changed := func() error {
			after, err := serial()
			if err == nil && after == before {
				err = fmt.Errorf("the certificate is still %s", before)
			}
			before = after
			return err
		}
		l.fix(t, "127.0.0.1", "lamp-core.example.com")
		eventually(t, "a certificate with the new name", changed)
		if _, err := h.greengrass.CreateGroupCertificateAuthority(t.Context(), &greengrass.CreateGroupCertificateAuthorityInput{GroupId: &l.group}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a certificate of the new authority", changed)
		publish(t, pushed, "button/1", "still there")
		lit.next(t, "still there")
	})
	t.Run("a device that is provisioned and discovers the core", func(t *testing.T) {
		sensor := h.provisionDevice(t, "Sensor", l.group)
		p := start(t, h.environment(), "deploy", "--group", l.group, "--wait")
		if <-p.Done; p.Err != nil {
			t.Fatalf("deploy: %v\n%s", p.Err, p.out)
		}
		found := sensor.discover(t, h)
		if len(found.Groups) != 1 || found.Groups[0].ID != l.group || len(found.Groups[0].Cores) != 1 {
			t.Fatalf("%+v", found)
		}
		places := found.Groups[0].Cores[0].Connectivity
		cfg := sensor.tls(t)
		cfg.RootCAs = x509.NewCertPool()
		for _, authority := range found.Groups[0].CAs {
			cfg.RootCAs.AppendCertsFromPEM([]byte(authority))
		}
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(fmt.Sprintf("ssl://%s:%d", places[0].HostAddress, places[0].PortNumber)).
			SetClientID("Sensor").SetTLSConfig(cfg).SetAutoReconnect(false))
		await(t, "connect to the core that was found", c.Connect())
		c.Disconnect(0)
	})
	t.Run("a session that lasts", func(t *testing.T) {
		last := func(o *mqtt.ClientOptions) { o.SetCleanSession(false) }
		kept := l.join(t, lamp, last)
		kept.listen(t, "button/#")
		kept.Disconnect(0)
		eventually(t, "messages wait", func() error {
			publish(t, pushed, "button/1", "while away")
			kept = l.join(t, lamp, last)
			defer kept.Disconnect(100)
			select {
			case m := <-kept.messages:
				if string(m.Payload()) != "while away" {
					return fmt.Errorf("%s", m.Payload())
				}
				return nil
			case <-time.After(time.Second):
				return fmt.Errorf("nothing came")
			}
		})
	})
	t.Run("without the control plane after a restart", func(t *testing.T) {
		h.process.Kill()
		l.process.Kill()
		l.run(whole)
		eventually(t, "the lamp is back", func() error {
			conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", l.port), &tls.Config{InsecureSkipVerify: true, Certificates: lamp.tls(t).Certificates})
			if err == nil {
				conn.Close()
			}
			return err
		})
		h.restart(whole)
		lit, pushed = l.join(whole, lamp), l.join(whole, button)
		lit.listen(t, "button/#")
		publish(t, pushed, "button/1", "after the restart")
		lit.next(t, "after the restart")
	})
	gone := func(t *testing.T, c *client, cause func()) {
		t.Helper()
		cause()
		eventually(t, "the device is gone", func() error {
			if c.IsConnected() {
				return fmt.Errorf("it is still connected")
			}
			return nil
		})
	}
	t.Run("a deactivated certificate ends its connection", func(t *testing.T) {
		third := l.join(t, other)
		_, id, _ := strings.Cut(other.certARN, "cert/")
		gone(t, third, func() {
			if _, err := h.iot.UpdateCertificate(t.Context(), &iot.UpdateCertificateInput{CertificateId: &id, NewStatus: iottypes.CertificateStatusInactive}); err != nil {
				t.Fatal(err)
			}
		})
		publish(t, pushed, "button/1", "not concerned")
		lit.next(t, "not concerned")
	})
	t.Run("a device that a deployment removes is gone, and the others notice nothing", func(t *testing.T) {
		gone(t, lit, func() { l.deployWith(t, nil, routes[2:3], button) })
		if !pushed.IsConnected() {
			t.Error("the other one is gone, too")
		}
	})
}

// TestDeviceSDK has two devices with the AWS IoT Device SDK for JavaScript, as it comes
// from the npm registry, speak to each other through a core whose addresses GGIPDetector
// says, and one of them have its shadow there.
func TestDeviceSDK(t *testing.T) {
	t.Parallel()
	dir := nodePackage(t, "devicesdk", "aws-iot-device-sdk")
	h := startServer(t).site(region)
	l := h.serveDevices(t, "Sdk_Core")
	l.run(t)
	l.deployWith(t, nil, nil)
	lamp, button := h.provisionDevice(t, "Lamp", l.group), h.provisionDevice(t, "Button", l.group)
	for _, name := range []string{"Button.cert.pem", "Button.private.key"} {
		if err := os.Rename(filepath.Join(button.folder, name), filepath.Join(lamp.folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	arn := func(name string) string { return strings.TrimSuffix(l.thingARN, l.thing) + name }
	const shadow = "$aws/things/Lamp/shadow/#"
	l.subscribeAndDetect(t, route{arn("Button"), "button/+", arn("Lamp")},
		route{arn("Lamp"), shadow, fescue.ShadowServiceEndpoint}, route{fescue.ShadowServiceEndpoint, shadow, arn("Lamp")})
	testkit.Eventually(t, "GGIPDetector's addresses", func() error {
		got, err := h.greengrass.GetConnectivityInfo(t.Context(), &greengrass.GetConnectivityInfoInput{ThingName: &l.thing})
		if err != nil {
			return err
		}
		for _, place := range got.ConnectivityInfo {
			if *place.HostAddress == "127.0.0.1" && strings.HasPrefix(*place.Id, "AUTOIP_127.0.0.1_") && int(*place.PortNumber) == l.port {
				return nil
			}
		}
		return fmt.Errorf("%d places", len(got.ConnectivityInfo))
	})
	ca := filepath.Join(lamp.folder, "group.ca.pem")
	var out []byte
	testkit.Eventually(t, "the devices speak to each other", func() (err error) {
		script := exec.Command("node", "pair.js", "127.0.0.1", fmt.Sprint(l.port), ca, lamp.folder)
		script.Dir = dir
		var stderr strings.Builder
		script.Stderr = &stderr
		if out, err = script.Output(); err != nil {
			return fmt.Errorf("%w: %s", err, &stderr)
		}
		return nil
	})
	if got := strings.TrimSpace(string(out)); got != `{"button/0":"once","button/1":"acknowledged"}` {
		t.Errorf("%s", got)
	}
	t.Run("a device's shadow", func(t *testing.T) {
		script := exec.Command("node", "shadow.js", "127.0.0.1", fmt.Sprint(l.port), ca, lamp.folder)
		script.Dir = dir
		var stderr strings.Builder
		script.Stderr = &stderr
		out, err := script.Output()
		if err != nil {
			t.Fatalf("%v\n%s%s", err, out, &stderr)
		}
		if diff := cmp.Diff([]string{
			`Lamp delta 1 {"on":true}`,
			`Lamp accepted 1 {"desired":{"on":true},"reported":{"on":false}}`,
			`Lamp accepted 2 {"reported":{"on":true}}`,
			`Lamp accepted 2 {"desired":{"on":true},"reported":{"on":true}}`,
			`Lamp accepted 2 undefined`, // the answer to a delete has no state
			`Lamp rejected 404 undefined`,
		}, strings.Split(strings.TrimSpace(string(out)), "\n")); diff != "" {
			t.Error(diff)
		}
	})
}

// subscribeAndDetect deploys the group's latest version with rows and GGIPDetector.
func (l *localCore) subscribeAndDetect(t testing.TB, routes ...route) {
	t.Helper()
	ctx := t.Context()
	group, err := l.greengrass.GetGroup(ctx, &greengrass.GetGroupInput{GroupId: &l.group})
	if err != nil {
		t.Fatal(err)
	}
	latest, err := l.greengrass.GetGroupVersion(ctx, &greengrass.GetGroupVersionInput{GroupId: &l.group, GroupVersionId: group.LatestVersion})
	if err != nil {
		t.Fatal(err)
	}
	functions, err := l.greengrass.CreateFunctionDefinition(ctx, &greengrass.CreateFunctionDefinitionInput{InitialVersion: &types.FunctionDefinitionVersion{
		Functions: []types.Function{{
			Id: aws.String("detector"), FunctionArn: aws.String("arn:aws:lambda:::function:GGIPDetector:1"),
			FunctionConfiguration: &types.FunctionConfiguration{Pinned: aws.Bool(true), MemorySize: aws.Int32(32768), Timeout: aws.Int32(3)},
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	subscriptions := &types.SubscriptionDefinitionVersion{}
	for i, r := range routes {
		subscriptions.Subscriptions = append(subscriptions.Subscriptions, types.Subscription{Id: aws.String(fmt.Sprint("row", i)), Source: &r.source, Subject: &r.subject, Target: &r.target})
	}
	rows, err := l.greengrass.CreateSubscriptionDefinition(ctx, &greengrass.CreateSubscriptionDefinitionInput{InitialVersion: subscriptions})
	if err != nil {
		t.Fatal(err)
	}
	next, err := l.greengrass.CreateGroupVersion(ctx, &greengrass.CreateGroupVersionInput{
		GroupId: &l.group, CoreDefinitionVersionArn: latest.Definition.CoreDefinitionVersionArn,
		DeviceDefinitionVersionArn: latest.Definition.DeviceDefinitionVersionArn, FunctionDefinitionVersionArn: functions.LatestVersionArn,
		SubscriptionDefinitionVersionArn: rows.LatestVersionArn,
	})
	if err != nil {
		t.Fatal(err)
	}
	l.await(t, l.group, l.deploy(t, l.group, *next.Version), fescue.Success)
}
