package deploy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/corelink"
)

// tracker takes deployments from the offer to their end: it gives them to cores, takes
// the cores' reports, and ends what cores do not.
type tracker struct {
	deployments trackedDeployments
	offers      offered
	cores       reportingCores
	checks      *checker
	signer      Signer
	presence    Presence

	aws       string
	deadlines Deadlines

	*waker
	changes Changes
	now     func() time.Time
	logger  *slog.Logger
}

// trackedDeployments are the deployments as the tracker has them.
type trackedDeployments interface {
	Deployment(ctx context.Context, p fescue.Partition, groupID, id string) (fescue.Deployment, error)
	ApplyStep(ctx context.Context, d fescue.Deployment, actor fescue.Actor, step fescue.DeploymentStep) (fescue.Deployment, error)
	SetProgress(ctx context.Context, d fescue.Deployment, progress fescue.Progress) error
	Redate(ctx context.Context, late, now time.Time, limit int) (n int, err error)
	Overdue(ctx context.Context, aws string, phase fescue.DeploymentPhase, before time.Time, limit int) ([]fescue.Deployment, error)
}

// offered is what waits for cores, and the epochs that they have been through.
type offered interface {
	Waiting(ctx context.Context, p fescue.Partition, coreThing string, after int64) (fescue.Deployment, []byte, error)
	OfferedArtifacts(ctx context.Context, d fescue.Deployment) ([]string, error)
	WatchOffers(ctx context.Context, aws string, wake func(fescue.Deployment))
	Epoch(ctx context.Context, p fescue.Partition, coreThing string) (int64, error)
	Passed(ctx context.Context, p fescue.Partition, coreThing string, epoch int64) ([]fescue.Deployment, error)
	CatchUp(ctx context.Context, p fescue.Partition, coreThing string, epoch int64) (raised bool, err error)
	SetEpoch(ctx context.Context, p fescue.Partition, coreThing string, choose func(before int64) (int64, error)) (before, now int64, err error)
}

// reportingCores are what cores say of themselves.
type reportingCores interface {
	CoreInfo(ctx context.Context, p fescue.Partition, thing string) (info fescue.CoreInfo, at time.Time, err error)
	SetCoreInfo(ctx context.Context, p fescue.Partition, thing string, info fescue.CoreInfo, at time.Time) error
}

// watchOffers wakes cores for what other servers offer, until ctx ends.
func (t *tracker) watchOffers(ctx context.Context) {
	t.offers.WatchOffers(ctx, t.aws, func(d fescue.Deployment) { t.wake(ctx, d) })
}

// recheck is how often a long poll looks at the database and at its caller's right to
// wait although nothing woke it, while changes are not told.
const recheck = time.Second

// Await is GetDeployment: the unfinished deployment with the lowest epoch above
// the poll's, else a check, as soon as there is one, at most as long as the poll
// waits. What the core says that it has been through is believed, see catchUp.
// allowed is asked before every answer and while waiting; its error ends the wait.
// Without a deployment the offer has only the core's epoch, at once when the core
// is to report what it is.
func (t *tracker) Await(ctx context.Context, p fescue.Partition, thing string, poll corelink.Poll,
	allowed func(ctx context.Context, d *fescue.Deployment) error,
) (corelink.Offer, error) {
	wantInfo, err := t.wantsInfo(ctx, p, thing, poll)
	if err != nil {
		return corelink.Offer{}, err
	}
	if wantInfo {
		poll.Wait = 0
	}
	offer, err := t.await(ctx, p, thing, poll, allowed)
	offer.WantInfo = wantInfo
	if t.changes.Current() {
		offer.Rest = int64(Rest / time.Second)
	}
	return offer, err
}

func (t *tracker) await(ctx context.Context, p fescue.Partition, thing string, poll corelink.Poll,
	allowed func(ctx context.Context, d *fescue.Deployment) error,
) (corelink.Offer, error) {
	woken, leave := t.wait(p, thing)
	defer leave()
	deadline := time.NewTimer(poll.Wait)
	defer deadline.Stop()
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	after, err := t.catchUp(ctx, p, thing, poll.After, allowed)
	if err != nil {
		return corelink.Offer{}, err
	}
	// Whoever asks for a check wakes the core: it is looked for when the poll
	// begins and at each wake, not every second for every core that waits.
	for lookForCheck := true; ; {
		d, envelope, err := t.offers.Waiting(ctx, p, thing, after)
		if err == nil {
			if err := allowed(ctx, &d); err != nil {
				return corelink.Offer{}, err
			}
			offer, err := t.offering(ctx, corelink.Offer{
				Epoch: d.Epoch, GroupID: d.GroupID, DeploymentID: d.ID, Phase: d.Phase, Envelope: envelope,
				Cancel: !d.CancelRequestedAt.IsZero(),
			}, poll.Formats)
			if errors.Is(err, bundle.ErrFormat) && !d.Status.Final() {
				if err := t.endUnreadable(ctx, d, poll.Formats); err != nil {
					return corelink.Offer{}, err
				}
				continue
			}
			return offer, err
		}
		if !errors.Is(err, fescue.ErrNotFound) {
			return corelink.Offer{}, err
		}
		if err := allowed(ctx, nil); err != nil {
			return corelink.Offer{}, err
		}
		if lookForCheck {
			check, err := t.checks.waitingCheck(ctx, p, thing)
			if err != nil {
				return corelink.Offer{}, err
			}
			if check != nil {
				return corelink.Offer{Check: check}, allowed(ctx, &fescue.Deployment{GroupID: check.GroupID, ID: check.ID})
			}
		}
		for nothing := true; nothing; {
			select {
			case <-woken:
				nothing, lookForCheck = false, true
			case <-tick.C:
				nothing, lookForCheck = t.changes.Current(), false
			case <-deadline.C:
				epoch, err := t.offers.Epoch(ctx, p, thing)
				if err != nil {
					return corelink.Offer{}, err
				}
				return t.offering(ctx, corelink.Offer{Epoch: epoch}, nil)
			case <-ctx.Done():
				return corelink.Offer{}, ctx.Err()
			}
		}
	}
}

// offering completes an answer with the signing key in use. The manifest is signed
// again with that key, so that a core need trust no other, and in formats that the
// core reads.
func (t *tracker) offering(ctx context.Context, o corelink.Offer, formats []int) (_ corelink.Offer, err error) {
	o.Envelope, o.SigningKeyID, err = t.signer.Renew(ctx, o.Envelope, formats...)
	return o, err
}

// coreEvents are the events that a core may report.
var coreEvents = []fescue.DeploymentEvent{
	fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched, fescue.EventSucceeded, fescue.EventFailed,
	fescue.EventWentBack,
}

// ErrReport means that a report does not make sense.
var ErrReport = errors.New("malformed report")

// Bounds of a report.
const (
	maxReportText    = 8 << 10 // bytes of each text
	maxReportDetails = 200
)

// Report takes a core's report on a deployment. A report that the engine has
// taken before is accepted again. The errors are the transition errors of
// package fescue, fescue.ErrNotFound when the core has no such deployment, and
// ErrReport.
func (t *tracker) Report(ctx context.Context, p fescue.Partition, thing, groupID, id string, r corelink.StatusReport) (fescue.Deployment, error) {
	if !slices.Contains(coreEvents, r.Event) || r.Epoch < 1 {
		return fescue.Deployment{}, fmt.Errorf("%w: event %q, epoch %d", ErrReport, r.Event, r.Epoch)
	}
	if err := checkTexts(r); err != nil {
		return fescue.Deployment{}, err
	}
	for {
		d, err := t.deployments.Deployment(ctx, p, groupID, id)
		if err != nil {
			return d, err
		}
		if d.CoreThing != thing {
			return d, fmt.Errorf("deployment %s is not for core %s: %w", id, thing, fescue.ErrNotFound)
		}
		next, err := t.deployments.ApplyStep(ctx, d, fescue.CoreActor, fescue.DeploymentStep{
			Event: r.Event, At: t.now().UTC(), Message: plain(r.Message), Details: plainDetails(r.Details), Epoch: r.Epoch,
			Note: plain(r.Note), Fetched: max(r.Fetched, 0), Warnings: plainDetails(r.Warnings),
		})
		switch {
		case errors.Is(err, fescue.ErrConflict):
			continue // somebody was faster; look again
		case errors.Is(err, fescue.ErrNoChange):
			return d, nil
		case err != nil:
			return d, err
		}
		t.logger.Info("deployment step", "deployment", d.ID, "group", d.GroupID, "core", thing,
			"event", r.Event, "status", next.Status)
		return next, nil
	}
}

// Progress takes what a core says it does for a deployment, and answers whether
// somebody asked it to stop. The errors are fescue.ErrEnded, fescue.ErrWrongEpoch,
// fescue.ErrNotFound and ErrReport.
func (t *tracker) Progress(ctx context.Context, p fescue.Partition, thing, groupID, id string, r corelink.ProgressReport) (cancel bool, err error) {
	if r.Epoch < 1 || r.Fetched < 0 || r.ToFetch < 0 || len(r.Activity) > maxReportText {
		return false, fmt.Errorf("%w: epoch %d, %d of %d bytes, an activity of %d bytes", ErrReport, r.Epoch, r.Fetched, r.ToFetch, len(r.Activity))
	}
	d, err := t.deployments.Deployment(ctx, p, groupID, id)
	switch {
	case err != nil:
		return false, err
	case d.CoreThing != thing:
		return false, fmt.Errorf("deployment %s is not for core %s: %w", id, thing, fescue.ErrNotFound)
	case d.Epoch != r.Epoch:
		return false, fmt.Errorf("epoch %d, the deployment has %d: %w", r.Epoch, d.Epoch, fescue.ErrWrongEpoch)
	case d.Over():
		return false, fmt.Errorf("status is %s: %w", d.Status, fescue.ErrEnded)
	}
	return !d.CancelRequestedAt.IsZero(), t.deployments.SetProgress(ctx, d, fescue.Progress{
		Activity: plain(r.Activity), Fetched: r.Fetched, ToFetch: r.ToFetch, At: t.now().UTC(),
	})
}

// checkTexts bounds the texts of a report.
func checkTexts(r corelink.StatusReport) error {
	if r.Event == fescue.EventFailed && r.Message == "" {
		return fmt.Errorf("%w: a failure without a message", ErrReport)
	}
	if len(r.Details)+len(r.Warnings) > maxReportDetails {
		return fmt.Errorf("%w: %d details and %d warnings, at most %d are taken", ErrReport, len(r.Details), len(r.Warnings), maxReportDetails)
	}
	texts := []string{r.Message, r.Note}
	for _, d := range slices.Concat(r.Details, r.Warnings) {
		texts = append(texts, d.DetailedErrorCode, d.DetailedErrorMessage)
	}
	for _, text := range texts {
		if len(text) > maxReportText {
			return fmt.Errorf("%w: a text of %d bytes, at most %d are taken", ErrReport, len(text), maxReportText)
		}
	}
	return nil
}

// plain is a text as databases take it. What a function printed may stand in a
// core's message, and a NUL in that must not keep the deployment from ending.
func plain(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

func plainDetails(list []fescue.ErrorDetail) []fescue.ErrorDetail {
	list = slices.Clone(list)
	for i, d := range list {
		list[i] = fescue.ErrorDetail{
			DetailedErrorCode: plain(d.DetailedErrorCode), DetailedErrorMessage: plain(d.DetailedErrorMessage),
		}
	}
	return list
}

// MayFetch reports whether a core may fetch an artifact: its hash stands in the
// manifest of an unfinished deployment that was offered to the core. Otherwise
// the error is fescue.ErrNotFound.
func (t *tracker) MayFetch(ctx context.Context, p fescue.Partition, thing, groupID, id, hash string) error {
	d, err := t.deployments.Deployment(ctx, p, groupID, id)
	if err != nil {
		return err
	}
	if d.CoreThing != thing {
		return fescue.ErrNotFound
	}
	hashes, err := t.offers.OfferedArtifacts(ctx, d)
	if err != nil {
		return err
	}
	if !slices.Contains(hashes, hash) {
		return fmt.Errorf("artifact %s is not part of deployment %s: %w", hash, id, fescue.ErrNotFound)
	}
	return nil
}
