package lambda

import (
	"context"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/functions"
)

func (a *API) addPermission(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		StatementId, Action, Principal, SourceArn, SourceAccount          string
		EventSourceToken, PrincipalOrgID, FunctionUrlAuthType, RevisionId string
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	for _, m := range []struct{ name, value string }{
		{"EventSourceToken", in.EventSourceToken}, {"PrincipalOrgID", in.PrincipalOrgID},
		{"FunctionUrlAuthType", in.FunctionUrlAuthType}, {"RevisionId", in.RevisionId},
	} {
		if m.value != "" {
			return nil, invalid("%s is not supported in a permission. Leave it out.", m.name)
		}
	}
	statement, err := a.functions.AddPermission(ctx, r.Partition, r.Label("FunctionName"), r.Query.Get("Qualifier"), functions.Permission{
		ID: in.StatementId, Action: in.Action, Principal: in.Principal, SourceARN: in.SourceArn, SourceAccount: in.SourceAccount,
	})
	if err != nil {
		return nil, err
	}
	return struct{ Statement string }{statement}, nil
}

func (a *API) getPolicy(ctx context.Context, r *restjson.Request) (any, error) {
	policy, err := a.functions.Policy(ctx, r.Partition, r.Label("FunctionName"), r.Query.Get("Qualifier"))
	if err != nil {
		return nil, err
	}
	return struct{ Policy string }{policy}, nil
}

func (a *API) removePermission(ctx context.Context, r *restjson.Request) (any, error) {
	return nil, a.functions.RemovePermission(ctx, r.Partition, r.Label("FunctionName"), r.Query.Get("Qualifier"), r.Label("StatementId"))
}
