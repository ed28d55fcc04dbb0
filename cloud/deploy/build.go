package deploy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/cores"
)

// builder takes deployments out of Building: it resolves and judges the group
// version, and offers it to the core, or fails it.
type builder struct {
	definitions DefinitionStore
	iam         IAMRoleStore
	groupRoles  GroupRoleStore
	deployments buildingDeployments
	offers      offerer
	holdings    HoldingStore
	cores       judgedCores

	functions  Functions
	principals Principals
	secrets    Secrets
	artifacts  Artifacts
	models     Models
	signer     Signer

	aws                string
	requireServiceRole bool
	quotas             Quotas
	serves             func(fescue.Feature) bool

	*waker
	kick chan struct{}
	// copies are the places of deployments whose models are copied.
	copies places
	// errors are the internal errors of deployments that are not built yet.
	errors buildErrors
	now    func() time.Time
	logger *slog.Logger
}

// buildingDeployments are the deployments as the builder has them.
type buildingDeployments interface {
	LeaseBuilding(ctx context.Context, aws string, until time.Time, limit int) ([]fescue.Deployment, error)
	KeepBuilding(ctx context.Context, d fescue.Deployment, held, until time.Time, progress fescue.Progress) error
	ApplyStep(ctx context.Context, d fescue.Deployment, actor fescue.Actor, step fescue.DeploymentStep) (fescue.Deployment, error)
	Running(ctx context.Context, aws string) ([]fescue.Deployment, error)
}

// offerer leaves a manifest for a core, in one transaction with what becomes of the
// deployments before it.
type offerer interface {
	Offer(ctx context.Context, d fescue.Deployment, coreThing string, at time.Time, superseded fescue.DeploymentStep,
		sign func(epoch int64) (fescue.Offering, error)) (fescue.Deployment, []fescue.Deployment, error)
	ForceReset(ctx context.Context, d fescue.Deployment, coreThing string, at time.Time, ended fescue.DeploymentStep,
		sign func(epoch int64) (fescue.Offering, error)) (fescue.Deployment, []fescue.Deployment, error)
}

// judgedCores are what cores said of themselves and where devices reach them, by which
// groups are judged, and which one a group has.
type judgedCores interface {
	Connectivity(ctx context.Context, p fescue.Partition, thing string) (cores.Connectivity, error)
	CoreInfo(ctx context.Context, p fescue.Partition, thing string) (info fescue.CoreInfo, at time.Time, err error)
	GroupCore(ctx context.Context, p fescue.Partition, groupID string) (thing string, err error)
}

// How long the engine tries to build a deployment in spite of internal errors before
// it fails it: every deployment ends.
const (
	// buildPatience is counted from the first error. There have to be leastErrors, as
	// models that are copied may lie between two.
	buildPatience = 5 * time.Minute
	leastErrors   = 3
	// buildLongest is counted from the acceptance, also over starts of servers, which
	// do not know of errors before them.
	buildLongest = 24 * time.Hour
)

// buildErrors are the internal errors of deployments that are not built yet, by the
// deployments' ids: those of this server since its start.
type buildErrors struct {
	mu sync.Mutex
	of map[string]errorsOf
}

type errorsOf struct {
	first time.Time
	count int
}

// over notes an error of a deployment, and reports whether it was the last.
func (e *buildErrors) over(d fescue.Deployment, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.of == nil {
		e.of = make(map[string]errorsOf)
	}
	had, again := e.of[d.ID]
	if !again {
		had.first = now
		// Those that were cancelled, or built elsewhere, end here.
		maps.DeleteFunc(e.of, func(_ string, o errorsOf) bool { return now.Sub(o.first).Abs() > buildLongest })
	}
	had.count++
	e.of[d.ID] = had
	return now.Sub(d.CreatedAt) > buildLongest || now.Sub(had.first) > buildPatience && had.count >= leastErrors
}

// forget ends the count of a deployment.
func (e *buildErrors) forget(d fescue.Deployment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.of, d.ID)
}

// A builder's timing.
const (
	// lease is how long a builder has a deployment to itself. When it dies,
	// another takes the deployment up after that.
	lease = 30 * time.Second
	// idlePoll is how often builders look for work that another server accepted
	// or a dead one left.
	idlePoll = time.Second
	// mostBuilt is how many deployments one server builds at the same time: each waits for
	// the disk several times.
	mostBuilt = 8
)

// run builds what is accepted until ctx ends.
func (b *builder) run(ctx context.Context) {
	var working sync.WaitGroup
	defer working.Wait()
	places := make(chan struct{}, mostBuilt)
	tick := time.NewTicker(idlePoll)
	defer tick.Stop()
	for {
		for b.buildWaiting(ctx, places, &working) {
		}
		select {
		case <-ctx.Done():
			return
		case <-b.kick:
		case <-tick.C:
		}
	}
}

// wakeBuilder has what was just accepted be built at once.
func (b *builder) wakeBuilder() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// buildWaiting takes up as many deployments as there are places free, one at least, and
// reports whether there may be more. They are built in goroutines of working, and so are
// their models copied, where they must be first.
func (b *builder) buildWaiting(ctx context.Context, places chan struct{}, working *sync.WaitGroup) (more bool) {
	free := 0
	for taking := true; taking; {
		select {
		case places <- struct{}{}:
			free++
		default:
			taking = false
			if free == 0 {
				places <- struct{}{}
				free++
			}
		}
	}
	held := b.now().Add(lease)
	list, err := b.deployments.LeaseBuilding(ctx, b.aws, held, free)
	if err != nil && ctx.Err() == nil {
		b.logger.Error("deployments to be built could not be read", "error", err)
	}
	for range free - len(list) {
		<-places
	}
	for _, d := range list {
		working.Go(func() {
			defer func() { <-places }()
			first, err := b.build(ctx, d, nil)
			b.logUnbuilt(ctx, d, err)
			if len(first) > 0 {
				b.copyBeside(ctx, d, held, first, working)
			}
		})
	}
	return len(list) == free
}

func (b *builder) logUnbuilt(ctx context.Context, d fescue.Deployment, err error) {
	if err != nil && ctx.Err() == nil {
		b.logger.Error("deployment not built; it is tried again", "deployment", d.ID, "group", d.GroupID, "error", err)
	}
}

// build takes a leased deployment out of Building: to InProgress, offered to its
// core, or to Failure. It is still Building after an error, and when there are models
// to be copied first; done are those that were, by their URIs.
func (b *builder) build(ctx context.Context, d fescue.Deployment, done map[string]copied) (first []toCopy, err error) {
	if d.Type.Reset() {
		return nil, b.settle(ctx, d, b.guarded(d, func() error { return b.buildReset(ctx, d) }), "")
	}
	var r *resolved
	err = b.guarded(d, func() (err error) {
		if r, err = b.resolve(ctx, d, done); err != nil || len(r.problems)+len(r.toCopy) > 0 {
			return err
		}
		return b.offer(ctx, d, r)
	})
	switch {
	case r == nil:
		return nil, b.settle(ctx, d, err, "")
	case err == nil && len(r.problems) > 0:
		return nil, b.fail(ctx, d, bundleMessage(d, r), r.problems, r.warnings...)
	case err == nil && len(r.toCopy) > 0:
		return r.toCopy, nil
	}
	return nil, b.settle(ctx, d, err, r.core.thing)
}

// guarded makes a panic an error: what one group brings about must not stop the
// deployments of all others, also not at the next start.
func (b *builder) guarded(d fescue.Deployment, work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			b.logger.Error("building a deployment panicked", "deployment", d.ID, "group", d.GroupID, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return work()
}

// settle decides what an error of building means: another try, a Failure, or
// nothing.
func (b *builder) settle(ctx context.Context, d fescue.Deployment, err error, coreThing string) error {
	switch {
	case err == nil:
		b.errors.forget(d)
		return nil
	case errors.Is(err, fescue.ErrInUse):
		detail := fescue.CoreInOtherGroup.Detail(coreThing)
		return b.fail(ctx, d, fescue.InvalidGroupMessage([]fescue.ErrorDetail{detail}), []fescue.ErrorDetail{detail})
	case errors.Is(err, fescue.ErrConflict), errors.Is(err, fescue.ErrTransition), errors.Is(err, fescue.ErrEnded):
		b.errors.forget(d)
		return nil // another server built it
	case b.errors.over(d, b.now()):
		detail := fescue.InternalFailure.Detail(err)
		return errors.Join(err, b.fail(ctx, d, fescue.FailureMessage(d, detail.DetailedErrorMessage), []fescue.ErrorDetail{detail}))
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

func (b *builder) fail(ctx context.Context, d fescue.Deployment, message string, details []fescue.ErrorDetail, warnings ...fescue.ErrorDetail) error {
	details = details[:min(len(details), fescue.MostErrorDetails)]
	_, err := b.deployments.ApplyStep(ctx, d, fescue.CloudActor, fescue.DeploymentStep{
		Event: fescue.EventBuildFailed, At: b.now().UTC(), Message: message, Details: details, Warnings: warnings,
	})
	if errors.Is(err, fescue.ErrConflict) || errors.Is(err, fescue.ErrEnded) {
		b.errors.forget(d)
		return nil // another server was faster
	}
	if err == nil {
		b.errors.forget(d)
		b.logger.Info("deployment failed in Building", "deployment", d.ID, "group", d.GroupID, "problems", len(details))
	}
	return err
}

// offer renders, stores, signs and offers.
func (b *builder) offer(ctx context.Context, d fescue.Deployment, r *resolved) error {
	group, err := r.render().Encode()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(group)
	groupHash := hex.EncodeToString(sum[:])
	if err := b.artifacts.Put(ctx, groupHash, bytes.NewReader(group)); err != nil {
		return fmt.Errorf("store group.json: %w", err)
	}
	manifest := b.manifest(d, r.core.thing)
	manifest.Artifacts = append([]bundle.Artifact{bundle.GroupArtifact(groupHash, int64(len(group)))}, slices.Concat(r.packages(), r.archives())...)
	next, superseded, err := b.offers.Offer(ctx, d, r.core.thing, b.now().UTC(), b.supersededBy(d), b.sign(ctx, manifest, fescue.Offering{Devices: r.clientDevices(), Holds: r.holds, Note: r.note, Warnings: r.warnings}))
	if err != nil {
		return err
	}
	b.announce(ctx, next, superseded)
	return nil
}

// manifest is what every deployment's manifest has.
func (b *builder) manifest(d fescue.Deployment, coreThing string) bundle.Manifest {
	return bundle.Manifest{
		AWS: d.Partition.AWS, Account: d.Partition.Account, Region: d.Partition.Region,
		GroupID: d.GroupID, GroupVersionID: d.GroupVersionID, DeploymentID: d.ID, DeploymentType: d.Type,
		CoreThingArn: d.Partition.ThingARN(coreThing),
		CreatedAt:    b.now().UTC(),
	}
}

// sign completes a manifest, and with it an offering, once its epoch is known.
func (b *builder) sign(ctx context.Context, m bundle.Manifest, offering fescue.Offering) func(epoch int64) (fescue.Offering, error) {
	return func(epoch int64) (fescue.Offering, error) {
		m.Epoch = epoch
		// It is signed again for the formats that the core reads when it asks.
		envelope, err := b.signer.Sign(ctx, m, bundle.Formats()...)
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
func (b *builder) announce(ctx context.Context, d fescue.Deployment, ended []fescue.Deployment) {
	for _, old := range ended {
		b.logger.Info("deployment ended by a newer one", "deployment", old.ID, "by", d.ID, "core", d.CoreThing)
	}
	b.logger.Info("deployment offered", "deployment", d.ID, "group", d.GroupID, "type", d.Type, "core", d.CoreThing, "epoch", d.Epoch)
	b.wake(ctx, d)
}

func (b *builder) supersededBy(d fescue.Deployment) fescue.DeploymentStep {
	detail := fescue.DeploymentSuperseded.Detail(d.ID)
	return fescue.DeploymentStep{
		Event: fescue.EventSuperseded, At: b.now().UTC(),
		Message: detail.DetailedErrorMessage, Details: []fescue.ErrorDetail{detail},
	}
}

// groupVersion reads the body of a group version.
func (b *builder) groupVersion(ctx context.Context, p fescue.Partition, groupID, version string) (fescue.GroupVersion, error) {
	v, err := b.definitions.Version(ctx, p, fescue.GroupKind, groupID, version)
	if err != nil {
		return fescue.GroupVersion{}, err
	}
	var g fescue.GroupVersion
	if err := json.Unmarshal(v.Body, &g); err != nil {
		return fescue.GroupVersion{}, fmt.Errorf("group version %s: %w", version, err)
	}
	return g, nil
}

// buildReset takes a reset out of Building.
func (b *builder) buildReset(ctx context.Context, d fescue.Deployment) error {
	thing, err := b.cores.GroupCore(ctx, d.Partition, d.GroupID)
	if err != nil && !errors.Is(err, fescue.ErrNotFound) {
		return err
	}
	if d.Type == fescue.ResetDeployment {
		if err != nil { // another reset was faster
			detail := fescue.NothingToReset.Detail(d.GroupID)
			return b.fail(ctx, d, fescue.FailureMessage(d, detail.DetailedErrorMessage), []fescue.ErrorDetail{detail})
		}
		next, ended, err := b.offers.Offer(ctx, d, thing, b.now().UTC(), b.supersededBy(d), b.sign(ctx, b.manifest(d, thing), fescue.Offering{}))
		if err == nil {
			b.announce(ctx, next, ended)
		}
		return err
	}
	detail := fescue.DeploymentForcedAway.Detail("The forced reset " + d.ID)
	next, ended, err := b.offers.ForceReset(ctx, d, thing, b.now().UTC(), fescue.DeploymentStep{
		Event: fescue.EventForcedAway, At: b.now().UTC(),
		Message: detail.DetailedErrorMessage, Details: []fescue.ErrorDetail{detail},
	}, b.sign(ctx, b.manifest(d, thing), fescue.Offering{}))
	if err == nil && next.CoreThing != "" {
		b.announce(ctx, next, ended)
	}
	return err
}
