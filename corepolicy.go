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
	type statement struct {
		Effect   string
		Action   []string
		Resource []string
	}
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
	things := each(p.ThingARN, core, core+"-*")
	document, err := json.Marshal(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{
		{"Allow", []string{"iot:Connect"}, each(p.ClientARN, core+"*")},
		{"Allow", []string{"iot:Publish", "iot:Receive"}, each(p.TopicARN, names...)},
		{"Allow", []string{"iot:Subscribe"}, each(p.TopicFilterARN, names...)},
		{"Allow", []string{"iot:GetThingShadow", "iot:UpdateThingShadow", "iot:DeleteThingShadow",
			"greengrass:GetConnectivityInfo", "greengrass:UpdateConnectivityInfo"}, things},
		{"Allow", []string{"greengrass:AssumeRoleForGroup", "greengrass:CreateCertificate"}, []string{"*"}},
		{"Allow", []string{"greengrass:GetDeployment", "greengrass:GetDeploymentArtifacts"}, []string{p.DeploymentARN("*", "*")}},
		{"Allow", []string{"greengrass:UpdateCoreDeploymentStatus"}, []string{p.CoreDeploymentARN("*", "*", p.ThingARN(core))}},
	}})
	if err != nil {
		panic(err) // strings always encode
	}
	return string(document)
}
