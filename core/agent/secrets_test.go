package agent_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
)

// sealSecrets answers for every group with the peer's secrets.
func (p *peer) sealSecrets(w http.ResponseWriter, r *http.Request) {
	var request corelink.SecretsRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		p.t.Error(err)
	}
	to, err := x509.ParsePKIXPublicKey(request.PublicKey)
	if err != nil {
		p.t.Error(err)
	}
	of := bundle.SecretsOf{CoreThingArn: r.PathValue("CoreArn"), GroupID: r.PathValue("GroupId"), DeploymentID: r.PathValue("DeploymentId"), Epoch: request.Epoch}
	p.mu.Lock()
	list, sealing, key := p.secrets, p.sealing, p.key
	p.sealed++
	p.mu.Unlock()
	if sealing != nil {
		if refused := sealing(&of, (*crypto.PublicKey)(&to), &key); refused != nil {
			answer(w, refused.HTTPStatus, corelink.ErrorBody{Code: refused.Code, Message: refused.Message})
			return
		}
	}
	envelope, err := bundle.SealSecrets(of, list, to, key)
	if err != nil {
		p.t.Error(err)
	}
	answer(w, http.StatusOK, json.RawMessage(envelope))
}

// keyFile writes a new EC key.
func keyFile(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writeKey(t, der)
}

func writeKey(t testing.TB, pkcs8 []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secrets.key")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func secretARN(name string) string {
	return "arn:aws:secretsmanager:us-east-1:123456789012:secret:" + name + "-a1b2c3"
}

// secret has a version for each value, which is "label value".
func secret(name string, values ...string) bundle.Secret {
	s := bundle.Secret{ARN: secretARN(name), Name: name}
	for i, v := range values {
		label, value, _ := strings.Cut(v, " ")
		s.Versions = append(s.Versions, bundle.SecretVersion{ID: fmt.Sprint(strings.ToUpper(value), i), Stages: []string{label}, CreatedAt: time.Unix(1700000000, 0).UTC(), Value: []byte(value)})
	}
	return s
}

// secretive is a release whose function may read secrets.
func secretive(t testing.TB, epoch int64, version int, names ...string) release {
	r := simple(t, epoch, version)
	r.edit = func(g *bundle.Group) {
		env := &g.GroupDefinitions.Lambdas.Content[0].DeploymentConfiguration.Environment
		for _, name := range names {
			g.GroupDefinitions.Resources.Content = append(g.GroupDefinitions.Resources.Content, bundle.Resource{
				Id: name, Type: fescue.SecretType.Document, Data: bundle.ResourceData{Class: fescue.SecretType.Class, ARN: secretARN(name), AdditionalStagingLabelsToDownload: []string{"blue"}},
			})
			env.ResourceAccessPolicies = append(env.ResourceAccessPolicies, fescue.ResourceAccessPolicy{ResourceId: name, Permission: "ro"})
		}
	}
	return r
}

// versionsOf are the versions that the last plan's function finds of a secret.
func (g *gateway) versionsOf(name string) string {
	p := g.last()
	if len(p.Functions) != 1 || p.Functions[0].Secrets[secretARN(name)] != p.Secrets.Versions(secretARN(name)) {
		g.t.Errorf("the plan's secrets are not its function's: %+v", p.Functions)
	}
	return p.Secrets.Versions(secretARN(name))
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	g.secretKey = keyFile(t)
	_, stop := g.run()
	p.secrets = []bundle.Secret{secret("pump", "AWSCURRENT open-sesame", "blue sky")}
	first := p.offer(secretive(t, 1, 1, "pump").build(p))
	p.expect(first, fescue.Success)
	if got := g.versionsOf("pump"); got != "OPEN-SESAME0=AWSCURRENT SKY1=blue" {
		t.Errorf("versions %q", got)
	}

	t.Run("nothing lies on the disk in clear, and nobody else can enter", func(t *testing.T) {
		err := testkit.Walk(g.root, func(path string, info fs.FileInfo) error {
			if !info.Mode().IsRegular() {
				return nil
			}
			data, err := os.ReadFile(path)
			if bytes.Contains(data, []byte("open-sesame")) || bytes.Contains(data, []byte("b3Blbi1zZXNhbWU")) {
				t.Errorf("%s has the value", path)
			}
			return err
		})
		info, failed := os.Stat(g.path(".secrets"))
		if err != nil || failed != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v, %v", err, failed, info)
		}
	})
	t.Run("a start without the cloud has them", func(t *testing.T) {
		stop()
		p.mu.Change(func() { p.down = true })
		_, stop = g.run()
		g.await("a plan", func() bool { return len(g.plans) > 1 })
		if got := g.versionsOf("pump"); got != "OPEN-SESAME0=AWSCURRENT SKY1=blue" {
			t.Errorf("versions %q", got)
		}
		p.mu.Change(func() { p.down = false })
	})
	t.Run("redeploying rotates, and starts anew who was given the old ones", func(t *testing.T) {
		before := g.last().Functions[0].Hash
		p.mu.Change(func() { p.secrets = []bundle.Secret{secret("pump", "AWSCURRENT rotated", "blue sky")} })
		again := secretive(t, 2, 1, "pump")
		p.expect(p.offer(again.build(p)), fescue.Success)
		if got := g.versionsOf("pump"); got != "ROTATED0=AWSCURRENT SKY1=blue" || g.last().Functions[0].Hash == before {
			t.Errorf("versions %q", got)
		}
		p.expect(p.offer(secretive(t, 3, 1, "pump").build(p)), fescue.Success)
		if g.last().Functions[0].Hash == before || g.last().Functions[0].Hash != g.applied()[len(g.applied())-2].Functions[0].Hash {
			t.Error("the same secrets start a function anew")
		}
	})
	t.Run("a deployment that fails leaves those of the one before", func(t *testing.T) {
		p.mu.Change(func() { p.secrets = []bundle.Secret{secret("pump", "AWSCURRENT worse", "blue sky")} })
		g.mu.Change(func() { g.sick[functionARN("hello", 2)] = "exit status 1" })
		p.expect(p.offer(secretive(t, 4, 2, "pump").build(p)), fescue.Failure)
		g.awaitPlan(functionARN("hello", 1))
		if got := g.versionsOf("pump"); got != "ROTATED0=AWSCURRENT SKY1=blue" {
			t.Errorf("versions %q", got)
		}
	})
	t.Run("what no deployment needs goes, without the resource all", func(t *testing.T) {
		p.expect(p.offer(simple(t, 5, 3).build(p)), fescue.Success)
		d := p.offer(simple(t, 6, 4).build(p))
		p.expect(d, fescue.Success)
		p.await("the poll after it", func() bool { return d.polls > 0 })
		if left := g.names(".secrets"); len(left) > 0 || g.last().Secrets != nil {
			t.Errorf("there are secrets: %v", left)
		}
	})
	t.Run("with the key gone functions run all the same, and the log says so", func(t *testing.T) {
		p.mu.Change(func() { p.secrets = []bundle.Secret{secret("pump", "AWSCURRENT last", "blue sky")} })
		p.expect(p.offer(secretive(t, 7, 5, "pump").build(p)), fescue.Success)
		stop()
		g.secretKey = keyFile(t)
		n := len(g.applied())
		g.run()
		g.await("a plan", func() bool { return len(g.plans) > n })
		if log := g.log.String(); len(g.last().Functions) != 1 || g.last().Secrets != nil || !strings.Contains(log, "does not open with this private key") {
			t.Errorf("plan %+v, log:\n%s", g.last(), log)
		}
	})
}

// TestSecretsThatAreNotTaken: each way in which a core comes to no secrets, named.
func TestSecretsThatAreNotTaken(t *testing.T) {
	t.Parallel()
	_, unknown, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edKey, err := x509.MarshalPKCS8PrivateKey(unknown)
	if err != nil {
		t.Fatal(err)
	}
	type sealing = func(*bundle.SecretsOf, *crypto.PublicKey, *ed25519.PrivateKey) *corelink.StatusError
	good := []bundle.Secret{secret("pump", "AWSCURRENT x", "blue y")}
	for name, tc := range map[string]struct {
		secrets []bundle.Secret
		sealing sealing
		key     func(*testing.T) string
		code    fescue.FailureCode
		text    string
	}{
		"no key": {code: fescue.SecretKeyUnfit, text: "no such file", key: func(*testing.T) string { return "/nonexistent.key" }},
		"a key of a kind that nothing is sealed for": {code: fescue.SecretKeyUnfit, text: "secrets are sealed for RSA keys", key: func(t *testing.T) string { return writeKey(t, edKey) }},
		"the control plane refuses": {code: fescue.SecretsNotFetched, text: "no IoT policy", sealing: func(*bundle.SecretsOf, *crypto.PublicKey, *ed25519.PrivateKey) *corelink.StatusError {
			return &corelink.StatusError{HTTPStatus: http.StatusForbidden, Code: "Forbidden", Message: "no IoT policy allows it"}
		}},
		"one from before there were secrets": {code: fescue.SecretsNotFetched, text: "no operation answers", sealing: func(*bundle.SecretsOf, *crypto.PublicKey, *ed25519.PrivateKey) *corelink.StatusError {
			return &corelink.StatusError{HTTPStatus: http.StatusNotFound, Code: "NotFound", Message: "no operation answers POST"}
		}},
		"for another core": {code: fescue.SecretsRefused, text: "they are for core arn:aws:iot:us-east-1:123456789012:thing/Other", sealing: func(of *bundle.SecretsOf, _ *crypto.PublicKey, _ *ed25519.PrivateKey) *corelink.StatusError {
			of.CoreThingArn = "arn:aws:iot:us-east-1:123456789012:thing/Other"
			return nil
		}},
		"of an earlier deployment": {code: fescue.SecretsRefused, text: "epoch 1; this is", sealing: func(of *bundle.SecretsOf, _ *crypto.PublicKey, _ *ed25519.PrivateKey) *corelink.StatusError {
			of.Epoch = 1
			return nil
		}},
		"for another key": {code: fescue.SecretsRefused, text: "does not open with this private key", sealing: func(_ *bundle.SecretsOf, to *crypto.PublicKey, _ *ed25519.PrivateKey) *corelink.StatusError {
			*to = other.Public()
			return nil
		}},
		"signed by an unknown key": {code: fescue.SecretsRefused, text: "signed by no trusted key", sealing: func(_ *bundle.SecretsOf, _ *crypto.PublicKey, key *ed25519.PrivateKey) *corelink.StatusError {
			*key = unknown
			return nil
		}},
		"without one that the group has": {code: fescue.SecretsRefused, text: "pump-a1b2c3 is not among them", secrets: []bundle.Secret{secret("other", "AWSCURRENT x")}},
		"without a label":                {code: fescue.SecretsRefused, text: "no version with the label blue", secrets: []bundle.Secret{secret("pump", "AWSCURRENT x")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			p.secrets, p.sealing = good, tc.sealing
			if tc.secrets != nil {
				p.secrets = tc.secrets
			}
			g := newGateway(t, p)
			g.secretKey = keyFile(t)
			if tc.key != nil {
				g.secretKey = tc.key(t)
			}
			g.run()
			d := p.expect(p.offer(secretive(t, 2, 1, "pump").build(p)), fescue.Failure)
			if !slices.ContainsFunc(d.ErrorDetails, func(e fescue.ErrorDetail) bool {
				return e.DetailedErrorCode == string(tc.code) && strings.Contains(e.DetailedErrorMessage, tc.text)
			}) {
				t.Errorf("%v, want %s, %q", d.ErrorDetails, tc.code, tc.text)
			}
			if len(g.names(".secrets")) != 0 {
				t.Error("something was kept")
			}
		})
	}
}

func TestSecretsWhileTheCloudFails(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.secrets = []bundle.Secret{secret("pump", "AWSCURRENT x", "blue y")}
	p.sealing = func(*bundle.SecretsOf, *crypto.PublicKey, *ed25519.PrivateKey) *corelink.StatusError {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.sealed < 3 {
			return &corelink.StatusError{HTTPStatus: http.StatusServiceUnavailable, Code: "Unavailable", Message: "not now"}
		}
		return nil
	}
	g := newGateway(t, p)
	g.secretKey = keyFile(t)
	g.run()
	p.expect(p.offer(secretive(t, 1, 1, "pump").build(p)), fescue.Success)
}

func TestSecretsByANewSigningKey(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.secrets = []bundle.Secret{secret("pump", "AWSCURRENT x", "blue y")}
	g := newGateway(t, p)
	g.secretKey = keyFile(t)
	g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	d := secretive(t, 2, 2, "pump").build(p)
	offered := p.offer(d) // signed by the key before
	p.rotate(false)
	p.expect(offered, fescue.Success)
}

// TestCheckOfSecrets: a check reports a key that is not fit, and asks for nothing.
func TestCheckOfSecrets(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	g.secretKey = "/nonexistent.key"
	g.run()
	m := secretive(t, 1, 1, "pump").build(p)
	check := corelink.Check{ID: fescue.NewID(), GroupID: groupID, Group: p.content[documentOf(m).SHA256]}
	for _, a := range packagesOf(m) {
		check.Functions = append(check.Functions, corelink.CheckedFunction{ARN: a.Name, SHA256: a.SHA256, Size: a.Size})
	}
	report := p.ask(check)
	if len(report.Problems) != 1 || report.Problems[0].DetailedErrorCode != string(fescue.SecretKeyUnfit) || p.sealed != 0 {
		t.Errorf("%v, sealed %d times", report.Problems, p.sealed)
	}
}
