package cloud_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/testkit"
)

// refusal is what an operation answers to a request that the model allows and the
// service does not, beside labels that name nothing. The texts of the original are
// those of its public sources; the others are Fescue's.
type refusal struct {
	op, what string
	// body and query replace the row's, when they are given.
	body, query string
	// given makes what the request meets, and may change what it names.
	given func(s *site, values map[string]string)
	// want is "404 Code: text", in which {name} stands for a value.
	want string
}

const (
	never       = "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001" // the id of nothing
	definition  = "arn:aws:greengrass:us-east-1:123456789012:/greengrass/definition/"
	reservedTag = `400 BadRequestException: The tag key "aws:a" begins with aws:, which is reserved.`
	someLambda  = "arn:aws:lambda:us-east-1:123456789012:function:f:1"
)

// after has operations succeed before the request.
func after(operations ...string) func(*site, map[string]string) {
	return func(s *site, values map[string]string) {
		for _, name := range operations {
			s.make(name, values)
		}
	}
}

// deployed deploys the group to a core of its own, which never comes: shared ones
// are taken from one group by the next.
func deployed(s *site, v map[string]string) {
	s.t.Helper()
	thing := "Core_of_" + v["GroupId"]
	for _, call := range []struct {
		method, path string
		header       http.Header
	}{
		{"POST", "/things/" + thing, nil},
		{"PUT", "/things/" + thing + "/principals", http.Header{"X-Amzn-Principal": {v["certificate"]}}},
	} {
		if got := s.send("iot", call.method, call.path, call.header, "{}"); got.status != http.StatusOK {
			s.t.Fatalf("%s: %+v", call.path, got)
		}
	}
	v = maps.Clone(v)
	v["ThingName"] = thing
	v["cores"] = s.make("CreateCoreDefinition", v)["LatestVersionArn"].(string)
	v["GroupVersionId"] = s.make("CreateGroupVersion", v)["Version"].(string)
	v["DeploymentId"] = s.make("CreateDeployment", v)["DeploymentId"].(string)
	testkit.Until(s.t, "the deployment waits for its core", func() bool {
		switch status := s.make("GetDeploymentStatus", v); status["DeploymentStatus"] {
		case "Failure":
			s.t.Fatal(status)
		case "InProgress":
			return true
		}
		return false
	})
}

var refusals = []refusal{
	{
		op: "CreateDeployment", what: "a type that is none", body: `{"DeploymentType":"Deploy","GroupVersionId":"{GroupVersionId}"}`,
		want: "400 InvalidInputException: That deployment type is not valid.  Please specify one of the following types: {NewDeployment,Redeployment,ResetDeployment,ForceResetDeployment}.",
	},
	{
		op: "CreateDeployment", what: "a reset", body: `{"DeploymentType":"ResetDeployment"}`,
		want: "400 InvalidInputException: That deployment type is not valid here. Reset a group's deployments with ResetDeployments.",
	},
	{
		op: "CreateDeployment", what: "no version", body: `{"DeploymentType":"NewDeployment"}`,
		want: "400 InvalidInputException: Your request is missing the following required parameter(s): {GroupVersionId}.",
	},
	{
		op: "CreateDeployment", what: "again, but not what", body: `{"DeploymentType":"Redeployment"}`,
		want: "400 InvalidInputException: Your request is missing the following required parameter(s): {DeploymentId}.",
	},
	{
		op: "CreateDeployment", what: "again what never was", body: `{"DeploymentType":"Redeployment","DeploymentId":"` + never + `"}`,
		want: "400 InvalidInputException: Deployment ID '" + never + "' is invalid.",
	},
	{
		op: "CreateDeployment", what: "a version that is not there", body: `{"DeploymentType":"NewDeployment","GroupVersionId":"` + never + `"}`,
		want: "404 ResourceNotFoundException: Version " + never + " of Group Definition {GroupId} does not exist.",
	},
	{
		op: "CreateDeployment", what: "a version without a core",
		given: func(s *site, v map[string]string) {
			v["GroupVersionId"] = s.makeOf("CreateGroupVersion", v, `{}`)["Version"].(string)
		},
		want: `400 MissingCoreException: {"ErrorDetails": [{"DetailedErrorCode": "GG-303", "DetailedErrorMessage": "You need a Greengrass Core in this Group before you can deploy."}]}`,
	},
	{
		op: "ResetDeployments", what: "never deployed", body: `{"Force":false}`,
		want: "404 ResourceNotFoundException: Group id: {GroupId} has not been deployed or has already been reset.",
	},
	{
		op: "ResetDeployments", what: "a deployment is under way", body: `{"Force":false}`,
		given: deployed,
		want:  "400 ConcurrentDeployment: A deployment of this group is Building or InProgress. Wait until it has ended, or reset with Force.",
	},
	{op: "GetAssociatedRole", what: "no role", given: after("DisassociateRoleFromGroup"), want: "404 : You need to attach an IAM role to this deployment group."},
	{op: "GetServiceRoleForAccount", what: "no role", given: after("DisassociateServiceRoleFromAccount"), want: "404 : You need to attach a service role to this account."},
	{op: "AssociateRoleToGroup", what: "a role that is none", body: `{"RoleArn":"role/r"}`, want: "400 BadRequestException: That role ARN is invalid."},
	{op: "AssociateServiceRoleToAccount", what: "a role that is none", body: `{"RoleArn":"arn:aws:s3:::bucket"}`, want: "400 BadRequestException: That role ARN is invalid."},
	{op: "StartBulkDeployment", what: "a role that is none", body: `{"ExecutionRoleArn":"r","InputFileUri":"s3://fleet/records"}`, want: "400 BadRequestException: That role ARN is invalid."},
	{
		op: "StartBulkDeployment", what: "input elsewhere", body: `{"ExecutionRoleArn":"{role}","InputFileUri":"http://169.254.169.254/latest/meta-data"}`,
		want: `400 BadRequestException: InputFileUri "http://169.254.169.254/latest/meta-data" is neither s3://bucket/key nor https://bucket.s3.us-east-1.amazonaws.com/key.`,
	},
	{
		op: "StartBulkDeployment", what: "another has not ended", given: after("StartBulkDeployment"),
		want: "400 ConcurrentDeployment: Concurrent Deployment Error: another bulk deployment of this account and Region has not ended. Wait until it has, or end it with StopBulkDeployment.",
	},
	{
		op: "StopBulkDeployment", what: "it has ended", given: func(s *site, _ map[string]string) { s.endBulk() },
		want: "400 InvalidInputException: Cannot change state of finished execution.",
	},
	{
		op: "UpdateConnectivityInfo", what: "eleven endpoints",
		body: `{"ConnectivityInfo":[` + strings.TrimSuffix(strings.Repeat(`{"Id":"e","HostAddress":"10.0.0.1","PortNumber":8883},`, 11), ",") + `]}`,
		want: "400 BadRequestException: Too many items in the Connectivity Information list. You can store a maximum of 10 endpoints.",
	},
	{
		op: "UpdateConnectivityInfo", what: "a port that is none", body: `{"ConnectivityInfo":[{"Id":"e","HostAddress":"10.0.0.1","PortNumber":70000}]}`,
		want: `400 BadRequestException: The PortNumber 70000 of "e" is not between 1 and 65535.`,
	},
	{
		op: "UpdateGroupCertificateConfiguration", what: "too short a life", body: `{"CertificateExpiryInMilliseconds":"604799999"}`,
		want: "400 BadRequestException: CertificateExpiryInMilliseconds 604799999 is not between 604800000 (7 days) and 2592000000 (30 days).",
	},
	{
		op: "UpdateThingRuntimeConfiguration", what: "telemetry that is neither", body: `{"TelemetryConfiguration":{"Telemetry":"Loud"}}`,
		want: `400 BadRequestException: Telemetry "Loud" is not one of On and Off.`,
	},
	{
		op: "CreateSoftwareUpdateJob", what: "an architecture that is none",
		want: `400 InvalidInputException: UpdateTargetsOperatingSystem/UpdateTargetsArchitecture "ubuntu/m68k" is not one of ubuntu/x86_64, ubuntu/aarch64, amazon_linux/x86_64, raspbian/armv7l, raspbian/armv6l, openwrt/aarch64, openwrt/armv7l.`,
		body: `{"S3UrlSignerRole":"{role}","SoftwareToUpdate":"core","UpdateTargets":["arn:aws:iot:us-east-1:123456789012:thing/{ThingName}"],
			"UpdateTargetsArchitecture":"m68k","UpdateTargetsOperatingSystem":"ubuntu"}`,
	},
	{
		op: "CreateSoftwareUpdateJob", what: "a role that is none", want: `400 InvalidInputException: S3UrlSignerRole "r" is not the ARN of a role.`,
		body: `{"S3UrlSignerRole":"r","SoftwareToUpdate":"core","UpdateTargets":["arn:aws:iot:us-east-1:123456789012:thing/{ThingName}"],
			"UpdateTargetsArchitecture":"x86_64","UpdateTargetsOperatingSystem":"ubuntu"}`,
	},
	{
		op: "CreateSoftwareUpdateJob", what: "a target that is not there",
		want: `400 InvalidInputException: Target "arn:aws:iot:us-east-1:123456789012:thing/nobody" does not exist.`,
		body: `{"S3UrlSignerRole":"{role}","SoftwareToUpdate":"core","UpdateTargets":["arn:aws:iot:us-east-1:123456789012:thing/nobody"],
			"UpdateTargetsArchitecture":"x86_64","UpdateTargetsOperatingSystem":"ubuntu"}`,
	},
	{op: "TagResource", what: "a reserved key", body: `{"tags":{"aws:a":"b"}}`, want: reservedTag},
	{op: "TagResource", what: "too long a value", body: `{"tags":{"a":"` + strings.Repeat("x", 257) + `"}}`, want: `400 BadRequestException: The value of the tag "a" has more than 256 characters.`},
	{op: "DeleteGroup", what: "it is deployed", given: deployed,
		want: "400 BadRequestException: Group {GroupId} is deployed or has a deployment that has not ended. Reset its deployments with ResetDeployments and wait for Success before you delete it."},
}

// faults are versions that are refused when they are made, alone or with their
// container, by the problems that the answer lists.
var faults = []struct{ noun, what, version, problems string }{
	{
		"Group", "references that do not resolve",
		`{"CoreDefinitionVersionArn":"` + definition + `cores/` + never + `/versions/` + never + `","DeviceDefinitionVersionArn":"x","FunctionDefinitionVersionArn":"x",
			"ResourceDefinitionVersionArn":"x","SubscriptionDefinitionVersionArn":"x"}`,
		"Cores definition reference does not exist, Lambda definition reference does not exist, Resource definition reference does not exist, Devices definition reference does not exist, Subscription definition reference does not exist",
	},
	{"Group", "references of another kind", `{"DeviceDefinitionVersionArn":"{cores}"}`, "Devices definition reference does not exist"},
	{
		"CoreDefinition", "two cores", `{"Cores":[{"Id":"a","CertificateArn":"{certificate}","ThingArn":"arn:aws:iot:us-east-1:123456789012:thing/a"},
			{"Id":"b","CertificateArn":"{certificate}","ThingArn":"arn:aws:iot:us-east-1:123456789012:thing/b"}]}`,
		"A core definition version may have only one core, but has 2",
	},
	{
		"DeviceDefinition", "no identity", `{"Devices":[{"Id":"d","CertificateArn":"c","ThingArn":"t"}]}`,
		"ThingArn of 'd' is invalid: 't', CertificateArn of 'd' is invalid: 'c'",
	},
	{"FunctionDefinition", "an isolation of the group", `{"DefaultConfig":{"Execution":{"IsolationMode":"VM"}}}`, "Your 'IsolationMode' configuration for the group is invalid."},
	{
		"FunctionDefinition", "an isolation", lambda(`{"Environment":{"Execution":{"IsolationMode":"VM"}}}`),
		"Your 'IsolationMode' configuration for function with arn " + someLambda + " is invalid.",
	},
	{
		"FunctionDefinition", "what only a container has", lambda(`{"MemorySize":16384,"Environment":{"AccessSysfs":true,"Execution":{"IsolationMode":"NoContainer"}}}`),
		"MemorySize configuration for function with arn " + someLambda + " is not allowed in IsolationMode=NoContainer., Access Sysfs configuration for function with arn " + someLambda + " is not allowed in IsolationMode=NoContainer.",
	},
	{
		"FunctionDefinition", "a container without memory", lambda(`{"Timeout":3}`),
		"MemorySize configuration for function with arn " + someLambda + " is required in IsolationMode=GreengrassContainer.",
	},
	{
		"FunctionDefinition", "execution of a system function",
		`{"Functions":[{"Id":"d","FunctionArn":"arn:aws:lambda:::function:GGIPDetector:1","FunctionConfiguration":{"Environment":{"Execution":{"IsolationMode":"NoContainer"}}}}]}`,
		"Execution configuration for function with arn arn:aws:lambda:::function:GGIPDetector:1 is not allowed.",
	},
	{"ResourceDefinition", "a volume of /sys", local(`"LocalVolumeResourceData":{"SourcePath":"/sys/class","DestinationPath":"/d"}`), "Accessing /sys is prohibited"},
	{"ResourceDefinition", "a device outside /dev", local(`"LocalDeviceResourceData":{"SourcePath":"/foo"}`), "Device resource path should begin with /dev, but got: /foo"},
	{
		"ResourceDefinition", "a volume at two places", local(`"LocalVolumeResourceData":{"SourcePath":"/a","DestinationPath":"/x"}`, `"LocalVolumeResourceData":{"SourcePath":"/a","DestinationPath":"/y"}`),
		"Volume '/a' is given two destinations by the resources 'r0' and 'r1'",
	},
	{
		"ResourceDefinition", "a device twice", local(`"LocalDeviceResourceData":{"SourcePath":"/dev/a"}`, `"LocalDeviceResourceData":{"SourcePath":"/dev/a"}`),
		"Resources 'r0' and 'r1' have the same device path '/dev/a'",
	},
	{
		"ResourceDefinition", "two models at a place", local(`"S3MachineLearningModelResourceData":{"S3Uri":"s3://b/a","DestinationPath":"/m"}`, `"S3MachineLearningModelResourceData":{"S3Uri":"s3://b/b","DestinationPath":"/m"}`),
		"Resources 'r0' and 'r1' have the same destination path '/m'",
	},
	{
		"ResourceDefinition", "a secret twice", local(`"SecretsManagerSecretResourceData":{"ARN":"a"}`, `"SecretsManagerSecretResourceData":{"ARN":"a"}`),
		"Resources 'r0' and 'r1' have the same secret 'a'",
	},
	{
		"SubscriptionDefinition", "ends that are none", `{"Subscriptions":[{"Id":"123456","Source":"foo","Subject":"a","Target":"bar"}]}`,
		"Subscription source is invalid. ID is '123456' and Source is 'foo', Subscription target is invalid. ID is '123456' and Target is 'bar'",
	},
	{
		"ConnectorDefinition", "an ARN of something else", `{"Connectors":[{"Id":"c","ConnectorArn":"` + someLambda + `"}]}`,
		"ConnectorArn of 'c' is not the ARN of a connector: '" + someLambda + "'",
	},
	{
		"LoggerDefinition", "a level that is none", `{"Loggers":[{"Id":"l","Component":"Lambda","Level":"TRACE","Type":"FileSystem","Space":1}]}`,
		"Level of logger 'l' must be one of DEBUG, INFO, WARN, ERROR, FATAL, but is 'TRACE'",
	},
	{
		"LoggerDefinition", "an Id twice", `{"Loggers":[{"Id":"l","Component":"Lambda","Level":"INFO","Type":"FileSystem","Space":1},{"Id":"l","Component":"GreengrassSystem","Level":"INFO","Type":"FileSystem","Space":1}]}`,
		"Id 'l' is used more than once",
	},
}

// lambda is a version of a function definition with one function.
func lambda(configuration string) string {
	return `{"Functions":[{"Id":"f","FunctionArn":"` + someLambda + `","FunctionConfiguration":` + configuration + `}]}`
}

// local is a version of a resource definition with the resources r0, r1 and so on.
func local(data ...string) string {
	for i, d := range data {
		data[i] = fmt.Sprintf(`{"Id":"r%d","Name":"n%d","ResourceDataContainer":{%s}}`, i, i, d)
	}
	return `{"Resources":[` + strings.Join(data, ",") + `]}`
}

// refusalsOf are an operation's: its own, and what it shares with its likes.
func refusalsOf(op operation) (list []refusal) {
	for _, r := range refusals {
		if r.op == op.Name {
			list = append(list, r)
		}
	}
	for _, k := range kinds {
		for _, f := range faults {
			want := "400 : " + k.subject + " (ErrorDetails: [" + f.problems + "])"
			switch {
			case f.noun != k.noun:
			case op.Name == "Create"+k.noun:
				list = append(list, refusal{what: f.what, body: `{"Name":"n","InitialVersion":` + f.version + `}`, want: want})
			case op.Name == "Create"+k.noun+"Version":
				list = append(list, refusal{what: f.what, body: f.version, want: want})
			}
		}
		switch op.Name {
		case "Create" + k.noun:
			list = append(list, refusal{what: "a reserved tag", body: `{"Name":"n","tags":{"aws:a":"b"}}`, want: reservedTag})
		case "Update" + k.noun:
			want := "400 InvalidContainerDefinitionException: Input does not contain any attributes to be updated"
			if k.noun == "ResourceDefinition" {
				want = "400 InvalidInputException: Invalid resource name."
			}
			list = append(list, refusal{what: "no name", body: `{}`, want: want}, refusal{what: "an empty name", body: `{"Name":""}`, want: want})
		}
	}
	if strings.HasPrefix(op.query, "MaxResults=") {
		list = append(list,
			refusal{what: "no results", query: "MaxResults=0", want: "400 BadRequestException: MaxResults '0' is not a number of at least 1."},
			refusal{what: "no number of results", query: "MaxResults=ten", want: "400 BadRequestException: MaxResults 'ten' is not a number of at least 1."},
			refusal{what: "a token that is none", query: "NextToken=ten", want: "400 BadRequestException: NextToken is not one that this API gave out for this list, or the record it stood for is gone. List again from the beginning."})
	}
	return list
}

// refused checks what a request is answered, over HTTP and through the SDK.
func (s site) refused(t *testing.T, op operation, r refusal) {
	s.t = t
	values := s.values(op)
	if r.given != nil {
		r.given(&s, values)
	}
	if r.body != "" {
		op.body = r.body
	}
	if r.query != "" {
		op.query = r.query
	}
	s.checkRefusal(op, values, s.call(op, values, fill(op.body, values), nil), r.want)
}

// TestRefusals: each row is of an operation that there is.
func TestRefusals(t *testing.T) {
	t.Parallel()
	names := rows()
	for _, r := range refusals {
		if _, ok := names[r.op]; !ok {
			t.Errorf("no operation %q", r.op)
		}
	}
	for _, f := range faults {
		if !slices.ContainsFunc(kinds, func(k kindFacts) bool { return k.noun == f.noun }) {
			t.Errorf("no kind %q", f.noun)
		}
	}
}
