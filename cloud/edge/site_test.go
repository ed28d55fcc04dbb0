package edge_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/discovery"
	"github.com/fescue-edge/fescue/cloud/edge"
	"github.com/fescue-edge/fescue/cloud/functions"
	"github.com/fescue-edge/fescue/cloud/groupca"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/cloud/sites"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/policy"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var (
	home      = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	elsewhere = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}
)

const (
	patience = 20 * time.Second
	// allowAll is what the Greengrass developer guide gives a core.
	allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["greengrass:*"],"Resource":["*"]}]}`
)

// site is a device listener with everything behind it real.
type site struct {
	t         *testing.T
	store     *store.DB
	registry  *registry.Service
	functions *functions.Service
	blobs     *artifacts.Folder
	engine    *deploy.Engine
	presence  *cores.Presence
	cores     *cores.Service
	roles     *identity.Roles
	// authorities are those of groups, devices what signs certificates of devices.
	authorities *groupca.Service
	devices     *pki.Authority
	trust       *x509.CertPool
	key         ed25519.PrivateKey
	address     string
	// late is by how much the listener's clock is ahead, in nanoseconds.
	late atomic.Int64
	made atomic.Int64
	// polls gets a word for every long poll that has begun to wait.
	polls chan struct{}
	// broken gets a word for every long poll that broke.
	broken chan struct{}
}

func open(t *testing.T) *site {
	t.Helper()
	dir, logger := t.TempDir(), slog.New(slog.DiscardHandler)
	s := &site{t: t, polls: make(chan struct{}, 100), broken: make(chan struct{}, 100)}
	var err error
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s.store = storetest.Open(t)
	s.blobs, err = artifacts.OpenFolder(filepath.Join(dir, "artifacts"))
	check(err)
	s.devices, err = pki.NewAuthority("devices", pki.ECDSA, time.Now())
	check(err)
	_, s.key, err = ed25519.GenerateKey(rand.Reader)
	check(err)
	s.registry = registry.New(registry.Options{Stores: s.store.Registry(), Authority: s.devices, AWS: "aws", Now: time.Now, Logger: logger})
	s.functions = functions.New(functions.Options{Store: s.store.Functions(), Code: s.blobs, Now: time.Now})
	s.presence = cores.NewPresence(s.store.Cores(), time.Now, logger)
	s.engine = deploy.New(deploy.Options{
		Stores: s.store.Engine(), Functions: s.functions, Principals: s.registry, Artifacts: s.blobs, Publisher: silence{},
		Signer: signer{s.key}, AWS: "aws", Presence: s.presence, Now: time.Now, Logger: logger,
	})
	s.cores = cores.New(s.store.Cores(), time.Now)
	s.authorities = groupca.New(s.store.GroupAuthorities(), plain{}, time.Now)
	s.roles = identity.NewRoles(s.store.IAM(), time.Now)
	master, err := pki.NewMasterKey(make([]byte, 32))
	check(err)
	handler := edge.New(edge.Options{
		Exchange: identity.Exchange{
			Keys:  identity.NewKeys(s.store.AccessKeys(), s.store.Certificates(), s.roles, master, time.Now),
			Roles: s.roles, GroupRoles: s.store.GroupRoles(), Cores: s.store.Cores(),
		},
		Principals: identity.Principals{Registry: s.registry, Documents: new(policy.Documents)}, Deployments: watched{s.engine, s.polls}, Artifacts: s.blobs,
		Presence:    noticed{s.presence, s.broken},
		Discovery:   discovery.New(s.store.Holdings(), s.cores, s.authorities),
		Sites:       sites.New(sites.Options{Cores: s.store.Cores(), Devices: s.store.Holdings(), Connectivity: s.cores, Authorities: s.authorities, Offline: sites.DefaultOffline}),
		Cores:       s.cores,
		SigningKeys: signer{s.key},
		Now:         func() time.Time { return time.Now().Add(time.Duration(s.late.Load())) }, Logger: logger,
	})
	s.listen(handler)
	return s
}

// signer is a signing key that is never rotated.
type signer struct{ key ed25519.PrivateKey }

func (s signer) Sign(_ context.Context, m bundle.Manifest, formats ...int) ([]byte, error) {
	return bundle.Sign(m, s.key, formats...)
}

func (s signer) SignSecrets(_ context.Context, of bundle.SecretsOf, list []bundle.Secret, to crypto.PublicKey) ([]byte, error) {
	return bundle.SealSecrets(of, list, to, s.key)
}

func (s signer) Renew(_ context.Context, envelope []byte, formats ...int) ([]byte, string, error) {
	if envelope == nil {
		return nil, "", nil
	}
	public := s.key.Public().(ed25519.PublicKey)
	m, err := bundle.Open(envelope, map[string]ed25519.PublicKey{bundle.KeyID(public): public})
	if err != nil {
		return nil, "", err
	}
	renewed, err := bundle.Sign(m, s.key, formats...)
	return renewed, "", err
}

func (signer) Public(context.Context) (corelink.SigningKeys, error) {
	return corelink.SigningKeys{Keys: []corelink.SigningKey{{KeyID: "k", PEM: "p"}}}, nil
}

// plain keeps private keys as they are.
type plain struct{}

func (plain) Seal(secret []byte, _ string) ([]byte, error) { return secret, nil }
func (plain) Open(sealed []byte, _ string) ([]byte, error) { return sealed, nil }

// silence is an MQTT publisher that nobody listens to.
type silence struct{}

func (silence) Publish(context.Context, fescue.Partition, string, []byte, byte, bool) error {
	return nil
}

// noticed is a Presence that reports when a long poll broke.
type noticed struct {
	*cores.Presence
	broken chan<- struct{}
}

func (n noticed) Gone(p fescue.Partition, thing string) {
	n.Presence.Gone(p, thing)
	n.broken <- struct{}{}
}

// watched is an engine that reports when a long poll waits.
type watched struct {
	*deploy.Engine
	polls chan<- struct{}
}

func (w watched) Await(ctx context.Context, p fescue.Partition, thing string, poll corelink.Poll,
	allowed func(context.Context, *fescue.Deployment) error,
) (corelink.Offer, error) {
	reported := false
	return w.Engine.Await(ctx, p, thing, poll, func(ctx context.Context, d *fescue.Deployment) error {
		err := allowed(ctx, d)
		if err == nil && d == nil && !reported {
			reported = true
			select {
			case w.polls <- struct{}{}:
			default:
			}
		}
		return err
	})
}

// listen starts builder and listener, both until the test ends.
func (s *site) listen(handler *edge.Handler) {
	t, logger := s.t, slog.New(slog.DiscardHandler)
	t.Helper()
	listeners, err := pki.NewAuthority("listeners", pki.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := pki.OwnCertificates(listeners, []string{"localhost", "127.0.0.1"}, time.Now, logger)
	if err != nil {
		t.Fatal(err)
	}
	s.trust = x509.NewCertPool()
	s.trust.AddCert(listeners.Certificate)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = tcp.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{
		ErrorLog:    slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var running sync.WaitGroup
	running.Go(func() { handler.Serve(server, tls.NewListener(tcp, handler.TLS(certificates))) })
	running.Go(func() { s.engine.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		server.Close()
		running.Wait()
	})
}

// device is a certificate with its key, and clients that use them.
type device struct {
	t    *testing.T
	site *site
	id   string
	tls  tls.Certificate
	*corelink.Client
	plain *http.Client
}

// certificate makes a certificate that is not registered.
func (s *site) certificate(t *testing.T) *device {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := s.devices.IssueDevice(key.Public(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d := &device{t: t, site: s, id: pki.CertificateID(cert.Raw), tls: tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	d.connect()
	return d
}

// connect gives the device fresh connections.
func (d *device) connect() {
	cfg := func() *tls.Config {
		return &tls.Config{RootCAs: d.site.trust, Certificates: []tls.Certificate{d.tls}}
	}
	d.Client = corelink.NewClient(d.site.address, cfg())
	transport := &http.Transport{TLSClientConfig: cfg()}
	d.plain = &http.Client{Transport: transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	d.t.Cleanup(d.Client.Close)
	d.t.Cleanup(transport.CloseIdleConnections)
}

// core registers a certificate in a partition, attaches it to a new thing unless
// that is empty, and gives it policies.
func (s *site) core(t *testing.T, p fescue.Partition, thing string, policies ...string) *device {
	t.Helper()
	d := s.certificate(t)
	ctx := t.Context()
	pem := string(pki.EncodeCertificate(d.tls.Certificate[0]))
	_, err := s.registry.RegisterCertificateWithoutCA(ctx, p, pem, fescue.CertificateActive)
	if err == nil && thing != "" {
		if _, err = s.registry.CreateThing(ctx, p, thing, "", nil); err == nil {
			err = s.registry.AttachThing(ctx, p, thing, d.id)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range policies {
		name := fmt.Sprintf("policy-%d", s.made.Add(1))
		if _, err := s.registry.CreatePolicy(ctx, p, name, document); err != nil {
			t.Fatal(err)
		}
		if err := s.registry.AttachPolicy(ctx, p, name, d.id); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (d *device) setStatus(status fescue.CertificateStatus) {
	d.t.Helper()
	if err := d.site.registry.SetCertificateStatus(d.t.Context(), home, d.id, status); err != nil {
		d.t.Fatal(err)
	}
}

// deployment offers a group with one function of its own to the device's thing.
func (s *site) deployment(t *testing.T, d *device, thing string) fescue.Deployment {
	t.Helper()
	name := fmt.Sprintf("function-%d", s.made.Add(1))
	s.function(t, name)
	functionID, functionVersion := s.definition(t, fescue.FunctionKind, fescue.FunctionDefinitionVersion{Functions: []fescue.Function{
		{Id: "f", FunctionArn: home.FunctionARN(name) + ":1"},
	}, DefaultConfig: &fescue.FunctionDefaultConfig{Execution: &fescue.FunctionExecution{IsolationMode: fescue.NoContainer}}})
	coreID, coreVersion := s.definition(t, fescue.CoreKind, fescue.CoreDefinitionVersion{Cores: []fescue.Core{
		{Id: "c", ThingArn: home.ThingARN(thing), CertificateArn: home.CertificateARN(d.id)},
	}})
	group, version := s.definition(t, fescue.GroupKind, fescue.GroupVersion{
		CoreDefinitionVersionArn:     home.VersionARN(fescue.CoreKind, coreID, coreVersion),
		FunctionDefinitionVersionArn: home.VersionARN(fescue.FunctionKind, functionID, functionVersion),
	})
	return s.deploy(t, group, version)
}

func (s *site) deploy(t *testing.T, group, version string) fescue.Deployment {
	t.Helper()
	made, err := s.engine.Create(t.Context(), home, group, fescue.NewDeployment, version, "", fescue.Token{})
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); made.Status == fescue.Building; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the deployment is not built")
		}
		if made, err = s.store.Deployments().Deployment(t.Context(), home, group, made.ID); err != nil {
			t.Fatal(err)
		}
	}
	if made.Status != fescue.InProgress {
		t.Fatalf("deployment: %s", made.ErrorMessage)
	}
	return made
}

// function makes a function of some 100 KB, version 1.
func (s *site) function(t *testing.T, name string) {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	f, err := w.Create("main.py")
	if err == nil {
		_, err = io.Copy(f, io.LimitReader(rand.Reader, 100_000))
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		runtime, handler, role := "python3.7", "main.handler", "arn:aws:iam::123456789012:role/x"
		_, err = s.functions.Create(t.Context(), home, functions.Creation{
			Function: name, Settings: functions.Settings{Runtime: &runtime, Handler: &handler, Role: &role},
			Archive: &functions.Archive{ReaderAt: bytes.NewReader(buf.Bytes()), Size: int64(buf.Len())}, Publish: true,
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) definition(t *testing.T, k fescue.Kind, body any) (id, version string) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	d := fescue.Definition{Kind: k, ID: fescue.NewID(), Name: "x", CreatedAt: time.Now(), UpdatedAt: time.Now()}
	v := fescue.DefinitionVersion{Kind: k, DefinitionID: d.ID, ID: fescue.NewID(), CreatedAt: time.Now(), Body: data}
	if _, err := s.store.Definitions().CreateDefinition(t.Context(), home, d, &v, fescue.Token{}); err != nil {
		t.Fatal(err)
	}
	return d.ID, v.ID
}

// manifest reads what is offered to the device.
func (d *device) manifest(t *testing.T, thing string) bundle.Manifest {
	t.Helper()
	offer, err := d.GetDeployment(t.Context(), thing, corelink.Poll{})
	if err != nil {
		t.Fatal(err)
	}
	public := d.site.key.Public().(ed25519.PublicKey)
	m, err := bundle.Open(offer.Envelope, map[string]ed25519.PublicKey{bundle.KeyID(public): public})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// answer is what came back for a plain request.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   []byte
}

// send sends a request with a path as it stands; header is "Name: value" or
// empty.
func (d *device) send(t *testing.T, method, path, header, body string) *answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+d.site.address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if name, value, ok := strings.Cut(header, ": "); ok {
		req.Header.Set(name, value)
	}
	resp, err := d.plain.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{t, fmt.Sprintf("%s %.100s", method, path), resp.StatusCode, resp.Header, data}
}

// refused asks for a refusal whose message has the text.
func (a *answer) refused(status int, code, text string) {
	a.t.Helper()
	var body corelink.ErrorBody
	if err := json.Unmarshal(a.body, &body); err != nil {
		a.t.Fatalf("%s: status %d, body %q: %v", a.what, a.status, a.body, err)
	}
	if a.status != status || body.Code != code || !strings.Contains(body.Message, text) {
		a.t.Errorf("%s: %d %+v; want %d, %s, %q", a.what, a.status, body, status, code, text)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		a.t.Errorf("%s: Content-Type %q", a.what, got)
	}
	if id := a.header.Get("x-amzn-RequestId"); !fescue.ValidID(id) {
		a.t.Errorf("%s: request id %q", a.what, id)
	}
}
