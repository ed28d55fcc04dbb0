package cloud_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	iottypes "github.com/aws/aws-sdk-go-v2/service/iot/types"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/history"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/archive"
)

// signedIn is a browser of somebody with a grant.
func (s *server) signedIn(t *testing.T, grant identity.Grant) *browser {
	t.Helper()
	b := s.browser(t)
	b.signIn(s.keyWith(grant)).is(t, http.StatusOK, firstPage)
	return b
}

// stream is what comes as server-sent events until the test ends.
func (b *browser) stream(t *testing.T, path string) io.Reader {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := *b.client
	client.Timeout = 0
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	if got := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || !strings.HasPrefix(got, "text/event-stream") {
		t.Fatalf("%s: %d %s", path, answer.StatusCode, got)
	}
	return answer.Body
}

// lacks checks that a page does not say something.
func (s shown) lacks(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(s.text, text) {
			t.Errorf("%s says %q\n%s", s.at, text, s.text)
		}
	}
}

// field is the value of a hidden field of a page's form.
func (s shown) field(t *testing.T, name string) string {
	t.Helper()
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(s.text)
	if m == nil {
		t.Fatalf("%s has no field %s:\n%s", s.at, name, s.text)
	}
	return m[1]
}

var admin = identity.Grant{Access: "admin"}

// hostile is a text that is to be shown as one.
const hostile = `<img src=x onerror=alert(1)>`

func TestConsoleBulk(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.BulkRate = 2
	s, ctx := start(t, o), t.Context()
	api, objects := s.greengrass("us-east-1", s.key), s.s3(s.key)
	b := s.signedIn(t, identity.Grant{Access: "deployer"})
	b.get(firstPage+"bulk").is(t, http.StatusOK, firstPage+"bulk", "There is none yet.", "start-bulk-deployment", "list-bulk-deployments")

	made := s.unbuildable(t, "G", "north")
	if _, err := objects.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("fleet")}); err != nil {
		t.Fatal(err)
	}
	run := func(lines string) (path string) {
		t.Helper()
		if _, err := objects.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("fleet"), Key: aws.String("records"), Body: strings.NewReader(lines)}); err != nil {
			t.Fatal(err)
		}
		out, err := api.StartBulkDeployment(ctx, &greengrass.StartBulkDeploymentInput{ExecutionRoleArn: aws.String("arn:aws:iam::" + account + ":role/bulk"), InputFileUri: aws.String("s3://fleet/records")})
		if err != nil {
			t.Fatal(err)
		}
		return firstPage + "bulk/" + *out.BulkDeploymentId
	}
	line := func(group string) string {
		return fmt.Sprintf(`{"GroupId":%q,"GroupVersionId":%q,"DeploymentType":"NewDeployment"}`+"\n", group, *made.LatestVersion)
	}
	page := func(path string, texts ...string) {
		t.Helper()
		testkit.Eventually(t, "the page of the bulk deployment", func() error {
			got := b.get(path)
			for _, text := range texts {
				if got.status != http.StatusOK || !strings.Contains(got.text, text) {
					return fmt.Errorf("%d without %q: %s", got.status, text, got.text)
				}
			}
			return nil
		})
	}
	failing := run(line(*made.Id) + line(fescue.NewID()))
	page(failing, "Completed", "Failures by code", "Records that failed", "/groups/"+*made.Id+"/deployments/", "none was made")
	if got := b.get(failing); strings.Contains(got.text, `data-live`) || strings.Contains(got.text, "Stop…") {
		t.Errorf("one that has ended is still watched:\n%s", got.text)
	}
	waiting := run(strings.Repeat(line(*made.Id), 500))
	page(waiting, "Running", "Stop…")
	reader := s.signedIn(t, identity.Grant{Access: "reader"})
	got := reader.get(waiting)
	got.is(t, http.StatusOK, waiting, "Running")
	got.lacks(t, "Stop…")
	reader.post(waiting+"/stop").is(t, http.StatusForbidden, waiting+"/stop", "is not authorized to perform: greengrass:StopBulkDeployment")
	b.post(waiting+"/stop").is(t, http.StatusOK, waiting)
	page(waiting, "Stopped")
	b.get(firstPage+"bulk").is(t, http.StatusOK, firstPage+"bulk", "Completed", "Stopped")
	for _, at := range []string{firstPage + "bulk/x", firstPage + "bulk/" + fescue.NewID()} {
		b.get(at).is(t, http.StatusNotFound, at)
		b.post(at+"/stop").is(t, http.StatusNotFound, at)
	}
	limited := s.signedIn(t, identity.Grant{Access: "deployer", Limit: identity.Limit{GroupTag: "site=north"}})
	limited.get(waiting).is(t, http.StatusForbidden, waiting, "the limit of the access key does not cover it")
}

func TestConsoleThings(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, options(t.TempDir())), t.Context()
	b := s.signedIn(t, admin)
	b.get(firstPage+"things").is(t, http.StatusOK, firstPage+"things", "There is no thing yet.", "aws iot create-thing")
	s.provision("us-east-1", "Lamp")
	api := s.iot("us-east-1")
	if _, err := api.CreateThing(ctx, &iot.CreateThingInput{ThingName: aws.String("Door"), AttributePayload: &iottypes.AttributePayload{Attributes: map[string]string{"room": "hall:1"}}}); err != nil {
		t.Fatal(err)
	}
	lamp, door := firstPage+"things/Lamp", firstPage+"things/Door"
	b.get(firstPage+"things").is(t, http.StatusOK, firstPage+"things", `href="`+lamp+`"`, "room=hall:1")
	b.get(firstPage+"things?q=Lamp").is(t, http.StatusOK, lamp)
	b.get(firstPage+"things?q=%3Cb%3E").is(t, http.StatusOK, firstPage+"things", "No thing has the name <bdi><b></bdi>")
	b.get(door).is(t, http.StatusOK, door, "None is attached to it", "There is no such shadow yet.")

	// What a device says is text, whatever it is.
	report := func(name, state string) {
		t.Helper()
		if status, _, text := s.signed("us-east-1", "iotdata", http.MethodPost, "/things/Lamp/shadow"+name, `{"state":`+state+`}`); status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
	}
	report("", `{"desired":{"on":true,"color":{"r":1,"g":2},"list":[1,2]},"reported":{"text":"`+hostile+`"}}`)
	report("?name=config", `{"reported":{"rate":5}}`)
	page := b.get(lamp)
	page.is(t, http.StatusOK, lamp, "ACTIVE", "in ", "Asked for, and not yet so", `"on": true`, hostile, "?shadow=config", "Edit what is desired", "update-thing-shadow --thing-name Lamp")
	if strings.Contains(page.raw, "<img src=x") {
		t.Errorf("markup of a device:\n%s", page.raw)
	}
	b.get(lamp+"?shadow=config").is(t, http.StatusOK, lamp, `"rate": 5`, "--shadow-name config")
	b.get(lamp+"?shadow=none").is(t, http.StatusOK, lamp, "There is no such shadow yet.")

	desired := func(want string) {
		t.Helper()
		if _, _, text := s.signed("us-east-1", "iotdata", http.MethodGet, "/things/Lamp/shadow", ""); !strings.Contains(text, `"desired":`+want) {
			t.Errorf("%s, want %s", text, want)
		}
	}
	version := page.field(t, "version")
	b.post(lamp, "version", version, "desired", `{"on":false,"color":{"g":2}}`).is(t, http.StatusOK, lamp)
	desired(`{"color":{"g":2},"on":false}`)
	b.post(lamp, "version", version, "desired", `{"on":7}`).is(t, http.StatusOK, lamp, "The shadow has changed since you began", `{"on":7}`)
	desired(`{"color":{"g":2},"on":false}`)
	version = b.get(lamp).field(t, "version")
	for _, wrong := range []string{"{", "[1]", `"x"`, "{}{}"} {
		b.post(lamp, "version", version, "desired", wrong).is(t, http.StatusOK, lamp, "This is not a JSON object")
	}
	b.post(lamp, "version", version, "desired", `{"deep":`+strings.Repeat(`{"a":`, 20)+"1"+strings.Repeat("}", 20)+"}").is(t, http.StatusOK, lamp, `role="alert"`)
	desired(`{"color":{"g":2},"on":false}`)
	b.post(lamp, "version", version, "desired", "").is(t, http.StatusOK, lamp)
	if _, _, text := s.signed("us-east-1", "iotdata", http.MethodGet, "/things/Lamp/shadow", ""); strings.Contains(text, `"desired":`) {
		t.Errorf("%s is still desired", text)
	}
	b.post(door, "shadow", "new", "desired", `{"open":true}`).is(t, http.StatusOK, door+"?shadow=new", `"open": true`)

	// Shadows whose thing is not there any more, or never was, are kept.
	kept := firstPage + "things/Kept"
	for _, at := range []string{kept, kept + "?shadow=config", firstPage + "things?q=Kept"} {
		b.get(at).is(t, map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[strings.Contains(at, "q=")], at)
	}
	b.post(kept, "desired", `{"open":true}`).is(t, http.StatusNotFound, kept)
	if status, _, text := s.signed("us-east-1", "iotdata", http.MethodPost, "/things/Kept/shadow", `{"state":{"reported":{"text":"`+hostile+`"}}}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	page = b.get(firstPage + "things?q=Kept")
	page.is(t, http.StatusOK, kept, "There is no thing of this name; its shadow is kept.", hostile, "get-thing-shadow --thing-name Kept")
	page.lacks(t, "Certificates</h2>", "list-thing-principals")
	if strings.Contains(page.raw, "<img src=x") {
		t.Errorf("markup of a device:\n%s", page.raw)
	}
	b.get(kept+"?shadow=config").is(t, http.StatusOK, kept, "its shadow is kept", "There is no such shadow yet.")
	b.post(kept, "version", b.get(kept).field(t, "version"), "desired", `{"open":true}`).is(t, http.StatusOK, kept, `"open": true`)
	b.post(kept, "shadow", "config", "desired", `{"open":true}`).is(t, http.StatusOK, kept+"?shadow=config", "its shadow is kept")
	if status, _, text := s.signed("us-east-1", "iotdata", http.MethodDelete, "/things/Kept/shadow", ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	b.get(kept).is(t, http.StatusOK, kept, "its shadow is kept", "There is no such shadow yet.", "?shadow=config")

	reader := s.signedIn(t, identity.Grant{Access: "reader"})
	page = reader.get(lamp)
	page.is(t, http.StatusOK, lamp, hostile)
	page.lacks(t, "Edit what is desired")
	reader.post(lamp, "version", b.get(lamp).field(t, "version"), "desired", `{"on":1}`).is(t, http.StatusForbidden, lamp, "is not authorized to perform: iot:UpdateThingShadow")
	limited := s.signedIn(t, identity.Grant{Access: "deployer", Limit: identity.Limit{Things: []string{"Do*"}}})
	page = limited.get(lamp)
	page.is(t, http.StatusOK, lamp, "the limit of the access key does not cover it")
	page.lacks(t, hostile)
	limited.get(door+"?shadow=new").is(t, http.StatusOK, door, `"open": true`, "Edit what is desired")
	limited.get(kept).is(t, http.StatusNotFound, kept)
	for at, status := range map[string]int{firstPage + "things/No": 404, firstPage + "things/a%20b": 404, lamp + "?shadow=%3C": 404} {
		b.get(at).is(t, status, at)
	}
}

func TestConsoleCertificates(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	b := s.signedIn(t, admin)
	at := firstPage + "certificates"
	b.get(at).is(t, http.StatusOK, at, "No certificate that is ACTIVE ends within 90 days.", "Of this server", "what cores and devices connect to")
	api := s.iot("us-east-1")
	for thing, days := range map[string]int{"Soon": 20, "Later": 200, "Past": -2} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: thing}, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(0, 0, days)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		made, err := api.RegisterCertificateWithoutCA(t.Context(), &iot.RegisterCertificateWithoutCAInput{
			CertificatePem: aws.String(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))), Status: iottypes.CertificateStatusActive,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := api.CreateThing(t.Context(), &iot.CreateThingInput{ThingName: &thing}); err != nil {
			t.Fatal(err)
		}
		if _, err := api.AttachThingPrincipal(t.Context(), &iot.AttachThingPrincipalInput{ThingName: &thing, Principal: made.CertificateArn}); err != nil {
			t.Fatal(err)
		}
	}
	page := b.get(at)
	page.is(t, http.StatusOK, at, "things/Soon", "in 19 days", "things/Past", "over")
	page.lacks(t, "things/Later")
	if strings.Index(page.text, "Past") > strings.Index(page.text, "Soon") {
		t.Error("what ends first is not first")
	}
	b.get(at+"?days=365").is(t, http.StatusOK, at, "things/Soon", "things/Later")
	b.get(at+"?after=x").is(t, http.StatusBadRequest, at)

	// Of another account only its own are to be seen.
	other := s.browser(t)
	other.signIn(s.keyOf("210987654321", admin)).is(t, http.StatusOK, firstPage)
	page = other.get(at)
	page.is(t, http.StatusOK, at)
	page.lacks(t, "things/Soon", "Of this server")
	limited := s.signedIn(t, identity.Grant{Access: "deployer", Limit: identity.Limit{GroupTag: "site=north"}})
	limited.get(firstPage).lacks(t, ">Certificates<")
	limited.get(at).is(t, http.StatusForbidden, at)
}

func TestConsoleFunctions(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, options(t.TempDir())), t.Context()
	b := s.signedIn(t, identity.Grant{Access: "reader"})
	all := firstPage + "functions"
	b.get(all).is(t, http.StatusOK, all, "There is no function yet.", "aws lambda create-function")
	client, base := s.client()
	api := awslambda.New(awslambda.Options{Region: "us-east-1", BaseEndpoint: &base, HTTPClient: client, Credentials: s.credentials(cloud.AccessKey{})})
	code := archive.Zip(t, archive.Member{Name: "mill/", Mode: fs.ModeDir | 0o755}, archive.Member{Name: "mill/main.py", Content: "# " + hostile + "\ndef handler(event, context): pass\n"},
		archive.Member{Name: "mill/data.bin", Content: "\x00\x01"}, archive.Member{Name: "long.txt", Content: strings.Repeat("ä", 40<<10)}, archive.Member{Name: hostile, Content: "x"})
	for _, name := range []string{"Mill", "Other"} {
		if _, err := api.CreateFunction(ctx, &awslambda.CreateFunctionInput{
			FunctionName: &name, Runtime: lambdatypes.RuntimePython38, Handler: aws.String("mill.main.handler"), Role: aws.String("arn:aws:iam::" + account + ":role/r"), Publish: true,
			Environment: &lambdatypes.Environment{Variables: map[string]string{"TEXT": hostile}}, Description: aws.String(hostile), Code: &lambdatypes.FunctionCode{ZipFile: code},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := api.CreateAlias(ctx, &awslambda.CreateAliasInput{FunctionName: aws.String("Mill"), Name: aws.String("live"), FunctionVersion: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	mill := all + "/Mill"
	b.get(all).is(t, http.StatusOK, all, `href="`+mill+`"`, "python3.8", "mill.main.handler", "Other")
	page := b.get(mill)
	page.is(t, http.StatusOK, mill, "$LATEST", "python3.8", "TEXT", hostile, "?qualifier=live", "mill/main.py", "list-aliases --function-name Mill")
	if strings.Contains(page.raw, "<img src=x") {
		t.Errorf("markup of a function:\n%s", page.raw)
	}
	page.lacks(t, ">mill/<")
	b.get(mill+"?qualifier=live").is(t, http.StatusOK, mill, "which <bdi>live</bdi> points to", "--qualifier 'live'", "Code of version 1")
	page = b.get(mill + "?qualifier=1&file=mill/main.py")
	page.is(t, http.StatusOK, mill, "def handler(event, context)")
	if strings.Contains(page.raw, "<img src=x") {
		t.Errorf("markup of code:\n%s", page.raw)
	}
	b.get(mill+"?file=mill/data.bin").is(t, http.StatusOK, mill, "It is not text.")
	b.get(mill+"?file=long.txt").is(t, http.StatusOK, mill, "Its first 64 KiB.", "ääää</code>")
	for at, status := range map[string]int{
		all + "/None": 404, all + "/a%20b": 404, mill + "?qualifier=7": 404, mill + "?qualifier=%3C": 404, mill + "?file=../main.py": 404, mill + "?file=mill/": 404,
	} {
		b.get(at).is(t, status, at)
	}
	for path, status := range map[string]int{"/Mill/file": 404, "/Mill/files?Qualifier=%3C": 400, "/None/files": 404, "/Mill/files": 200} {
		if got, text, _ := s.sendAs("us-east-1", s.key, http.MethodGet, "/fescue/v1/functions"+path); got != status {
			t.Errorf("%s: %d %s", path, got, text)
		}
	}
	limited := s.signedIn(t, identity.Grant{Access: "deployer", Limit: identity.Limit{Functions: []string{"Oth*"}}})
	limited.get(all).lacks(t, ">Mill<")
	limited.get(mill).is(t, http.StatusForbidden, mill)
	limited.get(all+"/Other?file=mill/main.py").is(t, http.StatusOK, all+"/Other", "def handler")
	key := s.keyWith(identity.Grant{Access: "deployer", Limit: identity.Limit{Functions: []string{"Oth*"}}})
	if status, text, _ := s.sendAs("us-east-1", key, http.MethodGet, "/fescue/v1/functions/Mill/file?Name=mill/main.py"); status != http.StatusForbidden {
		t.Errorf("code of a function that the key does not cover: %d %s", status, text)
	}
}

func TestConsoleGroupPages(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, options(t.TempDir())), t.Context()
	b := s.signedIn(t, admin)
	c := s.provision("us-east-1", "Mill_Core")
	group, deployment := s.deployMill(c)
	at := firstPage + "groups/" + group
	api := s.greengrass("us-east-1", s.key)
	before, err := api.GetGroup(ctx, &greengrass.GetGroupInput{GroupId: &group})
	if err != nil {
		t.Fatal(err)
	}
	b.get(at+"/compare").is(t, http.StatusOK, at+"/compare", "They have the same content.")
	subscriptions, err := api.CreateSubscriptionDefinition(ctx, &greengrass.CreateSubscriptionDefinitionInput{InitialVersion: &types.SubscriptionDefinitionVersion{Subscriptions: []types.Subscription{
		{Id: aws.String("1"), Source: aws.String("cloud"), Subject: aws.String("lamp/" + hostile), Target: aws.String("GGShadowService")},
		{Id: aws.String("2"), Source: aws.String("arn:aws:lambda:us-east-1:" + account + ":function:Mill:1"), Subject: aws.String("out/#"), Target: aws.String("cloud")},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	old, err := api.GetGroupVersion(ctx, &greengrass.GetGroupVersionInput{GroupId: &group, GroupVersionId: before.LatestVersion})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.CreateGroupVersion(ctx, &greengrass.CreateGroupVersionInput{GroupId: &group, CoreDefinitionVersionArn: old.Definition.CoreDefinitionVersionArn, SubscriptionDefinitionVersionArn: subscriptions.LatestVersionArn}); err != nil {
		t.Fatal(err)
	}
	page := b.get(at)
	page.is(t, http.StatusOK, at, "<svg", "Mill:1</text>", "Compare with the version before")
	if strings.Contains(page.raw, "<img src=x") {
		t.Errorf("markup of a topic:\n%s", page.raw)
	}
	page = b.get(at + "/compare")
	page.is(t, http.StatusOK, at+"/compare", "added", "Subject", "out/#", "get-group-version --group-id")
	b.get(at+"/compare?from="+*before.LatestVersion+"&to="+*before.LatestVersion).is(t, http.StatusOK, at+"/compare", "They have the same content.")
	for path, status := range map[string]int{"/compare?from=x": 404, "/compare?to=" + fescue.NewID(): 404, "/logs?component=x": 404, "/logs?hours=x": 200} {
		b.get(at+path).is(t, status, at)
	}
	b.get(at+"/logs").is(t, http.StatusOK, at+"/logs", "No such lines came.", "AWSCloudWatch")
	lines := corelink.LogLines{Component: corelink.FunctionLogs, Name: "Mill", Lost: 3}
	for i := range 600 {
		lines.Lines = append(lines.Lines, corelink.LogLine{At: time.Now().UnixMilli(), Level: "INFO", Text: fmt.Sprintf("%s line %d.", hostile, i)})
	}
	if err := s.link(c).PutLogs(ctx, c.thing, corelink.LogBatch{ID: fescue.NewID(), GroupID: group, Logs: []corelink.LogLines{lines}}); err != nil {
		t.Fatal(err)
	}
	page = b.get(at + "/logs?name=Mill")
	page.is(t, http.StatusOK, at+"/logs", "line 599.", "The last 500 lines", "logs --endpoint", "--function Mill", "--follow")
	page.lacks(t, "line 99.")
	if got := regexp.MustCompile(`<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z</time> INFO Mill: `).FindAllString(page.raw, -1); len(got) != 500 {
		t.Errorf("%d lines with their times:\n%s", len(got), page.raw)
	}
	if strings.Contains(page.raw, "<img src=x") {
		t.Errorf("markup of a log:\n%s", page.raw)
	}
	b.get(at+"/logs?component=GreengrassSystem").is(t, http.StatusOK, at+"/logs", "No such lines came.")
	b.get(at+"/activity").is(t, http.StatusOK, at+"/activity", "Mill_Core", "A core that is offline cannot be asked.")

	// How each deployment stands, and at the head that the last one failed.
	const failed, live = "The last deployment failed: ", `data-live="5000"`
	states := regexp.MustCompile(`data-label="State"><span class="tag \w+">(\w+)</span>(?: <code>(\w+)</code>)?`)
	stands := func(want ...string) shown {
		t.Helper()
		var page shown
		testkit.Eventually(t, fmt.Sprint("the group's page shows ", want), func() error {
			page = b.get(at)
			var got []string
			for _, m := range states.FindAllStringSubmatch(page.text, -1) {
				got = append(got, strings.TrimSpace(m[1]+" "+m[2]))
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
		return page
	}
	page = b.get(at)
	page.is(t, http.StatusOK, at, `<span class="tag busy">InProgress</span>`, live, firstPage+"live?group="+group)
	page.lacks(t, failed)
	b.post(at + "/deployments/" + deployment + "/cancel")
	page = stands("Failure DEPLOYMENT_CANCELLED")
	page.is(t, http.StatusOK, at, failed+`<a href="`+at+"/deployments/"+deployment+`">`, "<code>DEPLOYMENT_CANCELLED</code>, <time")
	page.lacks(t, live)
	b.post(at+"/deploy", "type", "NewDeployment", "version", *before.LatestVersion, "token", fescue.NewID()).is(t, http.StatusOK, at+"/deployments/")
	stands("InProgress", "Failure DEPLOYMENT_CANCELLED").is(t, http.StatusOK, at, failed, live) // it has not ended
	b.post(at+"/deploy", "type", "ResetDeployment", "force", "1", "token", fescue.NewID()).is(t, http.StatusOK, at+"/deployments/")
	page = stands("Success", "Failure DEPLOYMENT_FORCED_AWAY", "Failure DEPLOYMENT_CANCELLED")
	page.lacks(t, failed, live)
}

func TestConsoleKeys(t *testing.T) {
	t.Parallel()
	var past atomic.Int64
	o := options(t.TempDir())
	o.Now = func() time.Time { return time.Now().Add(time.Duration(past.Load())) }
	s := start(t, o)
	at := firstPage + "keys"
	b := s.signedIn(t, admin)
	page := b.get(at)
	page.is(t, http.StatusOK, at, s.key.ID, "admin", "everything but deletions", "Make a key")
	page.lacks(t, s.key.Secret)

	// Made once, shown once, good for what it says.
	page = b.post(at, "name", hostile, "access", "deployer", "groups", "site=north", "things", "mill-*, saw-*")
	page.is(t, http.StatusOK, at, "shown now, and never again", hostile, "groups site=north; things mill-*,saw-*")
	if strings.Contains(page.raw, "<img src=x") {
		t.Errorf("markup of a key's name:\n%s", page.raw)
	}
	made := regexp.MustCompile(`AWS_ACCESS_KEY_ID=(AKIA\w+)\s+AWS_SECRET_ACCESS_KEY=(\S{40})"`).FindStringSubmatch(page.text)
	if made == nil {
		t.Fatalf("no key:\n%s", page.text)
	}
	key := cloud.AccessKey{ID: made[1], Secret: made[2]}
	b.get(at).lacks(t, key.Secret)
	limited := s.browser(t)
	limited.signIn(key).is(t, http.StatusOK, firstPage, "limited to")
	for _, wrong := range [][]string{
		{"name", "", "access", "reader"}, {"name", " ", "access", "reader"}, {"name", strings.Repeat("n", 129), "access", "reader"}, {"name", "a\tb", "access", "reader"},
		{"name", "n", "access", "root"}, {"name", "n"}, {"name", "n", "access", "reader", "groups", "site"}, {"name", "n", "access", "reader", "buckets", "A B"},
	} {
		b.post(at, wrong...).is(t, http.StatusOK, at, `role="alert"`)
	}
	if got := strings.Count(b.get(at).text, "<tr>"); got != 4 { // a head, the server's, this browser's and the one that was made
		t.Errorf("%d rows", got)
	}

	// For nobody else, whatever the page shows.
	for _, grant := range []identity.Grant{
		{Access: "reader"}, {Access: "deployer"}, {Access: "admin", Limit: identity.Limit{GroupTag: "site=north"}}, {Access: "admin", Limit: identity.Limit{Things: []string{"*"}}},
	} {
		other := s.signedIn(t, grant)
		other.get(firstPage).lacks(t, ">Keys<", ">Audit<")
		other.get(at).is(t, http.StatusForbidden, at, "is not authorized to perform: fescue:ListAccessKeys")
		other.post(at, "name", "n", "access", "admin").is(t, http.StatusForbidden, at, "is not authorized to perform: fescue:CreateAccessKey")
		other.post(at+"/"+key.ID+"/revoke").is(t, http.StatusForbidden, at, "is not authorized to perform: fescue:DeleteAccessKey")
		other.get(firstPage+"audit").is(t, http.StatusForbidden, firstPage+"audit")
	}
	foreign := s.browser(t)
	foreign.signIn(s.keyOf("210987654321", admin)).is(t, http.StatusOK, firstPage)
	foreign.get(at).lacks(t, key.ID, s.key.ID)
	foreign.post(at+"/"+key.ID+"/revoke").is(t, http.StatusNotFound, at, "There is no access key")
	limited.get(firstPage).is(t, http.StatusOK, firstPage)

	b.post(at+"/"+key.ID+"/revoke").is(t, http.StatusOK, at, "revoked")
	past.Add(int64(time.Second))
	limited.get(firstPage).is(t, http.StatusOK, signInPath)
	for _, id := range []string{key.ID, "AKIAUNKNOWNUNKNOWN00"} {
		b.post(at+"/"+id+"/revoke").is(t, http.StatusNotFound, at)
	}

	audit := firstPage + "audit"
	page = b.get(audit)
	page.is(t, http.StatusOK, audit, "fescue:CreateAccessKey", "access-key/"+key.ID, "fescue:DeleteAccessKey", "AccessDeniedException", "CreateConsoleSession", "audit --endpoint")
	page.lacks(t, key.Secret)
	if strings.Index(page.text, "fescue:DeleteAccessKey") > strings.Index(page.text, "fescue:CreateAccessKey") {
		t.Error("the newest is not first")
	}
	if got := strings.Count(page.text, "<span>access-key/</span><span>"+key.ID+"</span></bdi></button></td>\n<td data-label=\"Answer\"><span class=\"tag good\">"); got != 2 {
		t.Errorf("%d records of the key", got)
	}
	b.get(audit+"?operation=DeleteAccessKey&hours=168").is(t, http.StatusOK, audit, "fescue:DeleteAccessKey")
	b.get(audit+"?operation=Nothing").is(t, http.StatusOK, audit, "No such call was recorded in that time.")
	b.get(audit+"?after=x").is(t, http.StatusBadRequest, audit)
	var seen int
	for next, pages := audit, 0; next != "" && pages < 20; pages++ {
		page := b.get(next)
		seen += strings.Count(page.text, `data-label="What"`)
		m := regexp.MustCompile(`href="(\?[^"]*)" rel="next"`).FindStringSubmatch(page.text)
		if next = ""; m != nil {
			next = audit + m[1]
		}
	}
	if _, text, _ := s.sendAs("us-east-1", s.key, http.MethodGet, "/fescue/v1/audit?MaxResults=1000"); seen != strings.Count(text, `"RequestId"`) {
		t.Errorf("%d records on pages of %s", seen, text)
	}
}

func TestConsoleMessages(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	at := firstPage + "messages"
	b := s.signedIn(t, identity.Grant{Access: "deployer"})
	b.get(at).is(t, http.StatusOK, at, "Subscribe", "Publish", "iot-data publish")

	type event struct{ name, data string }
	follow := func(b *browser, filter string) <-chan event {
		t.Helper()
		from := b.stream(t, at+"/stream?filter="+url.QueryEscape(filter))
		events := make(chan event, 1000)
		go func() {
			defer close(events)
			var e event
			for lines := bufio.NewScanner(from); lines.Scan(); {
				if text, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
					e.name = text
				}
				if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
					e.data = text
					events <- e
				}
			}
		}()
		return events
	}
	next := func(events <-chan event) event {
		t.Helper()
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatal("the stream broke off")
			}
			return e
		case <-time.After(time.Minute):
			t.Fatal("no event")
		}
		return event{}
	}
	want := func(events <-chan event, name string, texts ...string) string {
		t.Helper()
		got := next(events)
		for _, text := range append(texts, "") {
			if got.name != name || !strings.Contains(got.data, text) {
				t.Fatalf("%+v, want %s %s", got, name, text)
			}
		}
		return got.data
	}
	stream := follow(b, "mill/#")
	want(stream, "subscribed", `"mill/#"`)
	b.post(at, "topic", "mill/a b", "payload", hostile+"\nmore", "qos", "1").is(t, http.StatusOK, at, "bytes were published")
	want(stream, "message", `"mill/a b"`, `onerror=alert(1)\u003e\nmore"`)
	b.post(at, "topic", "mill/long", "payload", strings.Repeat("ä", 5000)).is(t, http.StatusOK, at)
	if data := want(stream, "message", `"bytes":10000`); len(data) > 5000 {
		t.Errorf("%d bytes", len(data))
	}
	if status, _, text := s.signed("us-east-1", "iotdata", http.MethodPost, "/topics/mill/x", "\xff\x00"); status != http.StatusOK {
		t.Fatal(text)
	}
	want(stream, "message", `"ff00"`, `"hex":true`)
	for _, topic := range []string{"", "a/#", "$SYS/x", "$aws/things/x/shadow/update/accepted"} {
		b.post(at, "topic", topic, "payload", "x").is(t, http.StatusOK, at, `class="note bad"`)
	}
	for _, filter := range []string{"", "a/#/b", "$SYS/#"} {
		want(follow(b, filter), "ended", "")
	}
	reader := s.signedIn(t, identity.Grant{Access: "reader"})
	reader.get(firstPage).lacks(t, ">Messages<")
	want(follow(reader, "mill/#"), "ended", "is not authorized to perform: fescue:Subscribe")
	reader.post(at, "topic", "mill/a", "payload", "x").is(t, http.StatusOK, at, "is not authorized to perform: iot:Publish")
	b.do(http.MethodPost, at, url.Values{"topic": {"mill/a"}}, "Sec-Fetch-Site", "cross-site").is(t, http.StatusForbidden, at)
	if nobody := s.browser(t).get(at + "/stream?filter=a"); !strings.HasPrefix(nobody.at, signInPath) {
		t.Errorf("a stream for nobody: %s", nobody.at)
	}

	// It ends with the key, and with the session.
	key := s.keyWith(identity.Grant{Access: "deployer"})
	gone := s.browser(t)
	gone.signIn(key).is(t, http.StatusOK, firstPage)
	ends := follow(gone, "mill/#")
	want(ends, "subscribed")
	s.revoke(key)
	want(ends, "ended", `"`)
	want(follow(b, "other/#"), "subscribed")
	b.post("/console/sign-out")
	for e := next(stream); e.name != "ended"; e = next(stream) {
		if e.name != "message" {
			t.Fatal(e)
		}
	}
}

// TestConsoleCores: cores by a tag of their group, page by page.
func TestConsoleCores(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, options(t.TempDir())), t.Context()
	db, err := sql.Open("sqlite", filepath.Join(s.dir, "fescue.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	north, south := s.unbuildable(t, "North mill", "north"), s.unbuildable(t, "South mill", hostile+"'$(x)")
	for i := range 60 {
		group := north.Id
		if i%20 == 0 {
			group = south.Id
		}
		if _, err := db.ExecContext(ctx, `INSERT INTO core (partition, thing, epoch, group_id) VALUES ($1, $2, 0, $3)`, account+"/us-east-1", fmt.Sprintf("core-%02d", i), *group); err != nil {
			t.Fatal(err)
		}
	}
	b := s.signedIn(t, identity.Grant{Access: "reader"})
	at := firstPage + "cores?tag=site%3Dnorth"
	page := b.get(at)
	page.is(t, http.StatusOK, at, "core-01", "core-52", `value="site=north"`, "fescue cores --endpoint ", " --tag 'site=north'")
	page.lacks(t, "core-20", "core-53")
	next := regexp.MustCompile(`href="([^"]*)" rel="next"`).FindStringSubmatch(page.text)
	if next == nil {
		t.Fatalf("there is no next page:\n%s", page.text)
	}
	page = b.get(firstPage + "cores" + next[1])
	page.is(t, http.StatusOK, firstPage+"cores?", "core-53", "core-59", `value="site=north"`, "First page", `tag=site%3Dnorth">`)
	page.lacks(t, "core-52", "core-40")

	of := func(values ...string) string { // the page with a query
		query := url.Values{}
		for i := 0; i < len(values); i += 2 {
			query.Set(values[i], values[i+1])
		}
		return firstPage + "cores?" + query.Encode()
	}
	b.get(of("tag", "site=north", "q", "core-4", "state", "offline")).is(t, http.StatusOK, firstPage, "core-41", " --offline --tag 'site=north'")
	b.get(of("tag", "site=north", "q", "core-40")).is(t, http.StatusOK, firstPage, "No core matches.")
	b.get(of("tag", "site=west")).is(t, http.StatusOK, firstPage, "No core matches.")
	b.get(of("tag", "site")).is(t, http.StatusBadRequest, firstPage, "Tag 'site' is not the name and the value of a tag, as site=north")
	page = b.get(of("tag", "site="+hostile+"'$(x)"))
	page.is(t, http.StatusOK, firstPage, "core-20", `--tag 'site=`+hostile+`'\''$(x)'`)
	page.lacks(t, "core-21")
	if strings.Contains(page.raw, "<img src=x") {
		t.Errorf("markup of a tag:\n%s", page.raw)
	}
	// A group's tags lead to the cores that share them, where the key may see those.
	if _, err := s.greengrass("us-east-1", s.key).TagResource(ctx, &greengrass.TagResourceInput{ResourceArn: south.Arn, Tags: map[string]string{"a=b": "c"}}); err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`href="([^"]*/cores\?tag=[^"]*)"`)
	group := firstPage + "groups/" + *south.Id
	page = b.get(group)
	links := link.FindAllStringSubmatch(page.text, -1)
	if len(links) != 2 {
		t.Errorf("its tags lead to %q:\n%s", links, page.text)
	}
	for _, m := range links {
		b.get(m[1]).is(t, http.StatusOK, firstPage+"cores", "core-20")
	}
	limited := s.signedIn(t, identity.Grant{Access: "deployer", Limit: identity.Limit{GroupTag: "site=north"}})
	page = limited.get(firstPage + "groups/" + *north.Id)
	page.is(t, http.StatusOK, firstPage, "site=north")
	if link.MatchString(page.text) {
		t.Errorf("a key that may not list cores is led there:\n%s", page.text)
	}
	limited.get(at).is(t, http.StatusForbidden, at)
}

func TestConsoleOverview(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, options(t.TempDir())), t.Context()
	db, err := store.Open(ctx, filepath.Join(s.dir, "fescue.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	reader := s.signedIn(t, identity.Grant{Access: "reader"})
	reader.get(firstPage).lacks(t, "How it went")
	now, p := time.Now(), fescue.Partition{AWS: "aws", Account: account, Region: "us-east-1"}
	for _, seen := range []cores.Seen{
		{Partition: p, Thing: "Here", Core: true, LastSeen: cores.LastSeen{SeenAt: now}},
		{Partition: p, Thing: "Gone", Core: true, LastSeen: cores.LastSeen{SeenAt: now, GoneAt: now.Add(time.Millisecond)}},
		{Partition: fescue.Partition{AWS: "aws", Account: "210987654321", Region: "us-east-1"}, Thing: "Other", Core: true, LastSeen: cores.LastSeen{SeenAt: now}},
	} {
		if err := db.Cores().See(ctx, []cores.Seen{seen}); err != nil {
			t.Fatal(err)
		}
	}
	var page shown
	testkit.Eventually(t, "the cores are counted", func() error { // as of three seconds ago
		if page = reader.get(firstPage); !strings.Contains(page.text, "How it went") {
			return errors.New(page.text)
		}
		return nil
	})
	page.is(t, http.StatusOK, firstPage, "How it went", "Connected cores", "None were counted yet", "Deployments that ended", "Requests a second", "How long they took")
	page.lacks(t, "<svg")
	at := now.Add(-time.Hour).Truncate(history.Bucket)
	if err := errors.Join(db.History().Sample(ctx, at, now), db.History().AddRequests(ctx, at, history.Latencies{1: 3000})); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"", "?period=Week", "?period=" + url.QueryEscape(hostile)} {
		page := reader.get(firstPage + query)
		page.is(t, http.StatusOK, firstPage+query, "At the least 1 of 2, from", "At the most", "Half within 0.5 ms", `class="area connected"`)
		if got := strings.Count(page.raw, `role="img"`); got != 3 || strings.Contains(page.raw, "<img src=x") {
			t.Errorf("%d pictures\n%s", got, page.raw)
		}
	}
	s.unbuildable(t, "Mill", "north")
	s.signedIn(t, identity.Grant{Access: "deployer", Limit: identity.Limit{GroupTag: "site=north"}}).get(firstPage).lacks(t, "How it went", "<svg")
	other := s.browser(t)
	other.signIn(s.keyOf("210987654321", admin)).is(t, http.StatusOK, firstPage)
	page = other.get(firstPage)
	page.is(t, http.StatusOK, firstPage, "How it went", "At the least 1 of 1, from")
	page.lacks(t, "Requests a second")
	// What ended is there at once.
	b := s.signedIn(t, admin)
	const good, bad = "No core says that anything is wrong, and the last deployment to each ended well.", "The last deployment of this group failed: "
	page = b.get(firstPage)
	page.is(t, http.StatusOK, firstPage, good)
	page.lacks(t, bad)
	g := s.unbuildable(t, "Saw", "south")
	b.post(firstPage+"groups/"+*g.Id+"/deploy", "type", "NewDeployment", "version", *g.LatestVersion, "token", fescue.NewID())
	testkit.Eventually(t, "the plot has the deployment", func() error {
		if page = b.get(firstPage); !strings.Contains(page.text, "1 in Failure.") || !strings.Contains(page.raw, `<rect class="bad"`) {
			return errors.New(page.text)
		}
		return nil
	})
	// No core can say so: none was asked.
	page.is(t, http.StatusOK, firstPage, bad+`<a href="`+firstPage+"groups/"+*g.Id+`"><bdi>Saw</bdi></a>. No core says that anything is wrong.`)
	page.lacks(t, good)
	b.post(firstPage+"groups/"+*g.Id+"/deploy", "type", "NewDeployment", "version", *g.LatestVersion, "token", fescue.NewID())
	h := s.unbuildable(t, hostile, "south")
	b.post(firstPage+"groups/"+*h.Id+"/deploy", "type", "NewDeployment", "version", *h.LatestVersion, "token", fescue.NewID())
	testkit.Eventually(t, "each group is named once", func() error {
		page = b.get(firstPage)
		_, said, _ := strings.Cut(page.text, "The last deployment of these groups failed: ")
		if said, _, _ = strings.Cut(said, "</p>"); strings.Count(said, *g.Id) != 1 || strings.Count(said, *h.Id) != 1 {
			return errors.New(page.text)
		}
		return nil
	})
	if strings.Contains(page.raw, "<img src=x") {
		t.Errorf("markup of a group's name:\n%s", page.raw)
	}
}

func TestConsoleLive(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, options(t.TempDir())), t.Context()
	north, south := s.unbuildable(t, "North", "north"), s.unbuildable(t, "South", "south")
	at := firstPage + "live"
	// follow returns what comes: the names of events, until the stream breaks off.
	follow := func(b *browser, path string) <-chan string {
		t.Helper()
		from := b.stream(t, path)
		events := make(chan string, 100)
		go func() {
			defer close(events)
			for lines := bufio.NewScanner(from); lines.Scan(); {
				if text, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
					events <- text
				}
			}
		}()
		return events
	}
	next := func(events <-chan string) string {
		t.Helper()
		select {
		case name := <-events:
			return name
		case <-time.After(patience):
			t.Fatal("nothing came")
		}
		return ""
	}
	want := func(events <-chan string, name string) {
		t.Helper()
		if got := next(events); got != name {
			t.Fatalf("%q, want %q", got, name)
		}
	}
	// ends reads until the stream says that it has ended.
	ends := func(events <-chan string, why string) {
		t.Helper()
		began := time.Now()
		for name := next(events); name != "ended"; name = next(events) {
			if name != "changed" {
				t.Fatalf("%q", name)
			}
		}
		t.Logf("it ended %v after %s", time.Since(began), why)
	}
	deploy := func(g *greengrass.CreateGroupOutput) {
		t.Helper()
		if _, err := s.greengrass("us-east-1", s.key).CreateDeployment(ctx, &greengrass.CreateDeploymentInput{GroupId: g.Id, GroupVersionId: g.LatestVersion, DeploymentType: types.DeploymentTypeNewDeployment}); err != nil && !strings.Contains(err.Error(), "ConcurrentDeployment") {
			t.Fatal(err)
		}
	}
	reader := s.signedIn(t, identity.Grant{Access: "reader"})
	ofNorth, ofFleet, ofSouth := follow(reader, at+"?group="+*north.Id), follow(reader, at), follow(reader, at+"?group="+*south.Id)
	elsewhere := follow(reader, "/console/eu-west-1/live")
	began := time.Now()
	deploy(north)
	want(ofNorth, "changed")
	want(ofFleet, "changed")
	for range 20 { // a storm
		deploy(north)
	}
	want(ofNorth, "changed")
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("a page was told twice in %v", took)
	}
	if len(ofSouth) > 0 || len(elsewhere) > 0 {
		t.Errorf("of another group %d events, of another Region %d", len(ofSouth), len(elsewhere))
	}
	deploy(south)
	want(ofSouth, "changed")

	limited := s.signedIn(t, identity.Grant{Access: "reader", Limit: identity.Limit{GroupTag: "site=north"}})
	for path, status := range map[string]int{at: http.StatusForbidden, at + "?group=" + *south.Id: http.StatusForbidden, at + "?group=x": http.StatusNotFound, at + "?group=" + fescue.NewID(): http.StatusForbidden} {
		got := limited.get(path)
		if got.status != status {
			t.Errorf("%s for a limited key: %d %s", path, got.status, got.text)
		}
	}
	retagged := follow(limited, at+"?group="+*north.Id)
	if nobody := s.browser(t).get(at); !strings.HasPrefix(nobody.at, signInPath) {
		t.Errorf("a stream for nobody: %s", nobody.at)
	}

	key := s.keyWith(identity.Grant{Access: "reader"})
	gone := s.browser(t)
	gone.signIn(key).is(t, http.StatusOK, firstPage)
	ofGone := follow(gone, at+"?group="+*north.Id)
	began = time.Now()
	s.revoke(key)
	ends(ofGone, "its key")
	if took := time.Since(began); took > 10*time.Second { // well before it is asked anyway
		t.Errorf("it ended %v after its key", took)
	}
	if _, err := s.greengrass("us-east-1", s.key).TagResource(ctx, &greengrass.TagResourceInput{ResourceArn: north.Arn, Tags: map[string]string{"site": "south"}}); err != nil {
		t.Fatal(err)
	}
	ends(retagged, "its group was another site's")

	began = time.Now()
	s.stop()
	for range ofSouth {
	}
	t.Logf("the server ended within %v", time.Since(began))
}
