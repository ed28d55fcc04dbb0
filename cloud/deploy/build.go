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
	// mostDocument is Options.MostDocument.
	mostDocument int

	aws                string
	requireServiceRole bool
	quotas             Quotas
	serves             func(fescue.Feature) bool

	// alone is Options.Alone.
	alone bool

	*waker
	kick chan struct{}
	// accepted are the deployments that this server accepted for its own builder.
	accepted accepted
	// copies are the places of deployments whose models are copied.
	copies places
	// errors are the internal errors of deployments that are not built yet.
	errors buildErrors
	now    func() time.Time
	logger *slog.Logger
}

// buildingDeployments are the deployments as the builder has them.
type buildingDeployments interface {
	// FreeBuilding ends all leases of LeaseBuilding.
	FreeBuilding(ctx context.Context) error
	LeaseBuilding(ctx context.Context, aws string, until time.Time, limit int) ([]fescue.Deployment, error)
	KeepBuilding(ctx context.Context, d fescue.Deployment, held, until time.Time, progress fescue.Progress) error
	ApplyStep(ctx context.Context, d fescue.Deployment, actor fescue.Actor, step fescue.DeploymentStep) (fescue.Deployment, error)
	Running(ctx context.Context, aws string) ([]fescue.Deployment, error)
}

// offerer leaves a manifest for a core, in one transaction with what becomes of the
// deployments before it.
type offerer interface {
	// Epoch is the highest epoch that a core was given.
	Epoch(ctx context.Context, p fescue.Partition, coreThing string) (int64, error)
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
	// mostBuilt is how many deployments one server builds at the same time: while some wait for
	// the commit that offers them, there are enough others to fill the next one.
	mostBuilt = 32
)

// run builds what is accepted until ctx ends.
func (b *builder) run(ctx context.Context) {
	var working sync.WaitGroup
	defer working.Wait()
	places, work := make(chan struct{}, mostBuilt), make(chan leased)
	defer close(work)
	for range mostBuilt {
		// They stay: a new goroutine's stack would have to grow for each deployment.
		working.Go(func() {
			for l := range work {
				b.take(ctx, l, &working)
				<-places
			}
		})
	}
	if b.alone {
		if err := b.deployments.FreeBuilding(ctx); err != nil && ctx.Err() == nil {
			b.logger.Warn("leases of deployments that were being built when the server ended could not be ended; they end by themselves", "within", lease, "error", err)
		}
	}
	ready := b.accepted.open()
	defer func() {
		for _, l := range b.accepted.close() {
			places <- struct{}{}
			work <- l // to be given back
		}
	}()
	tick := time.NewTicker(idlePoll)
	defer tick.Stop()
	b.wakeBuilder()
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-ready:
			b.accepted.release()
			places <- struct{}{}
			work <- l
		case <-b.kick:
			b.buildWaiting(ctx, places, work)
		case <-tick.C:
			b.buildWaiting(ctx, places, work)
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

// leased is a deployment that is to be built, which its builder has to itself until then.
type leased struct {
	deployment fescue.Deployment
	until      time.Time
}

// buildWaiting takes up as many deployments as there are places free, one at least, and has itself
// called again if there may be more. They are built by whoever takes work.
func (b *builder) buildWaiting(ctx context.Context, places chan struct{}, work chan<- leased) {
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
	until := b.now().Add(lease)
	list, err := b.deployments.LeaseBuilding(ctx, b.aws, until, free)
	if err != nil && ctx.Err() == nil {
		b.logger.Error("deployments to be built could not be read", "error", err)
	}
	for range free - len(list) {
		<-places
	}
	for _, d := range list {
		work <- leased{d, until}
	}
	if len(list) == free {
		b.wakeBuilder()
	}
}

// take builds a deployment, or has its models copied first, by goroutines of copying. It gives
// the lease back when ctx ends before, so that the next builder need not wait.
func (b *builder) take(ctx context.Context, l leased, copying *sync.WaitGroup) {
	if b.now().After(l.until) {
		return // it has waited for too long: whoever finds it builds it
	}
	if ctx.Err() == nil {
		first, err := b.build(ctx, l.deployment, nil)
		b.logUnbuilt(ctx, l.deployment, err)
		if len(first) > 0 {
			b.copyBeside(ctx, l.deployment, l.until, first, copying)
			return
		}
		if err == nil || ctx.Err() == nil {
			return
		}
	}
	giving, cancel := goodbye(ctx)
	defer cancel()
	b.giveBack(giving, l.deployment, held{until: l.until})
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
	offering := fescue.Offering{Devices: r.clientDevices(), Holds: r.holds, Note: r.note, Warnings: r.warnings}
	if len(group) <= b.mostDocument {
		offering.Document = group
	} else if err := b.artifacts.Put(ctx, groupHash, bytes.NewReader(group)); err != nil {
		return fmt.Errorf("store group.json: %w", err)
	}
	manifest := b.manifest(d, r.core.thing)
	manifest.Artifacts = append([]bundle.Artifact{bundle.GroupArtifact(groupHash, int64(len(group)))}, slices.Concat(r.packages(), r.archives())...)
	next, superseded, err := b.offers.Offer(ctx, d, r.core.thing, b.now().UTC(), b.supersededBy(d), b.sign(ctx, r.core.thing, manifest, offering))
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

// sign completes a manifest, and with it an offering, once its epoch is known. The next epoch
// is most often the one, so it is signed for that before: whoever writes would wait meanwhile.
func (b *builder) sign(ctx context.Context, coreThing string, m bundle.Manifest, offering fescue.Offering) func(epoch int64) (fescue.Offering, error) {
	for _, a := range m.Downloads() {
		offering.Artifacts = append(offering.Artifacts, a.SHA256)
	}
	signed := func(epoch int64) (fescue.Offering, error) {
		m, offering := m, offering
		m.Epoch = epoch
		// It is signed again for the formats that the core reads when it asks.
		envelope, err := b.signer.Sign(ctx, m, bundle.Formats()...)
		offering.Envelope = envelope
		return offering, err
	}
	last, err := b.offers.Epoch(ctx, m.Partition(), coreThing)
	if err != nil {
		return signed
	}
	next, err := signed(last + 1)
	if err != nil {
		return signed
	}
	return func(epoch int64) (fescue.Offering, error) {
		if epoch == last+1 {
			return next, nil
		}
		return signed(epoch)
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
		next, ended, err := b.offers.Offer(ctx, d, thing, b.now().UTC(), b.supersededBy(d), b.sign(ctx, thing, b.manifest(d, thing), fescue.Offering{}))
		if err == nil {
			b.announce(ctx, next, ended)
		}
		return err
	}
	detail := fescue.DeploymentForcedAway.Detail("The forced reset " + d.ID)
	next, ended, err := b.offers.ForceReset(ctx, d, thing, b.now().UTC(), fescue.DeploymentStep{
		Event: fescue.EventForcedAway, At: b.now().UTC(),
		Message: detail.DetailedErrorMessage, Details: []fescue.ErrorDetail{detail},
	}, b.sign(ctx, thing, b.manifest(d, thing), fescue.Offering{}))
	if err == nil && next.CoreThing != "" {
		b.announce(ctx, next, ended)
	}
	return err
}
