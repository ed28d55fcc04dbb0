package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/trust"
	"github.com/fescue-edge/fescue/disk"
)

// restore reads what lies on the disk and starts it, without the cloud.
func (a *Agent) restore(ctx context.Context) error {
	if err := disk.EnsureFolder(a.Disk, a.folder.root, passable); err != nil {
		return fmt.Errorf("prepare the deployment folder: %w", err)
	}
	if err := a.folder.clean(a.Now()); err != nil {
		a.Logger.Warn("Leftovers in the deployment folder stay.", slog.String("errorString", err.Error()))
	}
	s, err := loadState(a.Disk, a.folder.state())
	switch {
	case err == nil:
		a.state, a.folder.stateSaved = s, true
	case errors.Is(err, errNoState):
		a.Logger.Debug("The core has no deployment state.", slog.String("errorString", err.Error()))
	default:
		return err
	}
	return a.restoreDeployment(ctx)
}

// restoreDeployment starts the deployment on the disk. Without a trusted key it
// starts nothing and leaves restored false.
func (a *Agent) restoreDeployment(ctx context.Context) error {
	current, err := a.folder.load(a.folder.manifest())
	cleared := current == nil && err == nil
	if errors.Is(err, trust.ErrNoKey) {
		a.Logger.Warn("The deployment on disk cannot be verified before the first contact with the control plane; nothing is started from it.")
		return a.start(ctx, nil)
	}
	if err != nil {
		a.Logger.Error("The deployment on disk is not started. Deploy the group again.", slog.String("errorString", err.Error()))
	}
	previous, err := a.folder.load(a.folder.previous())
	if err != nil {
		a.Logger.Warn("There is no deployment to go back to.", slog.String("errorString", err.Error()))
	}
	a.current, a.previous, a.restored = current, previous, true
	if current != nil && !a.folder.stateSaved {
		// The state file is lost. It is written before the first switch, so
		// this is no deployment of which the end is still open.
		epoch := current.manifest.Epoch
		a.setState(state{Epoch: epoch, Accepted: epoch})
	}
	if a.emptied = a.folder.groupEmptied(); a.emptied {
		a.Logger.Warn("group.json is empty: no function is started until the next deployment.", slog.String("file", a.folder.group()))
		if !a.accepted() && a.current.manifest.Epoch > a.state.Epoch {
			a.conclude(a.current.manifest, []failure.Problem{failure.New("", fescue.DeploymentInterrupted)})
		}
		return a.start(ctx, nil)
	}
	if a.current == nil {
		if a.folder.foreign() {
			a.Logger.Warn("This folder holds a group of another core software that was never deployed by this one: nothing of it runs. "+
				"Restore it on the server with fescue recover, which takes the core's root folder, and deploy it.", slog.String("file", a.folder.group()))
		} else if cleared && a.folder.stateSaved {
			// The way back to nothing may have been cut short.
			if err := a.folder.derive(a.current); err != nil {
				a.Logger.Error("The deployment folder could not be cleared.", slog.String("errorString", err.Error()))
			}
		}
		return a.start(ctx, nil)
	}
	if !a.accepted() {
		// Its end is still open, or the way back was cut short.
		a.resumed = true
		err := a.reconcile(ctx)
		a.resumed = false
		if err == nil && !a.accepted() {
			// It came to a bad end just now: the way back belongs to the start.
			err = a.reconcile(ctx)
		}
		if err != nil && ctx.Err() != nil {
			return err
		} else if err != nil {
			a.Logger.Error("The deployment on disk could not be brought to its end.", slog.String("errorString", err.Error()))
		}
		return nil
	}
	if err := a.folder.derive(a.current); err != nil {
		a.Logger.Error("The deployment folder could not be brought in line with the manifest.", slog.String("errorString", err.Error()))
	}
	return a.start(ctx, a.current)
}

// accepted reports whether the current deployment may run: it has succeeded
// here, even if the cloud does not have it yet.
func (a *Agent) accepted() bool {
	if a.current == nil {
		return true
	}
	epoch := a.current.manifest.Epoch
	return epoch == a.state.Accepted || a.state.Ended.succeeded() && a.state.Ended.Report.Epoch == epoch
}

// start runs a deployment that was healthy before, or nothing for nil. What
// cannot run any more is left out and named in the log.
func (a *Agent) start(ctx context.Context, d *deployed) error {
	var plan plan.Plan
	if d != nil {
		var problems []failure.Problem
		plan, problems = a.plan(ctx, d.manifest)
		for _, p := range problems {
			a.Logger.Error("Part of the deployed group does not run.", slog.String("funcArn", p.Function), slog.String("errorString", p.Message))
		}
	}
	a.unapplied = true
	if err := a.Edge.Apply(ctx, plan); err != nil {
		return fmt.Errorf("start the functions of deployment %q: %w", plan.DeploymentID, err)
	}
	a.unapplied = false
	return nil
}
