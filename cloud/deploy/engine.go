// Package deploy is the deployment engine: it accepts deployments, builds them
// (resolves and checks the group version, renders group.json, signs the
// manifest), offers them to cores and takes the cores' reports. The rules of a
// deployment's life are in package fescue; this package drives them and keeps
// no state of its own that another server, or this one after a crash, could not
// take up from the database.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/corelink"
)

// Stores are what the engine needs of the database.
type Stores struct {
	Definitions DefinitionStore
	IAM         IAMRoleStore
	GroupRoles  GroupRoleStore
	Deployments DeploymentStore
	Offers      OfferStore
	Holdings    HoldingStore
	Cores       CoreStore
	Checks      CheckStore
}

// DefinitionStore keeps the groups and what they are made of.
type DefinitionStore interface {
	Definition(ctx context.Context, p fescue.Partition, k fescue.Kind, id string) (fescue.Definition, error)
	Version(ctx context.Context, p fescue.Partition, k fescue.Kind, definitionID, id string) (fescue.DefinitionVersion, error)
}

// IAMRoleStore keeps the roles that there are.
type IAMRoleStore interface {
	IAMRole(ctx context.Context, account, name string) (fescue.IAMRole, error)
}

// GroupRoleStore keeps the roles that groups have; that of the group "" is the service's.
type GroupRoleStore interface {
	AssociatedRole(ctx context.Context, p fescue.Partition, groupID string) (string, time.Time, error)
}

// DeploymentStore keeps the deployments and their timelines.
type DeploymentStore interface {
	TokenSubject(ctx context.Context, p fescue.Partition, t fescue.Token) (id string, err error)
	CreateDeployment(ctx context.Context, d fescue.Deployment, token fescue.Token) (fescue.Deployment, error)
	Deployment(ctx context.Context, p fescue.Partition, groupID, id string) (fescue.Deployment, error)
	DeploymentStatus(ctx context.Context, p fescue.Partition, groupID, id string) (fescue.CurrentStatus, error)
	Deployments(ctx context.Context, p fescue.Partition, groupID string, page fescue.Page) ([]fescue.Deployment, error)
	DeploymentsIn(ctx context.Context, p fescue.Partition, status fescue.DeploymentStatus, page fescue.Page) ([]fescue.Deployment, error)
	Unfinished(ctx context.Context, p fescue.Partition, groupID string) (bool, error)
	Running(ctx context.Context, aws string) ([]fescue.Deployment, error)
	LeaseBuilding(ctx context.Context, aws string, until time.Time) (fescue.Deployment, error)
	ApplyStep(ctx context.Context, d fescue.Deployment, actor fescue.Actor, step fescue.DeploymentStep) (fescue.Deployment, error)
	Redate(ctx context.Context, late, now time.Time, limit int) (n int, err error)
	Overdue(ctx context.Context, aws string, phase fescue.DeploymentPhase, before time.Time, limit int) ([]fescue.Deployment, error)
	Steps(ctx context.Context, p fescue.Partition, deploymentID string) ([]fescue.RecordedStep, error)
	SetProgress(ctx context.Context, d fescue.Deployment, progress fescue.Progress) error
	Progress(ctx context.Context, p fescue.Partition, deploymentID string) (fescue.Progress, error)
}

// OfferStore keeps what is there for cores to take, and their epochs.
type OfferStore interface {
	Offer(ctx context.Context, d fescue.Deployment, coreThing string, at time.Time, superseded fescue.DeploymentStep,
		sign func(epoch int64) (fescue.Offering, error)) (fescue.Deployment, []fescue.Deployment, error)
	ForceReset(ctx context.Context, d fescue.Deployment, coreThing string, at time.Time, ended fescue.DeploymentStep,
		sign func(epoch int64) (fescue.Offering, error)) (fescue.Deployment, []fescue.Deployment, error)
	Waiting(ctx context.Context, p fescue.Partition, coreThing string, after int64) (fescue.Deployment, []byte, error)
	Epoch(ctx context.Context, p fescue.Partition, coreThing string) (int64, error)
	Passed(ctx context.Context, p fescue.Partition, coreThing string, epoch int64) ([]fescue.Deployment, error)
	CatchUp(ctx context.Context, p fescue.Partition, coreThing string, epoch int64) (raised bool, err error)
	SetEpoch(ctx context.Context, p fescue.Partition, coreThing string, epoch int64) (before, now int64, err error)
	OfferedArtifacts(ctx context.Context, d fescue.Deployment) ([]string, error)
	WatchOffers(ctx context.Context, aws string, heard func(fescue.Deployment))
}

// HoldingStore keeps what groups have by what was deployed.
type HoldingStore interface {
	Hold(ctx context.Context, d fescue.Deployment, arns []string) error
}

// CoreStore keeps what cores say of themselves, and whose they are.
type CoreStore interface {
	CoreInfo(ctx context.Context, p fescue.Partition, thing string) (info fescue.CoreInfo, at time.Time, err error)
	SetCoreInfo(ctx context.Context, p fescue.Partition, thing string, info fescue.CoreInfo, at time.Time) error
	GroupCore(ctx context.Context, p fescue.Partition, groupID string) (thing string, err error)
	CoreOwner(ctx context.Context, p fescue.Partition, thing string) (groupID string, err error)
}

// CheckStore keeps what cores are asked to look at, and their answers.
type CheckStore interface {
	AskCheck(ctx context.Context, p fescue.Partition, thing, id string, request []byte, expires time.Time) error
	WaitingCheck(ctx context.Context, p fescue.Partition, thing string) (id string, request []byte, err error)
	AnswerCheck(ctx context.Context, p fescue.Partition, thing, id string, answer []byte) error
	CheckAnswer(ctx context.Context, p fescue.Partition, id string) ([]byte, error)
	ForgetCheck(ctx context.Context, p fescue.Partition, id string) error
}

// Functions resolves what a group says of a function to a published version.
type Functions interface {
	// Resolve takes an alias or version ARN. The errors are fescue.ErrNotFound,
	// and ErrUnpublished for $LATEST and for an ARN without a qualifier.
	Resolve(ctx context.Context, p fescue.Partition, functionARN string) (v fescue.FunctionVersion, versionARN string, err error)
}

// Principals tells who a certificate is.
type Principals interface {
	Principal(ctx context.Context, certificateID string) (fescue.Principal, error)
}

// Artifacts keeps content by hash.
type Artifacts interface {
	Put(ctx context.Context, hash string, content io.Reader) error
}

// Publisher sends an MQTT message from the cloud.
type Publisher interface {
	Publish(ctx context.Context, p fescue.Partition, topic string, payload []byte, qos byte, retain bool) error
}

// Signer signs manifests with the key that is in use now.
type Signer interface {
	// Sign makes an envelope for readers of the formats, as bundle.Sign does.
	Sign(ctx context.Context, m bundle.Manifest, formats ...int) ([]byte, error)
	// Renew signs again what Sign signed, perhaps with an earlier key, for readers
	// of the formats, and tells the id of the key in use; a nil envelope stays nil.
	Renew(ctx context.Context, envelope []byte, formats ...int) (renewed []byte, keyID string, err error)
}

// Presence tells when a core was last heard of.
type Presence interface {
	LastSeen(ctx context.Context, p fescue.Partition, thing string) (fescue.LastSeen, error)
}

// Options is what an engine is made of. All but RequireServiceRole, Quotas, Serves and
// Deadlines are needed.
type Options struct {
	Stores     Stores
	Functions  Functions
	Principals Principals
	Artifacts  Artifacts
	Publisher  Publisher
	// Signer signs manifests.
	Signer Signer
	// AWS is the first part of every ARN.
	AWS string
	// RequireServiceRole fails deployments of a partition without a service
	// role, as the original did. Fescue itself needs none.
	RequireServiceRole bool
	// Quotas bound what a group may have that is deployed.
	Quotas Quotas
	// Serves reports whether cores serve a feature that a group needs; nil is
	// fescue.Served.
	Serves func(fescue.Feature) bool
	// Presence tells when a core was last heard of.
	Presence  Presence
	Deadlines Deadlines
	Now       func() time.Time
	Logger    *slog.Logger
}

// Engine is the deployment engine.
type Engine struct {
	Options
	hub   hub
	kick  chan struct{}
	ended *ended
}

// New makes an engine. Run builds; everything else works without it.
func New(o Options) *Engine {
	o.Deadlines = o.Deadlines.withDefaults()
	if o.Serves == nil {
		o.Serves = fescue.Served
	}
	return &Engine{Options: o, hub: newHub(), kick: make(chan struct{}, 1), ended: newEnded(o.Now)}
}

// What Create refuses.
var (
	// ErrUnknownGroup and ErrUnknownVersion mean that the partition has no such
	// group or the group no such version.
	ErrUnknownGroup   = errors.New("unknown group")
	ErrUnknownVersion = errors.New("unknown group version")
	// ErrNoCore means that the group version refers to no core definition.
	ErrNoCore = errors.New("the group version has no core")
	// ErrNotDeployed means that a group without a core is to be reset.
	ErrNotDeployed = errors.New("the group has not been deployed or has been reset")
	// ErrUnfinished means that a reset has to wait for a deployment of the group.
	ErrUnfinished = errors.New("a deployment of the group has not ended")
	// ErrConcurrent means that another deployment of the group is being built.
	ErrConcurrent = errors.New("another deployment of the group is being built")
	// ErrTooLarge means that a group is too large for what was asked.
	ErrTooLarge = errors.New("too large")
	// ErrUnpublished means that a function ARN does not name a published version.
	ErrUnpublished = errors.New("not a published function version")
)

// TypeError refuses a deployment type or what goes with it.
type TypeError struct{ Text string }

// Error is the text, the original's own where it is known.
func (e *TypeError) Error() string { return e.Text }

// Create accepts a deployment: it is Building when Create returns. A
// Redeployment names an earlier deployment of the group, whose group version is
// deployed again.
func (e *Engine) Create(ctx context.Context, p fescue.Partition, groupID string, t fescue.DeploymentType, groupVersionID, deploymentID string, token fescue.Token) (fescue.Deployment, error) {
	return e.CreateWithin(ctx, p, "", groupID, t, groupVersionID, deploymentID, token)
}

// CreateWithin is Create for a caller who may touch only the groups with a tag
// ("site=north"; empty is all): the deployment ends in Failure when it would take
// a core from what another group has waiting for it.
func (e *Engine) CreateWithin(ctx context.Context, p fescue.Partition, groupTag, groupID string, t fescue.DeploymentType, groupVersionID, deploymentID string, token fescue.Token) (fescue.Deployment, error) {
	switch t {
	case fescue.NewDeployment:
		if groupVersionID == "" {
			return fescue.Deployment{}, &TypeError{"Your request is missing the following required parameter(s): {GroupVersionId}."}
		}
	case fescue.Redeployment:
		if deploymentID == "" {
			return fescue.Deployment{}, &TypeError{"Your request is missing the following required parameter(s): {DeploymentId}."}
		}
	case fescue.ResetDeployment, fescue.ForceResetDeployment:
		return fescue.Deployment{}, &TypeError{"That deployment type is not valid here. Reset a group's deployments with ResetDeployments."}
	default:
		return fescue.Deployment{}, &TypeError{"That deployment type is not valid.  Please specify one of the following types: {NewDeployment,Redeployment,ResetDeployment,ForceResetDeployment}."}
	}
	if !fescue.ValidID(groupID) {
		return fescue.Deployment{}, ErrUnknownGroup
	}
	if d, found, err := e.replayed(ctx, p, groupID, token); found || err != nil {
		return d, err
	}
	if _, err := e.Stores.Definitions.Definition(ctx, p, fescue.GroupKind, groupID); err != nil {
		return fescue.Deployment{}, replace(err, fescue.ErrNotFound, ErrUnknownGroup)
	}
	if t == fescue.Redeployment {
		var err error
		groupVersionID, err = e.Deployed(ctx, p, groupID, deploymentID)
		if errors.Is(err, fescue.ErrNotFound) {
			err = &TypeError{fmt.Sprintf("Deployment ID '%s' is invalid.", deploymentID)}
		}
		if err != nil {
			return fescue.Deployment{}, err
		}
	}
	if !fescue.ValidID(groupVersionID) {
		return fescue.Deployment{}, ErrUnknownVersion
	}
	version, err := e.groupVersion(ctx, p, groupID, groupVersionID)
	if err != nil {
		return fescue.Deployment{}, replace(err, fescue.ErrNotFound, ErrUnknownVersion)
	}
	if version.CoreDefinitionVersionArn == "" {
		return fescue.Deployment{}, ErrNoCore
	}
	now := e.Now().UTC()
	d, err := e.Stores.Deployments.CreateDeployment(ctx, fescue.Deployment{
		Partition: p, ID: fescue.NewID(), GroupID: groupID, GroupVersionID: groupVersionID,
		Type: t, Status: fescue.Building, GroupTag: groupTag, CreatedAt: now, UpdatedAt: now,
	}, token)
	if err != nil {
		return fescue.Deployment{}, replace(err, fescue.ErrConflict, ErrConcurrent)
	}
	e.wakeBuilder()
	return d, nil
}

// replayed finds what an earlier call with the same token made. A repeated call
// answers that, whatever has become of the group since.
func (e *Engine) replayed(ctx context.Context, p fescue.Partition, groupID string, token fescue.Token) (d fescue.Deployment, found bool, err error) {
	if token.Value == "" {
		return d, false, nil
	}
	id, err := e.Stores.Deployments.TokenSubject(ctx, p, token)
	if err == nil {
		d, err = e.Stores.Deployments.Deployment(ctx, p, groupID, id)
	}
	if errors.Is(err, fescue.ErrNotFound) {
		return d, false, nil
	}
	return d, err == nil, err
}

// Deployed is the group version that a deployment of the group deployed; of a
// reset, and of what is no deployment, the error is fescue.ErrNotFound.
func (e *Engine) Deployed(ctx context.Context, p fescue.Partition, groupID, deploymentID string) (groupVersionID string, err error) {
	if !fescue.ValidID(deploymentID) {
		return "", fescue.ErrNotFound
	}
	d, err := e.Stores.Deployments.Deployment(ctx, p, groupID, deploymentID)
	if err == nil && d.GroupVersionID == "" {
		err = fescue.ErrNotFound
	}
	return d.GroupVersionID, err
}

func replace(err, target, by error) error {
	if errors.Is(err, target) {
		return by
	}
	return err
}

// Status reads how it stands with a deployment of a group. Of one that has ended it
// may have been read a moment ago.
func (e *Engine) Status(ctx context.Context, p fescue.Partition, groupID, id string) (fescue.CurrentStatus, error) {
	key := endedKey{p, groupID, id}
	if s, ok := e.ended.find(key); ok {
		return s, nil
	}
	s, err := e.Stores.Deployments.DeploymentStatus(ctx, p, groupID, id)
	if err == nil {
		e.ended.keep(key, s)
	}
	return s, err
}

// Deployments lists the deployments of a group, newest first.
func (e *Engine) Deployments(ctx context.Context, p fescue.Partition, groupID string, page fescue.Page) ([]fescue.Deployment, error) {
	return e.Stores.Deployments.Deployments(ctx, p, groupID, page)
}

func (e *Engine) wakeBuilder() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// Builders' timing.
const (
	// lease is how long a builder has a deployment to itself. When it dies,
	// another takes the deployment up after that.
	lease = 30 * time.Second
	// idlePoll is how often builders look for work that another server accepted
	// or a dead one left.
	idlePoll = time.Second
)

// Run builds deployments, ends those that are past their deadline, and wakes cores
// for what other servers offer, until ctx ends.
func (e *Engine) Run(ctx context.Context) {
	var watches sync.WaitGroup
	watches.Go(func() { e.watchDeadlines(ctx) })
	watches.Go(func() { e.Stores.Offers.WatchOffers(ctx, e.AWS, func(d fescue.Deployment) { e.wake(ctx, d) }) })
	defer watches.Wait()
	tick := time.NewTicker(idlePoll)
	defer tick.Stop()
	for {
		for e.buildNext(ctx) {
		}
		select {
		case <-ctx.Done():
			return
		case <-e.kick:
		case <-tick.C:
		}
	}
}

// buildNext builds one deployment and reports whether there was one.
func (e *Engine) buildNext(ctx context.Context) bool {
	d, err := e.Stores.Deployments.LeaseBuilding(ctx, e.AWS, e.Now().Add(lease))
	switch {
	case errors.Is(err, fescue.ErrNotFound) || ctx.Err() != nil:
		return false
	case err != nil:
		e.Logger.Error("deployments to be built could not be read", "error", err)
		return false
	}
	if err := e.build(ctx, d); err != nil && ctx.Err() == nil {
		e.Logger.Error("deployment not built; it is tried again", "deployment", d.ID, "group", d.GroupID, "error", err)
	}
	return true
}

// wake tells a core that is connected to this server that something has become of
// its deployment. Other servers hear of it from the store.
func (e *Engine) wake(ctx context.Context, d fescue.Deployment) {
	e.wakeWith(ctx, d.Partition, d.CoreThing, fmt.Appendf(nil, `{"version":%d,"timestamp":%d,"state":{"deploymentId":%q,"groupId":%q}}`,
		d.Epoch, e.Now().Unix(), d.ID, d.GroupID))
}

// wakeWith has a core that is connected to this server ask for what waits: through its
// long poll and by MQTT.
func (e *Engine) wakeWith(ctx context.Context, p fescue.Partition, thing string, payload []byte) {
	e.hub.notify(p, thing)
	if err := e.Publisher.Publish(ctx, p, corelink.WakeTopic(thing), payload, 0, false); err != nil {
		e.Logger.Warn("core not woken by MQTT; its next poll finds what waits", "core", thing, "error", err)
	}
}
