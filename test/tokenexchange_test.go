//go:build linux

package test

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// caller does with boto3 what its event names, with the credentials that the SDK finds by
// itself, and publishes what came of it.
const caller = greeter + `
import boto3, urllib.request, urllib.error

def client(name):
    return boto3.client(name, endpoint_url=os.environ["ENDPOINT"])

def get(token):
    request = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers={"Authorization": token})
    try:
        with urllib.request.urlopen(request) as answer:
            return "%d %s" % (answer.status, sorted(json.loads(answer.read().decode())))
    except urllib.error.HTTPError as e:
        return "%d %s" % (e.code, e.read().decode())

def do(event):
    what = event["do"]
    if what == "put":
        client("s3").put_object(Bucket=event["bucket"], Key=event["key"], Body=b"from " + os.environ["TAG"].encode())
        return "put " + event["key"]
    if what == "get":
        return "got " + client("s3").get_object(Bucket=event["bucket"], Key=event["key"])["Body"].read().decode()
    if what == "who":
        return client("sts").get_caller_identity()["Arn"]
    if what == "secret":
        return "secret " + client("secretsmanager").get_secret_value(SecretId=event["id"])["SecretString"]
    if what == "roles":
        return "roles %d" % len(client("iam").list_roles()["Roles"])
    if what == "deploy":
        return "group %s" % client("greengrass").delete_group(GroupId=event["group"])
    if what == "raw":
        return get(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] if event["token"] == "mine" else event["token"])

def handler(event, context):
    try:
        text = do(event)
    except Exception as e:
        text = "refused " + str(e)
    publish("%s: %s" % (os.environ["TAG"], text))
`

func needBoto3(t *testing.T) {
	t.Helper()
	needPython(t)
	if exec.Command("/usr/bin/python3", "-c", "import boto3").Run() != nil {
		t.Skip("boto3 (Debian's package python3-boto3) is not installed for /usr/bin/python3")
	}
}

// role makes a role and returns its ARN.
func (h *site) role(t *testing.T, name, service, policy string) string {
	t.Helper()
	api := iam.NewFromConfig(h.config())
	made, err := api.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + service + `"},"Action":"sts:AssumeRole"}]}`)})
	if err == nil {
		_, err = api.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("p"), PolicyDocument: &policy})
	}
	if err != nil {
		t.Fatal(err)
	}
	return *made.Role.Arn
}

func (h *site) associate(t *testing.T, group, role string) {
	t.Helper()
	if _, err := h.greengrass.AssociateRoleToGroup(t.Context(), &greengrass.AssociateRoleToGroupInput{GroupId: &group, RoleArn: &role}); err != nil {
		t.Fatal(err)
	}
}

// calling is a gateway with one function that calls AWS.
func (h *site) calling(t *testing.T, thing string, viewer *client, environment ...string) (g *gateway, group string) {
	t.Helper()
	g = h.provision(t, thing)
	viewer.subscribe(t, thing+"/out")
	g.process = startProgram(t, edgeBin, environment, "--root", g.root)
	arn := h.python(t, thing+"_Caller", caller)
	variables := out(thing, thing)
	variables["ENDPOINT"] = "http://" + h.api
	group, version := g.groupVersion(t, "", []function{{arn: arn, pinned: true, timeout: 30, variables: variables}},
		[]route{{arn, thing + "/out", "cloud"}, {"cloud", thing + "/do", arn}})
	h.await(t, group, g.deploy(t, group, version), fescue.Success)
	viewer.next(t, "started "+thing)
	return g, group
}

// TestTokenExchange: functions of two groups use the roles of their groups, within
// the roles' policies.
func TestTokenExchange(t *testing.T) {
	t.Parallel()
	needBoto3(t)
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")
	objects := s3.NewFromConfig(h.config(), func(o *s3.Options) { o.UsePathStyle = true })
	for _, bucket := range []string{"mill-data", "fan-data"} {
		if _, err := objects.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
			t.Fatal(err)
		}
	}
	secrets := secretsmanager.NewFromConfig(h.config())
	for _, name := range []string{"mill", "fan"} {
		if _, err := secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("of the " + name)}); err != nil {
			t.Fatal(err)
		}
	}
	allow := func(name string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:PutObject","s3:GetObject"],"Resource":"arn:aws:s3:::` + name + `-data/open/*"},
			{"Effect":"Allow","Action":["secretsmanager:GetSecretValue","iam:*","greengrass:*"],"Resource":["arn:aws:secretsmanager:*:*:secret:` + name + `-*","arn:aws:iam::*","arn:aws:greengrass:*","*role*"]}]}`
	}
	mill, millGroup := h.calling(t, "Mill_Core", viewer)
	_, fanGroup := h.calling(t, "Fan_Core", viewer)
	ask := func(thing, request, answer string) {
		t.Helper()
		viewer.ask(t, thing+"/do", request, thing+": "+answer)
	}
	t.Run("a group without a role", func(t *testing.T) {
		ask("Mill_Core", `{"do":"raw","token":"mine"}`, "404 You need to attach an IAM role to this deployment group.")
		ask("Mill_Core", `{"do":"put","bucket":"mill-data","key":"open/a"}`, "refused ")
	})
	h.associate(t, fanGroup, h.role(t, "fan", "greengrass.amazonaws.com", allow("fan")))
	h.associate(t, millGroup, h.role(t, "mill", "greengrass.amazonaws.com", allow("mill")))
	mill.renew(t, millGroup, viewer) // a refusal is repeated for two minutes

	t.Run("what the policy allows", func(t *testing.T) {
		for thing, name := range map[string]string{"Mill_Core": "mill", "Fan_Core": "fan"} {
			ask(thing, `{"do":"put","bucket":"`+name+`-data","key":"open/a"}`, "put open/a")
			ask(thing, `{"do":"get","bucket":"`+name+`-data","key":"open/a"}`, "got from "+thing)
			ask(thing, `{"do":"secret","id":"`+name+`"}`, "secret of the "+name)
			group := map[string]string{"mill": millGroup, "fan": fanGroup}[name]
			ask(thing, `{"do":"who"}`, "arn:aws:sts::"+account+":assumed-role/"+name+"/"+group)
			got, err := objects.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(name + "-data"), Key: aws.String("open/a")})
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(got.Body); err != nil || string(text) != "from "+thing {
				t.Errorf("%s, %v", text, err)
			}
		}
	})
	t.Run("what it does not", func(t *testing.T) {
		ask("Mill_Core", `{"do":"put","bucket":"mill-data","key":"closed/a"}`, "refused An error occurred (AccessDenied)")
		ask("Mill_Core", `{"do":"put","bucket":"fan-data","key":"open/b"}`, "refused An error occurred (AccessDenied)")
		ask("Fan_Core", `{"do":"get","bucket":"mill-data","key":"open/a"}`, "refused An error occurred (AccessDenied)")
		ask("Mill_Core", `{"do":"secret","id":"fan"}`, "refused An error occurred (AccessDenied")
	})
	t.Run("what no group's role gives, whatever it says", func(t *testing.T) {
		ask("Mill_Core", `{"do":"roles"}`, "refused An error occurred (AccessDenied)")
		ask("Mill_Core", `{"do":"deploy","group":"`+fanGroup+`"}`, "refused An error occurred (AccessDenied")
	})
	t.Run("the local path asks for the worker's token", func(t *testing.T) {
		ask("Mill_Core", `{"do":"raw","token":"mine"}`, "200 ['AccessKeyId', 'Expiration', 'SecretAccessKey', 'Token']")
		ask("Mill_Core", `{"do":"raw","token":"Basic bm9uZQ=="}`, "401 ")
	})
	t.Run("a policy that changes counts at once", func(t *testing.T) {
		if _, err := iam.NewFromConfig(h.config()).DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: aws.String("fan"), PolicyName: aws.String("p")}); err != nil {
			t.Fatal(err)
		}
		ask("Fan_Core", `{"do":"get","bucket":"fan-data","key":"open/a"}`, "refused An error occurred (AccessDenied)")
	})
	t.Run("a role that does not trust greengrass", func(t *testing.T) {
		h.associate(t, millGroup, h.role(t, "closed", "lambda.amazonaws.com", allow("mill")))
		mill.renew(t, millGroup, viewer)
		ask("Mill_Core", `{"do":"raw","token":"mine"}`, "403 The trust policy of the role arn:aws:iam::"+account+":role/closed does not let greengrass.amazonaws.com assume it.")
	})
	t.Run("nothing of it lies on a disk or in a log", func(t *testing.T) {
		wantNowhere(t, mill.root, "SecretAccessKey\":\"", "secretAccessKey")
		wantNowhere(t, filepath.Join(mill.root, "ggc", "var", "log"), "ASIA")
	})
}

// renew has a core forget credentials, by deploying again.
func (g *gateway) renew(t *testing.T, group string, viewer *client) {
	t.Helper()
	versions, err := g.greengrass.ListGroupVersions(t.Context(), &greengrass.ListGroupVersionsInput{GroupId: &group})
	if err != nil {
		t.Fatal(err)
	}
	g.await(t, group, g.deploy(t, group, *versions.Versions[0].Version), fescue.Success)
}

// TestCredentialsEndpoint: a core gets credentials where --credentials-endpoint says,
// with its certificate.
func TestCredentialsEndpoint(t *testing.T) {
	t.Parallel()
	needBoto3(t)
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")
	endpoint := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/role-aliases/edge/credentials" || r.Header.Get("x-amzn-iot-thingname") != "Cloudy_Core" || r.TLS.PeerCertificates[0].Subject.CommonName != "AWS IoT Certificate" {
			http.Error(w, `{"message":"Access Denied"}`, http.StatusForbidden)
			return
		}
		json.NewEncoder(w).Encode(corelink.CredentialsAnswer{Credentials: corelink.Credentials{
			AccessKeyID: keyID, SecretAccessKey: secret, Expiration: time.Now().Add(time.Hour),
		}})
	}))
	endpoint.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	endpoint.StartTLS()
	t.Cleanup(endpoint.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: endpoint.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	// What the endpoint gives is, here, the operator's own key: it is not the server
	// that bounds it.
	h.calling(t, "Cloudy_Core", viewer, "SSL_CERT_FILE="+authority, "FESCUE_CREDENTIALS_ENDPOINT="+endpoint.URL+"/role-aliases/edge/credentials")
	viewer.ask(t, "Cloudy_Core/do", `{"do":"who"}`, "Cloudy_Core: arn:aws:iam::"+account+":user/")
	viewer.ask(t, "Cloudy_Core/do", `{"do":"roles"}`, "Cloudy_Core: roles 0")

	other := h.provision(t, "Other_Core")
	p := startProgram(t, edgeBin, nil, "--root", other.root, "--credentials-endpoint", "http://example.com/role-aliases/x/credentials")
	<-p.Done
	if text := fmt.Sprint(p.out); p.Err == nil || !strings.Contains(text, "is not of the form https://HOST/role-aliases/ALIAS/credentials") {
		t.Errorf("%v: %s", p.Err, text)
	}
}
