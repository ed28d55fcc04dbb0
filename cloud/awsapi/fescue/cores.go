package fescue

import (
	"context"
	"errors"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/deploy"
)

// Fleet lists cores.
type Fleet interface {
	// Cores lists cores by the names of their things; with a group, only the one that
	// the group has.
	Cores(ctx context.Context, p fescue.Partition, groupID string, page fescue.Page) ([]cores.Core, error)
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

// CoreDeployment is a deployment as a core's summary shows it.
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

func (a *API) listCores(ctx context.Context, r *restjson.Request, _ nothing) (out CoreList, err error) {
	group := r.Label("GroupId")
	if group != "" {
		if !fescue.ValidID(group) {
			return out, unknownGroup
		}
		if _, err := a.o.Definitions.Definition(ctx, r.Partition, fescue.GroupKind, group); err != nil {
			return out, notFoundAs(err, unknownGroup)
		}
	}
	pg, err := r.Page(maxPage, fescue.ValidThingName)
	if err != nil {
		return out, err
	}
	list, err := a.o.Fleet.Cores(ctx, r.Partition, group, pg)
	if err != nil {
		return out, err
	}
	list, next := restjson.Cut(list, pg, func(c cores.Core) string { return c.Thing })
	out = CoreList{Cores: make([]CoreSummary, 0, len(list)), NextToken: next}
	for _, c := range list {
		s := CoreSummary{
			CoreState: *a.coreState(c.Thing, c.LastSeen), Address: c.Address, GroupId: c.GroupID, GroupName: c.GroupName,
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

// CoreState is what is known of a core.
type CoreState struct {
	ThingName string
	Online    bool
	// LastSeen is empty for a core that was never seen, OfflineSince while
	// the core is online.
	LastSeen     string `json:",omitempty"`
	OfflineSince string `json:",omitempty"`
}

func (a *API) coreState(thing string, s cores.LastSeen) *CoreState {
	if thing == "" {
		return nil
	}
	state := &CoreState{ThingName: thing, Online: s.Online(a.o.Now()), LastSeen: timestamp(s.SeenAt)}
	if !state.Online {
		state.OfflineSince = timestamp(s.OfflineSince())
	}
	return state
}

// EpochRequest is the body of ResetCoreEpoch.
type EpochRequest struct{ Epoch int64 }

// CoreEpoch answers ResetCoreEpoch.
type CoreEpoch struct {
	ThingName string
	// Epoch is what the control plane takes the core to have been through, Before
	// what it took it for.
	Epoch, Before int64
}

// resetEpoch is for a core whose word on its epochs is not believed, or was and
// was not true.
func (a *API) resetEpoch(ctx context.Context, r *restjson.Request, in EpochRequest) (out CoreEpoch, err error) {
	thing := r.Label("ThingName")
	reset, err := a.o.Deployments.ResetEpoch(ctx, r.Partition, thing, in.Epoch)
	switch {
	case errors.Is(err, fescue.ErrNotFound):
		return out, refuse(http.StatusNotFound, resourceNotFound, "No core with the thing %s was deployed to or heard of.", thing)
	case errors.Is(err, deploy.ErrEpoch):
		return out, refuse(http.StatusBadRequest, badRequest, "%s.", err)
	case err != nil:
		return out, err
	}
	return CoreEpoch{thing, reset.Now, reset.Before}, nil
}
