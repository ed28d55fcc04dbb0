//go:build linux

package test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit"
)

// secretReader asks GGSecretManager for what it is sent, as the original's SDK does,
// and publishes the answer.
const secretReader = greeter + `
from greengrass_common.env_vars import SECRETS_MANAGER_FUNCTION_ARN

def handler(event, context):
    id = ipc.post_work(SECRETS_MANAGER_FUNCTION_ARN, json.dumps(event).encode(), '', 'RequestResponse')
    answer = ipc.get_work_result(SECRETS_MANAGER_FUNCTION_ARN, id)
    publish("%s: %r %s" % (os.environ["TAG"], answer.func_err, answer.payload.decode()))
`

// earlySecretReader reads one as it starts.
const earlySecretReader = greeter + `
from greengrass_common.env_vars import SECRETS_MANAGER_FUNCTION_ARN

id = ipc.post_work(SECRETS_MANAGER_FUNCTION_ARN, b'{"SecretId":"greengrass-pump"}', '', 'RequestResponse')
print("read at the start: " + json.loads(ipc.get_work_result(SECRETS_MANAGER_FUNCTION_ARN, id).payload.decode())["SecretString"])
`

// nodeSecretReader does it with the original's SDK for JavaScript.
const nodeSecretReader = `
const GG = require('aws-greengrass-core-sdk');
const iot = new GG.IotData(), secrets = new GG.SecretsManager();
const publish = (text) => iot.publish({topic: process.env.OUT, payload: text}, () => {});
publish('started ' + process.env.TAG);
exports.handler = (event, context, callback) => secrets.getSecretValue(event, (err, data) => {
  publish(process.env.TAG + ': ' + (err ? 'error ' + err.message : data));
  callback(null);
});
`

// secretsOf is a partition's Secrets Manager.
func (h *site) secretsManager() *secretsmanager.Client {
	return secretsmanager.NewFromConfig(h.config())
}

// keep makes a secret or gives it another value, with a label; it returns the ARN.
func (h *site) keep(t *testing.T, name, value, label string) string {
	t.Helper()
	api := h.secretsManager()
	_, err := api.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name})
	if err != nil && !strings.Contains(err.Error(), "ResourceExistsException") {
		t.Fatal(err)
	}
	made, err := api.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &name, SecretString: &value, VersionStages: []string{label}})
	if err != nil {
		t.Fatal(err)
	}
	return *made.ARN
}

func secretResource(id, arn string, labels ...string) types.Resource {
	return types.Resource{Id: &id, Name: &id, ResourceDataContainer: &types.ResourceDataContainer{
		SecretsManagerSecretResourceData: &types.SecretsManagerSecretResourceData{ARN: &arn, AdditionalStagingLabelsToDownload: labels},
	}}
}

// wantNowhere fails if a file below the folder has a text.
func wantNowhere(t *testing.T, root string, texts ...string) {
	t.Helper()
	err := testkit.Walk(root, func(path string, info fs.FileInfo) error {
		if !info.Mode().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		for _, text := range texts {
			if bytes.Contains(data, []byte(text)) {
				t.Errorf("%s has %q", path, text)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSecrets: three cores, of two Regions and of another account, with secrets of the
// same name, one with an EC key for them.
func TestSecrets(t *testing.T) {
	t.Parallel()
	needPython(t)
	whole := t // programs that a subtest starts go on after it
	s := startServer(t, "--regions", region+",us-west-2")
	here, there, abroad := s.site(region), s.site("us-west-2"), s.abroad(t, region, "210987654321")
	values := map[*site]string{here: "of " + region, there: "of us-west-2", abroad: "of another account"}
	pump := []types.ResourceAccessPolicy{{ResourceId: aws.String("pump"), Permission: types.PermissionRo}}
	viewers := map[*site]*client{here: here.connect(t, "Viewer"), there: there.connect(t, "Viewer"), abroad: abroad.connect(t, "Viewer")}
	gateways := map[*site]*gateway{}
	groups, arns := map[*site]string{}, map[*site]string{}
	functions := map[*site][]function{}
	routes := map[*site][]route{}
	for _, h := range []*site{here, there, abroad} {
		g := h.provision(t, "Secret_Core")
		gateways[h] = g
		viewers[h].subscribe(t, "Secret_Core/out")
		arns[h] = h.keep(t, "greengrass-pump", "first "+values[h], "AWSCURRENT")
		h.keep(t, "greengrass-pump", "blue "+values[h], "blue")
		h.keep(t, "greengrass-pump", "hidden "+values[h], "hidden")
		g.resources = []types.Resource{secretResource("pump", arns[h], "blue")}
		if h == there {
			g.useSecretKey(t)
		}
		g.run(t)
		reader, other := h.python(t, "Reader", secretReader), h.python(t, "Other", secretReader)
		functions[h] = []function{
			{arn: reader, pinned: true, variables: out(g.thing, "reader"), resources: pump},
			{arn: other, pinned: true, variables: out(g.thing, "other")},
		}
		routes[h] = []route{
			{reader, g.thing + "/out", "cloud"}, {"cloud", g.thing + "/read", reader}, {other, g.thing + "/out", "cloud"}, {"cloud", g.thing + "/other", other},
		}
		var version string
		groups[h], version = g.groupVersion(t, "", functions[h], routes[h])
		h.await(t, groups[h], g.deploy(t, groups[h], version), fescue.Success)
		viewers[h].next(t, "started reader", "started other")
	}
	ask := func(h *site, topic, request, answer string) {
		t.Helper()
		viewers[h].ask(t, "Secret_Core/"+topic, request, answer)
	}
	for _, h := range []*site{here, there, abroad} {
		ask(h, "read", `{"SecretId":"greengrass-pump"}`, `reader: '' {"ARN":"`+arns[h]+`","Name":"greengrass-pump","VersionId":"`)
		ask(h, "read", `{"SecretId":"`+arns[h]+`"}`, `"SecretString":"first `+values[h]+`","VersionStages":["AWSCURRENT"],"CreatedDate":1`)
		ask(h, "read", `{"SecretId":"greengrass-pump","VersionStage":"blue"}`, `"SecretString":"blue `+values[h]+`"`)
		ask(h, "read", `{"SecretId":"greengrass-pump","VersionStage":"hidden"}`, `reader: '' {"Status":404,"Message":`)
		ask(h, "read", `{"SecretId":"nothing"}`, `{"Status":404,`)
		ask(h, "read", `{"SecretId":"greengrass-pump","VersionId":"a","VersionStage":"b"}`, `{"Status":400,`)
		ask(h, "other", `{"SecretId":"greengrass-pump"}`, `other: '' {"Status":401,"Message":"the function `)
		wantNowhere(t, gateways[h].root, "first of", "blue of", "hidden of")
	}
	entries, err := os.ReadDir(s.data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "messages" { // messages are kept as they came, and these functions publish their secrets
			wantNowhere(t, filepath.Join(s.data, e.Name()), "first of", "blue of", "hidden of")
		}
	}

	t.Run("another account's secret is unknown", func(t *testing.T) {
		g := gateways[abroad]
		own := g.resources
		g.resources = []types.Resource{secretResource("pump", arns[here])}
		_, version := g.groupVersion(t, groups[abroad], functions[abroad], routes[abroad])
		status := abroad.await(t, groups[abroad], g.deploy(t, groups[abroad], version), fescue.Failure)
		if text := details(status); !strings.Contains(text, string(fescue.SecretNotFound)) || !strings.Contains(text, arns[here]) {
			t.Error(text)
		}
		g.resources = own
		ask(abroad, "read", `{"SecretId":"`+arns[here]+`"}`, `{"Status":404,`)
		ask(abroad, "read", `{"SecretId":"greengrass-pump"}`, `"SecretString":"first of another account"`)
	})
	t.Run("sealed secrets of another account's core do not open", func(t *testing.T) {
		from, to := gateways[here], gateways[abroad]
		to.process.Kill()
		sealed := sealedFiles(t, to)[0]
		own := readFile(t, sealed)
		if err := os.WriteFile(sealed, readFile(t, sealedFiles(t, from)[0]), 0o600); err != nil {
			t.Fatal(err)
		}
		to.run(whole)
		ask(abroad, "read", `{"SecretId":"greengrass-pump"}`, `{"Status":500,"Message":"the core cannot open the secrets of the group; its runtime.log says why"}`)
		to.process.Kill()
		if err := os.WriteFile(sealed, own, 0o600); err != nil {
			t.Fatal(err)
		}
		to.run(whole)
		ask(abroad, "read", `{"SecretId":"greengrass-pump"}`, `"SecretString":"first of another account"`)
	})
	t.Run("rotation, by deploying again", func(t *testing.T) {
		g := gateways[there]
		there.keep(t, "greengrass-pump", "second of "+there.region, "AWSCURRENT")
		ask(there, "read", `{"SecretId":"greengrass-pump"}`, `"SecretString":"first of us-west-2"`)
		_, version := g.groupVersion(t, groups[there], functions[there], routes[there])
		there.await(t, groups[there], g.deploy(t, groups[there], version), fescue.Success)
		ask(there, "read", `{"SecretId":"greengrass-pump"}`, `"SecretString":"second of us-west-2"`)
	})
	t.Run("sealed secrets of one core open on no other", func(t *testing.T) {
		from, to := gateways[here], gateways[there]
		to.process.Kill()
		stolen := readFile(t, sealedFiles(t, from)[0])
		for _, file := range sealedFiles(t, to) {
			if err := os.WriteFile(file, stolen, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		to.run(whole)
		ask(there, "read", `{"SecretId":"greengrass-pump"}`, `{"Status":500,"Message":"the core cannot open the secrets of the group; its runtime.log says why"}`)
		if log := readFile(t, filepath.Join(to.root, "ggc", "var", "log", "system", "runtime.log")); !bytes.Contains(log, []byte("they are for core "+from.thingARN)) {
			t.Errorf("the log does not say why:\n%s", log)
		}
		// Deploying again puts it right.
		_, version := to.groupVersion(t, groups[there], functions[there], routes[there])
		there.await(t, groups[there], to.deploy(t, groups[there], version), fescue.Success)
		ask(there, "read", `{"SecretId":"greengrass-pump"}`, `"SecretString":"second of us-west-2"`)
	})
	t.Run("a secret that is gone fails the next deployment, by name", func(t *testing.T) {
		g := gateways[there]
		if _, err := there.secretsManager().DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{SecretId: aws.String("greengrass-pump")}); err != nil {
			t.Fatal(err)
		}
		_, version := g.groupVersion(t, groups[there], functions[there], routes[there])
		status := there.await(t, groups[there], g.deploy(t, groups[there], version), fescue.Failure)
		if text := details(status); !strings.Contains(text, string(fescue.SecretNotFound)) || !strings.Contains(text, arns[there]) {
			t.Error(text)
		}
		ask(there, "read", `{"SecretId":"greengrass-pump"}`, `"SecretString":"second of us-west-2"`)
	})
	t.Run("the original's SDK for JavaScript", func(t *testing.T) {
		sdk, g := coreSDKForNode(t), gateways[here]
		node := here.node(t, "NodeReader", nodeSecretReader, sdk)
		_, version := g.groupVersion(t, groups[here], []function{{arn: node, pinned: true, variables: out(g.thing, "node"), resources: pump}},
			[]route{{node, g.thing + "/out", "cloud"}, {"cloud", g.thing + "/node", node}})
		here.await(t, groups[here], g.deploy(t, groups[here], version), fescue.Success)
		ask(here, "node", `{"SecretId":"greengrass-pump","VersionStage":"blue"}`, `"SecretString":"blue of eu-west-1"`)
		ask(here, "node", `{"SecretId":"nothing"}`, `node: error `)
	})
	t.Run("offline, after a restart", func(t *testing.T) {
		// There is no cloud to ask the function through: it reads as it starts.
		g := gateways[here]
		early := here.python(t, "Early", earlySecretReader)
		list := append(functions[here], function{arn: early, pinned: true, variables: out(g.thing, "early"), resources: pump})
		_, version := g.groupVersion(t, groups[here], list, routes[here])
		here.await(t, groups[here], g.deploy(t, groups[here], version), fescue.Success)
		s.Kill()
		g.process.Kill()
		g.run(t)
		log := filepath.Join(g.root, "ggc", "var", "log", "user", region, account, "Early.log")
		eventually(t, "it reads again", func() error {
			text, err := os.ReadFile(log)
			if err == nil && strings.Count(string(text), "read at the start: first of "+region) < 2 {
				err = fmt.Errorf("not twice:\n%s", text)
			}
			return err
		})
	})
}

// useSecretKey gives a gateway an EC key for its secrets alone.
func (g *gateway) useSecretKey(t *testing.T) {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(g.root, "certs", "secrets.key")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	g.edit(t, func(config map[string]any) {
		principals := config["crypto"].(map[string]any)["principals"].(map[string]any)
		principals["SecretsManager"] = map[string]any{"privateKeyPath": "file://" + file}
	})
}

// sealedFiles are where a gateway has its secrets.
func sealedFiles(t *testing.T, g *gateway) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(g.root, "ggc", "deployment", ".secrets", "*.dsse"))
	if err == nil && len(files) == 0 {
		err = errors.New("no sealed secrets")
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}
