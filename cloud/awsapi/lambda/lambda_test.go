package lambda_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/lambda"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/functions"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var home = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}

const (
	all  = "/2015-03-31/functions"
	arn  = "arn:aws:lambda:us-east-1:123456789012:function:f"
	role = "arn:aws:iam::123456789012:role/lambda"
)

// cloud is the API over real storage, without signatures.
type cloud struct {
	*httptest.Server
	spool   string
	now     time.Time
	buckets *buckets.Service
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	dir := t.TempDir()
	c := &cloud{spool: filepath.Join(dir, "spool"), now: time.Now()}
	if err := os.Mkdir(c.spool, 0o700); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	db := storetest.Open(t)
	blobs, err := artifacts.OpenFolder(filepath.Join(dir, "artifacts"))
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return c.now }
	service := functions.New(functions.Options{Store: db.Functions(), Code: blobs, Now: clock})
	links, err := lambda.NewCodeLinks(bytes.Repeat([]byte{7}, 32), service, clock, logger)
	if err != nil {
		t.Fatal(err)
	}
	contents, err := artifacts.OpenFolder(filepath.Join(dir, "buckets"))
	if err != nil {
		t.Fatal(err)
	}
	c.buckets = buckets.New(buckets.Options{Store: db.Buckets(), Blobs: contents, SpoolDir: c.spool, Now: clock, Logger: logger})
	api := lambda.New(lambda.Options{Functions: service, Buckets: c.buckets, Links: links, Scheme: "http", SpoolDir: c.spool, Logger: logger})
	own := ownapi.New(ownapi.Options{Lent: []restjson.Operation{api.Restore()}, Logger: logger})
	mux := http.NewServeMux()
	mux.Handle(lambda.CodePath, links)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, lambda.CodePath) {
			mux.ServeHTTP(w, r)
			return
		}
		p := home
		if region := r.Header.Get("Test-Region"); region != "" {
			p.Region = region
		}
		var addressed awsapi.Service = api
		if strings.HasPrefix(r.URL.Path, awsapi.OwnPath) {
			addressed = own
		}
		r.Body = http.MaxBytesReader(w, r.Body, addressed.MaxBody(r))
		w.Header().Set("x-amzn-RequestId", "request")
		addressed.ServeCall(w, r, &awsapi.Call{Partition: p, KeyID: "AKIDTEST", RequestID: "request"})
	}))
	t.Cleanup(c.Close)
	return c
}

// answer is what came back.
type answer struct {
	status int
	typ    string
	text   string
	body   map[string]any
	own    bool // of the API of what is Fescue's own, whose errors look otherwise
}

func (c *cloud) do(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, c.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, typ: resp.Header.Get("x-amzn-ErrorType"), text: string(data), own: strings.HasPrefix(path, awsapi.OwnPath)}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &a.body); err != nil {
			t.Fatalf("answer %q: %v", data, err)
		}
	}
	return a
}

func (a answer) want(t *testing.T, status int, typ, text string) answer {
	t.Helper()
	if a.status != status || a.typ != typ || !strings.Contains(a.text, text) {
		t.Errorf("answer %d %q %s; want %d %q with %q", a.status, a.typ, a.text, status, typ, text)
	}
	if a.status >= 400 && !a.own {
		if a.body["Type"] != "User" || a.body["Message"] == nil || a.body["Message"] != a.body["message"] {
			t.Errorf("error body %s", a.text)
		}
	}
	return a
}

func (a answer) members(t *testing.T, want map[string]any) {
	t.Helper()
	for name, v := range want {
		if fmt.Sprint(a.body[name]) != fmt.Sprint(v) {
			t.Errorf("%s is %v, want %v", name, a.body[name], v)
		}
	}
}

// plainZip is a zip of one file.
func plainZip(t testing.TB, body string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	f, err := w.CreateHeader(&zip.FileHeader{Name: "app.py", Method: zip.Store})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func encoded(t testing.TB, body string) string {
	return base64.StdEncoding.EncodeToString(plainZip(t, body))
}

func creation(t testing.TB, more string) string {
	return `{"FunctionName":"f","Runtime":"python3.7","Role":"` + role + `","Handler":"app.handler","Code":{"ZipFile":"` + encoded(t, "code") + `"}` + more + `}`
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	created := c.do(t, "POST", all, creation(t, `,"Environment":{"Variables":{"STAGE":"test"}},"Tags":{"team":"edge"},"Layers":["x"],"TracingConfig":{"Mode":"Active"}`))
	created.want(t, 201, "", "")
	created.members(t, map[string]any{
		"FunctionName": "f", "FunctionArn": arn, "Version": "$LATEST", "Runtime": "python3.7", "Role": role, "Handler": "app.handler",
		"Description": "", "Timeout": 3, "MemorySize": 128, "State": "Active", "LastUpdateStatus": "Successful", "PackageType": "Zip",
		"Architectures": "[x86_64]", "TracingConfig": "map[Mode:PassThrough]", "Environment": "map[Variables:map[STAGE:test]]",
		"LastModified": c.now.UTC().Format("2006-01-02T15:04:05.000+0000"),
	})
	if sum, err := base64.StdEncoding.DecodeString(fmt.Sprint(created.body["CodeSha256"])); err != nil || len(sum) != 32 {
		t.Errorf("CodeSha256 %v", created.body["CodeSha256"])
	}

	// In order: each step builds on those before.
	const one = all + "/f"
	for _, step := range []struct {
		name, method, path, body string
		status                   int
		typ, text                string
		members                  map[string]any
	}{
		{"create again", "POST", all, creation(t, ""), 409, "ResourceConflictException", "Function already exist: f", nil},
		{"read", "GET", one, "", 200, "", `"RepositoryType":"S3"`, map[string]any{"Tags": "map[team:edge]"}},
		{"read configuration", "GET", one + "/configuration", "", 200, "", "", map[string]any{"FunctionArn": arn}},
		{"read by ARN", "GET", all + "/" + strings.ReplaceAll(arn, ":", "%3A") + "/configuration", "", 200, "", "", map[string]any{"FunctionArn": arn}},
		{"publish", "POST", one + "/versions", `{"Description":"first"}`, 201, "", "", map[string]any{"Version": "1", "FunctionArn": arn + ":1", "Description": "first"}},
		{"publish nothing new", "POST", one + "/versions", ``, 201, "", "", map[string]any{"Version": "1"}},
		{"new code, published", "PUT", one + "/code", `{"Publish":true,"ZipFile":"` + encoded(t, "other") + `"}`, 200, "", "", map[string]any{"Version": "2", "FunctionArn": arn + ":2"}},
		{"new code", "PUT", one + "/code", `{"ZipFile":"` + encoded(t, "third") + `","Architectures":["arm64"]}`, 200, "", "", map[string]any{"Version": "$LATEST", "FunctionArn": arn, "Architectures": "[arm64]"}},
		{"configure", "PUT", one + "/configuration", `{"Timeout":60,"Environment":{}}`, 200, "", "", map[string]any{"Timeout": 60, "Environment": nil}},
		{"alias", "POST", one + "/aliases", `{"Name":"PROD","FunctionVersion":"1"}`, 201, "", "", map[string]any{"AliasArn": arn + ":PROD", "Name": "PROD", "FunctionVersion": "1", "Description": ""}},
		{"alias again", "POST", one + "/aliases", `{"Name":"PROD","FunctionVersion":"1"}`, 409, "ResourceConflictException", "Alias already exists: " + arn + ":PROD", nil},
		{"move alias", "PUT", all + "/" + arn + "/aliases/PROD", `{"FunctionVersion":"2"}`, 200, "", "", map[string]any{"FunctionVersion": "2", "AliasArn": arn + ":PROD"}},
		{"read alias", "GET", one + "/aliases/PROD", "", 200, "", "", map[string]any{"FunctionVersion": "2"}},
		{"list aliases", "GET", one + "/aliases?MaxItems=1", "", 200, "", `"Aliases":[{`, map[string]any{"NextMarker": nil}},
		{"read by alias", "GET", one + "/configuration?Qualifier=PROD", "", 200, "", "", map[string]any{"Version": "2", "FunctionArn": arn + ":PROD"}},
		{"read by both", "GET", all + "/f:PROD/configuration?Qualifier=PROD", "", 200, "", "", map[string]any{"Version": "2"}},
		{"read by both, differing", "GET", all + "/f:PROD/configuration?Qualifier=1", "", 400, "InvalidParameterValueException", "does not match", nil},
		{"list", "GET", all + "/", "", 200, "", `"FunctionArn":"` + arn + `"`, map[string]any{"NextMarker": nil}},
		{"list all", "GET", all + "?FunctionVersion=ALL&MaxItems=2", "", 200, "", arn + `:$LATEST`, nil},
		{"list versions", "GET", one + "/versions", "", 200, "", arn + `:2"`, nil},
		{"list tags", "GET", "/2017-03-31/tags/" + arn, "", 200, "", `{"Tags":{"team":"edge"}}`, nil},
		{"tag", "POST", "/2017-03-31/tags/" + arn, `{"Tags":{"a":"b"}}`, 204, "", "", nil},
		{"untag", "DELETE", "/2017-03-31/tags/" + arn + "?tagKeys=team&tagKeys=x", "", 204, "", "", nil},
		{"list tags again", "GET", "/2017-03-31/tags/" + arn, "", 200, "", `{"Tags":{"a":"b"}}`, nil},
		{"delete a version with an alias", "DELETE", one + "?Qualifier=2", "", 409, "ResourceConflictException", "[PROD]", nil},
		{"delete a version", "DELETE", one + "?Qualifier=1", "", 204, "", "", nil},
		{"delete $LATEST", "DELETE", one + "?Qualifier=%24LATEST", "", 400, "InvalidParameterValueException", "$LATEST version cannot be deleted", nil},
		{"delete alias", "DELETE", one + "/aliases/PROD", "", 204, "", "", nil},
		{"read no alias", "GET", one + "/aliases/PROD", "", 404, "ResourceNotFoundException", "Cannot find alias arn: " + arn + ":PROD", nil},
		{"read no version", "GET", one + "?Qualifier=1", "", 404, "ResourceNotFoundException", "Function not found: " + arn + ":1", nil},
		{"delete", "DELETE", one, "", 204, "", "", nil},
		{"delete again", "DELETE", one, "", 404, "ResourceNotFoundException", "Function not found: " + arn, nil},
		{"list nothing", "GET", all, "", 200, "", `{"Functions":[]}`, nil},
	} {
		a := c.do(t, step.method, step.path, step.body)
		if a.want(t, step.status, step.typ, step.text); t.Failed() {
			t.Fatalf("at %q", step.name)
		}
		if a.members(t, step.members); t.Failed() {
			t.Fatalf("at %q: %s", step.name, a.text)
		}
	}
	if left, err := os.ReadDir(c.spool); err != nil || len(left) != 0 {
		t.Errorf("left in the spool: %v, %v", left, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.do(t, "POST", all, creation(t, "")).want(t, 201, "", "")
	const (
		shape, value, body, missing = "ValidationException", "InvalidParameterValueException", "InvalidRequestContentException", "ResourceNotFoundException"
		code                        = all + "/f/code"
	)
	other := func(replace ...string) string {
		return strings.NewReplacer(append(replace, `"f"`, `"g"`)...).Replace(creation(t, ""))
	}
	for _, r := range []struct {
		name, method, path, body string
		status                   int
		typ, text                string
	}{
		{"no JSON", "POST", all, `{`, 400, body, "not valid JSON"},
		{"two documents", "PUT", all + "/f/configuration", `{}{}`, 400, body, "after the JSON document"},
		{"a wrong type", "PUT", all + "/f/configuration", `{"Timeout":"60"}`, 400, body, `\"Timeout\"`},
		{"a fraction", "PUT", all + "/f/configuration", `{"Timeout":1.5}`, 400, body, `\"Timeout\"`},
		{"bad UTF-8", "PUT", all + "/f/configuration", "{\"Description\":\"\xff\"}", 400, body, "UTF-8"},
		{"NUL", "PUT", all + "/f/configuration", `{"Description":"\u0000"}`, 400, body, "NUL"},
		{"no base64", "PUT", code, `{"ZipFile":"?!"}`, 400, body, "not base64"},
		{"half of base64", "PUT", code, `{"ZipFile":"QUJ"}`, 400, body, "not base64"},
		{"data after base64", "PUT", code, `{"ZipFile":"QQ==QQ=="}`, 400, body, "base64"},
		{"code that is no text", "PUT", code, `{"ZipFile":7}`, 400, value, "source for function code"},
		{"no code", "PUT", code, `{}`, 400, value, "source for function code"},
		{"no zip", "PUT", code, `{"ZipFile":"QUJD"}`, 400, value, "Could not unzip uploaded file. Please check your file, then try to upload again."},
		{"code in a bucket that is not there", "PUT", code, `{"S3Bucket":"none","S3Key":"k"}`, 400, value, "The specified bucket does not exist"},
		{"code in what cannot be a bucket", "PUT", code, `{"S3Bucket":"b","S3Key":"k"}`, 400, value, "The specified bucket is not valid"},
		{"code in a bucket without a key", "PUT", code, `{"S3Bucket":"none"}`, 400, value, "both S3Bucket and S3Key"},
		{"code of a version", "PUT", code, `{"S3Bucket":"none","S3Key":"k","S3ObjectVersion":"7"}`, 400, value, "no versions of objects"},
		{"code from two places", "PUT", code, `{"S3Bucket":"none","S3Key":"k","ZipFile":"` + encoded(t, "x") + `"}`, 400, value, "when providing a ZipFile"},
		{"new function with code in a bucket that is not there", "POST", all, other(`"ZipFile":"`, `"S3Bucket":"none","S3Key":"`), 400, value, "The specified bucket does not exist"},
		{"an image", "POST", all, other(`"ZipFile":"`, `"ImageUri":"`), 400, value, "Container images"},
		{"package type", "POST", all, other(`"Runtime"`, `"PackageType":"Image","Runtime"`), 400, value, "PackageType"},
		{"stale revision", "PUT", code, `{"RevisionId":"old","ZipFile":"` + encoded(t, "x") + `"}`, 412, "PreconditionFailedException", "Revision Id"},
		{"stale code", "POST", all + "/f/versions", `{"CodeSha256":"old"}`, 400, value, "CodeSHA256 (old)"},
		{"bad role", "PUT", all + "/f/configuration", `{"Role":"admin"}`, 400, shape, "1 validation error detected: Value 'admin' at 'role'"},
		{"weighted alias", "POST", all + "/f/aliases", `{"Name":"A","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"2":0.5}}}`, 400, value, "RoutingConfig"},
		{"alias of no version", "POST", all + "/f/aliases", `{"Name":"A","FunctionVersion":"9"}`, 404, missing, arn + ":9"},
		{"unknown function", "GET", all + "/none", "", 404, missing, "Function not found: arn:aws:lambda:us-east-1:123456789012:function:none"},
		{"another account", "GET", all + "/210987654321:function:f", "", 404, missing, "Function not found"},
		{"path trick", "GET", all + "/..%2ff", "", 400, shape, "'functionName'"},
		{"escaped dots", "GET", all + "/%2e%2e/configuration", "", 400, shape, "'functionName'"},
		{"NUL in path", "GET", all + "/a%00b", "", 400, body, "not valid"},
		{"bad UTF-8 in path", "GET", all + "/a%ffb", "", 400, body, "not valid"},
		{"page size", "GET", all + "?MaxItems=0", "", 400, shape, "'maxItems'"},
		{"page size that is no number", "GET", all + "?MaxItems=ten", "", 400, shape, "'maxItems'"},
		{"marker", "GET", all + "?Marker=%21", "", 400, value, "Marker"},
		{"listing", "GET", all + "?FunctionVersion=1", "", 400, value, "FunctionVersion"},
		{"invoke", "POST", all + "/f/invocations", `{}`, 400, "UnknownOperationException", "Invoke is not available"},
		{"unknown operation", "GET", all + "/f/concurrency", "", 404, "UnknownOperationException", "GET"},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			c.do(t, r.method, r.path, r.body).want(t, r.status, r.typ, r.text)
		})
	}
	t.Run("another Region", func(t *testing.T) {
		t.Parallel()
		c.do(t, "GET", all+"/f", "", "Test-Region", "eu-west-1").want(t, 404, missing, "eu-west-1")
	})
}

func TestLargeZips(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("moves 140 MB")
	}
	c := newCloud(t)
	c.do(t, "POST", all, creation(t, "")).want(t, 201, "", "")
	for _, size := range []int{30 << 20, functions.MaxArchive} { // the second and its directory are too large
		a := c.do(t, "PUT", all+"/f/code", `{"ZipFile":"`+encoded(t, strings.Repeat("x", size))+`"}`)
		if size < functions.MaxArchive {
			a.want(t, 200, "", `"CodeSize":314`)
		} else {
			a.want(t, 413, "RequestEntityTooLargeException", "52428800")
		}
	}
	if left, err := os.ReadDir(c.spool); err != nil || len(left) != 0 {
		t.Errorf("left in the spool: %v, %v", left, err)
	}
}
