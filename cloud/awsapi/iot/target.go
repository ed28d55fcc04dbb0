package iot

import (
	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

// resources are the ARNs behind the labels of paths, the first that a path has.
var resources = []struct {
	label string
	arn   func(p fescue.Partition, value string) string
}{
	{"thingName", fescue.Partition.ThingARN},
	{"thingTypeName", fescue.Partition.ThingTypeARN},
	{"policyName", fescue.Partition.PolicyARN},
	{"certificateId", fescue.Partition.CertificateARN},
	{"roleAlias", fescue.Partition.RoleAliasARN},
	{"jobId", fescue.Partition.JobARN},
	{"target", func(_ fescue.Partition, arn string) string { return arn }},
}

// target is what an operation acts on.
func target(_ *restjson.Operation, r *restjson.Request) awsapi.Target {
	for _, row := range resources {
		if value, ok := r.Labels.Find(row.label); ok {
			return awsapi.Target{Resource: row.arn(r.Partition, value)}
		}
	}
	return awsapi.Target{}
}
