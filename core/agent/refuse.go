package agent

import (
	"context"
	"errors"
	"log/slog"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/corelink"
)

// refuse reports a manifest that must not be applied. Nothing in it is believed:
// the ids are those of the offer.
func (a *Agent) refuse(ctx context.Context, offer corelink.Offer, cause error) error {
	problem := a.keys.Refusal(cause)
	a.Logger.Error("A deployment is refused.", slog.String("deploymentId", offer.DeploymentID),
		slog.String("code", problem.Code), slog.String("errorString", problem.Message))
	if !fescue.ValidID(offer.GroupID) || !fescue.ValidID(offer.DeploymentID) {
		return cause
	}
	m := bundle.Manifest{GroupID: offer.GroupID, DeploymentID: offer.DeploymentID, DeploymentType: fescue.NewDeployment}
	problems := []failure.Problem{problem}
	for _, report := range []corelink.StatusReport{
		{Event: fescue.EventClaimed, Epoch: offer.Epoch, Note: "to refuse it: " + problem.Code},
		{
			Event: fescue.EventFailed, Epoch: offer.Epoch, Message: failureMessage(m, problems), Details: details(problems),
			Note: "refused: " + cut(problem.Message, 4096),
		},
	} {
		if _, err := a.send(ctx, offer.GroupID, offer.DeploymentID, report); err != nil {
			return errors.Join(cause, err)
		}
	}
	return cause
}
