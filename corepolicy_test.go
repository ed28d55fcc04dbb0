package fescue_test

import (
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/policy"
)

func TestCorePolicy(t *testing.T) {
	t.Parallel()
	p := fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}
	other := fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	group := "5c8d7f0e-0000-4000-8000-000000000001"
	for _, c := range []struct {
		action, resource string
		// wide is what a policy without topics allows, narrow one for mill/#,
		// alarms/+/mill and the topics of Lamp's shadows.
		wide, narrow bool
	}{
		{"iot:Connect", p.ClientARN("Mill"), true, true},
		{"iot:Connect", p.ClientARN("Mill-c01"), true, true},
		{"iot:Connect", p.ClientARN("Saw"), false, false},
		{"iot:Connect", other.ClientARN("Mill"), false, false},
		{"iot:Subscribe", p.TopicFilterARN("$aws/things/Mill-gda/shadow/update/delta"), true, true},
		{"iot:Receive", p.TopicARN("$aws/things/Mill-gda/shadow/update/delta"), true, true},
		{"iot:Publish", p.TopicARN("$aws/things/Mill/shadow/update"), true, true},
		{"iot:Publish", p.TopicARN("$aws/things/Mill2/shadow/update"), true, false},
		{"iot:Publish", p.TopicARN("mill/1/speed"), true, true},
		{"iot:Subscribe", p.TopicFilterARN("mill/#"), true, true},
		{"iot:Subscribe", p.TopicFilterARN("mill/+/speed"), true, true},
		{"iot:Publish", p.TopicARN("alarms/hot/mill"), true, true},
		{"iot:Publish", p.TopicARN("saw/speed"), true, false},
		{"iot:Subscribe", p.TopicFilterARN("#"), true, false},
		{"iot:Publish", other.TopicARN("mill/1/speed"), false, false},
		{"iot:GetThingShadow", p.ShadowARN("Mill-gda", ""), true, true},
		{"iot:UpdateThingShadow", p.ShadowARN("Mill", ""), true, true},
		{"iot:UpdateThingShadow", p.ShadowARN("Mill", "speed"), true, true},
		{"iot:UpdateThingShadow", p.ShadowARN("Saw", ""), true, false},
		{"iot:UpdateThingShadow", other.ShadowARN("Saw", ""), false, false},
		{"iot:DeleteThingShadow", p.ShadowARN("Lamp", ""), true, true},
		{"iot:UpdateThingShadow", p.ShadowARN("Lamp", "night"), true, true},
		{"iot:ListNamedShadowsForThing", p.ThingARN("Lamp"), true, true},
		{"iot:GetThingShadow", p.ShadowARN("Lamp2", ""), true, false},
		{"iot:GetThingShadow", p.ShadowARN("Fan", ""), true, false},
		{"iot:Subscribe", p.TopicFilterARN("$aws/things/Lamp/shadow/name/+/+/accepted"), true, true},
		{"greengrass:GetDeployment", p.DeploymentARN(group, group), true, true},
		{"greengrass:GetDeploymentArtifacts", p.DeploymentARN(group, group), true, true},
		{"greengrass:UpdateCoreDeploymentStatus", p.CoreDeploymentARN(group, group, p.ThingARN("Mill")), true, true},
		{"greengrass:UpdateCoreDeploymentStatus", p.CoreDeploymentARN(group, group, p.ThingARN("Saw")), false, false},
		{"greengrass:UpdateConnectivityInfo", p.ThingARN("Mill"), true, true},
		{"greengrass:UpdateConnectivityInfo", p.ThingARN("Saw"), false, false},
		{"greengrass:Discover", p.ThingARN("Mill"), false, false},
		{"greengrass:CreateDeployment", p.DeploymentARN(group, group), false, false},
		{"iot:CreateThing", p.ThingARN("Mill"), false, false},
	} {
		for _, document := range []struct {
			text    string
			allowed bool
		}{
			{fescue.CorePolicy(p, "Mill", nil), c.wide},
			{fescue.CorePolicy(p, "Mill", []string{"mill/#", "alarms/+/mill", "$aws/things/Lamp/shadow/#", "$aws/things/Fan/jobs/#"}), c.narrow},
		} {
			parsed, err := policy.Parse(document.text)
			if err != nil {
				t.Fatal(err)
			}
			got := policy.Set{parsed}.Evaluate(policy.Request{Action: c.action, Resource: c.resource})
			if (got == policy.Allowed) != document.allowed {
				t.Errorf("%s on %s: %v of %s", c.action, c.resource, got, document.text)
			}
		}
	}
	longest := fescue.CorePolicy(fescue.Partition{AWS: "aws-us-gov", Account: "123456789012", Region: "us-gov-west-1"}, strings.Repeat("x", 124), nil)
	if n := policy.Size(longest); n > policy.MaxIoTDocument {
		t.Errorf("the policy of the core with the longest name has %d characters", n)
	}
}
