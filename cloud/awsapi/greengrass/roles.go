package greengrass

import (
	"context"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

func (a *API) roleOperations() []restjson.Operation {
	const group, service = "/greengrass/groups/{GroupId}/role", "/greengrass/servicerole"
	noGroupRole := refuse(http.StatusNotFound, "", "You need to attach an IAM role to this deployment group.")
	noServiceRole := refuse(http.StatusNotFound, "", "You need to attach a service role to this account.")
	return []restjson.Operation{
		{Name: "AssociateRoleToGroup", Method: http.MethodPut, Path: group, Handle: a.associateRole},
		{Name: "GetAssociatedRole", Method: http.MethodGet, Path: group, Handle: a.associatedRole(noGroupRole)},
		{Name: "DisassociateRoleFromGroup", Method: http.MethodDelete, Path: group, Handle: a.disassociateRole},
		{Name: "AssociateServiceRoleToAccount", Method: http.MethodPut, Path: service, Handle: a.associateRole},
		{Name: "GetServiceRoleForAccount", Method: http.MethodGet, Path: service, Handle: a.associatedRole(noServiceRole)},
		{Name: "DisassociateServiceRoleFromAccount", Method: http.MethodDelete, Path: service, Handle: a.disassociateRole},
	}
}

// The same three handlers serve the group's role and, without a GroupId label,
// the service role. Any group id is accepted, known or not, as the original did.

func (a *API) associateRole(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct{ RoleArn string }
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	if !fescue.ValidRoleARN(in.RoleArn) {
		return nil, refuse(http.StatusBadRequest, badRequest, "That role ARN is invalid.")
	}
	at, err := a.roles.AssociateRole(ctx, r.Partition, r.Label("GroupId"), in.RoleArn)
	if err != nil {
		return nil, err
	}
	return struct{ AssociatedAt string }{fescue.TimestampSeconds(at)}, nil
}

func (a *API) associatedRole(missing *awsapi.Error) restjson.Handler {
	return func(ctx context.Context, r *restjson.Request) (any, error) {
		role, at, err := a.roles.AssociatedRole(ctx, r.Partition, r.Label("GroupId"))
		if err != nil {
			return nil, notFoundAs(err, missing)
		}
		return struct{ AssociatedAt, RoleArn string }{fescue.TimestampSeconds(at), role}, nil
	}
}

func (a *API) disassociateRole(ctx context.Context, r *restjson.Request) (any, error) {
	at, err := a.roles.DisassociateRole(ctx, r.Partition, r.Label("GroupId"))
	if err != nil {
		return nil, err
	}
	return struct{ DisassociatedAt string }{fescue.TimestampSeconds(at)}, nil
}
