package fescue

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/deploy"
)

// DeploymentSummary is a deployment as Fescue's own operations show it. Times are
// as everywhere in this API: RFC 3339 in UTC with milliseconds.
type DeploymentSummary struct {
	DeploymentId string
	GroupId      string
	// GroupName is in lists of all groups' deployments, of groups that are still there.
	GroupName         string `json:",omitempty"`
	GroupVersionId    string `json:",omitempty"`
	DeploymentType    fescue.DeploymentType
	DeploymentStatus  fescue.DeploymentStatus
	Phase             fescue.DeploymentPhase `json:",omitempty"`
	CoreThing         string                 `json:",omitempty"`
	Epoch             int64                  `json:",omitempty"`
	CreatedAt         string
	UpdatedAt         string
	CancelRequestedAt string               `json:",omitempty"`
	ErrorMessage      string               `json:",omitempty"`
	ErrorDetails      []fescue.ErrorDetail `json:",omitempty"`
	// Last is in lists of all groups' deployments: no later one of its group has ended.
	Last bool `json:",omitempty"`
}

func summary(d fescue.Deployment) DeploymentSummary {
	return DeploymentSummary{
		DeploymentId: d.ID, GroupId: d.GroupID, GroupVersionId: d.GroupVersionID, DeploymentType: d.Type,
		DeploymentStatus: d.Status, Phase: d.Phase, CoreThing: d.CoreThing, Epoch: d.Epoch,
		CreatedAt: fescue.Timestamp(d.CreatedAt), UpdatedAt: fescue.Timestamp(d.UpdatedAt),
		CancelRequestedAt: timestamp(d.CancelRequestedAt),
		ErrorMessage:      d.ErrorMessage, ErrorDetails: d.ErrorDetails,
	}
}

// TimelineStep is one event of a deployment.
type TimelineStep struct {
	Event fescue.DeploymentEvent
	Actor fescue.Actor
	At    string
	Note  string `json:",omitempty"`
	// BytesFetched is how much the core had downloaded.
	BytesFetched int64 `json:",omitempty"`
	// Warnings are what was found at this step, and at none before, that fails
	// nothing.
	Warnings []fescue.ErrorDetail `json:",omitempty"`
}

// Timeline answers GetDeploymentTimeline.
type Timeline struct {
	DeploymentSummary
	// Deadline is when the control plane ends the deployment if it stays in its
	// phase.
	Deadline string     `json:",omitempty"`
	Core     *CoreState `json:",omitempty"`
	// Activity is what the core last said that it does, at ActivityAt; while the
	// deployment is Building, what the server does.
	Activity     string `json:",omitempty"`
	ActivityAt   string `json:",omitempty"`
	BytesFetched int64  `json:",omitempty"`
	BytesToFetch int64  `json:",omitempty"`
	Steps        []TimelineStep
}

// unknownDeployment answers an id that is not there.
func unknownDeployment(r *restjson.Request) *awsapi.Error {
	return refuse(http.StatusNotFound, resourceNotFound, "Deployment '%s' of group '%s' does not exist.", r.Label("DeploymentId"), r.Label("GroupId"))
}

// deploymentLabels reads the ids of the path.
func deploymentLabels(r *restjson.Request) (groupID, id string, err error) {
	groupID, id = r.Label("GroupId"), r.Label("DeploymentId")
	if !fescue.ValidID(groupID) || !fescue.ValidID(id) {
		return "", "", unknownDeployment(r)
	}
	return groupID, id, nil
}

// Cancellation is the body of CancelDeployment.
type Cancellation struct {
	Force bool `json:",omitempty"`
}

func (a *API) cancelDeployment(ctx context.Context, r *restjson.Request, in Cancellation) (out DeploymentSummary, err error) {
	group, id, err := deploymentLabels(r)
	if err != nil {
		return out, err
	}
	d, err := a.o.Deployments.Cancel(ctx, r.Partition, group, id, in.Force, by(r))
	switch {
	case errors.Is(err, fescue.ErrNotFound):
		return out, unknownDeployment(r)
	case errors.Is(err, fescue.ErrEnded):
		return out, refuse(http.StatusConflict, conflict, "Deployment '%s' ended in %s at %s and never changes again.", id, d.Status, fescue.Timestamp(d.UpdatedAt))
	case err != nil:
		return out, err
	}
	return summary(d), nil
}

func (a *API) getTimeline(ctx context.Context, r *restjson.Request, _ nothing) (out Timeline, err error) {
	group, id, err := deploymentLabels(r)
	if err != nil {
		return out, err
	}
	t, err := a.o.Deployments.Timeline(ctx, r.Partition, group, id)
	if err != nil {
		return out, notFoundAs(err, unknownDeployment(r))
	}
	out = Timeline{
		DeploymentSummary: summary(t.Deployment), Deadline: timestamp(t.Deadline), Core: a.coreState(t.CoreThing, t.Core),
		Activity: t.Progress.Activity, ActivityAt: timestamp(t.Progress.At),
		BytesFetched: t.Progress.Fetched, BytesToFetch: t.Progress.ToFetch, Steps: []TimelineStep{},
	}
	for _, s := range t.Steps {
		out.Steps = append(out.Steps, TimelineStep{s.Event, s.Actor, fescue.Timestamp(s.At), s.Note, s.Fetched, s.Warnings})
	}
	return out, nil
}

// statuses are what ListDeploymentsByStatus can be asked for.
var statuses = []fescue.DeploymentStatus{fescue.Building, fescue.InProgress, fescue.Success, fescue.Failure}

// DeploymentList answers ListDeploymentsByStatus and ListGroupDeployments.
type DeploymentList struct {
	Deployments []DeploymentSummary
	NextToken   string `json:",omitempty"`
}

func (a *API) listByStatus(ctx context.Context, r *restjson.Request, _ nothing) (out DeploymentList, err error) {
	status := fescue.DeploymentStatus(r.Query.Get("Status"))
	if !slices.Contains(statuses, status) {
		return out, refuse(http.StatusBadRequest, badRequest, "Status '%.64s' is none of Building, InProgress, Success and Failure.", status)
	}
	pg, err := page(r)
	if err != nil {
		return out, err
	}
	list, err := a.o.Deployments.DeploymentsIn(ctx, r.Partition, status, pg)
	if err != nil {
		return out, err
	}
	list, next := restjson.Cut(list, pg, func(d deploy.Listed) string { return d.ID })
	out = DeploymentList{Deployments: make([]DeploymentSummary, 0, len(list)), NextToken: next}
	names := make(map[string]string) // of groups
	for _, d := range list {
		if _, known := names[d.GroupID]; !known {
			group, err := a.o.Definitions.Definition(ctx, r.Partition, fescue.GroupKind, d.GroupID)
			if err != nil && !errors.Is(err, fescue.ErrNotFound) {
				return out, err
			}
			names[d.GroupID] = group.Name
		}
		s := summary(d.Deployment)
		s.GroupName, s.Last = names[d.GroupID], d.Last
		out.Deployments = append(out.Deployments, s)
	}
	return out, nil
}

// listOfGroup answers of a group that is deleted, too: its deployments are kept for a while.
func (a *API) listOfGroup(ctx context.Context, r *restjson.Request, _ nothing) (out DeploymentList, err error) {
	group := r.Label("GroupId")
	if !fescue.ValidID(group) {
		return out, unknownGroup
	}
	pg, err := page(r)
	if err != nil {
		return out, err
	}
	list, err := a.o.Deployments.Deployments(ctx, r.Partition, group, pg)
	if err != nil {
		return out, err
	}
	list, next := restjson.Cut(list, pg, func(d fescue.Deployment) string { return d.ID })
	out = DeploymentList{Deployments: make([]DeploymentSummary, 0, len(list)), NextToken: next}
	for _, d := range list {
		out.Deployments = append(out.Deployments, summary(d))
	}
	return out, nil
}

// CheckRequest is the body of CheckGroupVersion.
type CheckRequest struct {
	// WaitSeconds is how long the core's answer is waited for, from 0 to 50; 10 when it
	// is absent.
	WaitSeconds *int `json:",omitempty"`
}

// CheckResult answers CheckGroupVersion.
type CheckResult struct {
	// Deployable reports that nothing was found but warnings. Where the core was not asked or
	// did not answer, that holds for the control plane's part alone: see Core.
	Deployable bool
	// Building is what would fail the deployment in the control plane, OnCore
	// what would fail it on the core.
	Building []fescue.ErrorDetail
	OnCore   []fescue.ErrorDetail
	// Warnings fail nothing: parts of the group that have no effect, and what on
	// the core's machine may soon be in the way.
	Warnings []fescue.ErrorDetail `json:",omitempty"`
	Core     *CoreState           `json:",omitempty"`
	// CoreAnswered reports whether the core has checked its part; Reason says why
	// not.
	CoreAnswered bool
	Reason       string `json:",omitempty"`
	// BytesToFetch is what the core would download.
	BytesToFetch int64
}

// checkWait is how long a check waits for the core's answer when the caller does
// not say; maxCheckWait bounds what a caller may say.
const (
	checkWait    = 10 * time.Second
	maxCheckWait = 50 * time.Second
)

func (a *API) checkGroupVersion(ctx context.Context, r *restjson.Request, in CheckRequest) (out CheckResult, err error) {
	wait := checkWait
	if in.WaitSeconds != nil {
		wait = time.Duration(*in.WaitSeconds) * time.Second
		if wait < 0 || wait > maxCheckWait {
			return out, refuse(http.StatusBadRequest, badRequest, "WaitSeconds must lie between 0 and %d.", int(maxCheckWait.Seconds()))
		}
	}
	group, version := r.Label("GroupId"), r.Label("GroupVersionId")
	if r.Caller.Scope != nil {
		names, err := a.o.Definitions.NamedBy(ctx, r.Partition, group, version)
		if err == nil {
			err = r.Covers(ctx, names...)
		}
		if err != nil {
			return out, err
		}
	}
	c, err := a.o.Deployments.Check(ctx, r.Partition, group, version, wait)
	switch {
	case errors.Is(err, deploy.ErrUnknownGroup):
		return out, unknownGroup
	case errors.Is(err, deploy.ErrUnknownVersion):
		return out, refuse(http.StatusNotFound, resourceNotFound, "Version %s of Group Definition %s does not exist.", version, group)
	case errors.Is(err, deploy.ErrNoCore):
		return out, refuse(http.StatusBadRequest, badRequest, "Version %s of group %s has no core definition, so that there is nothing to deploy it to. Create a group version that refers to one.", version, group)
	case errors.Is(err, deploy.ErrTooLarge):
		return out, refuse(http.StatusRequestEntityTooLarge, badRequest, "%s", strings.TrimSuffix(err.Error(), ": "+deploy.ErrTooLarge.Error()))
	case err != nil:
		return out, err
	}
	out = CheckResult{
		Building: append([]fescue.ErrorDetail{}, c.Building...), OnCore: []fescue.ErrorDetail{},
		Warnings: c.Warnings, Core: a.coreState(c.CoreThing, c.Core), CoreAnswered: c.Answer != nil,
	}
	switch {
	case c.Answer != nil:
		out.OnCore = append(out.OnCore, c.Answer.Problems...)
		out.BytesToFetch = c.Answer.ToFetch
		for _, w := range c.Answer.Warnings {
			if !slices.Contains(out.Warnings, w) {
				out.Warnings = append(out.Warnings, w)
			}
		}
	case c.Asked:
		out.Reason = "The core did not answer in time; it may be busy with a deployment."
	case len(c.Building) > 0:
		out.Reason = "The core was not asked: the control plane could not build the deployment."
	case out.Core != nil && !out.Core.Online:
		out.Reason = "The core is offline."
	default:
		out.Reason = "The core was not asked."
	}
	out.Deployable = len(out.Building) == 0 && len(out.OnCore) == 0
	return out, nil
}
