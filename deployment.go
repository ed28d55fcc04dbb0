package fescue

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// DeploymentType is what a deployment does to its group's core.
type DeploymentType string

// The deployment types (Greengrass API model).
const (
	NewDeployment        DeploymentType = "NewDeployment"
	Redeployment         DeploymentType = "Redeployment"
	ResetDeployment      DeploymentType = "ResetDeployment"
	ForceResetDeployment DeploymentType = "ForceResetDeployment"
)

// Reset reports whether the type clears the core.
func (t DeploymentType) Reset() bool { return t == ResetDeployment || t == ForceResetDeployment }

// DeploymentStatus is where a deployment is, in the words of
// GetDeploymentStatus.
type DeploymentStatus string

// The deployment statuses. Success and Failure are final: they are written once
// and never change.
const (
	Building   DeploymentStatus = "Building"
	InProgress DeploymentStatus = "InProgress"
	Success    DeploymentStatus = "Success"
	Failure    DeploymentStatus = "Failure"
)

// Final reports whether the status never changes again.
func (s DeploymentStatus) Final() bool { return s == Success || s == Failure }

// DeploymentPhase says where inside InProgress a deployment is. It is empty in
// every other status.
type DeploymentPhase string

// The phases, in the order in which a core passes through them.
const (
	// Offered: the signed manifest waits for the core.
	Offered DeploymentPhase = "Offered"
	// Claimed: the core took it. From here on only the core ends it.
	Claimed DeploymentPhase = "Claimed"
	// Staged: everything is on the core's disk, verified, beside what runs.
	Staged DeploymentPhase = "Staged"
	// Switched: the new version is the one that the core starts from.
	Switched DeploymentPhase = "Switched"
)

// ErrorDetail is one problem of a failed deployment or a refused request.
type ErrorDetail struct {
	DetailedErrorCode    string
	DetailedErrorMessage string
}

// Deployment is one attempt to bring a group version onto the group's core.
type Deployment struct {
	Partition      Partition
	ID             string
	GroupID        string
	GroupVersionID string
	Type           DeploymentType
	Status         DeploymentStatus
	Phase          DeploymentPhase
	CreatedAt      time.Time
	UpdatedAt      time.Time
	// CoreThing is the name of the core's thing; empty until built.
	CoreThing string
	// Epoch orders the deployments of one core, strictly rising from 1; zero
	// until built. A core refuses what is lower than it has seen.
	Epoch int64
	// ErrorMessage and ErrorDetails say why a deployment failed.
	ErrorMessage string
	ErrorDetails []ErrorDetail
	// Revision counts the changes; a change is applied only to the revision
	// that it was computed from.
	Revision int64
}

// DeploymentEvent is something that happened to a deployment.
type DeploymentEvent string

// The events, with who may cause them.
const (
	// EventBuilt: the engine rendered and signed the manifest.
	EventBuilt DeploymentEvent = "Built"
	// EventBuildFailed: the engine found the group version not deployable.
	EventBuildFailed DeploymentEvent = "BuildFailed"
	// EventClaimed, EventStaged, EventSwitched, EventSucceeded and EventFailed
	// are reported by the core.
	EventClaimed   DeploymentEvent = "Claimed"
	EventStaged    DeploymentEvent = "Staged"
	EventSwitched  DeploymentEvent = "Switched"
	EventSucceeded DeploymentEvent = "Succeeded"
	EventFailed    DeploymentEvent = "Failed"
	// EventSuperseded: a newer deployment took the place of one that the core
	// had not claimed.
	EventSuperseded DeploymentEvent = "Superseded"
	// EventForceReset: the cloud's side of a forced reset is done. It is a
	// Success at once; the core resets if and when it comes.
	EventForceReset DeploymentEvent = "ForceReset"
	// EventForcedAway: a forced reset ended what a core had perhaps claimed, and
	// raised the core's epoch.
	EventForcedAway DeploymentEvent = "ForcedAway"
)

// Actor is who caused an event.
type Actor string

// The actors.
const (
	CloudActor Actor = "cloud"
	CoreActor  Actor = "core"
)

// DeploymentStep is one event with its circumstances, as the timeline keeps it.
type DeploymentStep struct {
	Event DeploymentEvent
	At    time.Time
	// Message and Details say why, for the events that end in Failure.
	Message string
	Details []ErrorDetail
	// Epoch and CoreThing are given by EventBuilt. Every event of the core gives
	// its epoch, which is checked when it is not zero; that it is the core of
	// the deployment is for the caller to check.
	Epoch     int64
	CoreThing string
}

// deploymentState is what a transition starts from and leads to.
type deploymentState struct {
	status DeploymentStatus
	phase  DeploymentPhase
}

// transition is one row of the state machine.
type transition struct {
	actor Actor
	from  []deploymentState
	to    deploymentState
}

var (
	building = deploymentState{Building, ""}
	offered  = deploymentState{InProgress, Offered}
	claimed  = deploymentState{InProgress, Claimed}
	staged   = deploymentState{InProgress, Staged}
	switched = deploymentState{InProgress, Switched}
	success  = deploymentState{Success, ""}
	failure  = deploymentState{Failure, ""}
)

// transitions is the whole state machine. An event may skip phases of the core
// (a report can be lost on the way) but never goes back.
var transitions = map[DeploymentEvent]transition{
	EventBuilt:       {CloudActor, []deploymentState{building}, offered},
	EventBuildFailed: {CloudActor, []deploymentState{building}, failure},
	EventSuperseded:  {CloudActor, []deploymentState{offered}, failure},
	EventForceReset:  {CloudActor, []deploymentState{building}, success},
	EventForcedAway:  {CloudActor, []deploymentState{offered, claimed, staged, switched}, failure},
	EventClaimed:     {CoreActor, []deploymentState{offered}, claimed},
	EventStaged:      {CoreActor, []deploymentState{claimed}, staged},
	EventSwitched:    {CoreActor, []deploymentState{claimed, staged}, switched},
	EventSucceeded:   {CoreActor, []deploymentState{claimed, staged, switched}, success},
	EventFailed:      {CoreActor, []deploymentState{claimed, staged, switched}, failure},
}

// Transition errors.
var (
	// ErrNoChange means that the deployment is already where the event leads,
	// or past it inside InProgress: a duplicate or late report, to be
	// acknowledged and forgotten.
	ErrNoChange = errors.New("the deployment is already there")
	// ErrEnded means that the deployment has ended, and not in what the event
	// leads to: whoever reports it must stop working on the deployment.
	ErrEnded = errors.New("the deployment has ended")
	// ErrWrongEpoch means that the core speaks of another epoch.
	ErrWrongEpoch = errors.New("the epoch is not the deployment's")
	// ErrTransition means that the event cannot happen in the present state or
	// that its actor may not cause it.
	ErrTransition = errors.New("the deployment cannot do that now")
)

// After is the deployment after a step that actor caused. The receiver is not
// changed. The errors are the transition errors above, wrapped.
func (d Deployment) After(actor Actor, step DeploymentStep) (Deployment, error) {
	t, ok := transitions[step.Event]
	if !ok || t.actor != actor {
		return d, fmt.Errorf("event %s by %s: %w", step.Event, actor, ErrTransition)
	}
	if actor == CoreActor && step.Epoch != 0 && step.Epoch != d.Epoch {
		return d, fmt.Errorf("epoch %d, the deployment has %d: %w", step.Epoch, d.Epoch, ErrWrongEpoch)
	}
	now := deploymentState{d.Status, d.Phase}
	switch {
	case actor == CoreActor && d.Type == ForceResetDeployment && d.Status == Success:
		return d, ErrNoChange // the core does what the cloud did not wait for
	case slices.Contains(t.from, now):
	case now == t.to, !t.to.status.Final() && now.passed(t.to):
		return d, ErrNoChange
	case d.Status.Final():
		return d, fmt.Errorf("status is %s: %w", d.Status, ErrEnded)
	default:
		return d, fmt.Errorf("event %s in %s %s: %w", step.Event, d.Status, d.Phase, ErrTransition)
	}
	d.Status, d.Phase = t.to.status, t.to.phase
	d.UpdatedAt = step.At
	d.Revision++
	if step.Event == EventBuilt || step.Event == EventForceReset {
		d.Epoch, d.CoreThing = step.Epoch, step.CoreThing
	}
	if d.Status == Failure {
		d.ErrorMessage, d.ErrorDetails = step.Message, step.Details
	}
	return d, nil
}

var phaseOrder = []DeploymentPhase{Offered, Claimed, Staged, Switched}

// passed reports whether s lies behind target on the way through InProgress.
func (s deploymentState) passed(target deploymentState) bool {
	return s.status == InProgress && target.status == InProgress &&
		slices.Index(phaseOrder, s.phase) > slices.Index(phaseOrder, target.phase)
}

// Offering is what the engine adds to a deployment when it offers it to the
// core.
type Offering struct {
	// Envelope is the signed manifest, as package bundle makes it.
	Envelope []byte
	// Artifacts are the hashes that the core may fetch for it.
	Artifacts []string
}
