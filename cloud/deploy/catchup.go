package deploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
)

// maxCatchUp is by how much a core's word may raise its epoch at once: more
// deployments than a core is given between a backup and the restore of it. Without
// a bound one poll could use up all epochs.
const maxCatchUp = 10_000

// maxEpoch bounds epochs altogether: above it the next ones would not be numbers.
const maxEpoch = 1 << 62

// ErrEpochJump means that a core says, or its folder, that it has been through far
// more deployments than this server knows of.
var ErrEpochJump = errors.New("the core's epoch is too far ahead")

// catchUp compares what a core says that it has been through with what is known
// here. A core asks for more only after it had the report of its last end acknowledged,
// so a difference means that this server has forgotten: it was restored from a
// backup. Then
//
//   - the core's epoch rises to the core's, so that what is offered from now on
//     lies above what the core accepts;
//   - an unfinished deployment with exactly the core's epoch is offered again: the
//     core runs it and says so, or refuses it;
//   - unfinished ones below that end in Failure, since nobody knows any more what
//     became of them.
//
// It returns the epoch above which the core is to be offered something. allowed is
// asked before anything changes.
//
// A core's word that is further ahead than maxCatchUp is ErrEpochJump.
func (t *tracker) catchUp(ctx context.Context, p fescue.Partition, thing string, after int64,
	allowed func(ctx context.Context, d *fescue.Deployment) error,
) (int64, error) {
	if after == 0 {
		return after, nil
	}
	known, err := t.offers.Epoch(ctx, p, thing)
	if err != nil {
		return after, err
	}
	if after-known > maxCatchUp {
		return after, jump(thing, known, after)
	}
	passed, err := t.offers.Passed(ctx, p, thing, after)
	if err != nil || known >= after && len(passed) == 0 {
		return after, err
	}
	if err := allowed(ctx, nil); err != nil {
		return after, err
	}
	if known < after {
		raised, err := t.offers.CatchUp(ctx, p, thing, after)
		if err != nil {
			return after, fmt.Errorf("raise the epoch of core %s to %d: %w", thing, after, err)
		}
		if raised {
			t.logger.Warn("a core has been through more deployments than this server knows of: it was restored from a backup",
				"core", thing, "epoch", after, "known", known)
		}
	}
	for _, d := range passed {
		if d.Epoch == after {
			return after - 1, nil
		}
		if err := t.endOutdated(ctx, d, after); err != nil {
			return after, err
		}
	}
	return after, nil
}

func jump(thing string, known, after int64) error {
	return fmt.Errorf("%w: core %s says that it has been through epoch %d, this server knows of %d and believes %d more at most. If it is so, fescue reset-epoch --core %s --epoch %d settles it",
		ErrEpochJump, thing, after, known, maxCatchUp, thing, after)
}

// ErrEpoch means that an epoch cannot be set to that.
var ErrEpoch = errors.New("not an epoch that can be set")

// EpochReset says what a core's epoch was and is.
type EpochReset struct{ Before, Now int64 }

// ResetEpoch sets what is known of the epochs that a core has been through, to
// epoch or, if that is higher, to that of the last of its deployments that this
// server has. The next deployment lies above it. The errors are ErrEpoch and, for
// what is neither a core nor a thing, fescue.ErrNotFound.
func (t *tracker) ResetEpoch(ctx context.Context, p fescue.Partition, thing string, epoch int64) (EpochReset, error) {
	return t.setEpoch(ctx, p, thing, epoch, func(int64) (int64, error) { return epoch, nil })
}

// RestoreEpoch raises what is known of the epochs that a core has been through to one that
// its folder tells of: what the core would say itself, before it comes. So it is
// believed as far as the core is, further is ErrEpochJump; and a lower one changes nothing.
// The other errors are those of ResetEpoch.
func (t *tracker) RestoreEpoch(ctx context.Context, p fescue.Partition, thing string, epoch int64) (EpochReset, error) {
	return t.setEpoch(ctx, p, thing, epoch, func(known int64) (int64, error) {
		if epoch-known > maxCatchUp {
			return 0, jump(thing, known, epoch)
		}
		return max(known, epoch), nil
	})
}

func (t *tracker) setEpoch(ctx context.Context, p fescue.Partition, thing string, epoch int64, choose func(known int64) (int64, error)) (EpochReset, error) {
	if epoch < 0 || epoch > maxEpoch {
		return EpochReset{}, fmt.Errorf("%w: %d does not lie between 0 and %d", ErrEpoch, epoch, int64(maxEpoch))
	}
	before, now, err := t.offers.SetEpoch(ctx, p, thing, choose)
	if err != nil {
		return EpochReset{}, fmt.Errorf("set the epoch of core %s: %w", thing, err)
	}
	if before != now {
		t.logger.Warn("a core's epoch was set", "core", thing, "epoch", now, "before", before)
	}
	return EpochReset{before, now}, nil
}

// Epoch is the epoch that a core has been through as far as this server knows, 0 for
// one that it does not know.
func (t *tracker) Epoch(ctx context.Context, p fescue.Partition, thing string) (int64, error) {
	return t.offers.Epoch(ctx, p, thing)
}

func (t *tracker) endOutdated(ctx context.Context, d fescue.Deployment, epoch int64) error {
	detail := fescue.DeploymentOutdated.Detail(d.CoreThing, epoch, d.Epoch)
	_, err := t.deployments.ApplyStep(ctx, d, fescue.CloudActor, fescue.DeploymentStep{
		Event: fescue.EventOutdated, At: t.now().UTC(), Note: fmt.Sprintf("the core has been through epoch %d", epoch),
		Message: fescue.FailureMessage(d, detail.DetailedErrorMessage), Details: []fescue.ErrorDetail{detail},
	})
	if errors.Is(err, fescue.ErrConflict) || errors.Is(err, fescue.ErrEnded) || errors.Is(err, fescue.ErrTransition) {
		return nil // it moved meanwhile
	}
	if err == nil {
		t.logger.Warn("deployment ended: its core is beyond it", "deployment", d.ID, "group", d.GroupID, "core", d.CoreThing, "epoch", epoch)
	}
	return err
}
