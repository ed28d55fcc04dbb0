package cloud_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/smithy-go"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud"
	model "github.com/fescue-edge/fescue/cloud/awsapi/greengrass"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/testkit"
)

// row is what the conformance test knows of an operation beside the model and the
// SDK's types: a request that succeeds, what its answer has, and what happens
// when a label of its path names nothing.
type row struct {
	// body is the JSON of a request; {name} stands for what site.make makes.
	body string
	// query is as body, in url.Values form.
	query string
	// answer are the members of the answer, in the order of their names; one with
	// a question mark may be absent.
	answer string
	// unknown are the refusals of a label that names nothing, by label, as "404
	// Code: text"; {id} stands for what was sent. A label that is not here may name
	// anything.
	unknown map[string]string
}

const (
	// definitionMembers and versionMembers are what the API shows of a container
	// and of a version.
	definitionMembers = "Arn CreationTimestamp Id LastUpdatedTimestamp LatestVersion LatestVersionArn Name"
	versionMembers    = "Arn CreationTimestamp Id Version"
)

// kindFacts are a kind's own words, and a version of it.
type kindFacts struct {
	noun             string // as in CreateCoreDefinition
	version          string // JSON of a version
	get, other, made string // of an unknown container: Get, others, Create…Version
	unknownVersion   string // of GetVersion
	subject          string // begins the refusal of a version
}

var kinds = []kindFacts{
	{
		"ConnectorDefinition", `{"Connectors":[{"Id":"c","ConnectorArn":"arn:aws:greengrass:us-east-1::/connectors/SNS/versions/4","Parameters":{"DefaultSNSArn":"arn:aws:sns:us-east-1:123456789012:t"}}]}`,
		"That Connector List Definition does not exist.", "That connectors definition does not exist.", "That connectors definition does not exist.",
		"404 VersionNotFoundException: Version {id} of Connector List Definition {ConnectorDefinitionId} does not exist.",
		"The connectors definition is invalid or corrupted.",
	},
	{
		"CoreDefinition", `{"Cores":[{"Id":"c","CertificateArn":"{certificate}","ThingArn":"arn:aws:iot:us-east-1:123456789012:thing/{ThingName}","SyncShadow":true}]}`,
		"That Core List Definition does not exist", "That cores definition does not exist.", "That cores definition does not exist.",
		"404 VersionNotFoundException: Version {id} of Core List Definition {CoreDefinitionId} does not exist.",
		"The cores definition is invalid or corrupted.",
	},
	{
		"DeviceDefinition", `{"Devices":[{"Id":"d","CertificateArn":"{certificate}","ThingArn":"arn:aws:iot:us-east-1:123456789012:thing/{ThingName}","SyncShadow":false}]}`,
		"That Device List Definition does not exist.", "That devices definition does not exist.", "That devices definition does not exist.",
		"404 VersionNotFoundException: Version {id} of Device List Definition {DeviceDefinitionId} does not exist.",
		"The devices definition is invalid or corrupted.",
	},
	{
		"FunctionDefinition", `{"DefaultConfig":{"Execution":{"IsolationMode":"GreengrassContainer","RunAs":{"Uid":0,"Gid":0}}},
			"Functions":[{"Id":"f","FunctionArn":"arn:aws:lambda:us-east-1:123456789012:function:f:1","FunctionConfiguration":{
				"EncodingType":"json","ExecArgs":"-v","Executable":"f.handler","MemorySize":16384,"Pinned":true,"Timeout":3,"FunctionRuntimeOverride":"python3.7",
				"Environment":{"AccessSysfs":true,"Variables":{"A":"1"},"ResourceAccessPolicies":[{"ResourceId":"r","Permission":"ro"}],
					"Execution":{"IsolationMode":"GreengrassContainer","RunAs":{"Uid":1,"Gid":1}}}}}]}`,
		"That Lambda List Definition does not exist.", "That lambdas definition does not exist.", "That lambdas does not exist.",
		"404 IdNotFoundException: Version {id} of Lambda List Definition {FunctionDefinitionId} does not exist.",
		"The lambdas definition is invalid or corrupted.",
	},
	{
		"Group", `{"CoreDefinitionVersionArn":"{cores}"}`,
		"That Group Definition does not exist.", "That group definition does not exist.", "That group does not exist.",
		"404 VersionNotFoundException: Version {id} of Group Definition {GroupId} does not exist.",
		"The group is invalid or corrupted.",
	},
	{
		"LoggerDefinition", `{"Loggers":[{"Id":"l","Component":"Lambda","Level":"DEBUG","Space":1024,"Type":"FileSystem"}]}`,
		"That Logger List Definition does not exist.", "That loggers definition does not exist.", "That loggers definition does not exist.",
		"404 VersionNotFoundException: Version {id} of Logger List Definition {LoggerDefinitionId} does not exist.",
		"The loggers definition is invalid or corrupted.",
	},
	{
		"ResourceDefinition", `{"Resources":[{"Id":"r","Name":"data","ResourceDataContainer":{"LocalVolumeResourceData":{
			"SourcePath":"/srv","DestinationPath":"/data","GroupOwnerSetting":{"AutoAddGroupOwner":true,"GroupOwner":"g"}}}},
			{"Id":"s","Name":"secret","ResourceDataContainer":{"SecretsManagerSecretResourceData":{"ARN":"arn:aws:secretsmanager:us-east-1:123456789012:secret:greengrass-x-AbCdEf","AdditionalStagingLabelsToDownload":["a"]}}}]}`,
		"That Resource List Definition does not exist.", "That resources definition does not exist.", "That resource definition does not exist.",
		"404 VersionNotFoundException: Version {id} of Resource List Definition {ResourceDefinitionId} does not exist.",
		"The resources definition is invalid.",
	},
	{
		"SubscriptionDefinition", `{"Subscriptions":[{"Id":"s","Source":"cloud","Subject":"a/#","Target":"GGShadowService"}]}`,
		"That Subscription List Definition does not exist.", "That subscriptions definition does not exist.", "That subscriptions does not exist.",
		"404 VersionNotFoundException: Version {id} of Subscription List Definition {SubscriptionDefinitionId} does not exist.",
		"The subscriptions definition is invalid or corrupted.",
	},
}

func (k kindFacts) label() string {
	if k.noun == "Group" {
		return "GroupId"
	}
	return k.noun + "Id"
}

// rows are the operations by name: eight of each kind, and the others.
func rows() map[string]row {
	all := map[string]row{
		"AssociateRoleToGroup":          {body: `{"RoleArn":"{role}"}`, answer: "AssociatedAt"},
		"AssociateServiceRoleToAccount": {body: `{"RoleArn":"{role}"}`, answer: "AssociatedAt"},
		"CreateDeployment": {
			body: `{"DeploymentType":"NewDeployment","GroupVersionId":"{GroupVersionId}"}`, answer: "DeploymentArn DeploymentId",
			unknown: map[string]string{"GroupId": "404 ResourceNotFoundException: That group definition does not exist."},
		},
		"CreateGroupCertificateAuthority": {answer: "GroupCertificateAuthorityArn", unknown: map[string]string{"GroupId": unknownGroup}},
		"CreateSoftwareUpdateJob": {
			body: `{"S3UrlSignerRole":"{role}","SoftwareToUpdate":"core","UpdateAgentLogLevel":"WARN","UpdateTargets":["arn:aws:iot:us-east-1:123456789012:thing/{ThingName}"],
				"UpdateTargetsArchitecture":"x86_64","UpdateTargetsOperatingSystem":"ubuntu"}`,
			answer: "IotJobArn IotJobId PlatformSoftwareVersion",
		},
		"DisassociateRoleFromGroup":          {answer: "DisassociatedAt"},
		"DisassociateServiceRoleFromAccount": {answer: "DisassociatedAt"},
		"GetAssociatedRole": {
			answer:  "AssociatedAt RoleArn",
			unknown: map[string]string{"GroupId": "404 : You need to attach an IAM role to this deployment group."},
		},
		"GetBulkDeploymentStatus": {
			answer:  "BulkDeploymentMetrics BulkDeploymentStatus CreatedAt tags",
			unknown: map[string]string{"BulkDeploymentId": unknownBulk},
		},
		"GetConnectivityInfo": {answer: "ConnectivityInfo message?"},
		"GetDeploymentStatus": {
			answer: "DeploymentStatus DeploymentType ErrorDetails? ErrorMessage? UpdatedAt",
			unknown: map[string]string{
				"GroupId":      "400 InvalidInputException: Deployment '{DeploymentId}' does not exist.",
				"DeploymentId": "400 InvalidInputException: Deployment '{id}' does not exist.",
			},
		},
		"GetGroupCertificateAuthority": {
			answer: "GroupCertificateAuthorityArn GroupCertificateAuthorityId PemEncodedCertificate",
			unknown: map[string]string{
				"GroupId": unknownGroup, "CertificateAuthorityId": "404 IdNotFoundException: That group certificate authority does not exist.",
			},
		},
		"GetGroupCertificateConfiguration": {
			answer:  "CertificateAuthorityExpiryInMilliseconds CertificateExpiryInMilliseconds GroupId",
			unknown: map[string]string{"GroupId": unknownGroup},
		},
		"GetServiceRoleForAccount":     {answer: "AssociatedAt RoleArn"},
		"GetThingRuntimeConfiguration": {answer: "RuntimeConfiguration"},
		"ListBulkDeploymentDetailedReports": {
			query: "MaxResults=5", answer: "Deployments NextToken?", unknown: map[string]string{"BulkDeploymentId": unknownBulk},
		},
		"ListBulkDeployments":             {query: "MaxResults=5", answer: "BulkDeployments NextToken?"},
		"ListDeployments":                 {query: "MaxResults=5", answer: "Deployments NextToken?"},
		"ListGroupCertificateAuthorities": {answer: "GroupCertificateAuthorities", unknown: map[string]string{"GroupId": unknownGroup}},
		"ListTagsForResource":             {answer: "tags", unknown: map[string]string{"ResourceArn": unknownTagged}},
		"ResetDeployments": {
			body: `{"Force":true}`, answer: "DeploymentArn DeploymentId",
			unknown: map[string]string{"GroupId": "404 ResourceNotFoundException: That Group Definition does not exist."},
		},
		"StartBulkDeployment": {
			body: `{"ExecutionRoleArn":"{role}","InputFileUri":"s3://fleet/records","tags":{"a":"b"}}`, answer: "BulkDeploymentArn BulkDeploymentId",
		},
		"StopBulkDeployment": {unknown: map[string]string{"BulkDeploymentId": unknownBulk}},
		"TagResource":        {body: `{"tags":{"c":"d"}}`, unknown: map[string]string{"ResourceArn": unknownTagged}},
		"UntagResource":      {query: "tagKeys=a&tagKeys=b", unknown: map[string]string{"ResourceArn": unknownTagged}},
		"UpdateConnectivityInfo": {
			body:   `{"ConnectivityInfo":[{"HostAddress":"10.0.0.1","Id":"eth0","Metadata":"m","PortNumber":8883}]}`,
			answer: "Version message?",
		},
		"UpdateGroupCertificateConfiguration": {
			body: `{"CertificateExpiryInMilliseconds":"2592000000"}`, answer: "CertificateAuthorityExpiryInMilliseconds CertificateExpiryInMilliseconds GroupId",
			unknown: map[string]string{"GroupId": unknownGroup},
		},
		"UpdateThingRuntimeConfiguration": {
			body: `{"TelemetryConfiguration":{"Telemetry":"Off"}}`,
		},
	}
	for _, k := range kinds {
		one := func(text string) map[string]string {
			return map[string]string{k.label(): "404 IdNotFoundException: " + text}
		}
		list := "Definitions"
		if k.noun == "Group" {
			list = "Groups"
		}
		both := one(k.other)
		both[k.noun+"VersionId"] = k.unknownVersion
		all["Create"+k.noun] = row{body: `{"Name":"n","InitialVersion":` + k.version + `,"tags":{"a":"b"}}`, answer: definitionMembers}
		all["Create"+k.noun+"Version"] = row{body: k.version, answer: versionMembers, unknown: one(k.made)}
		all["Delete"+k.noun] = row{unknown: one(k.other)}
		all["Get"+k.noun] = row{answer: definitionMembers + " tags", unknown: one(k.get)}
		all["Get"+k.noun+"Version"] = row{answer: "Arn CreationTimestamp Definition Id Version", unknown: both}
		all["List"+k.noun+"s"] = row{query: "MaxResults=2", answer: list + " NextToken?"}
		all["List"+k.noun+"Versions"] = row{query: "MaxResults=2", answer: "NextToken? Versions", unknown: one(k.other)}
		all["Update"+k.noun] = row{body: `{"Name":"m"}`, unknown: one(k.other)}
	}
	return all
}

const (
	unknownGroup  = "404 IdNotFoundException: That group definition does not exist."
	unknownBulk   = "404 IdNotFoundException: That bulk deployment does not exist."
	unknownTagged = unknownGroup
)

// site is a server whose API is called in one partition.
type site struct {
	t      *testing.T
	key    cloud.AccessKey
	client *http.Client
	base   string
	region string
	sdk    *greengrass.Client
	// shared are the values that many requests name.
	shared map[string]string
}

func newSite(t *testing.T, s *server, region string, key cloud.AccessKey) *site {
	client, base := s.client()
	site := &site{t: t, key: key, client: client, base: base, region: region, shared: map[string]string{
		"role": "arn:aws:iam::" + account + ":role/r", "ThingName": "Conformance_Core",
	}}
	site.sdk = greengrass.New(greengrass.Options{
		Region: region, BaseEndpoint: &base, HTTPClient: client, Retryer: aws.NopRetryer{},
		Credentials: s.credentials(key),
	})
	keys, err := iot.New(iot.Options{Region: region, BaseEndpoint: &base, HTTPClient: client, Credentials: site.sdk.Options().Credentials}).
		CreateKeysAndCertificate(t.Context(), &iot.CreateKeysAndCertificateInput{SetAsActive: true})
	if err != nil {
		t.Fatal(err)
	}
	site.shared["certificate"] = *keys.CertificateArn
	for _, call := range []struct{ service, method, path, body string }{
		{"iot", "POST", "/things/Conformance_Core", "{}"},
		{"iot", "POST", "/things/Conformance_Device", "{}"},
		{"s3", "PUT", "/fleet", ""},
	} {
		if got := site.send(call.service, call.method, call.path, nil, call.body); got.status != http.StatusOK {
			t.Fatalf("%s: %+v", call.path, got)
		}
	}
	site.shared["cores"] = site.make("CreateCoreDefinition", nil)["LatestVersionArn"].(string)
	group := site.make("CreateGroup", nil)
	var lines strings.Builder
	for range 500 { // more than are read while the test runs
		fmt.Fprintf(&lines, "{\"GroupId\":%q,\"GroupVersionId\":%q,\"DeploymentType\":\"NewDeployment\"}\n", group["Id"], group["LatestVersion"])
	}
	if got := site.send("s3", "PUT", "/fleet/records", nil, lines.String()); got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	return site
}

// answer is what came back.
type answer struct {
	status          int
	exception, body string
}

// send sends a signed request.
func (s *site) send(service, method, target string, header http.Header, body string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.base+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	sum := sha256.Sum256([]byte(body))
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	key := aws.Credentials{AccessKeyID: s.key.ID, SecretAccessKey: s.key.Secret}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
	if err := signer.SignHTTP(s.t.Context(), key, req, hex.EncodeToString(sum[:]), service, s.region, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header.Get("x-amzn-ErrorType"), string(data)}
}

// operation is one of the 92 with its row.
type operation struct {
	model.ModelOperation
	row
	method reflect.Value // the SDK client's
}

func (s *site) operation(name string) operation {
	s.t.Helper()
	i := slices.IndexFunc(model.Model, func(op model.ModelOperation) bool { return op.Name == name })
	op := operation{ModelOperation: model.Model[i], method: reflect.ValueOf(s.sdk).MethodByName(name)}
	known, ok := rows()[name]
	if !ok || !op.method.IsValid() {
		s.t.Fatalf("%s has no row or no method", name)
	}
	op.row = known
	return op
}

// status is that of a success with a body: creating a container or a version of
// one is answered with 201.
func (op operation) status() int {
	made := strings.TrimSuffix(strings.TrimPrefix(op.Name, "Create"), "Version")
	if op.Method == http.MethodPost && slices.ContainsFunc(kinds, func(k kindFacts) bool { return k.noun == made }) {
		return http.StatusCreated
	}
	return http.StatusOK
}

func (op operation) input() reflect.Type  { return op.method.Type().In(1).Elem() }
func (op operation) output() reflect.Type { return op.method.Type().Out(0).Elem() }

var labelPattern = regexp.MustCompile(`\{([A-Za-z-]+)\}`)

// labels are those of the path, as the SDK names them.
func (op operation) labels() (names []string) {
	for _, m := range labelPattern.FindAllStringSubmatch(op.Path, -1) {
		names = append(names, sdkName(m[1]))
	}
	return names
}

// wireLabel is a label as the path has it.
func (op operation) wireLabel(name string) string {
	for _, m := range labelPattern.FindAllStringSubmatch(op.Path, -1) {
		if sdkName(m[1]) == name {
			return m[1]
		}
	}
	return ""
}

func sdkName(label string) string {
	if label == "resource-arn" {
		return "ResourceArn"
	}
	return label
}

// call sends the operation with values for its labels.
func (s *site) call(op operation, values map[string]string, body string, header http.Header) answer {
	s.t.Helper()
	target := labelPattern.ReplaceAllStringFunc(op.Path, func(label string) string {
		return strings.ReplaceAll(url.QueryEscape(values[sdkName(label[1:len(label)-1])]), "+", "%20")
	})
	if op.query != "" {
		target += "?" + op.query
	}
	return s.send("greengrass", op.Method, target, header, body)
}

// values makes what an operation needs: what its labels and its body name.
func (s *site) values(op operation) map[string]string {
	s.t.Helper()
	v := maps.Clone(s.shared)
	need := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return strings.Contains(op.Path, "{"+name+"}") || strings.Contains(op.body, "{"+name+"}")
		})
	}
	for _, k := range kinds {
		if need(k.label()) {
			made := s.make("Create"+k.noun, nil)
			v[k.label()], v[k.noun+"VersionId"] = made["Id"].(string), made["LatestVersion"].(string)
		}
	}
	switch {
	case need("DeploymentId"):
		v["DeploymentId"] = s.make("CreateDeployment", v)["DeploymentId"].(string)
	case need("CertificateAuthorityId"):
		arn := s.make("CreateGroupCertificateAuthority", v)["GroupCertificateAuthorityArn"].(string)
		v["CertificateAuthorityId"] = arn[strings.LastIndex(arn, "/")+1:]
	case need("resource-arn"):
		v["ResourceArn"] = s.make("CreateGroup", nil)["Arn"].(string)
	case op.Name == "GetAssociatedRole":
		s.make("AssociateRoleToGroup", v)
	case op.Name == "GetServiceRoleForAccount":
		s.make("AssociateServiceRoleToAccount", v)
	case need("BulkDeploymentId"):
		s.endBulk()
		v["BulkDeploymentId"] = s.make("StartBulkDeployment", v)["BulkDeploymentId"].(string)
	case op.Name == "StartBulkDeployment":
		s.endBulk()
	}
	return v
}

// endBulk stops the bulk deployment that has not ended: only one may run.
func (s *site) endBulk() {
	s.t.Helper()
	ctx := s.t.Context()
	list, err := s.sdk.ListBulkDeployments(ctx, &greengrass.ListBulkDeploymentsInput{MaxResults: aws.String("1")})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(list.BulkDeployments) == 0 {
		return
	}
	id := list.BulkDeployments[0].BulkDeploymentId
	s.sdk.StopBulkDeployment(ctx, &greengrass.StopBulkDeploymentInput{BulkDeploymentId: id}) // it may have ended by itself
	testkit.Until(s.t, "the bulk deployment's end", func() bool {
		out, err := s.sdk.GetBulkDeploymentStatus(ctx, &greengrass.GetBulkDeploymentStatusInput{BulkDeploymentId: id})
		return err == nil && slices.Contains([]string{"Completed", "Stopped", "Failed"}, string(out.BulkDeploymentStatus))
	})
}

// make has an operation succeed with the request of its row.
func (s *site) make(name string, values map[string]string) map[string]any {
	s.t.Helper()
	return s.makeOf(name, values, s.operation(name).body)
}

// makeOf has an operation succeed with another body.
func (s *site) makeOf(name string, values map[string]string, body string) map[string]any {
	s.t.Helper()
	op := s.operation(name)
	if values == nil {
		values = s.shared
	}
	got := s.call(op, values, fill(body, values), nil)
	var v map[string]any
	if json.Unmarshal([]byte(got.body), &v); got.status/100 != 2 || v == nil {
		s.t.Fatalf("%s: %+v", name, got)
	}
	return v
}

func fill(text string, values map[string]string) string {
	for name, value := range values {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

// TestConformance sends each of the 92 operations over HTTP and through the SDK.
func TestConformance(t *testing.T) {
	t.Parallel()
	if len(rows()) != len(model.Model) {
		t.Fatalf("%d rows for %d operations", len(rows()), len(model.Model))
	}
	onEachDatabase(t, func(t *testing.T, database string) {
		o := options(t.TempDir())
		o.BulkRate, o.Database = 1, database
		server := start(t, o)
		repeats := conform(t, server)
		server.stop()
		server = start(t, o)
		client, base := server.client()
		for _, r := range repeats {
			r.site.t, r.site.client, r.site.base = t, client, base
			if got := r.call(r.op, r.values, r.body, r.header); got != r.first {
				t.Errorf("%s with a token, after a restart: %+v\nfirst: %+v", r.op.Name, got, r.first)
			}
		}
		if len(repeats) != 21 {
			t.Errorf("%d operations take a token", len(repeats))
		}
	})
}

// repeat is a request with a client token, and what it was answered.
type repeat struct {
	site
	op     operation
	values map[string]string
	body   string
	header http.Header
	first  answer
}

// conform returns the requests that were sent with a token.
func conform(t *testing.T, server *server) (repeats []repeat) {
	here := newSite(t, server, "us-east-1", server.key)
	others := []*site{newSite(t, server, "eu-west-1", server.key), newSite(t, server, "us-east-1", server.keyOf("210987654321", identity.Grant{Access: identity.Admin}))}
	for _, m := range model.Model {
		t.Run(m.Name, func(t *testing.T) {
			s := *here
			s.t = t
			op := s.operation(m.Name)
			t.Run("success", func(t *testing.T) { s.succeeds(t, op) })
			t.Run("unknown", func(t *testing.T) { s.unknown(t, op, others) })
			if op.body != "" {
				t.Run("body", func(t *testing.T) { s.bodies(t, op) })
			}
			for _, r := range refusalsOf(op) {
				t.Run("refused, "+r.what, func(t *testing.T) { s.refused(t, op, r) })
			}
			if _, ok := op.input().FieldByName("AmznClientToken"); ok {
				t.Run("token", func(t *testing.T) { repeats = append(repeats, s.token(t, op)) })
			}
		})
	}
	return repeats
}

// succeeds checks the shape of the answer, and that the SDK reads the same
// members.
func (s site) succeeds(t *testing.T, op operation) {
	s.t = t
	values := s.values(op)
	got := s.call(op, values, fill(op.body, values), nil)
	if op.Name == "TagResource" || op.Name == "UntagResource" {
		if got.status != http.StatusNoContent || got.body != "" {
			t.Errorf("%+v", got)
		}
	} else {
		var v map[string]any
		if err := json.Unmarshal([]byte(got.body), &v); err != nil || got.status != op.status() {
			t.Fatalf("%+v, %v, want status %d", got, err, op.status())
		}
		checkShape(t, op.Name, v, op.output())
		checkMembers(t, op, slices.Collect(maps.Keys(v)))
	}
	values = s.values(op) // the request may have used them up
	out, err := s.throughSDK(op, values, fill(op.body, values))
	if err != nil {
		t.Fatalf("through the SDK: %v", err)
	}
	var members []string
	for i := range out.NumField() {
		if f := out.Type().Field(i); f.IsExported() && f.Name != "ResultMetadata" && !out.Field(i).IsZero() {
			members = append(members, wireName(f.Name, op.answer))
		}
	}
	checkMembers(t, op, members)
}

// wireName is a member's name as the answer has it; the SDK begins all with a
// capital.
func wireName(name, answer string) string {
	for member := range strings.FieldsSeq(answer) {
		if strings.EqualFold(strings.TrimSuffix(member, "?"), name) {
			return strings.TrimSuffix(member, "?")
		}
	}
	return name
}

func checkMembers(t *testing.T, op operation, got []string) {
	t.Helper()
	for member := range strings.FieldsSeq(op.answer) {
		name, optional := strings.CutSuffix(member, "?")
		i := slices.Index(got, name)
		if i < 0 {
			if !optional {
				t.Errorf("the answer lacks %s", name)
			}
			continue
		}
		got = slices.Delete(got, i, i+1)
	}
	if len(got) > 0 {
		t.Errorf("the answer has %v, too", got)
	}
}

// throughSDK calls the SDK's method of an operation.
func (s site) throughSDK(op operation, values map[string]string, body string) (reflect.Value, error) {
	s.t.Helper()
	in := reflect.New(op.input())
	merged := make(map[string]any)
	if body != "" {
		if err := json.Unmarshal([]byte(body), &merged); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, label := range op.labels() {
		merged[label] = values[label]
	}
	query, err := url.ParseQuery(op.query)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, list := range query {
		merged[name] = list[0]
		if f, ok := op.input().FieldByNameFunc(func(n string) bool { return strings.EqualFold(n, name) }); ok && f.Type.Kind() == reflect.Slice {
			merged[name] = list
		}
	}
	data, err := json.Marshal(merged)
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		err = dec.Decode(in.Interface())
	}
	if err != nil {
		s.t.Fatalf("%s: %v", data, err)
	}
	results := op.method.Call([]reflect.Value{reflect.ValueOf(s.t.Context()), in})
	if err, _ := results[1].Interface().(error); err != nil {
		return reflect.Value{}, err
	}
	return results[0].Elem(), nil
}

// checkShape compares an answer with the SDK's type: nothing unknown, no null,
// right kinds all the way down.
func checkShape(t *testing.T, where string, v any, want reflect.Type) {
	t.Helper()
	for want.Kind() == reflect.Pointer {
		want = want.Elem()
	}
	switch v := v.(type) {
	case nil:
		t.Errorf("%s is null", where)
	case map[string]any:
		for name, member := range v {
			switch want.Kind() {
			case reflect.Map:
				checkShape(t, where+"."+name, member, want.Elem())
			case reflect.Struct:
				f, ok := want.FieldByName(name)
				if lower := name == "tags" || name == "message"; lower {
					f, ok = want.FieldByName(strings.ToUpper(name[:1]) + name[1:])
				}
				if !ok {
					t.Errorf("%s.%s is not in the model", where, name)
					continue
				}
				checkShape(t, where+"."+name, member, f.Type)
			default:
				t.Errorf("%s is an object, the model has %v", where, want)
			}
		}
	case []any:
		if want.Kind() != reflect.Slice {
			t.Errorf("%s is a list, the model has %v", where, want)
			return
		}
		for i, member := range v {
			checkShape(t, fmt.Sprintf("%s[%d]", where, i), member, want.Elem())
		}
	default:
		kinds := map[reflect.Kind]reflect.Kind{reflect.Int32: reflect.Float64, reflect.Int64: reflect.Float64}
		kind := want.Kind()
		if k, ok := kinds[kind]; ok {
			kind = k
		}
		if reflect.TypeOf(v).Kind() != kind {
			t.Errorf("%s is %v, the model has %v", where, v, want)
		}
	}
}

// unknown checks what each label answers that names nothing here: an id that was
// never given, or one of another partition.
func (s site) unknown(t *testing.T, op operation, others []*site) {
	s.t = t
	for _, label := range op.labels() {
		want, limited := op.row.unknown[label]
		known := s.values(op) // of which a refused request uses up nothing
		try := func(id string) answer {
			values := maps.Clone(known)
			values[label] = id
			got := s.call(op, values, fill(op.body, values), nil)
			values["id"] = id
			if !limited {
				if got.status/100 != 2 {
					t.Errorf("%s %s: %+v", label, id, got)
				}
				return got
			}
			s.checkRefusal(op, values, got, want)
			return got
		}
		never := fescue.NewID()
		if label == "ResourceArn" {
			never = "arn:aws:greengrass:us-east-1:" + account + ":/greengrass/groups/" + never
		}
		try(never)
		s.empty(op, known, label)
		for _, other := range others {
			if other := *other; limited {
				other.t = t
				try(other.values(op)[label])
			}
		}
	}
}

// empty checks that a label left empty is refused by its name, and is no other
// operation's path.
func (s site) empty(op operation, known map[string]string, label string) {
	s.t.Helper()
	values := maps.Clone(known)
	values[label] = ""
	got := s.call(op, values, fill(op.body, values), nil)
	if want := " of " + op.Name + " is empty"; got.status != http.StatusBadRequest || !strings.Contains(got.body, want) || !strings.Contains(got.body, op.wireLabel(label)) {
		s.t.Errorf("without %s: %+v", label, got)
	}
}

// checkRefusal compares an answer with "404 Code: text", and has the SDK send the
// same request.
func (s site) checkRefusal(op operation, values map[string]string, got answer, want string) {
	s.t.Helper()
	var e struct{ Message string }
	json.Unmarshal([]byte(got.body), &e)
	text := fmt.Sprintf("%d %s: %s", got.status, got.exception, e.Message)
	if text != want && text != fill(want, values) { // some texts of the original have braces
		s.t.Errorf("answered\n%s\nwant\n%s", text, fill(want, values))
	}
	var refusal smithy.APIError
	_, err := s.throughSDK(op, values, fill(op.body, values))
	if !errors.As(err, &refusal) || refusal.ErrorMessage() != e.Message || got.exception != "" && refusal.ErrorCode() != got.exception {
		s.t.Errorf("through the SDK: %v, over HTTP %+v", err, got)
	}
}

// bodies checks requests that the model does not allow, and one with more than it
// knows.
func (s site) bodies(t *testing.T, op operation) {
	s.t = t
	values := s.values(op)
	body := fill(op.body, values)
	refused := func(what, body string, statuses ...int) {
		t.Helper()
		got := s.call(op, values, body, nil)
		var e struct{ Message string }
		if json.Unmarshal([]byte(got.body), &e); !slices.Contains(statuses, got.status) || e.Message == "" {
			t.Errorf("%s: %+.300v\n%.300s", what, got, body)
		}
	}
	// What the SDK asks for before it sends a request.
	var missing smithy.InvalidParamsError
	_, err := s.throughSDK(operation{op.ModelOperation, row{}, op.method}, map[string]string{}, "")
	if errors.As(err, &missing) {
		for _, p := range missing.Errs() {
			field := p.(interface{ Field() string }).Field()
			name := field[strings.LastIndex(field, ".")+1:]
			if slices.Contains(op.labels(), name) {
				continue
			}
			var v map[string]any
			json.Unmarshal([]byte(body), &v)
			if _, ok := v[name]; !ok {
				t.Fatalf("the row lacks %s, which is required", name)
			}
			delete(v, name)
			refused("without "+name, encoded(v), http.StatusBadRequest)
		}
	}
	for _, text := range []string{"[]", `"text"`, "{", `{"a":`, "\xff", "{}{}"} {
		refused("a body that is no object", text, http.StatusBadRequest)
	}
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatal(err)
	}
	leaves(v, func(path string, member any, set func(any)) {
		defer set(member)
		wrong := any(map[string]any{"x": 1})
		if _, ok := member.(map[string]any); ok {
			wrong = "text"
		}
		set(wrong)
		refused(path+" of a wrong type", encoded(v), http.StatusBadRequest)
		if _, ok := member.(string); ok {
			set(strings.Repeat("x", 200_000))
			if got := s.call(op, values, encoded(v), nil); got.status >= 500 {
				t.Errorf("%s of 200,000 characters: %+v", path, got)
			}
		}
	})
	object := v.(map[string]any)
	object["Padding"] = strings.Repeat("x", 2<<20)
	refused("two megabytes", encoded(v), http.StatusRequestEntityTooLarge)
	object["Padding"] = []any{nil, 1, "x"}
	values = s.values(op)
	if err := json.Unmarshal([]byte(fill(op.body, values)), &v); err != nil {
		t.Fatal(err)
	}
	if got := s.call(op, values, encoded(v), nil); got.status/100 != 2 {
		t.Errorf("with a member that the model does not have: %+v", got)
	}
}

func encoded(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// leaves visits everything in a JSON value, and has it replaced.
func leaves(v any, visit func(path string, member any, set func(any))) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			visit(name, v[name], func(w any) { v[name] = w })
			leaves(v[name], func(path string, member any, set func(any)) { visit(name+"."+path, member, set) })
		}
	case []any:
		for i := range v {
			visit(fmt.Sprint(i), v[i], func(w any) { v[i] = w })
			leaves(v[i], func(path string, member any, set func(any)) { visit(fmt.Sprintf("%d.%s", i, path), member, set) })
		}
	}
}

// token checks that a request with a token that was used is answered as it was,
// and that another request with it is refused. It returns the first.
func (s site) token(t *testing.T, op operation) repeat {
	s.t = t
	values := s.values(op)
	body := fill(op.body, values)
	header := http.Header{"X-Amzn-Client-Token": {fescue.NewID()}}
	first := s.call(op, values, body, header)
	if again := s.call(op, values, body, header); first.status/100 != 2 || again != first {
		t.Errorf("again: %+v\nfirst: %+v", again, first)
	}
	made := repeat{s, op, values, body, header, first}
	if body == "" {
		return made
	}
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatal(err)
	}
	leaves(v, func(path string, member any, set func(any)) {
		text, ok := member.(string)
		if !ok {
			return
		}
		defer set(member)
		set(text + "0")
		if got := s.call(op, values, encoded(v), header); got.status != http.StatusBadRequest {
			t.Errorf("another request, in %s, with the token: %+v", path, got)
		}
	})
	if got := s.call(op, values, body, http.Header{"X-Amzn-Client-Token": {strings.Repeat("x", 65)}}); got.status != http.StatusBadRequest {
		t.Errorf("a token that is too long: %+v", got)
	}
	return made
}
