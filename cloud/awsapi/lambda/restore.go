package lambda

import (
	"context"
	"net/http"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/functions"
)

// Restore is an operation for the API of what is Fescue's own: RestoreFunctionVersion.
func (a *API) Restore() restjson.Operation {
	return a.Lend(restjson.Operation{
		Name: "RestoreFunctionVersion", Method: http.MethodPut, Path: awsapi.OwnPath + "functions/{FunctionName}/versions/{Version}",
		MaxBody: maxRequest, Stream: true, Handle: a.restoreFunctionVersion,
	})
}

// restoreFunctionVersion publishes a version under a given number:
// AWS Lambda counts by itself, while a recovered or imported group
// names its functions by number. The body is CreateFunction's.
func (a *API) restoreFunctionVersion(ctx context.Context, r *restjson.Request) (any, error) {
	var in functionRequest
	zip, err := a.receive(r, []string{"Code", "ZipFile"}, &in)
	if err != nil {
		return nil, err
	}
	defer zip.discard()
	if zip.archive() == nil {
		return nil, invalid("Code.ZipFile is missing: a version is restored with its code.")
	}
	v, made, err := a.functions.Restore(ctx, r.Partition, r.Label("Version"), functions.Creation{
		Function: r.Label("FunctionName"), Settings: in.settings(), Archive: zip.archive(), Architectures: in.Architectures,
	})
	if err != nil {
		return nil, err
	}
	return struct {
		FunctionArn string
		CodeSha256  string
		// Made is false when the version was there.
		Made bool
	}{configure(r.Partition, v, v.Version).FunctionArn, functions.CodeSHA256(v), made}, nil
}
