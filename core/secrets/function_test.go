package secrets_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/secrets"
	"github.com/fescue-edge/fescue/disk"
)

const (
	pump = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mill/pump-a1b2c3"
	fan  = "arn:aws:secretsmanager:us-east-1:123456789012:secret:fan-a1b2c3"
	// reader may read pump, idle nothing.
	reader = "arn:aws:lambda:us-east-1:123456789012:function:reader:1"
	idle   = "arn:aws:lambda:us-east-1:123456789012:function:idle:1"
)

// load makes a set as a vault has it of a deployment.
func load(t *testing.T) *secrets.Set {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	check(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	public, cloud, err := ed25519.GenerateKey(nil)
	check(t, err)
	dir := t.TempDir()
	m := bundle.Manifest{CoreThingArn: "arn:aws:iot:us-east-1:123456789012:thing/mill", GroupID: fescue.NewID(), DeploymentID: fescue.NewID(), Epoch: 1}
	at := time.UnixMilli(1700000000123).UTC()
	envelope, err := bundle.SealSecrets(m.SecretsOf(), []bundle.Secret{
		{ARN: pump, Name: "mill/pump", Versions: []bundle.SecretVersion{
			{ID: "v2", Stages: []string{"AWSCURRENT", "blue"}, CreatedAt: at, Value: []byte("geheim ü")},
			{ID: "v1", Stages: []string{"AWSPREVIOUS"}, CreatedAt: at, Value: []byte{0, 255}, Binary: true},
		}},
		{ARN: fan, Name: "fan", Versions: []bundle.SecretVersion{{ID: "v1", Stages: []string{"AWSCURRENT"}, CreatedAt: at, Value: []byte("x")}}},
	}, key.Public(), cloud)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, m.DeploymentID+".dsse"), envelope, 0o600))
	vault := secrets.New(secrets.Options{
		Disk: disk.Local{}, Folder: dir, KeyFile: filepath.Join(dir, "key"), Logger: slog.New(slog.DiscardHandler),
		Keys: keys{Keyring: bundle.NewKeyring(map[string]ed25519.PublicKey{bundle.KeyID(public): public})},
	})
	var g bundle.Group
	for _, arn := range []string{pump, fan} {
		g.GroupDefinitions.Resources.Content = append(g.GroupDefinitions.Resources.Content, bundle.Resource{Id: arn, Data: bundle.ResourceData{Class: fescue.SecretType.Class, ARN: arn}})
	}
	set, err := vault.Load(m, g)
	check(t, err)
	return set
}

// keys are those that a core trusts.
type keys struct {
	secrets.Keys
	*bundle.Keyring
}

func (k keys) OpenSecrets(e []byte, of bundle.SecretsOf) (bundle.SealedSecrets, error) {
	return k.Keyring.OpenSecrets(e, of)
}

func (k keys) OpenAcceptedSecrets(e []byte, of bundle.SecretsOf) (bundle.SealedSecrets, error) {
	return k.Keyring.OpenAcceptedSecrets(e, of)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// call invokes GGSecretManager as the IPC does.
func call(t *testing.T, f *secrets.Function, function, payload string) string {
	t.Helper()
	registry := invoke.NewRegistry(invoke.Options{})
	registry.Register(fescue.SecretFunction.ARN(), f)
	worker := invoke.Worker{ID: "w", FunctionARN: function}
	arn := fescue.SecretFunction.ARN() + ":1"
	id, err := registry.Invoke(t.Context(), worker, invoke.Call{ARN: arn, Type: invoke.RequestResponse, Payload: []byte(payload)})
	check(t, err)
	var out invoke.Outcome
	check(t, registry.Result(t.Context(), worker, arn, id, func(o invoke.Outcome) { out = o }))
	if out.Error != invoke.Succeeded {
		t.Errorf("function error %q", out.Error)
	}
	return string(out.Payload)
}

func TestFunction(t *testing.T) {
	t.Parallel()
	var f secrets.Function
	f.Use(load(t), map[string][]string{reader: {pump}})
	const (
		current = `{"ARN":"` + pump + `","Name":"mill/pump","VersionId":"v2","SecretString":"geheim ü","VersionStages":["AWSCURRENT","blue"],"CreatedDate":1700000000123}`
		before  = `{"ARN":"` + pump + `","Name":"mill/pump","VersionId":"v1","SecretBinary":"AP8=","VersionStages":["AWSPREVIOUS"],"CreatedDate":1700000000123}`
	)
	for name, tc := range map[string]struct {
		function, payload string
		// answer is the whole one, else status and text of a refusal.
		answer string
		status int
		text   string
	}{
		"by name":                   {function: reader, payload: `{"SecretId":"mill/pump"}`, answer: current},
		"by ARN":                    {function: reader, payload: `{"SecretId":"` + pump + `"}`, answer: current},
		"by ARN without its suffix": {function: reader, payload: `{"SecretId":"` + strings.TrimSuffix(pump, "-a1b2c3") + `"}`, answer: current},
		"by label":                  {function: reader, payload: `{"SecretId":"mill/pump","VersionStage":"blue"}`, answer: current},
		"a binary one":              {function: reader, payload: `{"SecretId":"mill/pump","VersionStage":"AWSPREVIOUS"}`, answer: before},
		"by version":                {function: reader, payload: `{"SecretId":"mill/pump","VersionId":"v1"}`, answer: before},
		"members of later SDKs":     {function: reader, payload: `{"SecretId":"mill/pump","Later":1}`, answer: current},
		"no JSON":                   {function: reader, payload: `hello`, status: 400, text: "the request is not"},
		"nothing":                   {function: reader, status: 400, text: "the request is not"},
		"a number":                  {function: reader, payload: `{"SecretId":7}`, status: 400, text: "the request is not"},
		"no id":                     {function: reader, payload: `{}`, status: 400, text: "SecretId is missing"},
		"a version and a label":     {function: reader, payload: `{"SecretId":"mill/pump","VersionId":"v1","VersionStage":"blue"}`, status: 400, text: "together"},
		"one that is not given":     {function: reader, payload: `{"SecretId":"fan"}`, status: 401, text: "no access to the secret fan"},
		"one that nobody gave":      {function: idle, payload: `{"SecretId":"mill/pump"}`, status: 401, text: idle + " has no access"},
		"as nobody":                 {payload: `{"SecretId":"mill/pump"}`, status: 401, text: "no access"},
		"unknown":                   {function: reader, payload: `{"SecretId":"mill"}`, status: 404, text: `no secret "mill"`},
		"a part of an ARN":          {function: reader, payload: `{"SecretId":"arn:aws:secretsmanager:us-east-1:123456789012:secret:mill"}`, status: 404, text: "no secret"},
		"an unknown label":          {function: reader, payload: `{"SecretId":"mill/pump","VersionStage":"green"}`, status: 404, text: `for "green"`},
		"an unknown version":        {function: reader, payload: `{"SecretId":"mill/pump","VersionId":"v3"}`, status: 404, text: `for "v3"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := call(t, &f, tc.function, tc.payload)
			if tc.answer != "" {
				if got != tc.answer {
					t.Errorf("got %s, want %s", got, tc.answer)
				}
				return
			}
			var refused map[string]any
			if err := json.Unmarshal([]byte(got), &refused); err != nil || len(refused) != 2 || refused["Status"] != float64(tc.status) || !strings.Contains(refused["Message"].(string), tc.text) {
				t.Errorf("got %s, want %d, %q", got, tc.status, tc.text)
			}
		})
	}
}

func TestFunctionWithoutSecrets(t *testing.T) {
	t.Parallel()
	var f secrets.Function
	if got := call(t, &f, reader, `{"SecretId":"x"}`); !strings.Contains(got, `"Status":404`) {
		t.Error(got)
	}
	f.Use(nil, map[string][]string{reader: {pump}})
	if got := call(t, &f, reader, `{"SecretId":"x"}`); !strings.Contains(got, `"Status":500`) || !strings.Contains(got, "runtime.log") {
		t.Error(got)
	}
}
