package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/core/trust"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
)

// The agent's side of handover.go: what was handed over is taken by the same steps as
// what the control plane offers.

// errDamaged means that what was handed over can never be read.
var errDamaged = errors.New("the bundle that was handed over is damaged")

// takeCarried takes what was handed over up to its end, and reports whether there was
// something. An error leaves it to be tried again. A bundle that cannot be read or
// removed stops nothing else: it is tried again later.
func (a *Agent) takeCarried(ctx context.Context) (taken bool, err error) {
	info, err := a.Disk.Lstat(a.layout.carried())
	if err != nil || a.interruption.held(info.ModTime(), a.Now()) {
		return false, nil
	}
	a.interruption.set(true)
	defer a.interruption.set(false)
	err = a.bringCarried(ctx)
	var s *stuck
	if ctx.Err() == nil && errors.As(err, &s) {
		pause, news := a.interruption.later(info.ModTime(), a.Now(), backoff.Policy{First: a.Times.Retry, Most: a.Times.MaxRetry}, err)
		if news {
			a.Logger.Error("A bundle cannot be taken now; the core goes on without it and tries again. Make its folder the core's own and readable, or remove it.",
				slog.String("folder", a.layout.carried()), slog.String("errorString", err.Error()), slog.Duration("after", pause))
		}
		return false, nil
	}
	a.interruption.well()
	return true, err
}

// stuck is an error of the disk at a bundle, which may be over later.
type stuck struct{ cause error }

func (s *stuck) Error() string { return s.cause.Error() }
func (s *stuck) Unwrap() error { return s.cause }

// bringCarried is takeCarried for what is there.
func (a *Agent) bringCarried(ctx context.Context) error {
	list, envelope, keys, err := a.readCarried()
	if err != nil && !errors.Is(err, errDamaged) {
		return &stuck{err}
	}
	if h, unread := ReadHandover(a.Disk, a.layout.root); unread == nil && h.Done && (err != nil || h.DeploymentID == list.DeploymentID) {
		return a.removeCarried() // it has ended; the power failed before it was removed
	}
	if h := a.unwritten; h != nil && h.DeploymentID == list.DeploymentID {
		return a.forgetCarried(*h)
	}
	if err != nil {
		a.Logger.Error("A bundle is refused.", slog.String("errorString", err.Error()))
		return a.endCarried(list, []failure.Problem{failure.New("", fescue.ManifestRefused, err)})
	}
	a.sources.carried = &list
	defer func() { a.sources.carried = nil }()
	a.say(list, "verifying the bundle")
	if !a.restored {
		if err := a.restoreDeployment(ctx); err != nil {
			return err
		}
	}
	if a.current != nil && !a.accepted() && !a.emptied {
		// What is under way comes to its own end first.
		a.say(list, "waiting for the end of the deployment before")
		if err := a.reconcile(ctx); err != nil {
			return err
		}
	}
	m, err := a.verifyCarried(list, envelope, keys)
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

// carries reports whether a deployment is the one that was handed over, also after a
// start in the middle of it.
func (a *Agent) carries(deploymentID string) bool {
	list, _, _, err := a.readCarried()
	return err == nil && list.DeploymentID == deploymentID
}

// readCarried reads the documents of what was handed over. The error is errDamaged where
// it is not whole, which no later attempt cures.
func (a *Agent) readCarried() (list bundle.Carried, envelope []byte, keys corelink.SigningKeys, err error) {
	read := func(name string) (data []byte) {
		if err != nil {
			return nil
		}
		data, err = disk.ReadFile(a.Disk, filepath.Join(a.layout.carried(), name), maxEnvelopeFile)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
		return data
	}
	decode := func(name string, into any) {
		text := read(name)
		if err != nil {
			return
		}
		if failed := json.Unmarshal(text, into); failed != nil {
			err = fmt.Errorf("%w: %s: %w", errDamaged, name, failed)
		}
	}
	decode(carriedListFile, &list)
	envelope = read(bundle.CarriedManifest)
	decode(bundle.CarriedKeys, &keys)
	return list, envelope, keys, err
}

// verifyCarried verifies the manifest as one that is offered, and follows the signing
// keys by what came with it. A core that trusts no key yet takes none from a file.
func (a *Agent) verifyCarried(list bundle.Carried, envelope []byte, keys corelink.SigningKeys) (bundle.Manifest, error) {
	offer := corelink.Offer{GroupID: list.GroupID, DeploymentID: list.DeploymentID, Phase: fescue.Offered, Envelope: envelope}
	m, err := a.keys.Verify(offer, a.ThingARN, a.seen())
	if errors.Is(err, bundle.ErrUnknownKey) {
		learned, failed := a.keys.Follow(keys)
		if failed != nil {
			return m, failed
		}
		if learned {
			m, err = a.keys.Verify(offer, a.ThingARN, a.seen())
		}
	}
	if errors.Is(err, trust.ErrNoKey) {
		err = fmt.Errorf("%w, and none is taken from a bundle: put the control plane's public key into %s, or connect the core once", err, a.KeyFile)
	}
	return m, err
}

// carryOut is what deploy and reconcile do with an offer, without a control plane that
// has to answer: one that does is heeded.
func (a *Agent) carryOut(ctx context.Context, list bundle.Carried, d *deployed) error {
	m := d.manifest
	if err := a.reportIfReachable(ctx, m, fescue.EventClaimed); err != nil {
		a.stopped(m, err)
		return nil
	}
	a.say(list, "staging")
	if err := a.prepare(ctx, m); err != nil {
		if err := a.failed(ctx, m, err); err != nil {
			return &stuck{err} // nothing was switched to
		}
		return nil
	}
	if err := a.reportIfReachable(ctx, m, fescue.EventStaged); err != nil {
		a.stopped(m, err)
		return nil
	}
	a.say(list, "switching to it")
	if err := a.switchTo(d); err != nil {
		return a.failed(ctx, m, failure.Disk("switch to the new deployment", err))
	}
	a.Logger.Info("The deployment is switched to.", slog.String("deploymentId", m.DeploymentID))
	if err := a.reportIfReachable(ctx, m, fescue.EventSwitched); err != nil {
		a.stopped(m, err)
		return nil
	}
	a.say(list, "starting what changed, and waiting until the functions are healthy")
	return a.reconcile(ctx)
}

// reportIfReachable reports a step, if there is a line. The error is errCancelled or errAbandoned,
// when the control plane says that the deployment is not to be.
func (a *Agent) reportIfReachable(ctx context.Context, m bundle.Manifest, event fescue.DeploymentEvent) error {
	note, cancel := context.WithTimeout(ctx, a.Times.Note)
	defer cancel()
	err := a.report(note, m, event)
	if errors.Is(err, errAbandoned) && !errors.Is(err, errForgotten) || errors.Is(err, errCancelled) {
		return err
	}
	if err != nil {
		a.Logger.Info("A step of a bundle's deployment is not reported now.", slog.String("step", string(event)), slog.String("errorString", err.Error()))
	}
	return nil
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
	return a.forgetCarried(h)
}

// endCarried ends what was handed over without a deployment having begun.
func (a *Agent) endCarried(list bundle.Carried, problems []failure.Problem) error {
	h := Handover{DeploymentID: list.DeploymentID, Done: true}
	if len(problems) > 0 {
		m := bundle.Manifest{GroupID: list.GroupID, DeploymentID: list.DeploymentID, DeploymentType: fescue.NewDeployment}
		h.Message, h.Details = failureMessage(m, problems), details(problems)
	}
	return a.forgetCarried(h)
}

// forgetCarried writes down how it ended, and removes it.
func (a *Agent) forgetCarried(h Handover) error {
	a.unwritten = &h
	if err := a.writeHandover(h); err != nil {
		return &stuck{fmt.Errorf("write down how it ended: %w", err)}
	}
	a.unwritten = nil
	return a.removeCarried()
}

// removeCarried removes what was handed over, at one instant: a half of it would be
// taken for one that is damaged.
func (a *Agent) removeCarried() error {
	err := a.Disk.RemoveAll(a.layout.doneCarried())
	if err == nil {
		err = a.Disk.Rename(a.layout.carried(), a.layout.doneCarried())
	}
	if err == nil {
		err = a.Disk.SyncDir(a.layout.root)
	}
	if err != nil {
		return &stuck{err}
	}
	if err := a.Disk.RemoveAll(a.layout.doneCarried()); err != nil {
		a.Logger.Warn("A bundle that is done with stays on the disk.", slog.String("folder", a.layout.doneCarried()), slog.String("errorString", err.Error()))
	}
	return nil
}

// say writes down what is done now; nothing depends on that.
func (a *Agent) say(list bundle.Carried, activity string) {
	if err := a.writeHandover(Handover{DeploymentID: list.DeploymentID, Activity: activity}); err != nil {
		a.Logger.Warn("How far a bundle is cannot be written down.", slog.String("errorString", err.Error()))
	}
}

func (a *Agent) writeHandover(h Handover) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return disk.ReplaceFile(a.Disk, a.layout.handover(), data, 0o600)
}
