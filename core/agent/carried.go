package agent

import (
	"context"
	"errors"
	"log/slog"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/core/trust"
)

// The agent's side of handover.go: what was handed over is taken by the same steps as
// what the control plane offers.

// takeCarried takes what was handed over up to its end, and reports whether there was
// something. An error leaves it to be tried again. A bundle that cannot be read or
// removed stops nothing else: it is tried again later.
func (a *Agent) takeCarried(ctx context.Context) (taken bool, err error) {
	changed, waits := a.inbox.begin()
	if !waits {
		return false, nil
	}
	err = a.bringCarried(ctx)
	var s *stuck
	if ctx.Err() == nil && errors.As(err, &s) {
		err = nil
	}
	a.inbox.finish(changed, s)
	return s == nil, err
}

// bringCarried is takeCarried for what is there.
func (a *Agent) bringCarried(ctx context.Context) error {
	list, envelope, keys, err := a.inbox.read()
	if err != nil && !errors.Is(err, errDamaged) {
		return &stuck{err}
	}
	if h, unread := ReadHandover(a.Disk, a.inbox.root); unread == nil && h.Done && (err != nil || h.DeploymentID == list.DeploymentID) {
		return a.inbox.remove() // it has ended; the power failed before it was removed
	}
	if h := a.inbox.unwritten; h != nil && h.DeploymentID == list.DeploymentID {
		return a.inbox.end(*h)
	}
	if err != nil {
		a.Logger.Error("A bundle is refused.", slog.String("errorString", err.Error()))
		return a.endCarried(list, []failure.Problem{failure.New("", fescue.ManifestRefused, err)})
	}
	a.sources.carried = &list
	defer func() { a.sources.carried = nil }()
	a.inbox.report(list, "verifying the bundle")
	if !a.restored {
		if err := a.restoreDeployment(ctx); err != nil {
			return err
		}
	}
	if a.current != nil && !a.accepted() && !a.emptied {
		// What is under way comes to its own end first.
		a.inbox.report(list, "waiting for the end of the deployment before")
		if err := a.reconcile(ctx); err != nil {
			return err
		}
	}
	m, err := a.inbox.verify(list, envelope, keys, a.ThingARN, a.seen())
	if e := a.state.Ended; e != nil && e.DeploymentID == list.DeploymentID && err != nil {
		// It came to its end after a start.
		return a.endedCarried(ctx, list, *e)
	}
	if errors.Is(err, trust.ErrReplay) && a.runs(m) {
		return a.endCarried(list, nil)
	}
	if err != nil {
		problem := a.keys.Refusal(err)
		a.Logger.Error("A bundle is refused.", slog.String("deploymentId", list.DeploymentID), slog.String("code", problem.Code), slog.String("errorString", problem.Message))
		return a.endCarried(list, []failure.Problem{problem})
	}
	a.Logger.Info("A deployment is taken from a bundle.", slog.String("deploymentId", m.DeploymentID), slog.String("type", string(m.DeploymentType)), slog.Int64("epoch", m.Epoch))
	a.setAside()
	if err := a.carryOut(ctx, list, &deployed{m, envelope}); err != nil {
		return err
	}
	if ctx.Err() != nil || a.state.Ended == nil {
		return ctx.Err()
	}
	return a.endedCarried(ctx, list, *a.state.Ended)
}

// carryOut is what deploy and reconcile do with an offer, without a control plane that
// has to answer: one that does is heeded.
func (a *Agent) carryOut(ctx context.Context, list bundle.Carried, d *deployed) error {
	m := d.manifest
	if err := a.reportIfReachable(ctx, m, slog.LevelInfo, fescue.EventClaimed); err != nil {
		a.stopped(m, err)
		return nil
	}
	a.inbox.report(list, "staging")
	if err := a.prepare(ctx, m); err != nil {
		if err := a.failed(ctx, m, err); err != nil {
			return &stuck{err} // nothing was switched to
		}
		return nil
	}
	if err := a.reportIfReachable(ctx, m, slog.LevelInfo, fescue.EventStaged); err != nil {
		a.stopped(m, err)
		return nil
	}
	a.inbox.report(list, "switching to it")
	if err := a.switchTo(d); err != nil {
		return a.failed(ctx, m, failure.Disk("switch to the new deployment", err))
	}
	a.Logger.Info("The deployment is switched to.", slog.String("deploymentId", m.DeploymentID))
	if err := a.reportIfReachable(ctx, m, slog.LevelInfo, fescue.EventSwitched); err != nil {
		a.stopped(m, err)
		return nil
	}
	a.inbox.report(list, "starting what changed, and waiting until the functions are healthy")
	return a.reconcile(ctx)
}

// endedCarried says how what was handed over has ended, when the core runs what it is
// to run after that.
func (a *Agent) endedCarried(ctx context.Context, list bundle.Carried, e ending) error {
	if err := a.reconcile(ctx); err != nil {
		return err
	}
	h := Handover{DeploymentID: list.DeploymentID, Done: true}
	switch e.Report.Event {
	case fescue.EventSucceeded:
	case fescue.EventFailed:
		h.Message, h.Details = e.Report.Message, e.Report.Details
	default:
		h.Message = "The control plane has ended the deployment; " + e.Report.Note + ". Write a new bundle."
	}
	return a.inbox.end(h)
}

// endCarried ends what was handed over without a deployment having begun.
func (a *Agent) endCarried(list bundle.Carried, problems []failure.Problem) error {
	h := Handover{DeploymentID: list.DeploymentID, Done: true}
	if len(problems) > 0 {
		m := bundle.Manifest{GroupID: list.GroupID, DeploymentID: list.DeploymentID, DeploymentType: fescue.NewDeployment}
		h.Message, h.Details = failureMessage(m, problems), details(problems)
	}
	return a.inbox.end(h)
}
