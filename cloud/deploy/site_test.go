package deploy_test

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/functions"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/cloud/secrets"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/failurecoverage"
)

var (
	home      = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	elsewhere = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}
)

const (
	patience = testkit.Patience
	// reader and stats are the ARNs of the functions that every site has, but for
	// their qualifiers.
	reader = "arn:aws:lambda:us-east-1:123456789012:function:MillReader"
	stats  = "arn:aws:lambda:us-east-1:123456789012:function:MillStats"
)

func ptr[T any](v T) *T { return &v }

// site is an engine with everything below it real. Its builder runs after run.
type site struct {
	t         *testing.T
	store     *store.DB
	registry  *registry.Service
	functions *functions.Service
	secrets   *secrets.Service
	blobs     *artifacts.Folder
	presence  *cores.Presence
	mqtt      *recordedMQTT
	key       ed25519.PrivateKey
	options   deploy.Options
	*deploy.Engine
}

// open makes a site with the functions MillReader, versions 1 and 2, and
// MillStats, version 1, whose aliases prod point to MillReader:2 and MillStats:1.
func open(t *testing.T) *site {
	t.Helper()
	return openOn(t, storetest.Database(t))
}

// openOn is open on a database.
func openOn(t *testing.T, database string) *site {
	t.Helper()
	dir, logger := t.TempDir(), slog.New(slog.DiscardHandler)
	s := &site{t: t, store: storetest.OpenOn(t, database), mqtt: new(recordedMQTT)}
	t.Cleanup(func() {
		failed, err := s.store.Deployments().DeploymentsIn(context.Background(), home, fescue.Failure, fescue.Page{Limit: 1000})
		if err != nil {
			t.Error(err)
		}
		for _, d := range failed {
			failurecoverage.Note(d.ErrorDetails)
		}
	})
	var err error
	if s.blobs, err = artifacts.OpenFolder(filepath.Join(dir, "artifacts")); err != nil {
		t.Fatal(err)
	}
	authority, err := pki.NewAuthority("devices", pki.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, s.key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	s.registry = registry.New(registry.Options{Stores: s.store.Registry(), Authority: authority, AWS: "aws", Now: time.Now, Logger: logger})
	s.functions = functions.New(functions.Options{Store: s.store.Functions(), Code: s.blobs, Now: time.Now})
	master, err := pki.NewMasterKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s.secrets = secrets.New(s.store.Secrets(), master, time.Now)
	s.presence = cores.NewPresence(s.store.Cores(), time.Now, logger)
	s.options = deploy.Options{
		Stores: s.store.Engine(), Functions: published{s.functions}, Principals: s.registry, Secrets: s.secrets, Artifacts: s.blobs, Publisher: s.mqtt,
		Models: shelf{}, Signer: signer{s.key}, AWS: "aws", Presence: s.presence, Now: time.Now, Logger: logger,
		// What cores of a version do not serve is tested by itself.
		Serves: func(fescue.Feature) bool { return true },
	}
	s.Engine = deploy.New(s.options)
	s.function("MillReader", "python3.7", "reader.handler", "1", "2")
	s.function("MillStats", "python3.8", "stats.main", "1")
	return s
}

// shelf has all models but two and knows all jobs but one.
type shelf struct{}

func (shelf) Model(_ context.Context, _ fescue.Partition, uri string) (deploy.Model, error) {
	switch uri {
	case "s3://b/none":
		return deploy.Model{}, fescue.Refuse(fescue.ErrNotFound, "The specified key does not exist.")
	case "s3://b/text":
		return deploy.Model{}, fescue.Refuse(deploy.ErrModel, "it is no archive")
	}
	return deploy.Model{SHA256: strings.Repeat("e", 64), Size: 7, Packing: bundle.TarGz, ModifiedAt: time.UnixMilli(1690000000000)}, nil
}

func (s shelf) Copy(ctx context.Context, p fescue.Partition, uri string, _ func(int64)) (deploy.Model, error) {
	return s.Model(ctx, p, uri)
}

func (shelf) Job(arn string) (string, bool) { return "s3://b/job", arn != "arn:lost" }

// with is the same site for a subtest.
func (s *site) with(t *testing.T) *site {
	c := *s
	c.t = t
	return &c
}

// another is another server's engine on the same database.
func (s *site) another(change func(*deploy.Options)) *deploy.Engine {
	o := s.options
	if change != nil {
		change(&o)
	}
	return deploy.New(o)
}

// secret makes a secret whose suffix is a1b2c3, with a version for each label, and
// returns its ARN.
func (s *site) secret(name string, labels ...string) string {
	s.t.Helper()
	err := s.store.Secrets().CreateSecret(s.t.Context(), home, secrets.Secret{Name: name, Suffix: "a1b2c3", CreatedAt: time.Now(), ChangedAt: time.Now()}, nil)
	for _, label := range labels {
		if err == nil {
			_, _, err = s.secrets.Put(s.t.Context(), home, name, secrets.Value{Text: ptr(name + " " + label)}, "", []string{label})
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return home.SecretARN(name, "a1b2c3")
}

// run has an engine build until the function returned is called, or the test
// ends.
func (s *site) run(e *deploy.Engine) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	stop = func() { cancel(); <-done }
	s.t.Cleanup(stop)
	return stop
}

// published is functions as the engine wants them.
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

type published struct{ *functions.Service }

func (f published) Resolve(ctx context.Context, p fescue.Partition, arn string) (fescue.FunctionVersion, string, error) {
	v, versionARN, err := f.Service.Resolve(ctx, p, arn)
	switch {
	case errors.Is(err, functions.ErrLatest), errors.Is(err, functions.ErrUnqualified):
		err = deploy.ErrUnpublished
	case errors.Is(err, fescue.ErrARN):
		err = fescue.ErrNotFound
	}
	return v, versionARN, err
}

// recordedMQTT keeps what was published and when.
type recordedMQTT struct {
	mu       sync.Mutex
	messages []mqttMessage
	failure  error
}

type mqttMessage struct {
	at        time.Time
	partition fescue.Partition
	topic     string
	payload   []byte
}

func (r *recordedMQTT) Publish(_ context.Context, p fescue.Partition, topic string, payload []byte, _ byte, _ bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, mqttMessage{time.Now(), p, topic, payload})
	return r.failure
}

func (r *recordedMQTT) last() mqttMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.messages) == 0 {
		return mqttMessage{}
	}
	return r.messages[len(r.messages)-1]
}

// function makes a function with versions, and the alias prod for the last.
func (s *site) function(name, runtime, handler string, versions ...string) {
	s.t.Helper()
	ctx := s.t.Context()
	settings := functions.Settings{Runtime: &runtime, Handler: &handler, Role: ptr("arn:aws:iam::123456789012:role/lambda")}
	_, err := s.functions.Create(ctx, home, functions.Creation{Function: name, Settings: settings, Archive: s.code(name + versions[0]), Publish: true})
	for _, v := range versions[1:] {
		if err == nil {
			_, err = s.functions.UpdateCode(ctx, home, functions.CodeUpdate{Function: name, Archive: s.code(name + v), Publish: true})
		}
	}
	if err == nil {
		_, err = s.functions.CreateAlias(ctx, home, functions.AliasChange{Function: name, Name: "prod", FunctionVersion: &versions[len(versions)-1]})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) code(text string) *functions.Archive {
	s.t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	f, err := w.Create("main.py")
	if err == nil {
		_, err = io.WriteString(f, text)
	}
	if err := cmp.Or(err, w.Close()); err != nil {
		s.t.Fatal(err)
	}
	return &functions.Archive{ReaderAt: bytes.NewReader(buf.Bytes()), Size: int64(buf.Len())}
}

// certificate registers a certificate, attached to the thing unless that is
// empty.
func (s *site) certificate(p fescue.Partition, thing string) (id string) {
	s.t.Helper()
	ctx := s.t.Context()
	a, err := pki.NewAuthority("device", pki.ECDSA, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := s.registry.RegisterCertificateWithoutCA(ctx, p, string(a.PEM()), fescue.CertificateActive)
	if err == nil && thing != "" {
		if _, err = s.registry.CreateThing(ctx, p, thing, "", nil); err == nil {
			err = s.registry.AttachThing(ctx, p, thing, c.ID)
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return c.ID
}

// group is a group version to be made: bodies by kind, with what is absent left
// out, and references that stand in for a body.
type group struct {
	bodies     map[string]any
	references map[string]string
}

// mill makes the thing of a core with its certificate, and a group that has
// nothing but the core.
func (s *site) mill(thing string) group {
	s.t.Helper()
	return groupOf(thing, s.certificate(home, thing))
}

func groupOf(thing, certificate string) group {
	g := group{make(map[string]any), make(map[string]string)}
	g.set(fescue.CoreKind, fescue.CoreDefinitionVersion{Cores: []fescue.Core{{
		Id: "core", ThingArn: home.ThingARN(thing), CertificateArn: home.CertificateARN(certificate),
	}}})
	return g
}

func (g group) set(k fescue.Kind, body any) group {
	g.bodies[k.Segment] = body
	return g
}

// functions sets the group's functions, each in a container of 16 MB.
func (g group) functions(arns ...string) group {
	var v fescue.FunctionDefinitionVersion
	for i, arn := range arns {
		v.Functions = append(v.Functions, fescue.Function{
			Id: string(rune('a' + i)), FunctionArn: arn, FunctionConfiguration: &fescue.FunctionConfiguration{MemorySize: ptr(16384)},
		})
	}
	return g.set(fescue.FunctionKind, v)
}

func (g group) subscriptions(list ...fescue.Subscription) group {
	return g.set(fescue.SubscriptionKind, fescue.SubscriptionDefinitionVersion{Subscriptions: list})
}

// create writes the group with its definitions and returns its ids. The store
// takes what the API would have refused.
func (s *site) create(g group) (id, version string) {
	s.t.Helper()
	refs := make(map[string]string)
	for _, k := range fescue.DefinitionKinds {
		if body, ok := g.bodies[k.Segment]; ok {
			id, version := s.definition(k, body)
			refs[k.Reference] = home.VersionARN(k, id, version)
		}
		if arn, ok := g.references[k.Segment]; ok {
			refs[k.Reference] = arn
		}
	}
	return s.definition(fescue.GroupKind, refs)
}

func (s *site) definition(k fescue.Kind, body any) (id, version string) {
	s.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	d := fescue.Definition{Kind: k, ID: fescue.NewID(), Name: "mill", CreatedAt: time.Now(), UpdatedAt: time.Now()}
	v := fescue.DefinitionVersion{Kind: k, DefinitionID: d.ID, ID: fescue.NewID(), CreatedAt: time.Now(), Body: data}
	if _, err := s.store.Definitions().CreateDefinition(s.t.Context(), home, d, &v, fescue.Token{}); err != nil {
		s.t.Fatal(err)
	}
	return d.ID, v.ID
}

// accept creates a deployment.
func (s *site) accept(group, version string) fescue.Deployment {
	s.t.Helper()
	d, err := s.Create(s.t.Context(), home, group, fescue.NewDeployment, version, "", fescue.Token{})
	if err != nil {
		s.t.Fatal(err)
	}
	if d.Status != fescue.Building {
		s.t.Fatalf("status %s after Create", d.Status)
	}
	return d
}

// deploy creates a deployment and waits until it is built.
func (s *site) deploy(group, version string) fescue.Deployment {
	s.t.Helper()
	return s.built(s.accept(group, version))
}

// offered is deploy for a group that has to be fine.
func (s *site) offered(group, version string) fescue.Deployment {
	s.t.Helper()
	d := s.deploy(group, version)
	if d.Status != fescue.InProgress || d.Phase != fescue.Offered {
		s.t.Fatalf("deployment is %s %s: %s", d.Status, d.Phase, d.ErrorMessage)
	}
	return d
}

func (s *site) built(d fescue.Deployment) fescue.Deployment {
	s.t.Helper()
	testkit.Until(s.t, "deployment "+d.ID+" is built", func() bool {
		d = s.read(d)
		return d.Status != fescue.Building
	})
	return d
}

func (s *site) read(d fescue.Deployment) fescue.Deployment {
	s.t.Helper()
	got, err := s.store.Deployments().Deployment(s.t.Context(), home, d.GroupID, d.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

// report sends an event as the deployment's own core and epoch.
func (s *site) report(d fescue.Deployment, event fescue.DeploymentEvent) (fescue.Deployment, error) {
	r := corelink.StatusReport{Event: event, Epoch: d.Epoch}
	if event == fescue.EventFailed {
		r.Message = "it did not work"
	}
	return s.Report(s.t.Context(), home, d.CoreThing, d.GroupID, d.ID, r)
}

// reports sends events that must be accepted.
func (s *site) reports(d fescue.Deployment, events ...fescue.DeploymentEvent) fescue.Deployment {
	s.t.Helper()
	for _, event := range events {
		next, err := s.report(d, event)
		if err != nil {
			s.t.Fatalf("report %s: %v", event, err)
		}
		d = next
	}
	return d
}

func anybody(context.Context, *fescue.Deployment) error { return nil }

// poll is a core's question for what waits above an epoch.
func (s *site) poll(thing string, after int64) corelink.Offer {
	s.t.Helper()
	offer, err := s.Await(s.t.Context(), home, thing, corelink.Poll{After: after, Formats: bundle.Formats()}, anybody)
	if err != nil {
		s.t.Fatal(err)
	}
	return offer
}

// manifest verifies what is offered and reads it.
func (s *site) manifest(offer corelink.Offer) bundle.Manifest {
	s.t.Helper()
	public := s.key.Public().(ed25519.PublicKey)
	m, err := bundle.Open(offer.Envelope, map[string]ed25519.PublicKey{bundle.KeyID(public): public})
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *site) blob(hash string) []byte {
	s.t.Helper()
	r, err := s.blobs.Open(s.t.Context(), hash, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}
