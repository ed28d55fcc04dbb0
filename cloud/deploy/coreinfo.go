package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/corelink"
)

// wantsInfo reports whether a core that polls is to report what it is.
func (t *tracker) wantsInfo(ctx context.Context, p fescue.Partition, thing string, poll corelink.Poll) (bool, error) {
	if poll.Info == "" {
		return false, nil
	}
	known, _, err := t.cores.CoreInfo(ctx, p, thing)
	return known.Hash() != poll.Info, err
}

// ReportCore takes what a core says of itself. The error is ErrReport when that
// makes no sense.
func (t *tracker) ReportCore(ctx context.Context, p fescue.Partition, thing string, info fescue.CoreInfo) error {
	if err := info.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrReport, err)
	}
	return t.cores.SetCoreInfo(ctx, p, thing, info, t.now().UTC())
}

// aboutCore reads what the group's core last said of itself, and notes for people
// what the group is judged by. What may have changed since then, such as what is
// installed, is left to the core, which looks before it switches.
func (b *builder) aboutCore(ctx context.Context, r *resolved) (fescue.CoreInfo, error) {
	thing := r.core.thing
	info, at, err := b.cores.CoreInfo(ctx, r.deployment.Partition, thing)
	if err != nil || !info.Known() {
		r.note = fmt.Sprintf("the core %s has not said yet what it can run: it is found out there", thing)
		return info, err
	}
	r.note = fmt.Sprintf("judged by what the core said at %s: version %s, %s, formats %v",
		at.UTC().Format(time.RFC3339), info.Version, info.Architecture, info.Formats)
	if !slices.ContainsFunc(bundle.Formats(), func(f int) bool { return slices.Contains(info.Formats, f) }) {
		r.problem(fescue.ManifestUnreadable, thing, info.Version, info.Formats)
	}
	return info, nil
}

// endUnreadable ends a deployment that was offered to a core which, at the latest
// now, has software that cannot read it.
func (t *tracker) endUnreadable(ctx context.Context, d fescue.Deployment, formats []int) error {
	info, _, err := t.cores.CoreInfo(ctx, d.Partition, d.CoreThing)
	if err != nil {
		return err
	}
	detail := fescue.ManifestUnreadable.Detail(d.CoreThing, info.Version, formats)
	_, err = t.deployments.ApplyStep(ctx, d, fescue.CloudActor, fescue.DeploymentStep{
		Event: fescue.EventUnreadable, At: t.now().UTC(), Note: fmt.Sprintf("the core asked for formats %v", formats),
		Message: fescue.FailureMessage(d, detail.DetailedErrorMessage), Details: []fescue.ErrorDetail{detail},
	})
	if errors.Is(err, fescue.ErrConflict) || errors.Is(err, fescue.ErrEnded) {
		return nil // it moved meanwhile
	}
	if err == nil {
		t.logger.Warn("deployment ended: its core cannot read it", "deployment", d.ID, "group", d.GroupID, "core", d.CoreThing, "formats", formats)
	}
	return err
}
