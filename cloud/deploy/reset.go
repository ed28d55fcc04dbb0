package deploy

import (
	"context"
	"errors"

	"github.com/fescue-edge/fescue"
)

// Reset accepts a reset of a group's deployments: it is Building when Reset
// returns. Without force the group must own a core and have no deployment under
// way; with force it succeeds without waiting for the core, and also when there
// is nothing to reset, as clean-up scripts expect.
func (e *Engine) Reset(ctx context.Context, p fescue.Partition, groupID string, force bool, token fescue.Token) (fescue.Deployment, error) {
	if !fescue.ValidID(groupID) {
		return fescue.Deployment{}, ErrUnknownGroup
	}
	if d, found, err := e.replayed(ctx, p, groupID, token); found || err != nil {
		return d, err
	}
	if _, err := e.Stores.Definitions.Definition(ctx, p, fescue.GroupKind, groupID); err != nil {
		return fescue.Deployment{}, replace(err, fescue.ErrNotFound, ErrUnknownGroup)
	}
	t := fescue.ForceResetDeployment
	if !force {
		t = fescue.ResetDeployment
		unfinished, err := e.Stores.Deployments.Unfinished(ctx, p, groupID)
		if err != nil {
			return fescue.Deployment{}, err
		}
		if unfinished {
			return fescue.Deployment{}, ErrUnfinished
		}
		if _, err := e.Stores.Cores.GroupCore(ctx, p, groupID); err != nil {
			return fescue.Deployment{}, replace(err, fescue.ErrNotFound, ErrNotDeployed)
		}
	}
	now := e.Now().UTC()
	d, err := e.Stores.Deployments.CreateDeployment(ctx, fescue.Deployment{
		Partition: p, ID: fescue.NewID(), GroupID: groupID,
		Type: t, Status: fescue.Building, CreatedAt: now, UpdatedAt: now,
	}, token)
	if err != nil {
		return fescue.Deployment{}, replace(err, fescue.ErrConflict, ErrConcurrent)
	}
	e.wakeBuilder()
	return d, nil
}

// buildReset takes a reset out of Building.
func (e *Engine) buildReset(ctx context.Context, d fescue.Deployment) error {
	thing, err := e.Stores.Cores.GroupCore(ctx, d.Partition, d.GroupID)
	if err != nil && !errors.Is(err, fescue.ErrNotFound) {
		return err
	}
	if d.Type == fescue.ResetDeployment {
		if err != nil { // another reset was faster
			detail := fescue.NothingToReset.Detail(d.GroupID)
			return e.fail(ctx, d, fescue.FailureMessage(d, detail.DetailedErrorMessage), []fescue.ErrorDetail{detail})
		}
		next, ended, err := e.Stores.Offers.Offer(ctx, d, thing, e.Now().UTC(), e.supersededBy(d), e.sign(ctx, e.manifest(d, thing), fescue.Offering{}))
		if err == nil {
			e.announce(ctx, next, ended)
		}
		return err
	}
	detail := fescue.DeploymentForcedAway.Detail("The forced reset " + d.ID)
	next, ended, err := e.Stores.Offers.ForceReset(ctx, d, thing, e.Now().UTC(), fescue.DeploymentStep{
		Event: fescue.EventForcedAway, At: e.Now().UTC(),
		Message: detail.DetailedErrorMessage, Details: []fescue.ErrorDetail{detail},
	}, e.sign(ctx, e.manifest(d, thing), fescue.Offering{}))
	if err == nil && thing != "" {
		e.announce(ctx, next, ended)
	}
	return err
}
