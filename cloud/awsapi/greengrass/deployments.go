package greengrass

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/deploy"
)

func (a *API) deploymentOperations() []restjson.Operation {
	const base = "/greengrass/groups/{GroupId}/deployments"
	return []restjson.Operation{
		{Name: "CreateDeployment", Method: http.MethodPost, Path: base, Handle: a.createDeployment},
		{Name: "GetDeploymentStatus", Method: http.MethodGet, Path: base + "/{DeploymentId}/status", Handle: a.getDeploymentStatus},
		{Name: "ListDeployments", Method: http.MethodGet, Path: base, Handle: a.listDeployments},
		{Name: "ResetDeployments", Method: http.MethodPost, Path: base + "/$reset", Handle: a.resetDeployments},
	}
}

func (a *API) createDeployment(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		DeploymentType fescue.DeploymentType
		DeploymentId   string
		GroupVersionId string
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	t, err := token(r)
	if err != nil {
		return nil, err
	}
	group := r.Label("GroupId")
	within, err := a.coveredDeployment(ctx, r, group, in.GroupVersionId, plainID(r, in.DeploymentId))
	if err != nil {
		return nil, err
	}
	d, err := a.deployments.CreateWithin(ctx, r.Partition, within, group, in.DeploymentType, in.GroupVersionId, plainID(r, in.DeploymentId), t)
	switch {
	case errors.Is(err, deploy.ErrUnknownGroup):
		return nil, refuse(http.StatusNotFound, resourceNotFound, "%s", kindTexts[fescue.GroupKind.Segment].other)
	case errors.Is(err, deploy.ErrUnknownVersion):
		return nil, refuse(http.StatusNotFound, resourceNotFound, "Version %s of Group Definition %s does not exist.", in.GroupVersionId, group)
	case err != nil:
		return nil, err
	}
	return created(r, d), nil
}

// coveredDeployment refuses to deploy what a limited caller may not use, whoever
// defined it. within is the tag of the groups that the deployment may touch, empty
// for all.
func (a *API) coveredDeployment(ctx context.Context, r *restjson.Request, group, version, deployment string) (within string, err error) {
	scope := r.Caller.Scope
	if scope == nil {
		return "", nil
	}
	// A redeployment has both; the engine takes the one that the type asks for.
	if d, err := a.deployments.Deployed(ctx, r.Partition, group, deployment); err == nil {
		if err := a.coveredVersion(ctx, r, group, d); err != nil {
			return "", err
		}
	} else if !errors.Is(err, fescue.ErrNotFound) {
		return "", err
	}
	return scope.GroupTag, a.coveredVersion(ctx, r, group, version)
}

// coveredVersion refuses what a version of a group names and a limited caller may not
// use. A version that is not there is refused for that.
func (a *API) coveredVersion(ctx context.Context, r *restjson.Request, group, version string) error {
	names, err := a.definitions.NamedBy(ctx, r.Partition, group, version)
	if err != nil {
		return err
	}
	return r.Covers(ctx, names...)
}

// created answers CreateDeployment and ResetDeployments.
func created(r *restjson.Request, d fescue.Deployment) any {
	return struct{ DeploymentArn, DeploymentId string }{r.Partition.DeploymentARN(d.GroupID, d.ID), d.ID}
}

func (a *API) resetDeployments(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct{ Force bool }
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	t, err := token(r)
	if err != nil {
		return nil, err
	}
	group := r.Label("GroupId")
	d, err := a.deployments.Reset(ctx, r.Partition, group, in.Force, t)
	switch {
	case errors.Is(err, deploy.ErrUnknownGroup):
		return nil, refuse(http.StatusNotFound, resourceNotFound, "%s", kindTexts[fescue.GroupKind.Segment].get)
	case errors.Is(err, deploy.ErrNotDeployed):
		return nil, refuse(http.StatusNotFound, resourceNotFound, "Group id: %s has not been deployed or has already been reset.", group)
	case err != nil:
		return nil, err
	}
	return created(r, d), nil
}

func (a *API) getDeploymentStatus(ctx context.Context, r *restjson.Request) (any, error) {
	group, id := r.Label("GroupId"), plainID(r, r.Label("DeploymentId"))
	err := fescue.ErrNotFound
	var s fescue.CurrentStatus
	if fescue.ValidID(group) && fescue.ValidID(id) {
		s, err = a.deployments.Status(ctx, r.Partition, group, id)
	}
	if err != nil {
		return nil, notFoundAs(err, refuse(http.StatusBadRequest, invalidInput, "Deployment '%s' does not exist.", id))
	}
	return struct {
		DeploymentStatus fescue.DeploymentStatus
		DeploymentType   fescue.DeploymentType
		ErrorDetails     []fescue.ErrorDetail `json:",omitempty"`
		ErrorMessage     string               `json:",omitempty"`
		UpdatedAt        string
	}{s.Status, s.Type, s.ErrorDetails, s.ErrorMessage, fescue.Timestamp(s.UpdatedAt)}, nil
}

// plainID is a deployment's id without the account, which stands before it in the
// reports of bulk deployments.
func plainID(r *restjson.Request, id string) string {
	return strings.TrimPrefix(id, r.Partition.Account+":")
}

func (a *API) listDeployments(ctx context.Context, r *restjson.Request) (any, error) {
	type item struct {
		CreatedAt      string
		DeploymentArn  string
		DeploymentId   string
		DeploymentType fescue.DeploymentType
		GroupArn       string
	}
	pg, err := page(r)
	if err != nil {
		return nil, err
	}
	// An unknown group has no deployments: the original answers it with an
	// empty list.
	list, err := a.deployments.Deployments(ctx, r.Partition, r.Label("GroupId"), pg)
	if err != nil {
		return nil, err
	}
	list, next := restjson.Cut(list, pg, func(d fescue.Deployment) string { return d.ID })
	items := make([]item, 0, len(list))
	for _, d := range list {
		group := r.Partition.DefinitionARN(fescue.GroupKind, d.GroupID)
		if d.GroupVersionID != "" {
			group = r.Partition.VersionARN(fescue.GroupKind, d.GroupID, d.GroupVersionID)
		}
		items = append(items, item{
			fescue.Timestamp(d.CreatedAt), r.Partition.DeploymentARN(d.GroupID, d.ID), d.ID, d.Type, group,
		})
	}
	return struct {
		Deployments []item
		NextToken   string `json:",omitempty"`
	}{items, next}, nil
}
