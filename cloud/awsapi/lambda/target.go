package lambda

import (
	"strings"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/restjson"
)

// targetOf is what an operation acts on: the function that the path names.
func targetOf(_ *restjson.Operation, r *restjson.Request) awsapi.Target {
	name := r.Label("FunctionName")
	switch {
	case name == "":
		return awsapi.Target{Resource: r.Label("ARN")}
	case strings.HasPrefix(name, "arn:"):
		return awsapi.Target{Resource: name}
	}
	if _, rest, ok := strings.Cut(name, "function:"); ok {
		name = rest
	}
	return awsapi.Target{Resource: r.Partition.FunctionARN(name)}
}
