package greengrass

import (
	"context"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/cores"
)

// Fleet tells about cores.
type Fleet interface {
	// Cores lists cores by the names of their things; with a group, only the one that
	// the group has.
	Cores(ctx context.Context, p fescue.Partition, groupID string, page fescue.Page) ([]cores.Core, error)
}

// fleetOperations are Fescue's own: what is known of cores. Of one group they can be
// asked with a key that is limited to it.
func (a *API) fleetOperations() []restjson.Operation {
	return []restjson.Operation{
		{Name: "ListCores", Method: http.MethodGet, Path: awsapi.OwnPath + "cores", Handle: a.listCores},
		{Name: "ListGroupCores", Method: http.MethodGet, Path: awsapi.OwnPath + "groups/{GroupId}/cores", Handle: a.listCores},
	}
}

// CoreSummary is what is known of a core.
type CoreSummary struct {
	CoreState
	// OnlineSince is when the core came that is online; Address the host that it last
	// connected from, as the server sees it.
	OnlineSince string `json:",omitempty"`
	Address     string `json:",omitempty"`
	// GroupId and GroupName are of the group that has the core.
	GroupId   string `json:",omitempty"`
	GroupName string `json:",omitempty"`
	// Runs is what last ended in Success on the core; nil when it runs nothing.
	Runs *CoreDeployment `json:",omitempty"`
	// LastDeployment is what was last offered to it.
	LastDeployment *CoreDeployment `json:",omitempty"`
	// Version is that of the core's software, and with Architecture, Kernel, Cgroups
	// and Findings, what is wrong with its machine, what the core last said of itself,
	// at SaidAt: empty of a core whose software does not say it.
	Version      string               `json:",omitempty"`
	Architecture string               `json:",omitempty"`
	Kernel       string               `json:",omitempty"`
	Cgroups      string               `json:",omitempty"`
	Findings     []fescue.ErrorDetail `json:",omitempty"`
	SaidAt       string               `json:",omitempty"`
}

// CoreDeployment is a deployment as a core's summary tells it.
type CoreDeployment struct {
	DeploymentId     string
	GroupId          string
	GroupVersionId   string `json:",omitempty"`
	DeploymentType   fescue.DeploymentType
	DeploymentStatus fescue.DeploymentStatus
	Phase            fescue.DeploymentPhase `json:",omitempty"`
	UpdatedAt        string
	ErrorMessage     string               `json:",omitempty"`
	ErrorDetails     []fescue.ErrorDetail `json:",omitempty"`
}

// CoreList answers ListCores and ListGroupCores.
type CoreList struct {
	Cores     []CoreSummary
	NextToken string `json:",omitempty"`
}

func (a *API) listCores(ctx context.Context, r *restjson.Request) (any, error) {
	group := r.Label("GroupId")
	if group != "" {
		if !fescue.ValidID(group) {
			return nil, refuse(http.StatusNotFound, resourceNotFound, "%s", kindTexts[fescue.GroupKind.Segment].other)
		}
		if _, err := a.definitions.Definition(ctx, r.Partition, fescue.GroupKind, group); err != nil {
			return nil, notFoundAs(err, refuse(http.StatusNotFound, resourceNotFound, "%s", kindTexts[fescue.GroupKind.Segment].other))
		}
	}
	pg, err := pageBy(r, fescue.ValidThingName)
	if err != nil {
		return nil, err
	}
	list, err := a.fleet.Cores(ctx, r.Partition, group, pg)
	if err != nil {
		return nil, err
	}
	list, next := cut(list, pg, func(c cores.Core) string { return c.Thing })
	out := CoreList{Cores: make([]CoreSummary, 0, len(list)), NextToken: next}
	for _, c := range list {
		s := CoreSummary{
			CoreState: *coreState(c.Thing, c.LastSeen), Address: c.Address, GroupId: c.GroupID, GroupName: c.GroupName,
			Runs: coreDeployment(c.Runs), LastDeployment: coreDeployment(c.Last),
			Version: c.Info.Version, Architecture: c.Info.Architecture, Kernel: c.Info.Kernel, Cgroups: c.Info.Cgroups,
			Findings: c.Info.Findings, SaidAt: timestamp(c.SaidAt),
		}
		if s.Online {
			s.OnlineSince = timestamp(c.ConnectedAt)
		}
		out.Cores = append(out.Cores, s)
	}
	return out, nil
}

func coreDeployment(d fescue.Deployment) *CoreDeployment {
	if d.ID == "" {
		return nil
	}
	return &CoreDeployment{
		d.ID, d.GroupID, d.GroupVersionID, d.Type, d.Status, d.Phase, timestamp(d.UpdatedAt), d.ErrorMessage, d.ErrorDetails,
	}
}
