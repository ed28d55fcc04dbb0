package iot

import (
	"context"
	"net/http"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/registry"
)

func (a *API) roleAliasOperations() []restjson.Operation {
	const aliases, alias = "/role-aliases", "/role-aliases/{roleAlias}"
	return []restjson.Operation{
		{Name: "CreateRoleAlias", Method: http.MethodPost, Path: alias, Handle: a.createRoleAlias},
		{Name: "DescribeRoleAlias", Method: http.MethodGet, Path: alias, Handle: a.describeRoleAlias},
		{Name: "UpdateRoleAlias", Method: http.MethodPut, Path: alias, Handle: a.updateRoleAlias},
		{Name: "DeleteRoleAlias", Method: http.MethodDelete, Path: alias, Handle: a.deleteRoleAlias},
		{Name: "ListRoleAliases", Method: http.MethodGet, Path: aliases, Handle: a.listRoleAliases},
	}
}

// roleAliasRequest is the body of CreateRoleAlias and UpdateRoleAlias.
func roleAliasRequest(r *restjson.Request) (registry.RoleAlias, error) {
	var in struct {
		RoleArn                   string `json:"roleArn"`
		CredentialDurationSeconds *int32 `json:"credentialDurationSeconds"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return registry.RoleAlias{}, malformed(err.Error())
	}
	out := registry.RoleAlias{Name: r.Label("roleAlias"), RoleARN: in.RoleArn}
	if n := in.CredentialDurationSeconds; n != nil {
		if out.Lifetime = time.Duration(*n) * time.Second; out.Lifetime == 0 {
			out.Lifetime = -1 // no lifetime, which is refused, and not an absent one
		}
	}
	return out, nil
}

// roleAliasNames answers CreateRoleAlias and UpdateRoleAlias.
type roleAliasNames struct {
	RoleAlias    string `json:"roleAlias"`
	RoleAliasArn string `json:"roleAliasArn"`
}

func (a *API) createRoleAlias(ctx context.Context, r *restjson.Request) (any, error) {
	in, err := roleAliasRequest(r)
	if err != nil {
		return nil, err
	}
	made, err := a.registry.CreateRoleAlias(ctx, r.Partition, in)
	return roleAliasNames{made.Name, r.Partition.RoleAliasARN(made.Name)}, err
}

func (a *API) updateRoleAlias(ctx context.Context, r *restjson.Request) (any, error) {
	in, err := roleAliasRequest(r)
	if err != nil {
		return nil, err
	}
	return roleAliasNames{in.Name, r.Partition.RoleAliasARN(in.Name)}, a.registry.UpdateRoleAlias(ctx, r.Partition, in)
}

func (a *API) describeRoleAlias(ctx context.Context, r *restjson.Request) (any, error) {
	found, err := a.registry.RoleAlias(ctx, r.Partition, r.Label("roleAlias"))
	if err != nil {
		return nil, err
	}
	type description struct {
		roleAliasNames
		RoleArn                   string  `json:"roleArn"`
		Owner                     string  `json:"owner"`
		CredentialDurationSeconds int64   `json:"credentialDurationSeconds"`
		CreationDate              seconds `json:"creationDate"`
		LastModifiedDate          seconds `json:"lastModifiedDate"`
	}
	return struct {
		Description description `json:"roleAliasDescription"`
	}{description{
		roleAliasNames{found.Name, r.Partition.RoleAliasARN(found.Name)}, found.RoleARN, found.Owner,
		int64(found.Lifetime / time.Second), seconds(found.CreatedAt), seconds(found.UpdatedAt),
	}}, nil
}

func (a *API) deleteRoleAlias(ctx context.Context, r *restjson.Request) (any, error) {
	return nil, a.registry.DeleteRoleAlias(ctx, r.Partition, r.Label("roleAlias"))
}

func (a *API) listRoleAliases(ctx context.Context, r *restjson.Request) (any, error) {
	list, next, err := byAge(r, func(after position, ascending bool, limit int) ([]registry.RoleAlias, error) {
		return a.registry.RoleAliases(ctx, r.Partition, registry.RoleAlias{Name: after.Key, CreatedAt: after.time()}, ascending, limit)
	}, func(found registry.RoleAlias) position { return position{found.Name, found.CreatedAt.UnixMilli()} })
	if err != nil {
		return nil, err
	}
	return struct {
		RoleAliases []string `json:"roleAliases"`
		NextMarker  string   `json:"nextMarker,omitempty"`
	}{listed(list, func(found registry.RoleAlias) string { return found.Name }), next}, nil
}
