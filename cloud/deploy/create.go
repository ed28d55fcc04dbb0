package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue"
)

// acceptedDeployments are the deployments as those who ask for them have them.
type acceptedDeployments interface {
	TokenSubject(ctx context.Context, p fescue.Partition, t fescue.Token) (id string, err error)
	CreateDeployment(ctx context.Context, d fescue.Deployment, token fescue.Token) (fescue.Deployment, error)
	CreateDeployments(ctx context.Context, list []Request) ([]Answer, error)
	Deployment(ctx context.Context, p fescue.Partition, groupID, id string) (fescue.Deployment, error)
	DeploymentStatus(ctx context.Context, p fescue.Partition, groupID, id string) (fescue.CurrentStatus, error)
	State() (number uint64, known bool)
	Deployments(ctx context.Context, p fescue.Partition, groupID string, page fescue.Page) ([]fescue.Deployment, error)
	DeploymentsIn(ctx context.Context, p fescue.Partition, status fescue.DeploymentStatus, page fescue.Page) ([]Listed, error)
	Unfinished(ctx context.Context, p fescue.Partition, groupID string) (bool, error)
	ApplyStep(ctx context.Context, d fescue.Deployment, actor fescue.Actor, step fescue.DeploymentStep) (fescue.Deployment, error)
	Steps(ctx context.Context, p fescue.Partition, deploymentID string) ([]fescue.RecordedStep, error)
	Progress(ctx context.Context, p fescue.Partition, deploymentID string) (fescue.Progress, error)
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
	// ErrModel means that something cannot be the archive of a model.
	ErrModel = errors.New("not the archive of a model")
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
	d, earlier, err := e.requested(ctx, p, groupID, t, groupVersionID, deploymentID, token)
	if earlier || err != nil {
		return d, err
	}
	d.GroupTag = groupTag
	d, err = e.deployments.CreateDeployment(ctx, d, token)
	if err != nil {
		return fescue.Deployment{}, replace(err, fescue.ErrConflict, ErrConcurrent)
	}
	e.builder.wakeBuilder()
	return d, nil
}

// Request is a deployment that is to be accepted, with the token that it is asked for by.
// For CreateAll, group and group version of the deployment say what is to be deployed.
type Request struct {
	Deployment fescue.Deployment
	Token      fescue.Token
	// LeasedUntil is until when the builder of whoever accepts it has it to itself; zero for
	// whichever builder finds it first. CreateAll sets it.
	LeasedUntil time.Time
}

// Answer is what came of a request: a deployment, or why there is none.
type Answer struct {
	Deployment fescue.Deployment
	Err        error
}

// reading is how many group versions CreateAll reads at the same time.
const reading = 4

// CreateAll is Create with fescue.NewDeployment for many groups of a partition: it writes all
// deployments in one transaction, and each of them alone when one may be why that failed.
// With an error that is fescue.Passing, and of all of them, no more is tried: those that it
// holds up all have it. Answers are in the order of the requests. What was written together the
// builder of this server has at once, as far as it has room; the rest a builder finds in the
// database.
func (e *Engine) CreateAll(ctx context.Context, p fescue.Partition, requests []Request) []Answer {
	answers, earlier := make([]Answer, len(requests)), make([]bool, len(requests))
	var checking errgroup.Group
	checking.SetLimit(reading)
	for i, r := range requests {
		a := &answers[i]
		checking.Go(func() error {
			a.Deployment, earlier[i], a.Err = e.requested(ctx, p, r.Deployment.GroupID, fescue.NewDeployment, r.Deployment.GroupVersionID, "", r.Token)
			return nil
		})
	}
	checking.Wait()
	var list []Request
	var places []int
	for i, a := range answers {
		if a.Err == nil && !earlier[i] {
			list, places = append(list, Request{Deployment: a.Deployment, Token: requests[i].Token}), append(places, i)
		}
	}
	if len(list) == 0 {
		return answers
	}
	made, err := e.createTogether(ctx, list)
	if err != nil {
		if !general(err) { // one of them may be to blame
			e.logger.Warn("deployments not written together; each is written alone", "deployments", len(list), "error", err)
			err = nil
		}
		made = make([]Answer, len(list))
		for i, r := range list {
			if made[i].Err = err; err != nil {
				continue
			}
			alone, failed := e.deployments.CreateDeployments(ctx, []Request{{Deployment: r.Deployment, Token: r.Token}})
			if failed != nil {
				alone = []Answer{{Err: failed}}
			}
			if made[i] = alone[0]; general(made[i].Err) {
				err = made[i].Err
			}
		}
		e.builder.wakeBuilder()
	}
	for i, a := range made {
		a.Err = replace(a.Err, fescue.ErrConflict, ErrConcurrent)
		answers[places[i]] = a
	}
	return answers
}

// createTogether writes deployments in one transaction, and hands them to this server's builder.
// Those for which it has no room it finds in the database, if no other builder does before.
func (e *Engine) createTogether(ctx context.Context, list []Request) ([]Answer, error) {
	ours, until := e.builder.accepted.reserve(len(list)), e.now().Add(lease)
	for i := range ours {
		list[i].LeasedUntil = until
	}
	made, err := e.deployments.CreateDeployments(ctx, list)
	giving, cancel := goodbye(ctx)
	defer cancel()
	for i := range ours {
		if err == nil && made[i].Err == nil && made[i].Deployment.ID == list[i].Deployment.ID {
			d := made[i].Deployment
			if e.builder.accepted.hand(leased{d, until}) {
				continue
			}
			e.builder.giveBack(giving, d, held{until: until})
		}
		e.builder.accepted.release()
	}
	if ours < len(list) {
		e.builder.wakeBuilder()
	}
	return made, err
}

// general reports whether an error holds up all that is written, and not one record alone.
func general(err error) bool { return fescue.Passing(err) && !errors.Is(err, fescue.ErrLocked) }

// requested is the deployment that is to be accepted, or the one that an earlier call with the
// token made, or why there can be none.
func (e *Engine) requested(ctx context.Context, p fescue.Partition, groupID string, t fescue.DeploymentType, groupVersionID, deploymentID string, token fescue.Token) (d fescue.Deployment, earlier bool, err error) {
	groupVersionID, err = e.deployable(ctx, p, groupID, t, groupVersionID, deploymentID)
	if err != nil {
		if d, found, replayErr := e.replayed(ctx, p, groupID, token); found || replayErr != nil {
			return d, found, replayErr
		}
		return fescue.Deployment{}, false, err
	}
	now := e.now().UTC()
	return fescue.Deployment{
		Partition: p, ID: fescue.NewTimedID(), GroupID: groupID, GroupVersionID: groupVersionID,
		Type: t, Status: fescue.Building, CreatedAt: now, UpdatedAt: now,
	}, false, nil
}

// deployable is the group version that a deployment of a group is to deploy, or why there
// can be none.
func (e *Engine) deployable(ctx context.Context, p fescue.Partition, groupID string, t fescue.DeploymentType, groupVersionID, deploymentID string) (string, error) {
	if !fescue.ValidID(groupID) {
		return "", ErrUnknownGroup
	}
	// A version that is there is of a group that is there.
	refusal := func(err, refusal error) error {
		if !errors.Is(err, fescue.ErrNotFound) {
			return err
		}
		if _, err := e.definitions.Definition(ctx, p, fescue.GroupKind, groupID); err != nil {
			return replace(err, fescue.ErrNotFound, ErrUnknownGroup)
		}
		return refusal
	}
	if t == fescue.Redeployment {
		var err error
		if groupVersionID, err = e.Deployed(ctx, p, groupID, deploymentID); err != nil {
			return "", refusal(err, &TypeError{fmt.Sprintf("Deployment ID '%s' is invalid.", deploymentID)})
		}
	}
	if !fescue.ValidID(groupVersionID) {
		return "", refusal(fescue.ErrNotFound, ErrUnknownVersion)
	}
	version, err := e.builder.groupVersion(ctx, p, groupID, groupVersionID)
	if err != nil {
		return "", refusal(err, ErrUnknownVersion)
	}
	if version.CoreDefinitionVersionArn == "" {
		return "", ErrNoCore
	}
	return groupVersionID, nil
}

// replayed finds what an earlier call with the same token made. A repeated call
// answers that, whatever has become of the group since.
func (e *Engine) replayed(ctx context.Context, p fescue.Partition, groupID string, token fescue.Token) (d fescue.Deployment, found bool, err error) {
	if token.Value == "" {
		return d, false, nil
	}
	id, err := e.deployments.TokenSubject(ctx, p, token)
	if err == nil {
		d, err = e.deployments.Deployment(ctx, p, groupID, id)
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
	d, err := e.deployments.Deployment(ctx, p, groupID, deploymentID)
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
	if _, err := e.definitions.Definition(ctx, p, fescue.GroupKind, groupID); err != nil {
		return fescue.Deployment{}, replace(err, fescue.ErrNotFound, ErrUnknownGroup)
	}
	t := fescue.ForceResetDeployment
	if !force {
		t = fescue.ResetDeployment
		unfinished, err := e.deployments.Unfinished(ctx, p, groupID)
		if err != nil {
			return fescue.Deployment{}, err
		}
		if unfinished {
			return fescue.Deployment{}, ErrUnfinished
		}
		if _, err := e.builder.cores.GroupCore(ctx, p, groupID); err != nil {
			return fescue.Deployment{}, replace(err, fescue.ErrNotFound, ErrNotDeployed)
		}
	}
	now := e.now().UTC()
	d, err := e.deployments.CreateDeployment(ctx, fescue.Deployment{
		Partition: p, ID: fescue.NewTimedID(), GroupID: groupID,
		Type: t, Status: fescue.Building, CreatedAt: now, UpdatedAt: now,
	}, token)
	if err != nil {
		return fescue.Deployment{}, replace(err, fescue.ErrConflict, ErrConcurrent)
	}
	e.builder.wakeBuilder()
	return d, nil
}
