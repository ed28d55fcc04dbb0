package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/corelink"
)

// reconcile brings what runs in line with what is written down. A deployment
// that was switched to and has not ended is brought to its end; one that ended
// badly is left for the one before. After a crash and in the middle of work the
// same lines decide.
func (a *Agent) reconcile(ctx context.Context) error {
	switch {
	case a.emptied:
		return nil
	case a.accepted() && a.unapplied:
		if err := a.folder.deriveOnce(a.current); err != nil {
			return err
		}
		return a.start(ctx, a.current)
	case a.accepted():
		return nil
	case a.current.manifest.Epoch > a.state.Epoch:
		return a.finish(ctx, a.current.manifest)
	default:
		return a.goBack(ctx)
	}
}

// finish runs a deployment that was switched to, waits until it is healthy, and
// writes down how it ended. Its error leaves the end open.
func (a *Agent) finish(ctx context.Context, m bundle.Manifest) error {
	work, leave := a.attend(ctx, m, a.resumed)
	problems := a.run(work, m)
	stopped := leave()
	if err := ctx.Err(); err != nil {
		// What looks unhealthy may only be the core's own end.
		return err
	}
	if stopped != nil {
		a.stopped(m, stopped)
		return nil
	}
	if len(problems) == 0 && m.DeploymentType.Reset() {
		if err := a.Edge.Reset(ctx); err != nil {
			problems = failure.Of(failure.Disk("reset the core", err))
		}
	}
	a.conclude(m, problems)
	return nil
}

func (a *Agent) run(ctx context.Context, m bundle.Manifest) []failure.Problem {
	if err := a.folder.deriveOnce(a.current); err != nil {
		return failure.Of(failure.Disk("bring the deployment folder in line with the manifest", err))
	}
	next, problems := a.planOnce(ctx, m)
	if len(problems) > 0 {
		return problems
	}
	a.work.Doing("starting what changed")
	if err := a.Edge.Apply(ctx, next); err != nil {
		return []failure.Problem{failure.New("", fescue.FunctionsNotStarted, err)}
	}
	a.work.Doing("waiting until the functions are healthy")
	for _, t := range a.Edge.WaitReady(ctx) {
		if t.Kind == plan.PortTaken {
			problems = append(problems, failure.New("", fescue.LocalMQTTUnserved, t.Cause))
			continue
		}
		p := failure.New(t.ARN, fescue.FunctionUnhealthy, t.ARN, t.Cause)
		if len(t.LastLines) > 0 {
			p.Log = " Its last log lines:"
			for _, line := range t.LastLines {
				p.Log += "\n" + cut(strings.TrimSpace(line), 300)
			}
		}
		problems = append(problems, p)
	}
	return problems
}

// conclude writes down how a deployment ended. If that cannot be written, the
// next start brings it to its end again.
func (a *Agent) conclude(m bundle.Manifest, problems []failure.Problem) {
	report := corelink.StatusReport{Event: fescue.EventSucceeded, Epoch: m.Epoch}
	log := a.Logger.With(slog.String("deploymentId", m.DeploymentID), slog.String("type", string(m.DeploymentType)))
	if len(problems) == 0 {
		log.Info("The deployment succeeded.")
	} else {
		report.Event = fescue.EventFailed
		report.Message = failureMessage(m, problems)
		report.Details = details(problems)
		log.Error("Deployment failed.", slog.String("errorString", report.Message))
	}
	if a.inbox.has(m.DeploymentID) {
		report.Note = "it came as a bundle, at " + a.Now().UTC().Format(time.RFC3339) + " by the core's clock"
	}
	s := a.state
	s.Epoch = max(s.Epoch, m.Epoch)
	s.Ended = &ending{GroupID: m.GroupID, DeploymentID: m.DeploymentID, Report: report}
	a.setState(s)
}

// giveUp writes down that the cloud ended a deployment by itself. That the core
// runs the last accepted one again is reported when it does.
func (a *Agent) giveUp(m bundle.Manifest) {
	a.Logger.Error("The control plane had ended the deployment otherwise; the last accepted one stays or comes back.",
		slog.String("deploymentId", m.DeploymentID))
	s := a.state
	s.Epoch = max(s.Epoch, m.Epoch)
	s.Ended = a.wentBack(m.GroupID, m.DeploymentID, m.Epoch)
	a.setState(s)
}

// wentBack is the report that a deployment, which the cloud had ended, does not
// run here.
func (a *Agent) wentBack(groupID, deploymentID string, epoch int64) *ending {
	note := "the core runs nothing, as before the deployment"
	for _, d := range []*deployed{a.previous, a.current} {
		if d != nil && d.manifest.Epoch == a.state.Accepted {
			note = fmt.Sprintf("the core runs deployment %s", d.manifest.DeploymentID)
		}
	}
	return &ending{GroupID: groupID, DeploymentID: deploymentID, Report: corelink.StatusReport{
		Event: fescue.EventWentBack, Epoch: epoch, Note: note,
	}}
}

// setState keeps the state even when it cannot be written, which is then tried
// again: the core goes on by it, and a start from the old file repeats a step and
// nothing worse.
func (a *Agent) setState(s state) {
	a.state = s
	err := a.folder.saveState(s)
	if err != nil {
		a.Logger.Error("The deployment state could not be written.", slog.String("errorString", err.Error()))
	}
	a.unsaved = err != nil
}

// reportEnd reports to the cloud how a deployment ended, until the report is acknowledged
// or refused.
func (a *Agent) reportEnd(ctx context.Context) error {
	e := a.state.Ended
	err := a.sendEnd(ctx, *e)
	if err != nil && !errors.Is(err, errAbandoned) {
		return err
	}
	if errors.Is(err, errForgotten) && e.succeeded() {
		// Nobody has said that it did not succeed: what was brought stays.
		a.Logger.Warn("The control plane does not know the deployment that succeeded here; it was perhaps restored from a backup.",
			slog.String("deploymentId", e.DeploymentID), slog.String("errorString", err.Error()))
		err = nil
	}
	if err != nil && e.Report.Event != fescue.EventWentBack {
		a.Logger.Warn("The control plane does not take how the deployment ended here.",
			slog.String("reported", string(e.Report.Event)), slog.String("errorString", err.Error()))
		a.giveUp(bundle.Manifest{GroupID: e.GroupID, DeploymentID: e.DeploymentID, Epoch: e.Report.Epoch})
		return a.reconcile(ctx)
	}
	s := a.state
	s.Ended = nil
	if err == nil && e.succeeded() {
		if a.current != nil && a.current.manifest.Epoch == e.Report.Epoch && a.current.manifest.DeploymentType.Reset() {
			// There is no way back from a reset from here on. Until the control plane has
			// taken it, there is: it may have ended the reset otherwise.
			a.previous = nil
			if err := a.folder.keep(a.folder.previous(), nil); err != nil {
				return fmt.Errorf("forget the deployment before the reset: %w", err)
			}
		}
		s.Accepted = e.Report.Epoch
	}
	a.setState(s)
	if err := a.folder.prune(a.current, a.previous); err != nil {
		a.Logger.Warn("Old artifacts stay in the deployment folder.", slog.String("errorString", err.Error()))
	}
	return nil
}

// setAside keeps an end that could not be reported, so that another deployment can
// come to its own.
func (a *Agent) setAside() {
	if a.state.Ended == nil {
		return
	}
	s := a.state
	if s.Ended.succeeded() {
		s.Accepted = s.Ended.Report.Epoch
	}
	s.Unsent = append(s.Unsent, *s.Ended)
	if len(s.Unsent) > maxUnsent {
		s.Unsent = s.Unsent[len(s.Unsent)-maxUnsent:]
	}
	s.Ended = nil
	a.setState(s)
}

// maxUnsent bounds the ends that wait for a line, beside the last.
const maxUnsent = 32

// sendUnsent reports the ends that were set aside. What the control plane has ended
// otherwise meanwhile stays as it has it.
func (a *Agent) sendUnsent(ctx context.Context) error {
	for len(a.state.Unsent) > 0 {
		if err := a.sendEnd(ctx, a.state.Unsent[0]); err != nil && !errors.Is(err, errAbandoned) {
			return err
		}
		s := a.state
		s.Unsent = s.Unsent[1:]
		a.setState(s)
	}
	return nil
}

// sendEnd reports how a deployment ended. What the control plane refuses for good counts
// as reported: one end must not keep the core from all that follows. A right that the core
// has not may be given to it again: that is reported again.
func (a *Agent) sendEnd(ctx context.Context, e ending) error {
	_, err := a.send(ctx, e.GroupID, e.DeploymentID, e.Report)
	refusal, refused := corelink.Refused(err)
	if !refused || refusal.HTTPStatus == http.StatusForbidden || errors.Is(err, errAbandoned) {
		return err
	}
	a.Logger.Error("The control plane refuses how a deployment ended; that is not reported again.",
		slog.String("deploymentId", e.DeploymentID), slog.String("reported", string(e.Report.Event)), slog.String("errorString", err.Error()))
	// It may offer the deployment again at once, whose end it refuses again.
	a.sleep(ctx, a.Times.Retry)
	return nil
}

// goBack returns to the last deployment that succeeded.
func (a *Agent) goBack(ctx context.Context) error {
	from := a.current.manifest
	if err := a.switchBack(); err != nil {
		return err
	}
	s := a.state
	s.Accepted = 0
	if a.current != nil {
		s.Accepted = a.current.manifest.Epoch
	}
	if s.Accepted != a.state.Accepted {
		a.setState(s)
	}
	log := a.Logger.With(slog.String("from", from.DeploymentID))
	if a.current == nil {
		log.Warn("The core goes back to running nothing, as before the deployment.")
		return a.start(ctx, nil)
	}
	log.Warn("The core goes back to the last deployment that succeeded.", slog.String("to", a.current.manifest.DeploymentID))
	return a.start(ctx, a.current)
}
