package lambda

import (
	"strings"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

// targetOf is what an operation acts on: the function that the path names.
func targetOf(_ *restjson.Operation, r *restjson.Request) awsapi.Target {
	name := r.Label("FunctionName")
	if name == "" {
		return awsapi.Target{Resource: r.Label("ARN")}
	}
	return awsapi.Target{Resource: functionARN(r, name)}
}

// functionARN is the ARN behind a FunctionName, which may be one.
func functionARN(r *restjson.Request, name string) string {
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	if _, rest, ok := strings.Cut(name, "function:"); ok {
		name = rest
	}
	return r.Partition.FunctionARN(name)
}
