package core_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit"
)

const (
	coreARN = "arn:aws:iot:us-east-1:123456789012:thing/Mill_Core"
	groupID = "11111111-1111-4111-8111-111111111111"
)

// cloud is a control plane's device side: HTTPS and MQTT with mutual TLS.
type cloud struct {
	t         *testing.T
	authority *pki.Authority
	key       ed25519.PrivateKey
	https     string
	mqtt      string

	mu       testkit.Monitor
	content  map[string][]byte
	offer    corelink.Offer
	reports  []corelink.StatusReport
	messages []string // "topic=payload"
	filters  map[string]bool
	denied   map[string]bool
	waits    []string // of polls
	session  *mqtt.Session
	// info is what the core said last of itself.
	info fescue.CoreInfo
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	now := time.Now()
	authority, err := pki.NewAuthority("test", pki.ECDSA, now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.IssueServer(pki.ECDSA, []string{"localhost"}, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{t: t, authority: authority, key: key, content: map[string][]byte{}, filters: map[string]bool{}}
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate)
	cfg := &tls.Config{Certificates: []tls.Certificate{*leaf}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
	listen := func() (net.Listener, string) {
		l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return l, "localhost:" + port
	}

	mux := http.NewServeMux()
	mux.HandleFunc(corelink.GetDeploymentPattern, c.getDeployment)
	mux.HandleFunc(corelink.ReportCorePattern, func(w http.ResponseWriter, r *http.Request) {
		var info fescue.CoreInfo
		if err := json.NewDecoder(r.Body).Decode(&info); err != nil {
			t.Error(err)
		}
		c.mu.Change(func() { c.info = info })
		io.WriteString(w, "{}")
	})
	mux.HandleFunc(corelink.GetArtifactPattern, func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		data := c.content[r.PathValue("Hash")]
		c.mu.Unlock()
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})
	mux.HandleFunc(corelink.UpdateStatusPattern, func(w http.ResponseWriter, r *http.Request) {
		var report corelink.StatusReport
		if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
			t.Error(err)
		}
		c.mu.Change(func() {
			c.reports = append(c.reports, report)
			if report.Event == fescue.EventSucceeded || report.Event == fescue.EventFailed {
				c.offer = corelink.Offer{}
			}
		})
		json.NewEncoder(w).Encode(corelink.StatusAnswer{})
	})
	mux.HandleFunc(corelink.GetSigningKeysPattern, func(w http.ResponseWriter, _ *http.Request) {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Error(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		json.NewEncoder(w).Encode(corelink.SigningKeys{Keys: []corelink.SigningKey{{KeyID: "k", PEM: string(text)}}})
	})
	var web, broker net.Listener
	web, c.https = listen()
	broker, c.mqtt = listen()
	server := &http.Server{Handler: mux}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { server.Serve(web) })
	running.Go(func() {
		for {
			conn, err := broker.Accept()
			if err != nil {
				return
			}
			running.Go(func() { _ = mqtt.Serve(ctx, conn, &client{c: c}, mqtt.Options{}) })
		}
	})
	t.Cleanup(func() {
		cancel()
		server.Close()
		broker.Close()
		running.Wait()
	})
	return c
}

func (c *cloud) await(what string, cond func() bool) {
	c.t.Helper()
	c.mu.Await(c.t, what, cond, func() string {
		return fmt.Sprintf("reports %+v, messages %v, filters %v", c.reports, c.messages, c.filters)
	})
}

func (c *cloud) getDeployment(w http.ResponseWriter, r *http.Request) {
	c.mu.Change(func() { c.waits = append(c.waits, r.FormValue("wait")) })
	c.mu.Lock()
	offer, changed := c.offer, c.mu.Changed()
	c.mu.Unlock()
	if offer.DeploymentID == "" && r.FormValue("wait") != "0" {
		select {
		case <-changed:
		case <-time.After(5 * time.Second): // as the control plane does it after 55
		case <-r.Context().Done():
		}
		c.mu.Lock()
		offer = c.offer
		c.mu.Unlock()
	}
	c.mu.Lock()
	offer.WantInfo = r.FormValue("info") != "" && r.FormValue("info") != c.info.Hash()
	c.mu.Unlock()
	json.NewEncoder(w).Encode(offer)
}

// deploy offers a group and wakes the core.
func (c *cloud) deploy(epoch int64, group bundle.Group, packages map[string][]byte) {
	c.t.Helper()
	put := func(data []byte) (hash string, size int64) {
		sum := sha256.Sum256(data)
		hash = hex.EncodeToString(sum[:])
		c.mu.Change(func() { c.content[hash] = data })
		return hash, int64(len(data))
	}
	m := bundle.Manifest{DeploymentType: fescue.NewDeployment}
	for arn, data := range packages {
		hash, size := put(data)
		m.Artifacts = append(m.Artifacts, bundle.PackageArtifact(arn, hash, size))
	}
	group.Cores = []bundle.Identity{{ThingArn: coreARN}}
	document, err := group.Encode()
	if err != nil {
		c.t.Fatal(err)
	}
	m.Artifacts = append(m.Artifacts, bundle.GroupArtifact(put(document)))
	c.submit(epoch, m)
}

// reset offers the end of the group.
func (c *cloud) reset(epoch int64) {
	c.t.Helper()
	c.submit(epoch, bundle.Manifest{DeploymentType: fescue.ResetDeployment})
}

func (c *cloud) submit(epoch int64, m bundle.Manifest) {
	c.t.Helper()
	m.AWS, m.Account, m.Region = "aws", "123456789012", "us-east-1"
	m.GroupID, m.DeploymentID, m.CoreThingArn, m.Epoch, m.CreatedAt = groupID, fescue.NewID(), coreARN, epoch, time.Now().UTC()
	envelope, err := bundle.Sign(m, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Change(func() {
		c.reports = nil
		c.offer = corelink.Offer{Epoch: epoch, GroupID: groupID, DeploymentID: m.DeploymentID, Phase: fescue.Offered, Envelope: envelope}
	})
	c.publish(corelink.WakeTopic("Mill_Core"), "{}")
}

func (c *cloud) publish(topic, payload string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		_ = c.session.Send(&mqtt.Publish{Topic: topic, Payload: []byte(payload)})
	}
}

// outcome waits for the end of the deployment.
func (c *cloud) outcome() corelink.StatusReport {
	c.t.Helper()
	var last corelink.StatusReport
	c.await("the end of the deployment", func() bool {
		if len(c.reports) > 0 {
			last = c.reports[len(c.reports)-1]
		}
		return last.Event == fescue.EventSucceeded || last.Event == fescue.EventFailed
	})
	return last
}

// client is the core's MQTT connection.
type client struct {
	c *cloud
	s *mqtt.Session
}

func (k *client) Connect(_ context.Context, s *mqtt.Session, m *mqtt.Connect) mqtt.Connack {
	if m.ClientID != "Mill_Core" {
		return mqtt.Connack{Code: mqtt.RefusedIdentifier}
	}
	k.s = s
	k.c.mu.Change(func() { k.c.session = s; clear(k.c.filters) })
	return mqtt.Connack{}
}

func (k *client) Publish(_ context.Context, m *mqtt.Publish) error {
	k.c.mu.Change(func() { k.c.messages = append(k.c.messages, m.Topic+"="+string(m.Payload)) })
	return k.s.Send(&mqtt.Puback{ID: m.ID})
}

func (k *client) Subscribe(_ context.Context, m *mqtt.Subscribe) error {
	ack := &mqtt.Suback{ID: m.ID}
	k.c.mu.Change(func() {
		for _, f := range m.Filters {
			if k.c.denied[f.Filter] {
				ack.Codes = append(ack.Codes, mqtt.SubackFailure)
				continue
			}
			k.c.filters[f.Filter] = true
			ack.Codes = append(ack.Codes, f.QoS)
		}
	})
	return k.s.Send(ack)
}

func (k *client) Unsubscribe(_ context.Context, m *mqtt.Unsubscribe) error {
	k.c.mu.Change(func() {
		for _, f := range m.Filters {
			delete(k.c.filters, f)
		}
	})
	return k.s.Send(&mqtt.Unsuback{ID: m.ID})
}

func (k *client) Puback(context.Context, uint16) error { return nil }

// newRoot makes an install root with a certificate of the cloud's authority.
func newRoot(t *testing.T, c *cloud) string {
	t.Helper()
	root := t.TempDir()
	now := time.Now()
	key, err := pki.GenerateKey(pki.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := c.authority.IssueDevice(key.Public(), now)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{
		"certs/root.ca.pem": c.authority.PEM(),
		"certs/core.crt":    pki.EncodeCertificate(cert.Raw),
		"certs/core.key":    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"config/config.json": fmt.Appendf(nil, `{"coreThing":{"thingArn":%q,"iotHost":%q,"ggHost":%q},
			"crypto":{"caPath":"file://certs/root.ca.pem","principals":{"IoTCertificate":{"privateKeyPath":"file://certs/core.key","certificatePath":"file://certs/core.crt"}}}}`,
			coreARN, c.mqtt, c.https),
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Functions run as another user when the tests run as root.
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// start runs a core; stop ends it and gives what Run returned.
func start(t *testing.T, root string, edit func(*core.Options)) (k *core.Core, output *lines, stop func() error) {
	t.Helper()
	nobody, anyPort := uint32(65534), 0
	output = &lines{}
	o := core.Options{Root: root, IPCPort: &anyPort, DefaultUID: &nobody, DefaultGID: &nobody, Output: output}
	if edit != nil {
		edit(&o)
	}
	k, err := core.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(40 * time.Second):
			return errors.New("the core does not end")
		}
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("the core ended with %v", err)
		}
		if t.Failed() {
			t.Logf("the core's log:\n%s", output)
		}
	})
	select {
	case <-k.Ready():
	case <-time.After(30 * time.Second):
		t.Fatalf("the core does not get ready; log:\n%s", output)
	}
	return k, output, stop
}

// lines is a log that tests read while it is written.
type lines = testkit.Buffer

func workers(t *testing.T, k *core.Core) []map[string]string {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://localhost:%d/2016-11-01/health/workers", k.IPCPort()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]string
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return list
}

const echoARN = "arn:aws:lambda:us-east-1:123456789012:function:echo:"

// echo is a Python function that publishes what reaches it.
const echo = `
import base64, json, os, sys, time
from greengrass_ipc_python_sdk.ipc_client import IPCClient
ipc = IPCClient()
def publish(topic, payload):
    context = base64.b64encode(json.dumps({"custom": {"source": os.environ["MY_FUNCTION_ARN"], "subject": topic}}).encode()).decode()
    ipc.post_work(os.environ["ROUTER_FUNCTION_ARN"], payload.encode(), context, "Event")
publish("up/hello", os.environ["GREETING"] + " from " + os.environ["AWS_IOT_THING_NAME"])
print("loaded")
def handler(event, context):
    publish("up/echo", json.dumps(event, sort_keys=True) + " on " + context.client_context.custom["subject"])
`

func archive(t *testing.T, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// echoGroup is a group of one function, subscribed to down/# and publishing up/#.
func echoGroup(version, code string, t *testing.T) (bundle.Group, map[string][]byte) {
	arn, pinned := echoARN+version, true
	l := bundle.Lambda{FunctionArn: arn, DeploymentConfiguration: bundle.LambdaConfiguration{
		Priority: 1, Pinned: &pinned, Handler: "app.handler", Runtime: "python3.8",
		Environment: fescue.FunctionEnvironment{
			Variables: map[string]string{"GREETING": "hello " + version},
			Execution: &fescue.FunctionExecution{IsolationMode: fescue.NoContainer},
		},
	}}
	var g bundle.Group
	g.Arn = "arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/" + groupID + "/versions/" + fescue.NewID()
	g.GroupDefinitions.Lambdas.Content = []bundle.Lambda{l}
	g.GroupDefinitions.Subscriptions.Content = []fescue.Subscription{
		{Id: "1", Source: arn, Subject: "up/#", Target: "cloud"},
		{Id: "2", Source: "cloud", Subject: "down/#", Target: arn},
	}
	return g, map[string][]byte{arn: archive(t, "app.py", code)}
}

// A core that may not subscribe to its wake topic waits for deployments at the cloud.
func TestWakeRefused(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	wake := corelink.WakeTopic("Mill_Core")
	c.denied = map[string]bool{wake: true}
	_, output, _ := start(t, newRoot(t, c), nil)
	c.await("a long poll", func() bool { return contains(c.waits, "55") })
	testkit.Until(t, "the refusal is in the log", func() bool {
		return strings.Contains(output.String(), "The cloud refuses a subscription") && strings.Contains(output.String(), wake)
	})
	for epoch := range int64(2) {
		c.deploy(epoch+1, bundle.Group{}, nil)
		if end := c.outcome(); end.Event != fescue.EventSucceeded {
			t.Fatalf("deployment %d: %+v", epoch+1, end)
		}
	}
	c.await("another long poll", func() bool { return len(c.waits) > 2 && c.waits[len(c.waits)-1] == "55" })
}

func TestCore(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		t.Skip("this test needs python3 in /usr/bin")
	}
	c := newCloud(t)
	root := newRoot(t, c)
	k, output, stop := start(t, root, nil)
	c.await("the wake topic", func() bool { return c.filters[corelink.WakeTopic("Mill_Core")] })

	g, packages := echoGroup("1", echo, t)
	c.deploy(1, g, packages)
	if end := c.outcome(); end.Event != fescue.EventSucceeded {
		t.Fatalf("the deployment failed: %s", end.Message)
	}
	t.Run("runs the function, which speaks to the cloud", func(t *testing.T) {
		c.await("its greeting", func() bool { return contains(c.messages, "up/hello=hello 1 from Mill_Core") })
		c.await("its subscription", func() bool { return c.filters["down/#"] })
		c.publish("down/a", `{"n": 1}`)
		c.await("its echo", func() bool { return contains(c.messages, `up/echo={"n": 1} on down/a`) })
	})
	t.Run("reports to the control plane which interpreters the machine has", func(t *testing.T) {
		c.await("Python", func() bool {
			return slices.ContainsFunc(c.info.Runtimes, func(r fescue.CoreRuntime) bool {
				return r.Name == "Python" && strings.HasPrefix(r.Version, "3.") && filepath.IsAbs(r.Path)
			})
		})
	})
	t.Run("serves the health API on the port that it reports", func(t *testing.T) {
		list := workers(t, k)
		if len(list) == 0 {
			t.Fatal("no workers")
		}
		// The echo may still be on its way back.
		state := list[0]["WorkerState"]
		if len(list) != 1 || list[0]["FuncArn"] != echoARN+"1" || state != "Waiting" && state != "Working" {
			t.Errorf("workers %v", list)
		}
	})
	t.Run("writes the logs to the documented places", func(t *testing.T) {
		for name, want := range map[string]string{
			"system/runtime.log":                   "Deployment agent connected to cloud",
			"user/us-east-1/123456789012/echo.log": "loaded",
		} {
			// The function may be ahead of its log.
			testkit.Until(t, name+" says "+want, func() bool {
				data, err := os.ReadFile(filepath.Join(root, "ggc", "var", "log", name))
				return err == nil && strings.Contains(string(data), want)
			})
		}
		if !strings.Contains(output.String(), "Deployment agent connected to cloud") {
			t.Errorf("output:\n%s", output)
		}
	})
	t.Run("lets no second core onto the folder", func(t *testing.T) {
		other, err := core.New(core.Options{Root: root})
		if err != nil {
			t.Fatal(err)
		}
		err = other.Run(context.Background())
		if !errors.Is(err, core.ErrRunning) || !strings.Contains(err.Error(), fmt.Sprintf("[pid = %d]", os.Getpid())) {
			t.Errorf("error %v", err)
		}
		if len(workers(t, k)) != 1 {
			t.Error("the first core was disturbed")
		}
	})
	t.Run("goes back when a new version does not start", func(t *testing.T) {
		g, packages := echoGroup("2", "import sys\nprint('cannot go on')\nsys.stdout.flush()\nsys.exit(3)\n", t)
		c.deploy(2, g, packages)
		end := c.outcome()
		if end.Event != fescue.EventFailed || len(end.Details) != 1 || !strings.Contains(end.Details[0].DetailedErrorMessage, "cannot go on") {
			t.Errorf("report %+v", end)
		}
		c.await("the old version", func() bool { return count(c.messages, "up/hello=hello 1 from Mill_Core") == 2 })
	})
	t.Run("stops, and starts again from its disk without the cloud", func(t *testing.T) {
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		k, _, stop := start(t, root, func(o *core.Options) { o.IoTHost, o.GGHost = "localhost:1", "localhost:1" })
		if list := workers(t, k); len(list) != 1 || list[0]["FuncArn"] != echoARN+"1" || k.Connected() {
			t.Errorf("workers %v, connected %t", list, k.Connected())
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func contains(list []string, s string) bool { return count(list, s) > 0 }

func count(list []string, s string) (n int) {
	for _, e := range list {
		if e == s {
			n++
		}
	}
	return n
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	for _, tc := range []struct {
		name, want string
		break_     func(root string) error
	}{
		{"a root without configuration", "Couldn't find ", func(root string) error { return os.Remove(filepath.Join(root, "config", "config.json")) }},
		{"a broken configuration", "Failed to parse ", func(root string) error {
			return os.WriteFile(filepath.Join(root, "config", "config.json"), []byte("{"), 0o600)
		}},
		{"a missing key", "core.key", func(root string) error { return os.Remove(filepath.Join(root, "certs", "core.key")) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			root := newRoot(t, c)
			if err := tc.break_(root); err != nil {
				t.Fatal(err)
			}
			if _, err := core.New(core.Options{Root: root}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
			if _, err := os.Stat(filepath.Join(root, "ggc")); !os.IsNotExist(err) {
				t.Errorf("New left something behind: %v", err)
			}
		})
	}
}

// TestLogsEndpoint: keys of the group's role do not go to other machines in the clear.
func TestLogsEndpoint(t *testing.T) {
	t.Parallel()
	root := newRoot(t, newCloud(t))
	explicit := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, nil })
	for _, tc := range []struct {
		url  string
		keys aws.CredentialsProvider
		want string // of the error
	}{
		{url: "https://logs.eu-west-1.amazonaws.com"}, {url: "http://127.0.0.1:4566"}, {url: "http://[::1]:4566"}, {url: "http://localhost:4566"},
		{url: "http://logs.example.com", keys: explicit},
		{url: "http://logs.example.com", want: "AWS_ACCESS_KEY_ID"}, {url: "http://127.0.0.1.example.com", want: "https URL"},
		{url: "http://10.0.0.7:4566", want: "https URL"}, {url: "ftp://127.0.0.1", want: "not a URL"},
	} {
		_, err := core.New(core.Options{Root: root, LogsEndpoint: tc.url, LogsCredentials: tc.keys})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.url, err, tc.want)
		}
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	k, err := core.New(core.Options{Root: newRoot(t, c), IPCPort: &port})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "ggDaemonPort") {
		t.Errorf("error %v", err)
	}
}
