package lambda

import (
	"context"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/functions"
)

// restoreFunctionVersion publishes a version under a given number. It is
// Fescue's own: AWS Lambda counts by itself, while a recovered or imported group
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
