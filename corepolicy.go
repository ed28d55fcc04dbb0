package fescue

import (
	"encoding/json"
	"strings"
)

// CorePolicy is the AWS IoT policy document with the least that a core's
// certificate has to be allowed (AWS IoT Greengrass V1 developer guide, "Minimal
// AWS IoT policy for the AWS IoT Greengrass core device"): to connect as itself,
// its own and its helpers' topics and shadows, its deployments. Beside those its
// functions may use what the topics name: MQTT filters, in which a policy takes +
// and # alike for any number of levels. Without any they may use every topic.
func CorePolicy(p Partition, core string, topics []string) string {
	names := []string{"*"}
	if len(topics) > 0 {
		names = []string{"$aws/things/" + core + "-*", "$aws/things/" + core + "/*"}
		for _, filter := range topics {
			names = append(names, strings.NewReplacer("#", "*", "+", "*").Replace(filter))
		}
	}
	each := func(arn func(string) string, names ...string) (list []string) {
		for _, name := range names {
			list = append(list, arn(name))
		}
		return list
	}
	// A core that may publish to every topic may change every shadow by that.
	shadows := []string{"*"}
	if len(topics) > 0 {
		shadows = append([]string{core, core + "/*", core + "-*"}, shadowThings(topics)...)
	}
	document, err := json.Marshal(policyDocument{"2012-10-17", []policyStatement{
		{"Allow", []string{"iot:Connect"}, each(p.ClientARN, core+"*")},
		{"Allow", []string{"iot:Publish", "iot:Receive"}, each(p.TopicARN, names...)},
		{"Allow", []string{"iot:Subscribe"}, each(p.TopicFilterARN, names...)},
		{"Allow", shadowActions, each(p.ThingARN, shadows...)},
		{"Allow", []string{"greengrass:GetConnectivityInfo", "greengrass:UpdateConnectivityInfo"}, each(p.ThingARN, core, core+"-*")},
		{"Allow", []string{"greengrass:AssumeRoleForGroup", "greengrass:CreateCertificate"}, []string{"*"}},
		{"Allow", []string{"greengrass:GetDeployment", "greengrass:GetDeploymentArtifacts"}, []string{p.DeploymentARN("*", "*")}},
		{"Allow", []string{"greengrass:UpdateCoreDeploymentStatus"}, []string{p.CoreDeploymentARN("*", "*", p.ThingARN(core))}},
	}})
	if err != nil {
		panic(err) // strings always encode
	}
	return string(document)
}

// shadowActions are what keeps shadows in step, named ones too.
var shadowActions = []string{"iot:GetThingShadow", "iot:UpdateThingShadow", "iot:DeleteThingShadow", "iot:ListNamedShadowsForThing"}

// shadowThings are the things, as resources name them, of which filters have all
// shadow topics: those whose topics a core may use it may keep in step over HTTPS, too.
func shadowThings(topics []string) (list []string) {
	for _, filter := range topics {
		levels := strings.Split(filter, "/")
		whole := len(levels) == 4 && levels[3] == "#" || len(levels) == 5 && levels[3] == "shadow" && levels[4] == "#"
		if !whole || levels[0] != "$aws" || levels[1] != "things" || levels[2] == "" {
			continue
		}
		if levels[2] == "+" {
			return []string{"*"}
		}
		list = append(list, levels[2], levels[2]+"/*")
	}
	return list
}

// DevicePolicy is the AWS IoT policy document with the least that a client device's
// certificate has to be allowed: to discover its core. It may connect to the cloud as
// itself besides, and use its own shadow there. What it may say to its core is the
// business of the group's subscriptions.
func DevicePolicy(p Partition, thing string) string {
	own := "$aws/things/" + thing + "/*"
	document, err := json.Marshal(policyDocument{"2012-10-17", []policyStatement{
		{"Allow", []string{"greengrass:Discover"}, []string{p.ThingARN(thing)}},
		{"Allow", []string{"iot:Connect"}, []string{p.ClientARN(thing)}},
		{"Allow", []string{"iot:Publish", "iot:Receive"}, []string{p.TopicARN(own)}},
		{"Allow", []string{"iot:Subscribe"}, []string{p.TopicFilterARN(own)}},
		{"Allow", shadowActions, []string{p.ThingARN(thing), p.ShadowARN(thing, "*")}},
	}})
	if err != nil {
		panic(err) // strings always encode
	}
	return string(document)
}

// policyDocument is an IoT policy as it is written.
type policyDocument struct {
	Version   string
	Statement []policyStatement
}

type policyStatement struct {
	Effect   string
	Action   []string
	Resource []string
}
