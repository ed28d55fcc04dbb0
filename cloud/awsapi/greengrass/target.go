package greengrass

import (
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

// target is what an operation acts on. The resource part of a Greengrass ARN is
// the path of the API, so a resource is the path up to its last label: the
// group of CreateDeployment, the deployment of GetDeploymentStatus.
func target(op *restjson.Operation, r *restjson.Request) awsapi.Target {
	tags := func() map[string]string { return requestTags(r.Body) }
	if arn, ok := r.Labels.Find("resource-arn"); ok {
		return awsapi.Target{Resource: arn, RequestTags: tags, RemovedTags: r.Query["tagKeys"]}
	}
	if kind, ok := kindOf(r.Label("Kind")); ok { // RestoreVersion, whose path is Fescue's own
		return awsapi.Target{Resource: r.Partition.VersionARN(kind, r.Label("Id"), r.Label("VersionId")), RequestTags: tags}
	}
	end := strings.LastIndex(op.Path, "}")
	if end < 0 {
		return awsapi.Target{RequestTags: tags}
	}
	resource := make([]byte, 0, 128)
	for rest := op.Path[:end+1]; rest != ""; {
		var before, label string
		before, rest, _ = strings.Cut(rest, "{")
		label, rest, _ = strings.Cut(rest, "}")
		resource = append(append(resource, before...), r.Label(label)...)
	}
	arn := fescue.ARN{AWS: r.Partition.AWS, Service: "greengrass", Region: r.Partition.Region, Account: r.Partition.Account, Resource: string(resource)}
	return awsapi.Target{Resource: arn.String(), RequestTags: tags}
}

// requestTags are the tags in a body. What does not decode has none: the
// operation refuses it.
func requestTags(body []byte) map[string]string {
	var in struct {
		Tags tagMap `json:"tags"`
	}
	if restjson.Decode(body, &in) != nil {
		return nil
	}
	return in.Tags
}
