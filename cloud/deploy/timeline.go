package deploy

import (
	"context"
	"slices"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
)

// Timeline is everything that is known of a deployment.
type Timeline struct {
	fescue.Deployment
	Steps    []fescue.RecordedStep
	Progress fescue.Progress
	// Core is when the deployment's core was last seen; zero before it is built.
	Core cores.LastSeen
	// Deadline is when the control plane ends the deployment if it stays in its
	// phase; zero for never.
	Deadline time.Time
}

// Timeline reads everything about a deployment. The error is fescue.ErrNotFound
// when the group has none of that id.
func (e *Engine) Timeline(ctx context.Context, p fescue.Partition, groupID, id string) (Timeline, error) {
	var t Timeline
	var err error
	if t.Deployment, err = e.deployments.Deployment(ctx, p, groupID, id); err != nil {
		return t, err
	}
	if t.Steps, err = e.deployments.Steps(ctx, p, id); err != nil {
		return t, err
	}
	onlyNewWarnings(t.Steps)
	if t.Progress, err = e.deployments.Progress(ctx, p, id); err != nil {
		return t, err
	}
	if t.CoreThing != "" {
		if t.Core, err = e.presence.LastSeen(ctx, p, t.CoreThing); err != nil {
			return t, err
		}
	}
	if limit := e.deadlines.of(t.Phase); limit > 0 {
		t.Deadline = t.UpdatedAt.Add(limit)
	}
	return t, nil
}

// onlyNewWarnings takes from each step the warnings that an earlier one had: core
// and control plane find the same things in a group.
func onlyNewWarnings(steps []fescue.RecordedStep) {
	seen := make(map[fescue.ErrorDetail]bool)
	for i := range steps {
		steps[i].Warnings = slices.DeleteFunc(steps[i].Warnings, func(w fescue.ErrorDetail) bool {
			before := seen[w]
			seen[w] = true
			return before
		})
	}
}

// Listed is a deployment in a list of those of all groups.
type Listed struct {
	fescue.Deployment
	// Last reports that no later deployment of its group has ended.
	Last bool
}

// DeploymentsIn lists the deployments of all groups that are in a status, newest
// first.
func (e *Engine) DeploymentsIn(ctx context.Context, p fescue.Partition, status fescue.DeploymentStatus, page fescue.Page) ([]Listed, error) {
	return e.deployments.DeploymentsIn(ctx, p, status, page)
}
