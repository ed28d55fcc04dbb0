//go:build linux

package test

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/hosts"
	"github.com/fescue-edge/fescue/testkit/ports"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// Credentials and place of the tests.
const (
	keyID   = programs.KeyID
	secret  = programs.Secret
	account = programs.Account
	region  = programs.Region
)

// server is a running control plane.
type server struct {
	*process
	data              string
	program           string // fescueBin if empty
	environment       []string
	args              []string
	api, device, mqtt string
	ops               string // of a server with --ops
	// host is where it runs, and who calls it; this machine if nil.
	host *hosts.Host
}

// startServer starts a control plane on free ports. Further flags may be given.
func startServer(t testing.TB, flags ...string) *server {
	t.Helper()
	return startServerOn(t, t.TempDir(), flags...)
}

// startServerOn starts a control plane on a data folder.
func startServerOn(t testing.TB, data string, flags ...string) *server {
	t.Helper()
	return startServerWith(t, nil, data, flags...)
}

// startServerWith starts a control plane with more in its environment.
func startServerWith(t testing.TB, environment []string, data string, flags ...string) *server {
	t.Helper()
	return startBareServer(t, environment, data, append([]string{"--account", account, "--region", region}, flags...)...)
}

// startBareServer starts a control plane that does not know whose it is.
func startBareServer(t testing.TB, environment []string, data string, flags ...string) *server {
	t.Helper()
	s := &server{data: data, environment: environment}
	s.args = append([]string{
		"server", "--data", s.data, "--api", address(t), "--device", address(t), "--mqtt", address(t),
	}, flags...)
	s.run(t)
	return s
}

func (s *server) run(t testing.TB) {
	t.Helper()
	if s.program == "" {
		s.program = fescueBin
	}
	s.process = startOn(t, s.host, s.program, slices.Concat(programs.ServerKey, s.environment), s.args...)
	eventually(t, "server ready", func() error {
		if err := s.Ended(); err != nil {
			t.Fatalf("%v\n%s", err, s.out)
		}
		at, ready := programs.Addresses(s.out.String())
		if !ready {
			return errors.New("not ready")
		}
		s.api, s.device, s.mqtt, s.ops = at["api"], at["device"], at["mqtt"], at["ops"]
		return nil
	})
}

// address is one of the loopback with a port that stays the test's.
func address(t testing.TB) string { return fmt.Sprintf("127.0.0.1:%d", ports.Take(t)) }

// restart kills the server and starts it again on the same data and ports.
func (s *server) restart(t testing.TB) {
	t.Helper()
	s.Kill()
	s.run(t)
}

// site is a server as one partition's caller sees it.
type site struct {
	*server
	region, account string
	// keyID and secret are an access key of the account's administrator.
	keyID, secret string

	greengrass *greengrass.Client
	iot        *iot.Client
	lambda     *lambda.Client
}

func (s *server) site(region string) *site {
	return s.siteOf(&site{server: s, region: region, account: account, keyID: keyID, secret: secret})
}

// abroad is a site of another account.
func (s *server) abroad(t testing.TB, region, account string) *site {
	t.Helper()
	var key struct{ AccessKeyID, SecretAccessKey string }
	text := runProgram(t, "keys", "create", "--data", s.data, "--name", "admin of "+account, "--access", "admin", "--account", account, "--json")
	if err := json.Unmarshal([]byte(text), &key); err != nil {
		t.Fatal(err)
	}
	return s.siteOf(&site{server: s, region: region, account: account, keyID: key.AccessKeyID, secret: key.SecretAccessKey})
}

func (*server) siteOf(h *site) *site {
	cfg := h.config()
	if h.host != nil {
		cfg.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: h.host.DialContext}}
	}
	h.greengrass, h.iot, h.lambda = greengrass.NewFromConfig(cfg), iot.NewFromConfig(cfg), lambda.NewFromConfig(cfg)
	return h
}

// config is how SDKs reach the site.
func (h *site) config() aws.Config {
	return aws.Config{Region: h.region, BaseEndpoint: aws.String("http://" + h.api), Credentials: credentials.NewStaticCredentialsProvider(h.keyID, h.secret, "")}
}

func (h *site) environment() []string {
	return append(programs.Caller(h.api, h.region), "AWS_ACCESS_KEY_ID="+h.keyID, "AWS_SECRET_ACCESS_KEY="+h.secret)
}

// gateway is a provisioned core.
type gateway struct {
	*site
	thing, root       string
	thingARN, certARN string
	process           *process
	// host is where it runs; this machine if nil.
	host *hosts.Host
	// isolation is the default of its groups; empty for what the original took.
	isolation types.FunctionIsolationMode
	// resources are those of its groups.
	resources []types.Resource
	// loggers are those of its groups.
	loggers []types.Logger
	// syncShadow has groups keep its shadows in step with the cloud's.
	syncShadow bool
}

// provision makes a core's identity with the program's own command.
func (h *site) provision(t testing.TB, thing string) *gateway {
	t.Helper()
	g := &gateway{site: h, thing: thing, root: openDir(t), isolation: types.FunctionIsolationModeNoContainer}
	p := startOn(t, h.server.host, fescueBin, h.environment(), "provision", thing, "--root", g.root)
	<-p.Done
	if p.Err != nil {
		t.Fatalf("provision: %v\n%s", p.Err, p.out)
	}
	var err error
	if g.thingARN, g.certARN, err = programs.Provisioned(p.out.String()); err != nil {
		t.Fatal(err)
	}
	// The core's own port for functions must not collide with another test's.
	g.configure(t, "ggDaemonPort", ports.Take(t))
	return g
}

// openDir is a temporary folder that functions of another user can reach.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fescue-core-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// configure sets a member of coreThing in config.json.
func (g *gateway) configure(t testing.TB, member string, value any) {
	t.Helper()
	g.edit(t, func(config map[string]any) { config["coreThing"].(map[string]any)[member] = value })
}

// edit changes config.json.
func (g *gateway) edit(t testing.TB, change func(config map[string]any)) {
	t.Helper()
	if err := programs.EditConfig(g.root, change); err != nil {
		t.Fatal(err)
	}
}

// run starts the core with the edge program.
func (g *gateway) run(t testing.TB) {
	t.Helper()
	g.process = startOn(t, g.host, edgeBin, nil, "--root", g.root)
}

// function is one function of a group.
type function struct {
	arn      string
	pinned   bool
	encoding types.EncodingType
	// variables are its environment.
	variables map[string]string
	isolation types.FunctionIsolationMode
	memory    *int32
	runAs     *types.FunctionRunAsConfig
	sysfs     bool
	// timeout is in seconds; 60 for 0: machines may be slow.
	timeout int32
	// executable is its Executable, none for empty.
	executable string
	// resources are those of the gateway's that it is given.
	resources []types.ResourceAccessPolicy
}

// zipOf packs files, by name.
func zipOf(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for name, content := range files {
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		header.SetMode(0o755)
		f, err := w.CreateHeader(header)
		if err == nil {
			_, err = f.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// publish makes or updates a Lambda function and returns the ARN of its new
// version.
func (h *site) publish(t testing.TB, name, runtime, handler string, code []byte) string {
	t.Helper()
	ctx := t.Context()
	_, err := h.lambda.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: &name, Runtime: lambdatypes.Runtime(runtime), Handler: &handler,
		Role: aws.String("arn:aws:iam::" + h.account + ":role/lambda"), Code: &lambdatypes.FunctionCode{ZipFile: code},
	})
	var conflict *lambdatypes.ResourceConflictException
	if errors.As(err, &conflict) {
		_, err = h.lambda.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &name, ZipFile: code})
	}
	if err != nil {
		t.Fatal(err)
	}
	v, err := h.lambda.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name})
	if err != nil {
		t.Fatal(err)
	}
	return *v.FunctionArn
}

// python publishes a Python function.
func (h *site) python(t testing.TB, name, code string) string {
	t.Helper()
	return h.publish(t, name, "python3.7", "main.handler", zipOf(t, map[string][]byte{"main.py": []byte(code)}))
}

// route is a subscription.
type route struct{ source, subject, target string }

// groupVersion makes a group version with new definitions; an empty group makes
// a new one.
func (g *gateway) groupVersion(t testing.TB, group string, functions []function, routes []route) (groupID, versionID string) {
	t.Helper()
	ctx := t.Context()
	core, err := g.greengrass.CreateCoreDefinition(ctx, &greengrass.CreateCoreDefinitionInput{
		InitialVersion: &types.CoreDefinitionVersion{Cores: []types.Core{
			{Id: aws.String("core"), ThingArn: &g.thingARN, CertificateArn: &g.certARN, SyncShadow: &g.syncShadow},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	definition := &types.FunctionDefinitionVersion{DefaultConfig: &types.FunctionDefaultConfig{
		Execution: &types.FunctionDefaultExecutionConfig{IsolationMode: g.isolation, RunAs: g.runAs()},
	}}
	for i, f := range functions {
		config := &types.FunctionConfiguration{
			Pinned: aws.Bool(f.pinned), Timeout: aws.Int32(cmp.Or(f.timeout, 60)), EncodingType: f.encoding, MemorySize: f.memory,
			Environment: &types.FunctionConfigurationEnvironment{Variables: f.variables, ResourceAccessPolicies: f.resources},
		}
		if f.executable != "" {
			config.Executable = &f.executable
		}
		if f.isolation != "" || f.runAs != nil {
			config.Environment.Execution = &types.FunctionExecutionConfig{IsolationMode: f.isolation, RunAs: f.runAs}
		}
		if f.sysfs {
			config.Environment.AccessSysfs = aws.Bool(true)
		}
		definition.Functions = append(definition.Functions, types.Function{
			Id: aws.String(fmt.Sprintf("f%d", i)), FunctionArn: aws.String(f.arn), FunctionConfiguration: config,
		})
	}
	funcs, err := g.greengrass.CreateFunctionDefinition(ctx, &greengrass.CreateFunctionDefinitionInput{InitialVersion: definition})
	if err != nil {
		t.Fatal(err)
	}
	table := &types.SubscriptionDefinitionVersion{}
	for i, r := range routes {
		table.Subscriptions = append(table.Subscriptions, types.Subscription{
			Id: aws.String(fmt.Sprintf("s%d", i)), Source: aws.String(r.source), Subject: aws.String(r.subject), Target: aws.String(r.target),
		})
	}
	subs, err := g.greengrass.CreateSubscriptionDefinition(ctx, &greengrass.CreateSubscriptionDefinitionInput{InitialVersion: table})
	if err != nil {
		t.Fatal(err)
	}
	if group == "" {
		made, err := g.greengrass.CreateGroup(ctx, &greengrass.CreateGroupInput{Name: aws.String(g.thing)})
		if err != nil {
			t.Fatal(err)
		}
		group = *made.Id
	}
	input := &greengrass.CreateGroupVersionInput{
		GroupId: &group, CoreDefinitionVersionArn: core.LatestVersionArn,
		FunctionDefinitionVersionArn: funcs.LatestVersionArn, SubscriptionDefinitionVersionArn: subs.LatestVersionArn,
	}
	if len(g.loggers) > 0 {
		loggers, err := g.greengrass.CreateLoggerDefinition(ctx, &greengrass.CreateLoggerDefinitionInput{
			InitialVersion: &types.LoggerDefinitionVersion{Loggers: g.loggers},
		})
		if err != nil {
			t.Fatal(err)
		}
		input.LoggerDefinitionVersionArn = loggers.LatestVersionArn
	}
	if len(g.resources) > 0 {
		resources, err := g.greengrass.CreateResourceDefinition(ctx, &greengrass.CreateResourceDefinitionInput{
			InitialVersion: &types.ResourceDefinitionVersion{Resources: g.resources},
		})
		if err != nil {
			t.Fatal(err)
		}
		input.ResourceDefinitionVersionArn = resources.LatestVersionArn
	}
	version, err := g.greengrass.CreateGroupVersion(ctx, input)
	if err != nil {
		t.Fatal(err)
	}
	return group, *version.Version
}

// runAs is whom functions run as: a test machine has no ggc_user.
func (g *gateway) runAs() *types.FunctionRunAsConfig {
	if os.Geteuid() != 0 {
		return nil
	}
	return &types.FunctionRunAsConfig{Uid: aws.Int32(65534), Gid: aws.Int32(65534)}
}

// deploy creates a deployment.
func (h *site) deploy(t testing.TB, group, version string) string {
	t.Helper()
	d, err := h.greengrass.CreateDeployment(t.Context(), &greengrass.CreateDeploymentInput{
		GroupId: &group, GroupVersionId: &version, DeploymentType: types.DeploymentTypeNewDeployment,
	})
	if err != nil {
		t.Fatal(err)
	}
	return *d.DeploymentId
}

func (h *site) status(ctx context.Context, group, deployment string) (*greengrass.GetDeploymentStatusOutput, error) {
	return h.greengrass.GetDeploymentStatus(ctx, &greengrass.GetDeploymentStatusInput{GroupId: &group, DeploymentId: &deployment})
}

// await polls until the deployment has a status, and fails when it ends otherwise.
func (h *site) await(t testing.TB, group, deployment string, want fescue.DeploymentStatus) *greengrass.GetDeploymentStatusOutput {
	t.Helper()
	return h.awaitWithin(t, patience, group, deployment, want)
}

// awaitWithin is await for a core that is slow.
func (h *site) awaitWithin(t testing.TB, limit time.Duration, group, deployment string, want fescue.DeploymentStatus) *greengrass.GetDeploymentStatusOutput {
	t.Helper()
	var last *greengrass.GetDeploymentStatusOutput
	err := testkit.Within(t.Context(), limit, func() error {
		out, err := h.status(t.Context(), group, deployment)
		if err != nil {
			return err
		}
		last = out
		if got := fescue.DeploymentStatus(*out.DeploymentStatus); got != want {
			if got.Final() {
				t.Fatalf("deployment ended with %s: %s %+v", got, aws.ToString(out.ErrorMessage), details(out))
			}
			return fmt.Errorf("status %s", got)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("deployment %s: %v", want, err)
	}
	return last
}

func details(out *greengrass.GetDeploymentStatusOutput) string {
	var list []string
	for _, d := range out.ErrorDetails {
		list = append(list, aws.ToString(d.DetailedErrorCode)+": "+aws.ToString(d.DetailedErrorMessage))
	}
	return strings.Join(list, "\n")
}

// identity are the files of the certificate, its key, and the authority to trust.
func (g *gateway) identity(t testing.TB) (cert, key, ca string) {
	t.Helper()
	certs := filepath.Join(g.root, "certs")
	names, err := filepath.Glob(filepath.Join(certs, "*.cert.pem"))
	if err != nil || len(names) != 1 {
		t.Fatalf("certificates %v: %v", names, err)
	}
	return names[0], strings.TrimSuffix(names[0], ".cert.pem") + ".private.key", filepath.Join(certs, "root.ca.pem")
}

// tls is what they make.
func (g *gateway) tls(t testing.TB) *tls.Config {
	t.Helper()
	cert, key, ca := g.identity(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(readFile(t, ca))
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}
}

// client is an MQTT client with a certificate of its own.
type client struct {
	mqtt.Client
	messages chan mqtt.Message
}

// connect registers a device and connects it; it receives what it subscribes.
func (h *site) connect(t testing.TB, thing string) *client {
	t.Helper()
	cfg := h.provision(t, thing).tls(t)
	if h.mqtt == h.device {
		cfg.NextProtos = []string{"x-amzn-mqtt-ca"}
	}
	c := &client{messages: make(chan mqtt.Message, 4096)}
	c.Client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + h.mqtt).SetClientID(thing).
		SetTLSConfig(cfg).SetPingTimeout(patience).SetAutoReconnect(true))
	await(t, "connect", c.Connect())
	t.Cleanup(func() { c.Disconnect(0) })
	return c
}

func await(t testing.TB, what string, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("%s: %v", what, token.Error())
	}
}

// subscribe has messages of a filter arrive in c.messages.
func (c *client) subscribe(t testing.TB, filter string) {
	t.Helper()
	await(t, "subscribe", c.Subscribe(filter, 1, func(_ mqtt.Client, m mqtt.Message) { c.messages <- m }))
}

// ask publishes until a message that contains text comes back: whoever answers may
// only be about to subscribe.
func (c *client) ask(t testing.TB, topic, payload, text string) {
	t.Helper()
	eventually(t, "an answer to "+payload, func() error {
		await(t, "publish", c.Publish(topic, 1, false, payload))
		select {
		case m := <-c.messages:
			if strings.Contains(string(m.Payload()), text) {
				return nil
			}
			return fmt.Errorf("%s", m.Payload())
		case <-time.After(time.Second):
			return errors.New("nothing came")
		}
	})
}

// next waits for a message with each of texts, in whatever order they come: what
// different functions publish has no order. It returns the last.
func (c *client) next(t testing.TB, texts ...string) mqtt.Message {
	t.Helper()
	return c.nextWithin(t, patience, texts...)
}

// nextWithin is next for what takes its time on a machine that is busy.
func (c *client) nextWithin(t testing.TB, limit time.Duration, texts ...string) mqtt.Message {
	t.Helper()
	missing := slices.Clone(texts)
	deadline := time.After(limit)
	for {
		select {
		case m := <-c.messages:
			missing = slices.DeleteFunc(missing, func(text string) bool { return strings.Contains(string(m.Payload()), text) })
			if len(missing) == 0 {
				return m
			}
		case <-deadline:
			t.Fatalf("no message with %q within %s", missing, limit)
		}
	}
}
