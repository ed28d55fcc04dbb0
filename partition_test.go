package fescue_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
)

var home = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}

func TestPartitionValidate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		p   fescue.Partition
		err string
	}{
		{home, ""},
		{fescue.Partition{"aws-cn", "000000000000", "cn-north-1"}, ""},
		{fescue.Partition{"aws-us-gov", "123456789012", "us-gov-west-1"}, ""},
		{fescue.Partition{"", "123456789012", "us-east-1"}, "partition"},
		{fescue.Partition{"AWS", "123456789012", "us-east-1"}, "partition"},
		{fescue.Partition{"aws-iso", "123456789012", "us-east-1"}, "partition"},
		{fescue.Partition{"aws", "12345678901", "us-east-1"}, "account"},
		{fescue.Partition{"aws", "1234567890123", "us-east-1"}, "account"},
		{fescue.Partition{"aws", "12345678901a", "us-east-1"}, "account"},
		{fescue.Partition{"aws", "123456789012\n", "us-east-1"}, "account"},
		{fescue.Partition{"aws", "١٢٣٤٥٦٧٨٩٠١٢", "us-east-1"}, "account"},
		{fescue.Partition{"aws", "123456789012", ""}, "region"},
		{fescue.Partition{"aws", "123456789012", "us-east"}, "region"},
		{fescue.Partition{"aws", "123456789012", "us-east-1/x"}, "region"},
		{fescue.Partition{"aws", "123456789012", "us-east-1\n"}, "region"},
		{fescue.Partition{"aws", "123456789012", "US-EAST-1"}, "region"},
		{fescue.Partition{"aws", "123456789012", "us-+-1"}, "region"},
	} {
		t.Run(c.p.AWS+" "+c.p.Key(), func(t *testing.T) {
			t.Parallel()
			err := c.p.Validate()
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func TestPartitionNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ what, got, want string }{
		{"key", home.Key(), "123456789012/us-east-1"},
		{"string", home.String(), "123456789012/us-east-1"},
		{"thing", home.ThingARN("a:b"), "arn:aws:iot:us-east-1:123456789012:thing/a:b"},
		{"certificate", home.CertificateARN("ff"), "arn:aws:iot:us-east-1:123456789012:cert/ff"},
		{"policy", home.PolicyARN("p"), "arn:aws:iot:us-east-1:123456789012:policy/p"},
		{"client", home.ClientARN("c"), "arn:aws:iot:us-east-1:123456789012:client/c"},
		{"topic", home.TopicARN("a/b"), "arn:aws:iot:us-east-1:123456789012:topic/a/b"},
		{"topic filter", home.TopicFilterARN("a/+"), "arn:aws:iot:us-east-1:123456789012:topicfilter/a/+"},
		{"function", home.FunctionARN("f"), "arn:aws:lambda:us-east-1:123456789012:function:f"},
		{"group", home.DefinitionARN(fescue.GroupKind, "g"), "arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/g"},
		{"group version", home.VersionARN(fescue.GroupKind, "g", "v"), "arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/g/versions/v"},
		{"definition", home.DefinitionARN(fescue.CoreKind, "d"), "arn:aws:greengrass:us-east-1:123456789012:/greengrass/definition/cores/d"},
		{"definition version", home.VersionARN(fescue.LoggerKind, "d", "v"), "arn:aws:greengrass:us-east-1:123456789012:/greengrass/definition/loggers/d/versions/v"},
		{"deployment", home.DeploymentARN("g", "d"), "arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/g/deployments/d"},
		{
			"core deployment", home.CoreDeploymentARN("g", "d", home.ThingARN("c")),
			"arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/g/deployments/d/cores/arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Athing%2Fc",
		},
		{"artifact", home.ArtifactARN("g", "d", "lambda", "x"), "arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/g/deployments/d/artifacts/lambda/x"},
		{"another AWS", fescue.Partition{"aws-cn", "123456789012", "cn-north-1"}.ThingARN("t"), "arn:aws-cn:iot:cn-north-1:123456789012:thing/t"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.what, c.got, c.want)
		}
	}
}

func TestParseARN(t *testing.T) {
	t.Parallel()
	t.Run("parts", func(t *testing.T) {
		t.Parallel()
		for text, want := range map[string]fescue.ARN{
			"arn:aws:iot:us-east-1:123456789012:thing/a:b":    {"aws", "iot", "us-east-1", "123456789012", "thing/a:b"},
			"arn:aws:lambda:::function:GGIPDetector:1":        {"aws", "lambda", "", "", "function:GGIPDetector:1"},
			"arn:aws:s3:::bucket/key":                         {"aws", "s3", "", "", "bucket/key"},
			"arn:aws-us-gov:greengrass:us-gov-west-1::/x:y::": {"aws-us-gov", "greengrass", "us-gov-west-1", "", "/x:y::"},
		} {
			got, err := fescue.ParseARN(text)
			if err != nil || got != want {
				t.Errorf("%s: %+v, %v", text, got, err)
			}
			if got.String() != text {
				t.Errorf("%s is printed as %s", text, got)
			}
		}
	})
	t.Run("malformed", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{
			"", "arn", "arn:", "arn:aws", "arn:aws:iot:us-east-1:123456789012", "arn:aws:iot:us-east-1:123456789012:",
			"ARN:aws:iot:us-east-1:123456789012:thing/a", " arn:aws:iot:us-east-1:123456789012:thing/a",
			"arn::iot:us-east-1:123456789012:thing/a", "arn:aws::us-east-1:123456789012:thing/a", "thing/a", ":::::",
		} {
			if got, err := fescue.ParseARN(text); !errors.Is(err, fescue.ErrARN) || got != (fescue.ARN{}) {
				t.Errorf("%q: %+v, %v", text, got, err)
			}
		}
	})
	t.Run("partition", func(t *testing.T) {
		t.Parallel()
		arn, err := fescue.ParseARN(home.ThingARN("t"))
		if err != nil || arn.Partition() != home {
			t.Errorf("%v, %v", arn.Partition(), err)
		}
	})
}

func TestARNNames(t *testing.T) {
	t.Parallel()
	const prefix = ":us-east-1:123456789012:"
	for _, c := range []struct{ arn, thing, cert, function, qualifier string }{
		{arn: "arn:aws:iot" + prefix + "thing/t:1", thing: "t:1"},
		{arn: "arn:aws:iot" + prefix + "thing/"},
		{arn: "arn:aws:iot" + prefix + "thing"},
		{arn: "arn:aws:iot" + prefix + "things/t"},
		{arn: "arn:aws:lambda" + prefix + "thing/t"},
		{arn: "arn:aws:iot" + prefix + "cert/ff", cert: "ff"},
		{arn: "arn:aws:iot" + prefix + "cert/"},
		{arn: "arn:aws:acm" + prefix + "cert/ff"},
		{arn: "arn:aws:lambda" + prefix + "function:f", function: "f"},
		{arn: "arn:aws:lambda" + prefix + "function:f:3", function: "f", qualifier: "3"},
		{arn: "arn:aws:lambda" + prefix + "function:f:live", function: "f", qualifier: "live"},
		{arn: "arn:aws:lambda:::function:GGCloudSpooler:1", function: "GGCloudSpooler", qualifier: "1"},
		{arn: "arn:aws:lambda" + prefix + "function:"},
		{arn: "arn:aws:lambda" + prefix + "function::3"},
		{arn: "arn:aws:lambda" + prefix + "layer:f:3"},
		{arn: "arn:aws:iot" + prefix + "function:f:3"},
	} {
		t.Run(c.arn, func(t *testing.T) {
			t.Parallel()
			arn, err := fescue.ParseARN(c.arn)
			if err != nil {
				t.Fatal(err)
			}
			if thing, ok := arn.ThingName(); ok != (c.thing != "") || ok && thing != c.thing {
				t.Errorf("thing %q, %v", thing, ok)
			}
			if cert, ok := arn.CertificateID(); ok != (c.cert != "") || ok && cert != c.cert {
				t.Errorf("certificate %q, %v", cert, ok)
			}
			name, qualifier, ok := arn.Function()
			if ok != (c.function != "") || ok && (name != c.function || qualifier != c.qualifier) {
				t.Errorf("function %q, %q, %v", name, qualifier, ok)
			}
		})
	}
}

func FuzzParseARN(f *testing.F) {
	for _, s := range []string{"", "arn:aws:iot:us-east-1:123456789012:thing/t", "arn:aws:lambda:::function:f:1", "arn:a:b:::::", "arn:\x00:\xff:::x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		arn, err := fescue.ParseARN(s)
		if err != nil {
			if !errors.Is(err, fescue.ErrARN) {
				t.Errorf("error %v", err)
			}
			return
		}
		if arn.String() != s {
			t.Errorf("%q is printed as %q", s, arn)
		}
		if name, qualifier, ok := arn.Function(); ok && (name == "" || strings.Contains(name, ":")) {
			t.Errorf("function %q, %q of %q", name, qualifier, s)
		}
		if thing, ok := arn.ThingName(); ok && arn.Partition().ThingARN(thing) != s {
			t.Errorf("thing %q of %q", thing, s)
		}
	})
}
