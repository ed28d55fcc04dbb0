package deploy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// buildPatience is how long the engine tries to build a deployment in spite of
// internal errors before it fails it: every deployment ends.
const buildPatience = 5 * time.Minute

// build takes a leased deployment out of Building: to InProgress, offered to its
// core, or to Failure. An error means that it is still Building.
func (e *Engine) build(ctx context.Context, d fescue.Deployment) error {
	if d.Type.Reset() {
		return e.settle(ctx, d, e.guarded(d, func() error { return e.buildReset(ctx, d) }), "")
	}
	var r *resolved
	err := e.guarded(d, func() (err error) {
		if r, err = e.resolve(ctx, d); err != nil || len(r.problems) > 0 {
			return err
		}
		return e.offer(ctx, d, r)
	})
	switch {
	case r == nil:
		return e.settle(ctx, d, err, "")
	case err == nil && len(r.problems) > 0:
		return e.fail(ctx, d, bundleMessage(d, r), r.problems, r.warnings...)
	}
	return e.settle(ctx, d, err, r.core.thing)
}

// guarded makes a panic an error: what one group brings about must not stop the
// deployments of all others, also not at the next start.
func (e *Engine) guarded(d fescue.Deployment, work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			e.Logger.Error("building a deployment panicked", "deployment", d.ID, "group", d.GroupID, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return work()
}

// settle decides what an error of building means: another try, a Failure, or
// nothing.
func (e *Engine) settle(ctx context.Context, d fescue.Deployment, err error, coreThing string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fescue.ErrInUse):
		detail := fescue.CoreInOtherGroup.Detail(coreThing)
		return e.fail(ctx, d, fescue.InvalidGroupMessage([]fescue.ErrorDetail{detail}), []fescue.ErrorDetail{detail})
	case errors.Is(err, fescue.ErrConflict), errors.Is(err, fescue.ErrTransition), errors.Is(err, fescue.ErrEnded):
		return nil // another server built it
	case e.Now().Sub(d.CreatedAt) > buildPatience:
		detail := fescue.InternalFailure.Detail(err)
		return errors.Join(err, e.fail(ctx, d, fescue.FailureMessage(d, detail.DetailedErrorMessage), []fescue.ErrorDetail{detail}))
	}
	return err
}

// bundleMessage is the ErrorMessage for what resolve found. What is wrong with a
// service role has the original's own text, which scripts look for.
func bundleMessage(d fescue.Deployment, r *resolved) string {
	if code := fescue.FailureCode(r.problems[0].DetailedErrorCode); code == fescue.ServiceRoleMissing || code == fescue.ServiceRoleRefused {
		return fescue.FailureMessage(d, r.problems[0].DetailedErrorMessage)
	}
	return fescue.InvalidGroupMessage(r.problems)
}

func (e *Engine) fail(ctx context.Context, d fescue.Deployment, message string, details []fescue.ErrorDetail, warnings ...fescue.ErrorDetail) error {
	details = details[:min(len(details), fescue.MostErrorDetails)]
	_, err := e.Stores.Deployments.ApplyStep(ctx, d, fescue.CloudActor, fescue.DeploymentStep{
		Event: fescue.EventBuildFailed, At: e.Now().UTC(), Message: message, Details: details, Warnings: warnings,
	})
	if errors.Is(err, fescue.ErrConflict) || errors.Is(err, fescue.ErrEnded) {
		return nil // another server was faster
	}
	if err == nil {
		e.Logger.Info("deployment failed in Building", "deployment", d.ID, "group", d.GroupID, "problems", len(details))
	}
	return err
}

// offer renders, stores, signs and offers.
func (e *Engine) offer(ctx context.Context, d fescue.Deployment, r *resolved) error {
	group, err := r.render().Encode()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(group)
	groupHash := hex.EncodeToString(sum[:])
	if err := e.Artifacts.Put(ctx, groupHash, bytes.NewReader(group)); err != nil {
		return fmt.Errorf("store group.json: %w", err)
	}
	manifest := e.manifest(d, r.core.thing)
	manifest.Artifacts = append([]bundle.Artifact{bundle.GroupArtifact(groupHash, int64(len(group)))}, r.packages()...)
	next, superseded, err := e.Stores.Offers.Offer(ctx, d, r.core.thing, e.Now().UTC(), e.supersededBy(d), e.sign(ctx, manifest, fescue.Offering{Devices: r.clientDevices(), Holds: r.holds, Note: r.note, Warnings: r.warnings}))
	if err != nil {
		return err
	}
	e.announce(ctx, next, superseded)
	return nil
}

// manifest is what every deployment's manifest has.
func (e *Engine) manifest(d fescue.Deployment, coreThing string) bundle.Manifest {
	return bundle.Manifest{
		AWS: d.Partition.AWS, Account: d.Partition.Account, Region: d.Partition.Region,
		GroupID: d.GroupID, GroupVersionID: d.GroupVersionID, DeploymentID: d.ID, DeploymentType: d.Type,
		CoreThingArn: d.Partition.ThingARN(coreThing),
		CreatedAt:    e.Now().UTC(),
	}
}

// sign completes a manifest, and with it an offering, once its epoch is known.
func (e *Engine) sign(ctx context.Context, m bundle.Manifest, offering fescue.Offering) func(epoch int64) (fescue.Offering, error) {
	return func(epoch int64) (fescue.Offering, error) {
		m.Epoch = epoch
		// It is signed again for the formats that the core reads when it asks.
		envelope, err := e.Signer.Sign(ctx, m, bundle.Formats()...)
		if err != nil {
			return fescue.Offering{}, err
		}
		offering := offering
		offering.Envelope = envelope
		for _, a := range m.Downloads() {
			offering.Artifacts = append(offering.Artifacts, a.SHA256)
		}
		return offering, nil
	}
}

// announce logs a deployment that was offered, and what it ended, and wakes the
// core.
func (e *Engine) announce(ctx context.Context, d fescue.Deployment, ended []fescue.Deployment) {
	for _, old := range ended {
		e.Logger.Info("deployment ended by a newer one", "deployment", old.ID, "by", d.ID, "core", d.CoreThing)
	}
	e.Logger.Info("deployment offered", "deployment", d.ID, "group", d.GroupID, "type", d.Type, "core", d.CoreThing, "epoch", d.Epoch)
	e.wake(ctx, d)
}

func (e *Engine) supersededBy(d fescue.Deployment) fescue.DeploymentStep {
	detail := fescue.DeploymentSuperseded.Detail(d.ID)
	return fescue.DeploymentStep{
		Event: fescue.EventSuperseded, At: e.Now().UTC(),
		Message: detail.DetailedErrorMessage, Details: []fescue.ErrorDetail{detail},
	}
}

// groupVersion reads the body of a group version.
func (e *Engine) groupVersion(ctx context.Context, p fescue.Partition, groupID, version string) (fescue.GroupVersion, error) {
	v, err := e.Stores.Definitions.Version(ctx, p, fescue.GroupKind, groupID, version)
	if err != nil {
		return fescue.GroupVersion{}, err
	}
	var g fescue.GroupVersion
	if err := json.Unmarshal(v.Body, &g); err != nil {
		return fescue.GroupVersion{}, fmt.Errorf("group version %s: %w", version, err)
	}
	return g, nil
}
