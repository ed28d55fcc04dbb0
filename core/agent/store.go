package agent

import (
	"context"
	"errors"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/secrets"
	"github.com/fescue-edge/fescue/disk"
)

// plan resolves a staged deployment. Nothing is to run after a reset.
func (a *Agent) plan(ctx context.Context, m bundle.Manifest) (plan.Plan, []failure.Problem) {
	if m.DeploymentType.Reset() {
		return plan.Plan{GroupID: m.GroupID, DeploymentID: m.DeploymentID}, nil
	}
	document, err := a.groupDocument(m)
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

// groupDocument reads what the signature covers, not the file group.json that people
// edit.
func (a *Agent) groupDocument(m bundle.Manifest) ([]byte, error) {
	document, ok := m.GroupDocument()
	if !ok {
		return nil, errors.New("the manifest names no group document")
	}
	return a.depot.Read(document)
}

// stageSecrets fetches the secrets of a deployment whose other pieces are staged.
func (a *Agent) stageSecrets(ctx context.Context, m bundle.Manifest) error {
	if m.DeploymentType.Reset() {
		return nil
	}
	document, err := a.groupDocument(m)
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
	return a.vault.Stage(ctx, m, group)
}

// prune removes from the disk what neither the current nor the previous manifest
// names.
func (a *Agent) prune() error {
	var keep []bundle.Manifest
	for _, d := range []*deployed{a.current, a.previous} {
		if d != nil {
			keep = append(keep, d.manifest)
		}
	}
	return errors.Join(a.depot.Prune(keep...), a.vault.Prune(keep...))
}

// clean removes what a start finds half done.
func (a *Agent) clean(now time.Time) error {
	err := errors.Join(a.depot.Clean(now), a.vault.Clean(), a.Disk.RemoveAll(a.layout.doneCarried()))
	files := append(a.keys.Files(), a.layout.manifest(), a.layout.previous(), a.layout.state(), a.layout.group())
	for _, name := range files {
		err = errors.Join(err, disk.RemoveIfThere(a.Disk, name+disk.NewSuffix))
	}
	return err
}
