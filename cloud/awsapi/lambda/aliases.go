package lambda

import (
	"context"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/functions"
)

// aliasConfiguration is AliasConfiguration of the API model.
type aliasConfiguration struct {
	AliasArn        string
	Name            string
	FunctionVersion string
	Description     string
	RevisionId      string
}

// configureAlias is an alias as the API shows it. The function is a
// FunctionName that the service took.
func configureAlias(p fescue.Partition, function string, a fescue.FunctionAlias) aliasConfiguration {
	if ref, err := functions.ParseReference(p, function, ""); err == nil {
		function = ref.Name
	}
	return aliasConfiguration{p.FunctionARN(function) + ":" + a.Name, a.Name, a.FunctionVersion, a.Description, a.RevisionID}
}

// aliasRequest is the body of CreateAlias and UpdateAlias.
type aliasRequest struct {
	Name            string
	FunctionVersion *string
	Description     *string
	RevisionId      string
	RoutingConfig   *struct{ AdditionalVersionWeights map[string]float64 }
}

func (in aliasRequest) change(r *restjson.Request) (functions.AliasChange, error) {
	if in.RoutingConfig != nil && len(in.RoutingConfig.AdditionalVersionWeights) > 0 {
		return functions.AliasChange{}, invalid("RoutingConfig is not supported: a Greengrass deployment takes the one version that the alias points to.")
	}
	return functions.AliasChange{
		Function: r.Label("FunctionName"), Name: in.Name, FunctionVersion: in.FunctionVersion,
		Description: in.Description, RevisionID: in.RevisionId,
	}, nil
}

func (a *API) createAlias(ctx context.Context, r *restjson.Request) (any, error) {
	var in aliasRequest
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	in.RevisionId = "" // not a member of CreateAlias
	change, err := in.change(r)
	if err != nil {
		return nil, err
	}
	alias, err := a.functions.CreateAlias(ctx, r.Partition, change)
	if err != nil {
		return nil, err
	}
	return configureAlias(r.Partition, change.Function, alias), nil
}

func (a *API) updateAlias(ctx context.Context, r *restjson.Request) (any, error) {
	var in aliasRequest
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	in.Name = r.Label("Name")
	change, err := in.change(r)
	if err != nil {
		return nil, err
	}
	alias, err := a.functions.UpdateAlias(ctx, r.Partition, change)
	if err != nil {
		return nil, err
	}
	return configureAlias(r.Partition, change.Function, alias), nil
}

func (a *API) getAlias(ctx context.Context, r *restjson.Request) (any, error) {
	function := r.Label("FunctionName")
	alias, err := a.functions.Alias(ctx, r.Partition, function, r.Label("Name"))
	if err != nil {
		return nil, err
	}
	return configureAlias(r.Partition, function, alias), nil
}

func (a *API) deleteAlias(ctx context.Context, r *restjson.Request) (any, error) {
	return nil, a.functions.DeleteAlias(ctx, r.Partition, r.Label("FunctionName"), r.Label("Name"))
}

func (a *API) listAliases(ctx context.Context, r *restjson.Request) (any, error) {
	pg, err := page(r)
	if err != nil {
		return nil, err
	}
	function := r.Label("FunctionName")
	aliases, next, err := a.functions.ListAliases(ctx, r.Partition, function, r.Query.Get("FunctionVersion"), pg)
	if err != nil {
		return nil, err
	}
	list := make([]aliasConfiguration, len(aliases))
	for i, alias := range aliases {
		list[i] = configureAlias(r.Partition, function, alias)
	}
	return struct {
		Aliases    []aliasConfiguration
		NextMarker string `json:",omitempty"`
	}{list, next}, nil
}

func (a *API) listTags(ctx context.Context, r *restjson.Request) (any, error) {
	tags, err := a.functions.Tags(ctx, r.Partition, r.Label("ARN"))
	if err != nil {
		return nil, err
	}
	return struct{ Tags map[string]string }{tags}, nil
}

func (a *API) tagResource(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct{ Tags map[string]string }
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	return nil, a.functions.Tag(ctx, r.Partition, r.Label("ARN"), in.Tags)
}

func (a *API) untagResource(ctx context.Context, r *restjson.Request) (any, error) {
	return nil, a.functions.Untag(ctx, r.Partition, r.Label("ARN"), r.Query["tagKeys"])
}
