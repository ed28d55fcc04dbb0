package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/trust"
	"github.com/fescue-edge/fescue/corelink"
)

// errAbandoned means that the cloud has ended the deployment by itself.
var errAbandoned = errors.New("the deployment was ended by the control plane")

// errForgotten is an errAbandoned of a control plane that does not know the
// deployment: it was restored from a backup.
var errForgotten = fmt.Errorf("%w: it does not know the deployment", errAbandoned)

// deploy takes an offer up to the switch; reconcile does the rest. An error that
// is no failure leaves everything so that the next attempt goes on from here.
func (a *Agent) deploy(ctx context.Context, offer corelink.Offer) error {
	m, err := a.keys.Verify(offer, a.ThingARN, a.seen())
	if errors.Is(err, bundle.ErrUnknownKey) {
		// Perhaps a key that followed the trusted ones.
		learned, failed := a.keys.Learn(ctx)
		if failed != nil {
			return failed
		}
		if learned {
			m, err = a.keys.Verify(offer, a.ThingARN, a.seen())
		}
	}
	switch {
	case errors.Is(err, trust.ErrNoKey):
		return err
	case errors.Is(err, trust.ErrReplay) && a.runs(m):
		// The cloud has lost what was reported, perhaps from the claim on.
		if offer.Phase == fescue.Offered {
			if err := a.report(ctx, m, fescue.EventClaimed); err != nil {
				return err
			}
		}
		a.conclude(m, nil)
		return nil
	case err != nil:
		return a.refuse(ctx, offer, err)
	}
	log := a.Logger.With(slog.String("deploymentId", m.DeploymentID), slog.String("type", string(m.DeploymentType)))
	if offer.Cancel {
		a.stopped(m, errCancelled)
		return nil
	}
	if offer.Phase == fescue.Offered {
		log.Info("A deployment is taken.", slog.Int64("epoch", m.Epoch))
		// The wake that brought the core here is not one to ask again for.
		select {
		case <-a.wake:
		default:
		}
		switch err := a.report(ctx, m, fescue.EventClaimed); {
		case errors.Is(err, errCancelled):
			a.stopped(m, err)
			return nil
		case err != nil:
			return err // also when somebody was faster: nothing was begun
		}
	}
	if err := a.prepare(ctx, m); err != nil {
		return a.failed(ctx, m, err)
	}
	if err := a.report(ctx, m, fescue.EventStaged); err != nil {
		return a.failed(ctx, m, err)
	}
	if err := a.switchTo(&deployed{m, offer.Envelope}); err != nil {
		return a.failed(ctx, m, failure.Disk("switch to the new deployment", err))
	}
	log.Info("The deployment is switched to.")
	// The end will be reported until it is acknowledged; this step need not be.
	if err := a.reportIfReachable(ctx, m, slog.LevelWarn, fescue.EventSwitched); err != nil {
		a.stopped(m, err)
	}
	return nil
}

// prepare stages the deployment and checks that it can run here.
func (a *Agent) prepare(ctx context.Context, m bundle.Manifest) error {
	a.work = new(work)
	work, leave := a.attend(ctx, m, false)
	err := a.folder.depot.Stage(work, m, a.work)
	if err == nil {
		err = a.stageSecrets(work, m)
	}
	var problems []failure.Problem
	if err == nil {
		a.work.Doing("checking whether this core can run the group")
		var next plan.Plan
		next, problems = a.plan(work, m)
		a.work.warnings = next.Warnings
		if len(problems) == 0 {
			a.work.planned = &planned{m.Epoch, next}
		}
	}
	switch stopped := leave(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case stopped != nil:
		return stopped
	case err != nil:
		return err
	case len(problems) > 0:
		return &failure.Error{Problems: problems}
	}
	return nil
}

// runs reports whether the core runs exactly this deployment, and well.
func (a *Agent) runs(m bundle.Manifest) bool {
	return a.current != nil && a.accepted() && !a.emptied &&
		a.current.manifest.DeploymentID == m.DeploymentID && a.current.manifest.Epoch == m.Epoch
}

// seen is the highest epoch that counts as used up.
func (a *Agent) seen() int64 {
	if a.current != nil {
		return max(a.state.Epoch, a.current.manifest.Epoch)
	}
	return a.state.Epoch
}

// failed ends a deployment that cannot or shall not go on, and passes every other
// error on.
func (a *Agent) failed(ctx context.Context, m bundle.Manifest, err error) error {
	var f *failure.Error
	switch {
	case ctx.Err() != nil:
		return err
	case errors.As(err, &f):
		a.conclude(m, f.Problems)
	case errors.Is(err, errAbandoned), errors.Is(err, errCancelled):
		a.stopped(m, err)
	default:
		return err
	}
	return nil
}

// report sends one step of a deployment. It is errCancelled when the answer asks
// to stop.
func (a *Agent) report(ctx context.Context, m bundle.Manifest, event fescue.DeploymentEvent) error {
	report := corelink.StatusReport{Event: event, Epoch: m.Epoch}
	switch event {
	case fescue.EventClaimed:
		report.Note = note(a.Findings())
	case fescue.EventStaged:
		report.Fetched, report.Warnings = a.work.fetched.Load(), bounded(a.work.warnings)
	}
	cancel, err := a.send(ctx, m.GroupID, m.DeploymentID, report)
	if err == nil && cancel {
		err = errCancelled
	}
	return err
}

// reportIfReachable is report for a step that need not arrive: one that does not is logged at
// the level. The error is errCancelled or errAbandoned, when the control plane says that the
// deployment is not to be.
func (a *Agent) reportIfReachable(ctx context.Context, m bundle.Manifest, level slog.Level, event fescue.DeploymentEvent) error {
	note, cancel := context.WithTimeout(ctx, a.Times.Note)
	defer cancel()
	err := a.report(note, m, event)
	if errors.Is(err, errAbandoned) && !errors.Is(err, errForgotten) || errors.Is(err, errCancelled) {
		return err
	}
	if err != nil {
		a.Logger.Log(ctx, level, "A report did not reach the control plane.",
			slog.String("deploymentId", m.DeploymentID), slog.String("step", string(event)), slog.String("errorString", err.Error()))
	}
	return nil
}

// send sends a report and is errAbandoned when the cloud knows the deployment to
// have ended. cancel says that the core is to stop.
func (a *Agent) send(ctx context.Context, groupID, deploymentID string, r corelink.StatusReport) (cancel bool, err error) {
	answer, err := a.Cloud.UpdateStatus(ctx, groupID, deploymentID, a.ThingARN, r)
	if refused, ok := corelink.Refused(err); ok && refused.Code == corelink.OutOfOrder && r.Event != fescue.EventClaimed && r.Event != fescue.EventWentBack {
		// The deployment is open, and its claim is not known: that of a control plane
		// which was restored from a backup.
		claim := corelink.StatusReport{Event: fescue.EventClaimed, Epoch: r.Epoch}
		if _, err = a.Cloud.UpdateStatus(ctx, groupID, deploymentID, a.ThingARN, claim); err == nil {
			answer, err = a.Cloud.UpdateStatus(ctx, groupID, deploymentID, a.ThingARN, r)
		}
	}
	if over := abandoned(err); over != nil {
		return false, over
	}
	if err != nil {
		return false, fmt.Errorf("failed to report deployment status back to cloud: %w", err)
	}
	return answer.Cancel, nil
}
