package trust

import (
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/corelink"
)

// What is wrong with a manifest that is signed well.
var (
	errOtherCore       = errors.New("it is for another core")
	errOtherDeployment = errors.New("it is of another deployment")
	// ErrReplay means that the epoch was used up by a deployment on this core,
	// errLowerEpoch that it lies below one that was.
	ErrReplay     = errors.New("it is a replay")
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
	{ErrReplay, fescue.ManifestReplay},
	{errLowerEpoch, fescue.ManifestEpoch},
}

// Verify opens the manifest that is offered to a core and holds it against the
// offer and the core, which has used up the epochs to seen. The errors are ErrNoKey,
// and others that Refusal names; a manifest that is signed well comes with them.
func (k *Keys) Verify(offer corelink.Offer, coreARN string, seen int64) (bundle.Manifest, error) {
	ring, err := k.ring()
	if err != nil {
		return bundle.Manifest{}, err
	}
	m, err := ring.Open(offer.Envelope)
	if err != nil {
		return m, err
	}
	refuse := func(cause error, format string, args ...any) (bundle.Manifest, error) {
		return m, fmt.Errorf("%w: %w: %s", bundle.ErrManifest, cause, fmt.Sprintf(format, args...))
	}
	switch {
	case m.CoreThingArn != coreARN:
		return refuse(errOtherCore, "for %s, this core is %s", m.CoreThingArn, coreARN)
	case m.DeploymentID != offer.DeploymentID || m.GroupID != offer.GroupID:
		return refuse(errOtherDeployment, "of %s, deployment %s was offered", m.DeploymentID, offer.DeploymentID)
	case m.Epoch == seen:
		return refuse(ErrReplay, "deployment %s has epoch %d, which this core has used up", m.DeploymentID, m.Epoch)
	case m.Epoch < seen:
		return refuse(errLowerEpoch, "deployment %s has epoch %d, this core has seen %d", m.DeploymentID, m.Epoch, seen)
	}
	return m, nil
}

// Refusal is the problem that a refused manifest is.
func (k *Keys) Refusal(cause error) failure.Problem {
	for _, r := range refusals {
		switch {
		case !errors.Is(cause, r.cause):
			continue
		case r.code == fescue.ManifestKeyRevoked, r.code == fescue.ManifestKeyUnknown:
			return failure.New("", r.code, cause, k.File, k.chainFile())
		}
		return failure.New("", r.code, cause)
	}
	return failure.New("", fescue.ManifestRefused, cause)
}
