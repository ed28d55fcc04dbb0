package agent

import (
	"context"
	"errors"
	"log/slog"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/depot"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/corelink"
)

// answer reports to the control plane whether this core could run a group. It changes
// and starts nothing.
func (a *Agent) answer(ctx context.Context, c corelink.Check) error {
	if c.Activity {
		activity := a.Activity()
		return a.sendAnswer(ctx, c, corelink.CheckReport{Activity: &activity})
	}
	a.Logger.Info("A group is checked without being deployed.", slog.String("groupId", c.GroupID), slog.String("checkId", c.ID))
	problems, warnings, toFetch := a.check(ctx, c)
	if err := ctx.Err(); err != nil {
		return err
	}
	report := corelink.CheckReport{Problems: details(problems), Warnings: bounded(warnings), ToFetch: toFetch}
	report.Warnings = append(report.Warnings, a.attention()...)
	return a.sendAnswer(ctx, c, report)
}

func (a *Agent) sendAnswer(ctx context.Context, c corelink.Check, report corelink.CheckReport) error {
	err := a.Cloud.AnswerCheck(ctx, c.GroupID, c.ID, a.ThingARN, report)
	if abandoned(err) != nil {
		return nil // nobody waits for it any more
	}
	if err != nil {
		return errors.Join(errors.New("the answer to a check did not reach the control plane"), err)
	}
	return nil
}

// check is what deploying the group here would find, as far as that can be known
// without its packages, and how many bytes would have to be fetched.
func (a *Agent) check(ctx context.Context, c corelink.Check) ([]failure.Problem, []fescue.ErrorDetail, int64) {
	m := bundle.Manifest{GroupID: c.GroupID, DeploymentID: c.ID}
	for _, f := range c.Functions {
		m.Artifacts = append(m.Artifacts, bundle.PackageArtifact(f.ARN, f.SHA256, f.Size))
	}
	for _, r := range c.Models {
		m.Artifacts = append(m.Artifacts, bundle.ModelArtifact(r.Resource, r.SHA256, r.Size, bundle.Packing(r.Unpack)))
	}
	list, err := a.folder.depot.Missing(m)
	if err != nil {
		return failure.Of(failure.Disk("look into the deployment folder", err)), nil, 0
	}
	var problems []failure.Problem
	if err := a.folder.depot.Room(list); err != nil {
		problems = failure.Of(err)
	}
	plan, found := a.planner.Check(ctx, m, c.Group)
	return append(problems, found...), plan.Warnings, depot.ToFetch(list)
}
