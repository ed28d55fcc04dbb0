package deploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
)

// Cancel ends a deployment before its core has claimed it, at once. After the
// claim it asks the core to stop: the core ends the deployment in Failure if it
// still can, and in Success if it was too late. With force it does not wait for
// the core: the deployment ends in Failure, and the core goes back to the last
// accepted deployment when it learns of that. by says in the timeline who wanted
// it. Of a deployment that has ended the error is fescue.ErrEnded.
func (e *Engine) Cancel(ctx context.Context, p fescue.Partition, groupID, id string, force bool, by string) (fescue.Deployment, error) {
	for {
		d, err := e.deployments.Deployment(ctx, p, groupID, id)
		if err != nil {
			return d, err
		}
		if d.Status.Final() {
			return d, fmt.Errorf("deployment %s ended in %s at %s: %w", d.ID, d.Status, fescue.Timestamp(d.UpdatedAt), fescue.ErrEnded)
		}
		step := fescue.DeploymentStep{Event: fescue.EventCancelRequested, At: e.now().UTC(), Note: by}
		var detail fescue.ErrorDetail
		switch {
		case d.Status == fescue.Building || d.Phase == fescue.Offered:
			step.Event, detail = fescue.EventCancelled, fescue.DeploymentCancelled.Detail(by)
		case force:
			step.Event, detail = fescue.EventForcedAway, fescue.DeploymentForcedAway.Detail("A forced cancel by "+by)
		}
		if step.Event != fescue.EventCancelRequested {
			step.Message, step.Details = fescue.FailureMessage(d, detail.DetailedErrorMessage), []fescue.ErrorDetail{detail}
		}
		next, err := e.deployments.ApplyStep(ctx, d, fescue.CloudActor, step)
		switch {
		case errors.Is(err, fescue.ErrConflict):
			continue // it moved meanwhile; look again
		case errors.Is(err, fescue.ErrNoChange):
			return d, nil
		case err != nil:
			return d, err
		}
		e.logger.Info("deployment cancelled", "deployment", d.ID, "group", d.GroupID, "event", step.Event, "by", by)
		if next.CoreThing != "" {
			e.waker.wake(ctx, next)
		}
		return next, nil
	}
}
