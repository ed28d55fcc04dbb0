package agent

import (
	"context"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/secrets"
)

// plan resolves a staged deployment. Nothing is to run after a reset.
func (a *Agent) plan(ctx context.Context, m bundle.Manifest) (plan.Plan, []failure.Problem) {
	if m.DeploymentType.Reset() {
		return plan.Plan{GroupID: m.GroupID, DeploymentID: m.DeploymentID}, nil
	}
	document, err := a.folder.groupDocument(m)
	if err != nil {
		return plan.Plan{}, []failure.Problem{failure.New("", fescue.GroupFile, err)}
	}
	return a.planner.Plan(ctx, m, document)
}

// planOnce is plan for a deployment that is started: what was planned before the switch to it,
// or anew after a restart and for a second attempt, for which the machine may have changed.
func (a *Agent) planOnce(ctx context.Context, m bundle.Manifest) (plan.Plan, []failure.Problem) {
	before := a.work.planned
	a.work.planned = nil
	if before != nil && before.epoch == m.Epoch {
		return before.plan, nil
	}
	return a.plan(ctx, m)
}

// stageSecrets fetches the secrets of a deployment whose other pieces are staged.
func (a *Agent) stageSecrets(ctx context.Context, m bundle.Manifest) error {
	if m.DeploymentType.Reset() {
		return nil
	}
	document, err := a.folder.groupDocument(m)
	if err != nil {
		return failure.Fail(fescue.GroupFile, err)
	}
	group, err := bundle.ParseGroup(document)
	if err != nil {
		return failure.Fail(fescue.GroupFile, err)
	}
	if len(secrets.Wanted(group)) > 0 {
		a.work.Doing("fetching the group's secrets")
	}
	return a.folder.vault.Stage(ctx, m, group)
}
