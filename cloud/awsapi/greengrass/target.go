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
	if arn, ok := r.Labels["resource-arn"]; ok {
		return awsapi.Target{Resource: arn, RequestTags: tags, RemovedTags: r.Query["tagKeys"]}
	}
	if kind, ok := kindOf(r.Label("Kind")); ok { // RestoreVersion, whose path is Fescue's own
		return awsapi.Target{Resource: r.Partition.VersionARN(kind, r.Label("Id"), r.Label("VersionId")), RequestTags: tags}
	}
	segments := strings.Split(op.Path, "/")
	end := 0
	for i, s := range segments {
		if label, ok := strings.CutPrefix(s, "{"); ok {
			segments[i] = r.Label(strings.TrimSuffix(label, "}"))
			end = i + 1
		}
	}
	t := awsapi.Target{RequestTags: tags}
	if end > 0 {
		t.Resource = fescue.ARN{
			AWS: r.Partition.AWS, Service: "greengrass", Region: r.Partition.Region, Account: r.Partition.Account,
			Resource: strings.Join(segments[:end], "/"),
		}.String()
	}
	return t
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
