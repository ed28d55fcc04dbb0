package fescue

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/deploy"
)

// Fleet lists cores.
type Fleet interface {
	// Cores lists cores by the names of their things, those that the filter lets through.
	Cores(ctx context.Context, p fescue.Partition, f cores.Filter, page fescue.Page) ([]cores.Core, error)
	Count(ctx context.Context, p fescue.Partition) (known, online int, err error)
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

// maxContains is how long a text may be that cores are looked for by: that of a name.
const maxContains = 128

// maxTag is how long a tag may be, with its name and = before its value.
const maxTag = 128 + 1 + 256

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
	by := cores.Filter{Group: group}
	if group == "" {
		by.Text, by.State = r.Query.Get("Contains"), cores.State(r.Query.Get("State"))
		if tag := r.Query.Get("Tag"); tag != "" {
			var ok bool
			if by.Tag, by.Value, ok = fescue.ParseTag(tag); !ok || utf8.RuneCountInString(by.Tag+"="+by.Value) > maxTag {
				return out, refuse(http.StatusBadRequest, badRequest, "Tag '%.64s' is not the name and the value of a tag, as site=north, in at most %d characters.", tag, maxTag)
			}
		}
	}
	if utf8.RuneCountInString(by.Text) > maxContains {
		return out, refuse(http.StatusBadRequest, badRequest, "Contains has more than %d characters.", maxContains)
	}
	if by.State != "" && !slices.Contains(cores.States, by.State) {
		return out, refuse(http.StatusBadRequest, badRequest, "State '%.64s' is none of connected, offline and wrong.", by.State)
	}
	list, err := a.o.Fleet.Cores(ctx, r.Partition, by, pg)
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

// FleetSummary answers GetFleetSummary.
type FleetSummary struct {
	// Cores is how many are known, and Connected how many of them are connected.
	Cores, Connected int
}

func (a *API) getFleetSummary(ctx context.Context, r *restjson.Request, _ nothing) (out FleetSummary, err error) {
	out.Cores, out.Connected, err = a.o.Fleet.Count(ctx, r.Partition)
	return out, err
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

// EpochRequest is the body of ResetCoreEpoch and RestoreCoreEpoch.
type EpochRequest struct{ Epoch int64 }

// CoreEpoch answers ResetCoreEpoch and RestoreCoreEpoch.
type CoreEpoch struct {
	ThingName string
	// Epoch is what the control plane takes the core to have been through, Before
	// what it took it for.
	Epoch, Before int64
}

// resetEpoch is for a core whose word on its epochs is not believed, or was and
// was not true.
func (a *API) resetEpoch(ctx context.Context, r *restjson.Request, in EpochRequest) (CoreEpoch, error) {
	return a.setEpoch(ctx, r, in, a.o.Deployments.ResetEpoch)
}

// restoreEpoch is for a core that another server deployed to.
func (a *API) restoreEpoch(ctx context.Context, r *restjson.Request, in EpochRequest) (CoreEpoch, error) {
	return a.setEpoch(ctx, r, in, a.o.Deployments.RestoreEpoch)
}

func (a *API) setEpoch(ctx context.Context, r *restjson.Request, in EpochRequest,
	set func(context.Context, fescue.Partition, string, int64) (deploy.EpochReset, error),
) (out CoreEpoch, err error) {
	thing := r.Label("ThingName")
	reset, err := set(ctx, r.Partition, thing, in.Epoch)
	if errors.Is(err, fescue.ErrNotFound) {
		return out, refuse(http.StatusNotFound, resourceNotFound, "There is neither a core nor a thing %s.", thing)
	}
	if err != nil {
		return out, err
	}
	return CoreEpoch{thing, reset.Now, reset.Before}, nil
}

// KnownEpoch answers GetCoreEpoch.
type KnownEpoch struct {
	ThingName string
	Epoch     int64
}

func (a *API) getEpoch(ctx context.Context, r *restjson.Request, _ nothing) (out KnownEpoch, err error) {
	out.ThingName = r.Label("ThingName")
	out.Epoch, err = a.o.Deployments.Epoch(ctx, r.Partition, out.ThingName)
	return out, err
}
