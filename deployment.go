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
	// CancelRequestedAt is when somebody asked the core to stop, after it had
	// claimed the deployment; zero when nobody did.
	CancelRequestedAt time.Time
	// GroupTag, as "site=north", is of who created the deployment and may touch
	// only groups with that tag; empty for all.
	GroupTag string
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
	// EventForcedAway: a forced reset or a forced cancel ended what a core had
	// perhaps claimed.
	EventForcedAway DeploymentEvent = "ForcedAway"
	// EventCancelled: somebody ended what the core had not claimed.
	EventCancelled DeploymentEvent = "Cancelled"
	// EventCancelRequested: somebody asked the core to stop. Whether it still can
	// is for the core to say: with EventFailed, or with EventSucceeded.
	EventCancelRequested DeploymentEvent = "CancelRequested"
	// EventBundled: it was written into a file for a core that no line leads to. The
	// deployment stays where it is until the core reports.
	EventBundled DeploymentEvent = "Bundled"
	// EventExpired: the core did not come for it in time.
	EventExpired DeploymentEvent = "Expired"
	// EventTimedOut: the core claimed it and did not end it in time.
	EventTimedOut DeploymentEvent = "TimedOut"
	// EventOutdated: the core is beyond it, and this server, restored from a
	// backup, does not know how it ended there.
	EventOutdated DeploymentEvent = "Outdated"
	// EventUnreadable: the core's software reads no manifest format in which this
	// server can write the deployment.
	EventUnreadable DeploymentEvent = "Unreadable"
	// EventWentBack: a core that had gone on with a deployment which the cloud
	// had ended runs the last accepted one again.
	EventWentBack DeploymentEvent = "WentBack"
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
	// Note is free text for the timeline.
	Note string
	// Fetched is how many bytes the core has downloaded for the deployment.
	Fetched int64
	// Message and Details say why, for the events that end in Failure.
	Message string
	Details []ErrorDetail
	// Warnings are what was found that fails nothing.
	Warnings []ErrorDetail
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
	// to is where the event leads; the zero state means that the event is only
	// written down and the deployment stays where it is.
	to deploymentState
	// raises means that the event takes from a core what it may be working on:
	// the core's epoch rises with it, so that whatever the core still has of the
	// deployment is old.
	raises bool
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
	EventBuilt:           {actor: CloudActor, from: []deploymentState{building}, to: offered},
	EventBuildFailed:     {actor: CloudActor, from: []deploymentState{building}, to: failure},
	EventSuperseded:      {actor: CloudActor, from: []deploymentState{offered}, to: failure},
	EventForceReset:      {actor: CloudActor, from: []deploymentState{building}, to: success},
	EventForcedAway:      {actor: CloudActor, from: []deploymentState{offered, claimed, staged, switched}, to: failure, raises: true},
	EventCancelled:       {actor: CloudActor, from: []deploymentState{building, offered}, to: failure},
	EventCancelRequested: {actor: CloudActor, from: []deploymentState{claimed, staged, switched}},
	EventBundled:         {actor: CloudActor, from: []deploymentState{offered, claimed, staged, switched}},
	EventExpired:         {actor: CloudActor, from: []deploymentState{offered}, to: failure},
	EventTimedOut:        {actor: CloudActor, from: []deploymentState{claimed, staged, switched}, to: failure, raises: true},
	EventOutdated:        {actor: CloudActor, from: []deploymentState{offered, claimed, staged, switched}, to: failure, raises: true},
	EventUnreadable:      {actor: CloudActor, from: []deploymentState{offered, claimed, staged, switched}, to: failure, raises: true},
	EventClaimed:         {actor: CoreActor, from: []deploymentState{offered}, to: claimed},
	EventStaged:          {actor: CoreActor, from: []deploymentState{claimed}, to: staged},
	EventSwitched:        {actor: CoreActor, from: []deploymentState{claimed, staged}, to: switched},
	EventSucceeded:       {actor: CoreActor, from: []deploymentState{claimed, staged, switched}, to: success},
	EventFailed:          {actor: CoreActor, from: []deploymentState{claimed, staged, switched}, to: failure},
	EventWentBack:        {actor: CoreActor, from: []deploymentState{failure}},
}

// RaisesEpoch reports whether the core's epoch rises with the event.
func (e DeploymentEvent) RaisesEpoch() bool { return transitions[e].raises }

// Fails reports whether the event ends a deployment in Failure.
func (e DeploymentEvent) Fails() bool { return transitions[e].to == failure }

// Held reports whether the core has the deployment in hand: it claimed it, and
// nobody has ended it.
func (d Deployment) Held() bool { return d.Status == InProgress && d.Phase != Offered }

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
	case actor == CoreActor && d.unawaited():
		return d, ErrNoChange
	case step.Event == EventCancelRequested && !d.CancelRequestedAt.IsZero() && !d.Status.Final():
		return d, ErrNoChange
	case slices.Contains(t.from, now):
	case now == t.to, !t.to.status.Final() && now.passed(t.to):
		return d, ErrNoChange
	case d.Status.Final():
		return d, fmt.Errorf("status is %s: %w", d.Status, ErrEnded)
	default:
		return d, fmt.Errorf("event %s in %s %s: %w", step.Event, d.Status, d.Phase, ErrTransition)
	}
	d.Revision++
	if t.to == (deploymentState{}) {
		if step.Event == EventCancelRequested {
			d.CancelRequestedAt = step.At
		}
		return d, nil
	}
	d.Status, d.Phase = t.to.status, t.to.phase
	d.UpdatedAt = step.At
	if step.Event == EventBuilt || step.Event == EventForceReset {
		d.Epoch, d.CoreThing = step.Epoch, step.CoreThing
	}
	if d.Status == Failure {
		d.ErrorMessage, d.ErrorDetails = step.Message, step.Details
	}
	return d, nil
}

// Dated is a step with a time that is not before the step before it, whatever the
// clock says: a timeline goes forward.
func (d Deployment) Dated(step DeploymentStep) DeploymentStep {
	for _, at := range []time.Time{d.UpdatedAt, d.CancelRequestedAt} {
		if step.At.Before(at) {
			step.At = at
		}
	}
	return step
}

// unawaited reports whether the core does what the cloud did not wait for.
func (d Deployment) unawaited() bool { return d.Type == ForceResetDeployment && d.Status == Success }

// Over reports whether the core is to stop working on the deployment: it has
// ended, and is no forced reset, which succeeds before its core learns of it.
func (d Deployment) Over() bool { return d.Status.Final() && !d.unawaited() }

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
	// Document is the group document that the manifest names, where it is kept with the
	// manifest; empty where it is an artifact like the others.
	Document []byte
	// Devices are the client devices of the group; a reset has none.
	Devices []ClientDevice
	// Warnings are what was found in Building that fails nothing.
	Warnings []ErrorDetail
	// Note is for the timeline: what the group was judged by.
	Note string
	// Holds are the ARNs of what the group has once it runs this, and its own
	// definitions'; a reset has none.
	Holds []string
}

// CurrentStatus is what GetDeploymentStatus returns of a deployment.
type CurrentStatus struct {
	Type         DeploymentType
	Status       DeploymentStatus
	ErrorMessage string
	ErrorDetails []ErrorDetail
	UpdatedAt    time.Time
}

// RecordedStep is a step as the timeline shows it.
type RecordedStep struct {
	Event    DeploymentEvent
	Actor    Actor
	At       time.Time
	Note     string
	Fetched  int64
	Warnings []ErrorDetail
}

// Progress is what a core last said that it does for a deployment; while that is
// built, what the control plane does.
type Progress struct {
	// Activity is what it does, in a few words.
	Activity string
	// Fetched of ToFetch bytes are downloaded.
	Fetched, ToFetch int64
	// At is when that was said; zero when it was not.
	At time.Time
}
