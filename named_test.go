package fescue_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

func TestNamed(t *testing.T) {
	t.Parallel()
	p := fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	for _, c := range []struct {
		kind fescue.Kind
		body string
		want []string
	}{
		{fescue.CoreKind, `{"Cores":[{"Id":"a","ThingArn":"arn:aws:iot:us-east-1:123456789012:thing/A","CertificateArn":"arn:aws:iot:us-east-1:123456789012:cert/x"},{"ThingArn":"not an ARN"}]}`,
			[]string{p.ThingARN("A"), "not an ARN"}},
		{fescue.DeviceKind, `{"Devices":[{"ThingArn":"arn:aws:iot:eu-west-1:123456789012:thing/B"}]}`, []string{"arn:aws:iot:eu-west-1:123456789012:thing/B"}},
		{fescue.FunctionKind, `{"DefaultConfig":{},"Functions":[{"FunctionArn":"arn:aws:lambda:us-east-1:123456789012:function:f:prod"},{"FunctionArn":"arn:aws:lambda:::function:GGIPDetector:1"},
			{"FunctionArn":"arn:aws:lambda:eu-west-1:123456789012:function:f:1"},{"FunctionArn":"f"}]}`,
			[]string{p.FunctionARN("f"), "arn:aws:lambda:eu-west-1:123456789012:function:f:1", "f"}},
		{fescue.ResourceKind, `{"Resources":[{"ResourceDataContainer":{"LocalVolumeResourceData":{"SourcePath":"/srv"}}},
			{"ResourceDataContainer":{"S3MachineLearningModelResourceData":{"S3Uri":"s3://models/a/b.zip"}}},
			{"ResourceDataContainer":{"SageMakerMachineLearningModelResourceData":{"SageMakerJobArn":"arn:aws:sagemaker:us-east-1:123456789012:training-job/j"}}},
			{"ResourceDataContainer":{"SecretsManagerSecretResourceData":{"ARN":"arn:aws:secretsmanager:us-east-1:123456789012:secret:s-abcdef"}}}]}`,
			[]string{p.BucketARN("models"), "arn:aws:sagemaker:us-east-1:123456789012:training-job/j", p.SecretARN("s", "abcdef")}},
		{fescue.ConnectorKind, `{"Connectors":[{"ConnectorArn":"arn:aws:greengrass:us-east-1::/connectors/X/versions/1","Parameters":{"A":"arn:aws:secretsmanager:us-east-1:123456789012:secret:s-abcdef"}},
			{"Parameters":{"B":"arn:aws:sns:us-east-1:123456789012:t"}},{"Parameters":{"C":"text"}}]}`, []string{p.SecretARN("s", "abcdef")}},
		{fescue.SubscriptionKind, `{"Subscriptions":[{"Source":"cloud","Target":"arn:aws:lambda:us-east-1:123456789012:function:f:1"}]}`, nil},
		{fescue.LoggerKind, `{"Loggers":[]}`, nil},
		{fescue.CoreKind, `{"Cores":7}`, nil},
		{fescue.CoreKind, `{`, nil},
	} {
		if diff := cmp.Diff(c.want, fescue.Named(p, c.kind, json.RawMessage(c.body))); diff != "" {
			t.Errorf("%s %s: %s", c.kind.Name, c.body, diff)
		}
	}
}
