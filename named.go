package fescue

import (
	"encoding/json"
	"strings"
)

// ownServices are those whose resources Fescue has. What a connector says of
// others, as of an SNS topic, means something outside.
var ownServices = map[string]bool{"iot": true, "lambda": true, "s3": true, "secretsmanager": true}

// Named lists the ARNs of what lies outside of a group and is given to it by the
// body of a definition's version: things, functions, secrets, buckets, and whatever
// else it names by an ARN of a service that Fescue has. A body that does not decode
// names nothing.
func Named(p Partition, k Kind, body json.RawMessage) (list []string) {
	// All kinds in one: each has a member of its own.
	var v struct {
		CoreDefinitionVersion
		DeviceDefinitionVersion
		FunctionDefinitionVersion
		ResourceDefinitionVersion
		ConnectorDefinitionVersion
	}
	if json.Unmarshal(body, &v) != nil {
		return nil
	}
	switch k {
	case CoreKind:
		for _, c := range v.Cores {
			list = append(list, c.ThingArn)
		}
	case DeviceKind:
		for _, d := range v.Devices {
			list = append(list, d.ThingArn)
		}
	case FunctionKind:
		for _, f := range v.Functions {
			if _, ok := SystemFunctionOf(f.FunctionArn); ok {
				continue
			}
			arn, _ := ParseARN(f.FunctionArn)
			if name, _, ok := arn.Function(); ok && arn.Partition() == p {
				list = append(list, p.FunctionARN(name))
			} else {
				list = append(list, f.FunctionArn)
			}
		}
	case ResourceKind:
		for _, r := range v.Resources {
			d := r.ResourceDataContainer
			if d.S3MachineLearningModelResourceData != nil {
				bucket, _, _ := strings.Cut(strings.TrimPrefix(d.S3MachineLearningModelResourceData.S3Uri, "s3://"), "/")
				list = append(list, p.BucketARN(bucket))
			}
			if d.SageMakerMachineLearningModelResourceData != nil {
				list = append(list, d.SageMakerMachineLearningModelResourceData.SageMakerJobArn)
			}
			if d.SecretsManagerSecretResourceData != nil {
				list = append(list, d.SecretsManagerSecretResourceData.ARN)
			}
		}
	case ConnectorKind:
		for _, c := range v.Connectors {
			for _, value := range c.Parameters {
				if arn, err := ParseARN(value); err == nil && ownServices[arn.Service] {
					list = append(list, value)
				}
			}
		}
	}
	return list
}
