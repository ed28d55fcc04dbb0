package definitions_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/definitions"
)

const (
	thing     = `"arn:aws:iot:us-east-1:123456789012:thing/t"`
	cert      = `"arn:aws:iot:us-east-1:123456789012:cert/c"`
	identity  = `,"ThingArn":` + thing + `,"CertificateArn":` + cert
	fn        = "arn:aws:lambda:us-east-1:123456789012:function:f:1"
	detector  = "arn:aws:lambda:::function:GGIPDetector:1"
	streams   = "arn:aws:lambda:::function:GGStreamManager:1"
	badID     = " is invalid. It must have 1 to 128 characters of [a-zA-Z0-9:_-]"
	connector = `"arn:aws:greengrass:us-east-1::/connectors/SNS/versions/1"`
)

func function(configuration string) string {
	return `{"Functions":[{"Id":"f","FunctionArn":"` + fn + `","FunctionConfiguration":` + configuration + `}]}`
}

// resources are r0, r1 and so on.
func resources(data ...string) string {
	var list []string
	for i, d := range data {
		list = append(list, fmt.Sprintf(`{"Id":"r%d","Name":"n%d","ResourceDataContainer":%s}`, i, i, d))
	}
	return `{"Resources":[` + strings.Join(list, ",") + `]}`
}

func resource(data string) string {
	return `{"Resources":[{"Id":"r","Name":"n","ResourceDataContainer":` + data + `}]}`
}

func subscription(source, subject, target string) string {
	return `{"Subscriptions":[{"Id":"s","Source":"` + source + `","Subject":"` + subject + `","Target":"` + target + `"}]}`
}

func logger(members string) string {
	return `{"Loggers":[{"Id":"l",` + members + `}]}`
}

// rules are bodies with the problems that are found in them, none for a valid
// body.
var rules = []struct {
	kind     fescue.Kind
	name     string
	body     string
	problems []string
}{
	{fescue.CoreKind, "one core", `{"Cores":[{"Id":"a","SyncShadow":true` + identity + `}]}`, nil},
	{fescue.CoreKind, "no core", `{"Cores":[]}`, nil},
	{fescue.CoreKind, "two cores", `{"Cores":[{"Id":"a"` + identity + `},{"Id":"b"` + identity + `}]}`, []string{"A core definition version may have only one core, but has 2"}},
	{fescue.CoreKind, "nothing given", `{"Cores":[{}]}`, []string{"Id ''" + badID, "ThingArn of '' is invalid: ''", "CertificateArn of '' is invalid: ''"}},
	{fescue.CoreKind, "ARNs exchanged", `{"Cores":[{"Id":"a","ThingArn":` + cert + `,"CertificateArn":` + thing + `}]}`, []string{
		"ThingArn of 'a' is not the ARN of a thing: 'arn:aws:iot:us-east-1:123456789012:cert/c'",
		"CertificateArn of 'a' is not the ARN of a certificate: 'arn:aws:iot:us-east-1:123456789012:thing/t'",
	}},

	{fescue.DeviceKind, "two devices", `{"Devices":[{"Id":"a"` + identity + `},{"Id":"b"` + identity + `}]}`, nil},
	{fescue.DeviceKind, "the same Id", `{"Devices":[{"Id":"a"` + identity + `},{"Id":"a"` + identity + `},{"Id":"a"` + identity + `}]}`, []string{"Id 'a' is used more than once", "Id 'a' is used more than once"}},
	{fescue.DeviceKind, "Ids in two cases", `{"Devices":[{"Id":"a"` + identity + `},{"Id":"A"` + identity + `}]}`, nil},
	{fescue.DeviceKind, "longest Id", `{"Devices":[{"Id":"` + strings.Repeat("x", 128) + `"` + identity + `}]}`, nil},
	{fescue.DeviceKind, "Id too long", `{"Devices":[{"Id":"` + strings.Repeat("x", 129) + `"` + identity + `}]}`, []string{"Id '" + strings.Repeat("x", 129) + "'" + badID}},
	{fescue.DeviceKind, "Id with a slash", `{"Devices":[{"Id":"../a"` + identity + `}]}`, []string{"Id '../a'" + badID}},
	{fescue.DeviceKind, "null device", `{"Devices":[null]}`, []string{"Id ''" + badID, "ThingArn of '' is invalid: ''", "CertificateArn of '' is invalid: ''"}},

	{fescue.FunctionKind, "in a container", function(`{"MemorySize":16384,"Timeout":3}`), nil},
	{fescue.FunctionKind, "container without memory", function(`{"Timeout":3}`), []string{"MemorySize configuration for function with arn " + fn + " is required in IsolationMode=GreengrassContainer."}},
	{fescue.FunctionKind, "without a container", function(`{"Environment":{"Execution":{"IsolationMode":"NoContainer"}}}`), nil},
	{fescue.FunctionKind, "memory without a container", function(`{"MemorySize":1,"Environment":{"AccessSysfs":true,"Execution":{"IsolationMode":"NoContainer"}}}`), []string{
		"MemorySize configuration for function with arn " + fn + " is not allowed in IsolationMode=NoContainer.",
		"Access Sysfs configuration for function with arn " + fn + " is not allowed in IsolationMode=NoContainer.",
	}},
	{fescue.FunctionKind, "group without containers", `{"DefaultConfig":{"Execution":{"IsolationMode":"NoContainer"}},"Functions":[{"Id":"f","FunctionArn":"` + fn + `","FunctionConfiguration":{}}]}`, nil},
	{fescue.FunctionKind, "a container in such a group", `{"DefaultConfig":{"Execution":{"IsolationMode":"NoContainer"}},"Functions":[{"Id":"f","FunctionArn":"` + fn + `","FunctionConfiguration":{"Environment":{"Execution":{"IsolationMode":"GreengrassContainer"}}}}]}`, []string{
		"MemorySize configuration for function with arn " + fn + " is required in IsolationMode=GreengrassContainer.",
	}},
	{fescue.FunctionKind, "unknown mode of the group", `{"DefaultConfig":{"Execution":{"IsolationMode":"nocontainer"}},"Functions":[]}`, []string{"Your 'IsolationMode' configuration for the group is invalid."}},
	{fescue.FunctionKind, "unknown mode of a function", function(`{"Environment":{"Execution":{"IsolationMode":"Docker"}}}`), []string{"Your 'IsolationMode' configuration for function with arn " + fn + " is invalid."}},
	{fescue.FunctionKind, "no configuration", `{"Functions":[{"Id":"f","FunctionArn":"` + fn + `"}]}`, nil},
	{fescue.FunctionKind, "no ARN", `{"Functions":[{"Id":"f"}]}`, []string{"FunctionArn of 'f' is not the ARN of a Lambda function: ''"}},
	{fescue.FunctionKind, "a thing's ARN", `{"Functions":[{"Id":"f","FunctionArn":` + thing + `}]}`, []string{"FunctionArn of 'f' is not the ARN of a Lambda function: 'arn:aws:iot:us-east-1:123456789012:thing/t'"}},
	{fescue.FunctionKind, "encoding", function(`{"MemorySize":1,"EncodingType":"text"}`), []string{"EncodingType of function with arn " + fn + " must be json or binary, but is 'text'"}},
	{fescue.FunctionKind, "no time", function(`{"MemorySize":1,"Timeout":0}`), []string{"Timeout of function with arn " + fn + " must be at least 1 second, but is 0"}},
	{fescue.FunctionKind, "attached resources", function(`{"MemorySize":1,"Environment":{"ResourceAccessPolicies":[{"ResourceId":"r","Permission":"rw"},{"ResourceId":"s"}]}}`), nil},
	{fescue.FunctionKind, "unknown permission", function(`{"MemorySize":1,"Environment":{"ResourceAccessPolicies":[{"ResourceId":"r","Permission":"RW"}]}}`), []string{"Permission of resource 'r' for function with arn " + fn + " must be ro or rw, but is 'RW'"}},
	{fescue.FunctionKind, "an attachment to nothing", function(`{"MemorySize":1,"Environment":{"ResourceAccessPolicies":[null]}}`), []string{"A resource access policy of function with arn " + fn + " has no ResourceId"}},
	{fescue.FunctionKind, "stream manager on demand", `{"Functions":[{"Id":"s","FunctionArn":"` + streams + `","FunctionConfiguration":{"Pinned":false}}]}`, []string{"Pinned of function with arn " + streams + " must be true"}},
	{fescue.FunctionKind, "stream manager", `{"Functions":[{"Id":"s","FunctionArn":"` + streams + `","FunctionConfiguration":{"Pinned":true}}]}`, nil},
	{fescue.FunctionKind, "system functions", `{"Functions":[{"Id":"d","FunctionArn":"` + detector + `","FunctionConfiguration":{}},{"Id":"s","FunctionArn":"arn:aws:lambda:::function:GGStreamManager:1","FunctionConfiguration":{"Environment":{"Execution":{"IsolationMode":"NoContainer"}}}}]}`, nil},
	{fescue.FunctionKind, "execution of a system function", `{"Functions":[{"Id":"d","FunctionArn":"` + detector + `","FunctionConfiguration":{"Environment":{"Execution":{}}}}]}`, []string{"Execution configuration for function with arn " + detector + " is not allowed."}},
	{fescue.FunctionKind, "execution of a namesake", `{"Functions":[{"Id":"d","FunctionArn":"arn:aws:lambda:us-east-1:123456789012:function:GGIPDetector:1","FunctionConfiguration":{"MemorySize":1,"Environment":{"Execution":{}}}}]}`, nil},

	{fescue.ResourceKind, "a device", resource(`{"LocalDeviceResourceData":{"SourcePath":"/dev/ttyS1"}}`), nil},
	{fescue.ResourceKind, "a device elsewhere", resource(`{"LocalDeviceResourceData":{"SourcePath":"/srv/dev/x"}}`), []string{"Device resource path should begin with /dev, but got: /srv/dev/x"}},
	{fescue.ResourceKind, "a device by a detour", resource(`{"LocalDeviceResourceData":{"SourcePath":"/dev/../etc/passwd"}}`), []string{"Device resource path should begin with /dev, but got: /dev/../etc/passwd"}},
	{fescue.ResourceKind, "a device without a path", resource(`{"LocalDeviceResourceData":{}}`), []string{"Device resource path should begin with /dev, but got: "}},
	{fescue.ResourceKind, "/devices", resource(`{"LocalDeviceResourceData":{"SourcePath":"/devices/x"}}`), []string{"Device resource path should begin with /dev, but got: /devices/x"}},
	{fescue.ResourceKind, "a volume", resource(`{"LocalVolumeResourceData":{"SourcePath":"/system","DestinationPath":"/d"}}`), nil},
	{fescue.ResourceKind, "/sys", resource(`{"LocalVolumeResourceData":{"SourcePath":"/sys"}}`), []string{"Accessing /sys is prohibited"}},
	{fescue.ResourceKind, "below /sys", resource(`{"LocalVolumeResourceData":{"SourcePath":"/sys/class"}}`), []string{"Accessing /sys is prohibited"}},
	{fescue.ResourceKind, "/sys by a detour", resource(`{"LocalVolumeResourceData":{"SourcePath":"/srv/..//sys/."}}`), []string{"Accessing /sys is prohibited"}},
	{fescue.ResourceKind, "a volume of no certain place", resource(`{"LocalVolumeResourceData":{"SourcePath":"srv","DestinationPath":"d"}}`), []string{"SourcePath of 'r' must be an absolute path, but is 'srv'", "DestinationPath of 'r' must be an absolute path, but is 'd'"}},
	{fescue.ResourceKind, "a model's owner", resource(`{"S3MachineLearningModelResourceData":{"OwnerSetting":{"GroupOwner":"g","GroupPermission":"all"}}}`), []string{"GroupPermission of 'r' must be ro or rw, but is 'all'"}},
	{fescue.ResourceKind, "two devices", resources(`{"LocalDeviceResourceData":{"SourcePath":"/dev/a"}}`, `{"LocalDeviceResourceData":{"SourcePath":"/dev/b"}}`), nil},
	{fescue.ResourceKind, "a device twice", resources(`{"LocalDeviceResourceData":{"SourcePath":"/dev/a"}}`, `{"LocalDeviceResourceData":{"SourcePath":"/dev//a"}}`),
		[]string{"Resources 'r0' and 'r1' have the same device path '/dev/a'"}},
	{fescue.ResourceKind, "a volume at two places", resources(`{"LocalVolumeResourceData":{"SourcePath":"/a","DestinationPath":"/x"}}`, `{"LocalVolumeResourceData":{"SourcePath":"/a/","DestinationPath":"/y"}}`),
		[]string{"Volume '/a' is given two destinations by the resources 'r0' and 'r1'"}},
	{fescue.ResourceKind, "a volume twice at one place", resources(`{"LocalVolumeResourceData":{"SourcePath":"/a","DestinationPath":"/x"}}`, `{"LocalVolumeResourceData":{"SourcePath":"/a","DestinationPath":"/x"}}`), nil},
	{fescue.ResourceKind, "two models at a place", resources(`{"S3MachineLearningModelResourceData":{"S3Uri":"s3://b/a","DestinationPath":"/m"}}`, `{"SageMakerMachineLearningModelResourceData":{"DestinationPath":"/m"}}`),
		[]string{"Resources 'r0' and 'r1' have the same destination path '/m'"}},
	{fescue.ResourceKind, "a model at two places", resources(`{"S3MachineLearningModelResourceData":{"S3Uri":"s3://b/a","DestinationPath":"/m"}}`, `{"S3MachineLearningModelResourceData":{"S3Uri":"s3://b/a","DestinationPath":"/n"}}`), nil},
	{fescue.ResourceKind, "a secret twice", resources(`{"SecretsManagerSecretResourceData":{"ARN":"a"}}`, `{"SecretsManagerSecretResourceData":{"ARN":"a","AdditionalStagingLabelsToDownload":["x"]}}`),
		[]string{"Resources 'r0' and 'r1' have the same secret 'a'"}},
	{fescue.ResourceKind, "no data", resource(`{}`), []string{"ResourceDataContainer of 'r' must have exactly one member, but has 0"}},
	{fescue.ResourceKind, "two kinds of data", resource(`{"LocalVolumeResourceData":{"SourcePath":"/sys"},"SecretsManagerSecretResourceData":{}}`), []string{"ResourceDataContainer of 'r' must have exactly one member, but has 2"}},
	{fescue.ResourceKind, "a name twice", `{"Resources":[{"Id":"a","Name":"n","ResourceDataContainer":{"SecretsManagerSecretResourceData":{}}},{"Id":"n","Name":"n","ResourceDataContainer":{"SecretsManagerSecretResourceData":{}}}]}`, []string{"Name 'n' is used more than once"}},
	{fescue.ResourceKind, "no name", `{"Resources":[{"Id":"a","ResourceDataContainer":{"S3MachineLearningModelResourceData":{}}}]}`, []string{"Name ''" + badID}},

	{fescue.SubscriptionKind, "cloud to shadow", subscription("cloud", "#", "GGShadowService"), nil},
	{fescue.SubscriptionKind, "thing to function", subscription("arn:aws:iot:us-east-1:123456789012:thing/a_b:c", "a/+/b", fn), nil},
	{fescue.SubscriptionKind, "system function to connector", subscription(detector, "a", "arn:aws:greengrass:us-east-1::/connectors/SNS/versions/1"), nil},
	{fescue.SubscriptionKind, "bad ends", subscription("Cloud", "a", ""), []string{
		"Subscription source is invalid. ID is 's' and Source is 'Cloud'", "Subscription target is invalid. ID is 's' and Target is ''",
	}},
	{fescue.SubscriptionKind, "a certificate for an end", subscription("arn:aws:iot:us-east-1:123456789012:cert/c", "a", "cloud"), []string{
		"Subscription source is invalid. ID is 's' and Source is 'arn:aws:iot:us-east-1:123456789012:cert/c'",
	}},
	{fescue.SubscriptionKind, "no subject", subscription("cloud", "", "cloud"), []string{`Subscription subject is invalid. ID is 's' and Subject is '': topic filter "" is empty`}},
	{fescue.SubscriptionKind, "misplaced wildcard", subscription("cloud", "a/#/b", "cloud"), []string{`Subscription subject is invalid. ID is 's' and Subject is 'a/#/b': topic filter "a/#/b" has a misplaced wildcard: # must be the last level`}},

	{fescue.ConnectorKind, "a connector", `{"Connectors":[{"Id":"c","ConnectorArn":` + connector + `,"Parameters":{"A":""}}]}`, nil},
	{fescue.ConnectorKind, "no connector", `{"Connectors":[{"Id":"c","ConnectorArn":` + thing + `}]}`, []string{"ConnectorArn of 'c' is not the ARN of a connector: 'arn:aws:iot:us-east-1:123456789012:thing/t'"}},

	{fescue.LoggerKind, "a logger", logger(`"Component":"Lambda","Level":"FATAL","Type":"FileSystem","Space":1`), nil},
	{fescue.LoggerKind, "to CloudWatch", logger(`"Component":"GreengrassSystem","Level":"DEBUG","Type":"AWSCloudWatch"`), nil},
	{fescue.LoggerKind, "nothing known", logger(`"Component":"lambda","Level":"TRACE","Type":"Syslog","Space":0`), []string{
		"Component of logger 'l' must be one of GreengrassSystem, Lambda, but is 'lambda'",
		"Level of logger 'l' must be one of DEBUG, INFO, WARN, ERROR, FATAL, but is 'TRACE'",
		"Type of logger 'l' must be one of FileSystem, AWSCloudWatch, but is 'Syslog'",
		"Space of logger 'l' must be at least 1 KB, but is 0",
	}},
}

func TestRules(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	for _, c := range rules {
		t.Run(c.kind.Name+": "+c.name, func(t *testing.T) {
			t.Parallel()
			d, err := s.Create(ctx, here, c.kind, "", json.RawMessage(c.body), nil, fescue.Token{})
			if c.problems == nil {
				if err != nil {
					t.Fatal(err)
				}
				v, err := s.Version(ctx, here, c.kind, d.ID, d.LatestVersion)
				if err != nil {
					t.Fatal(err)
				}
				var want, got any
				if err := errors.Join(json.Unmarshal([]byte(c.body), &want), json.Unmarshal(v.Body, &got)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("it is not kept as it was given:\n%s", diff)
				}
				return
			}
			var invalid *definitions.InvalidError
			if !errors.As(err, &invalid) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(c.problems, invalid.Problems); diff != "" || invalid.Kind != c.kind {
				t.Errorf("%s: %s", invalid.Kind.Name, diff)
			}
			if !strings.Contains(err.Error(), c.problems[0]) {
				t.Errorf("%v", err)
			}
		})
	}
}
