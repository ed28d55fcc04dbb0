package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/corelink"
)

// What is wrong with a manifest that is signed well.
var (
	errOtherCore       = errors.New("it is for another core")
	errOtherDeployment = errors.New("it is of another deployment")
	// errReplay means that the epoch was used up by a deployment on this core,
	// errLowerEpoch that it lies below one that was.
	errReplay     = errors.New("it is a replay")
	errLowerEpoch = errors.New("its epoch is lower than one that this core has seen")
)

// refusals are the ways in which a manifest is refused. The first that fits
// counts.
var refusals = []struct {
	cause error
	code  fescue.FailureCode
}{
	{bundle.ErrKeyRevoked, fescue.ManifestKeyRevoked},
	{bundle.ErrUnknownKey, fescue.ManifestKeyUnknown},
	{bundle.ErrSignature, fescue.ManifestSignature},
	{errOtherCore, fescue.ManifestOtherCore},
	{errOtherDeployment, fescue.ManifestOtherDeployment},
	{errReplay, fescue.ManifestReplay},
	{errLowerEpoch, fescue.ManifestEpoch},
}

// verify opens the manifest and holds it against the offer and this core.
func (a *Agent) verify(offer corelink.Offer) (bundle.Manifest, error) {
	keys, err := a.keyring()
	if err != nil {
		return bundle.Manifest{}, err
	}
	m, err := keys.Open(offer.Envelope)
	if err != nil {
		return m, err
	}
	refuse := func(cause error, format string, args ...any) (bundle.Manifest, error) {
		return m, fmt.Errorf("%w: %w: %s", bundle.ErrManifest, cause, fmt.Sprintf(format, args...))
	}
	switch seen := a.seen(); {
	case m.CoreThingArn != a.thingARN:
		return refuse(errOtherCore, "for %s, this core is %s", m.CoreThingArn, a.thingARN)
	case m.DeploymentID != offer.DeploymentID || m.GroupID != offer.GroupID:
		return refuse(errOtherDeployment, "of %s, deployment %s was offered", m.DeploymentID, offer.DeploymentID)
	case m.Epoch == seen:
		return refuse(errReplay, "deployment %s has epoch %d, which this core has used up", m.DeploymentID, m.Epoch)
	case m.Epoch < seen:
		return refuse(errLowerEpoch, "deployment %s has epoch %d, this core has seen %d", m.DeploymentID, m.Epoch, seen)
	}
	return m, nil
}

// refusal is the problem that a refused manifest is.
func (a *Agent) refusal(cause error) Problem {
	for _, r := range refusals {
		switch {
		case !errors.Is(cause, r.cause):
			continue
		case r.code == fescue.ManifestKeyRevoked, r.code == fescue.ManifestKeyUnknown:
			return problem("", r.code, cause, a.keyFile, a.chainFile())
		}
		return problem("", r.code, cause)
	}
	return problem("", fescue.ManifestRefused, cause)
}

// refuse reports a manifest that must not be applied. Nothing in it is believed:
// the ids are those of the offer.
func (a *Agent) refuse(ctx context.Context, offer corelink.Offer, cause error) error {
	problem := a.refusal(cause)
	a.logger.Error("A deployment is refused.", slog.String("deploymentId", offer.DeploymentID),
		slog.String("code", problem.Code), slog.String("errorString", problem.Message))
	if !fescue.ValidID(offer.GroupID) || !fescue.ValidID(offer.DeploymentID) {
		return cause
	}
	m := bundle.Manifest{GroupID: offer.GroupID, DeploymentID: offer.DeploymentID, DeploymentType: fescue.NewDeployment}
	problems := []Problem{problem}
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
