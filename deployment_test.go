package fescue_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

// place is where a deployment can be.
type place struct {
	status fescue.DeploymentStatus
	phase  fescue.DeploymentPhase
}

var places = []place{
	{fescue.Building, ""},
	{fescue.InProgress, fescue.Offered},
	{fescue.InProgress, fescue.Claimed},
	{fescue.InProgress, fescue.Staged},
	{fescue.InProgress, fescue.Switched},
	{fescue.Success, ""},
	{fescue.Failure, ""},
}

// outcome is an error, or where the event leads.
type outcome any

// noted is the outcome of an event that is only written down.
const noted = "noted"

var (
	offered  = place{fescue.InProgress, fescue.Offered}
	claimed  = place{fescue.InProgress, fescue.Claimed}
	staged   = place{fescue.InProgress, fescue.Staged}
	switched = place{fescue.InProgress, fescue.Switched}
	success  = place{fescue.Success, ""}
	failure  = place{fescue.Failure, ""}

	no      = fescue.ErrTransition
	same    = fescue.ErrNoChange
	ended   = fescue.ErrEnded
	cloud   = fescue.CloudActor
	core    = fescue.CoreActor
	at      = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	created = at.Add(-time.Minute)
)

// life is the state machine as the documentation has it: a row for each event,
// a column for each of places.
var life = []struct {
	event    fescue.DeploymentEvent
	actor    fescue.Actor
	outcomes [7]outcome
}{
	// Building, Offered, Claimed, Staged, Switched, Success, Failure
	{fescue.EventBuilt, cloud, [7]outcome{offered, same, same, same, same, ended, ended}},
	{fescue.EventBuildFailed, cloud, [7]outcome{failure, no, no, no, no, ended, same}},
	{fescue.EventSuperseded, cloud, [7]outcome{no, failure, no, no, no, ended, same}},
	{fescue.EventForceReset, cloud, [7]outcome{success, no, no, no, no, same, ended}},
	{fescue.EventForcedAway, cloud, [7]outcome{no, failure, failure, failure, failure, ended, same}},
	{fescue.EventCancelled, cloud, [7]outcome{failure, failure, no, no, no, ended, same}},
	{fescue.EventCancelRequested, cloud, [7]outcome{no, no, noted, noted, noted, ended, ended}},
	{fescue.EventBundled, cloud, [7]outcome{no, noted, noted, noted, noted, ended, ended}},
	{fescue.EventExpired, cloud, [7]outcome{no, failure, no, no, no, ended, same}},
	{fescue.EventTimedOut, cloud, [7]outcome{no, no, failure, failure, failure, ended, same}},
	{fescue.EventClaimed, core, [7]outcome{no, claimed, same, same, same, ended, ended}},
	{fescue.EventStaged, core, [7]outcome{no, no, staged, same, same, ended, ended}},
	{fescue.EventSwitched, core, [7]outcome{no, no, switched, switched, same, ended, ended}},
	{fescue.EventSucceeded, core, [7]outcome{no, no, success, success, success, same, ended}},
	{fescue.EventFailed, core, [7]outcome{no, no, failure, failure, failure, ended, same}},
	{fescue.EventOutdated, cloud, [7]outcome{no, failure, failure, failure, failure, ended, same}},
	{fescue.EventUnreadable, cloud, [7]outcome{no, failure, failure, failure, failure, ended, same}},
	{fescue.EventWentBack, core, [7]outcome{no, no, no, no, no, ended, noted}},
}

func TestDeploymentLifeIsWhole(t *testing.T) {
	t.Parallel()
	rows := make(map[string]int)
	for _, row := range life {
		rows[string(row.event)]++
	}
	for _, event := range declared(t, "deployment.go", "DeploymentEvent") {
		if rows[event] != 1 {
			t.Errorf("%s has %d rows", event, rows[event])
		}
		delete(rows, event)
	}
	if len(rows) != 0 {
		t.Errorf("unknown events %v", rows)
	}
}

// A forced reset succeeds before its core knows of it; what the core reports
// when it comes is accepted and changes nothing.
func TestForcedResetReports(t *testing.T) {
	t.Parallel()
	d := deployment(success)
	d.Type = fescue.ForceResetDeployment
	for _, row := range life {
		if row.actor != core {
			continue
		}
		got, err := d.After(core, fescue.DeploymentStep{Event: row.event, At: at, Epoch: 3, Message: "m"})
		if !errors.Is(err, fescue.ErrNoChange) || !cmp.Equal(got, d) {
			t.Errorf("%s: %v", row.event, err)
		}
		if got, err = d.After(core, fescue.DeploymentStep{Event: row.event, At: at, Epoch: 2}); !errors.Is(err, fescue.ErrWrongEpoch) || !cmp.Equal(got, d) {
			t.Errorf("%s of another epoch: %v", row.event, err)
		}
	}
}

func deployment(p place) fescue.Deployment {
	d := fescue.Deployment{
		Partition: home, ID: "d", GroupID: "g", GroupVersionID: "v", Type: fescue.NewDeployment,
		Status: p.status, Phase: p.phase, CreatedAt: created, UpdatedAt: created, Revision: 7,
	}
	if p.status != fescue.Building {
		d.CoreThing, d.Epoch = "core", 3
	}
	if p.status == fescue.Failure {
		d.ErrorMessage, d.ErrorDetails = "before", []fescue.ErrorDetail{{DetailedErrorCode: "A", DetailedErrorMessage: "b"}}
	}
	return d
}

func TestDeploymentLife(t *testing.T) {
	t.Parallel()
	for _, row := range life {
		for i, from := range places {
			t.Run(fmt.Sprintf("%s in %s%s", row.event, from.status, from.phase), func(t *testing.T) {
				t.Parallel()
				before := deployment(from)
				step := fescue.DeploymentStep{Event: row.event, At: at, Epoch: 3, CoreThing: "core", Message: "why"}
				if from.status == fescue.Building && row.actor == core {
					step.Epoch = 0 // it has none yet
				}
				got, err := before.After(row.actor, step)
				want, moves := row.outcomes[i].(place)
				if row.outcomes[i] == noted {
					expected := before
					expected.Revision = 8
					if row.event == fescue.EventCancelRequested {
						expected.CancelRequestedAt = at
					}
					if diff := cmp.Diff(expected, got); err != nil || diff != "" {
						t.Errorf("%v\n%s", err, diff)
					}
					return
				}
				if !moves {
					if !errors.Is(err, row.outcomes[i].(error)) {
						t.Errorf("error %v, want %v", err, row.outcomes[i])
					}
					if diff := cmp.Diff(before, got); diff != "" {
						t.Errorf("a refused event changed the deployment:\n%s", diff)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				expected := before
				expected.Status, expected.Phase = want.status, want.phase
				expected.UpdatedAt, expected.Revision = at, 8
				expected.CoreThing, expected.Epoch = "core", 3
				if from.status == fescue.Building && want == failure {
					expected.CoreThing, expected.Epoch = "", 0
				}
				if want == failure {
					expected.ErrorMessage = "why"
				}
				if diff := cmp.Diff(expected, got); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(deployment(from), before); diff != "" {
					t.Errorf("the receiver changed:\n%s", diff)
				}
			})
		}
	}
}

func TestDeploymentActors(t *testing.T) {
	t.Parallel()
	for _, row := range life {
		for _, actor := range []fescue.Actor{cloud, core, "", "operator"} {
			if actor == row.actor {
				continue
			}
			t.Run(fmt.Sprintf("%s by %q", row.event, actor), func(t *testing.T) {
				t.Parallel()
				for _, from := range places {
					got, err := deployment(from).After(actor, fescue.DeploymentStep{Event: row.event, At: at, Epoch: 3})
					if !errors.Is(err, fescue.ErrTransition) || !cmp.Equal(got, deployment(from)) {
						t.Errorf("in %v: %v, %+v", from, err, got)
					}
				}
			})
		}
	}
	t.Run("unknown events", func(t *testing.T) {
		t.Parallel()
		for _, event := range []fescue.DeploymentEvent{"", "built", "Created", "Claimed "} {
			for _, from := range places {
				if _, err := deployment(from).After(core, fescue.DeploymentStep{Event: event, At: at}); !errors.Is(err, fescue.ErrTransition) {
					t.Errorf("%q in %v: %v", event, from, err)
				}
			}
		}
	})
}

func TestDeploymentEpoch(t *testing.T) {
	t.Parallel()
	for _, row := range life {
		if row.actor != core {
			continue
		}
		t.Run(string(row.event), func(t *testing.T) {
			t.Parallel()
			for i, from := range places {
				if from.status == fescue.Building {
					continue
				}
				for _, epoch := range []int64{-1, 1, 2, 4} {
					got, err := deployment(from).After(core, fescue.DeploymentStep{Event: row.event, At: at, Epoch: epoch})
					if !errors.Is(err, fescue.ErrWrongEpoch) || !cmp.Equal(got, deployment(from)) {
						t.Errorf("epoch %d in %v: %v", epoch, from, err)
					}
				}
				// Zero leaves the epoch unchecked.
				_, err := deployment(from).After(core, fescue.DeploymentStep{Event: row.event, At: at})
				if want, refused := row.outcomes[i].(error); refused != (err != nil) || refused && !errors.Is(err, want) {
					t.Errorf("no epoch in %v: %v, want %v", from, err, row.outcomes[i])
				}
			}
		})
	}
}

// Every sequence of five events, by every actor and with every kind of epoch:
// what has ended stays as it is, nothing goes back, the revision counts.
func TestDeploymentSequences(t *testing.T) {
	t.Parallel()
	order := make(map[place]int, len(places))
	for i, p := range places {
		order[p] = min(i, 5) // Success and Failure are equally far
	}
	var steps []fescue.DeploymentStep
	for _, row := range life {
		steps = append(steps, fescue.DeploymentStep{Event: row.event, At: at, Epoch: 3, CoreThing: "core", Message: string(row.event)})
	}
	steps = append(steps,
		fescue.DeploymentStep{Event: fescue.EventSucceeded, At: at, Epoch: 2},
		fescue.DeploymentStep{Event: fescue.EventClaimed, At: at},
	)
	ends := make(map[place]int)
	var walk func(d fescue.Deployment, left int)
	walk = func(d fescue.Deployment, left int) {
		if left == 0 {
			ends[place{d.Status, d.Phase}]++
			return
		}
		for _, step := range steps {
			for _, actor := range []fescue.Actor{cloud, core} {
				next, err := d.After(actor, step)
				switch {
				case err != nil && !cmp.Equal(next, d):
					t.Fatalf("%s by %s was refused (%v) and changed %+v to %+v", step.Event, actor, err, d, next)
				case err != nil:
					continue
				case next.Revision != d.Revision+1:
					t.Fatalf("%s by %s: revision %d after %d", step.Event, actor, next.Revision, d.Revision)
				case step.Event == fescue.EventCancelRequested, step.Event == fescue.EventWentBack, step.Event == fescue.EventBundled:
					next.Revision = d.Revision
					if next.CancelRequestedAt = d.CancelRequestedAt; !cmp.Equal(next, d) {
						t.Fatalf("%s by %s changed %+v to %+v", step.Event, actor, d, next)
					}
					continue
				case d.Status.Final():
					t.Fatalf("%s by %s changed %+v", step.Event, actor, d)
				case order[place{next.Status, next.Phase}] <= order[place{d.Status, d.Phase}]:
					t.Fatalf("%s by %s went back: %+v, %+v", step.Event, actor, d, next)
				case (next.Phase != "") != (next.Status == fescue.InProgress):
					t.Fatalf("%s by %s: phase %q in %s", step.Event, actor, next.Phase, next.Status)
				}
				walk(next, left-1)
			}
		}
		ends[place{d.Status, d.Phase}]++
	}
	walk(deployment(places[0]), 5)
	for _, p := range places {
		if ends[p] == 0 {
			t.Errorf("%v is never reached", p)
		}
	}
}

// What takes a deployment from a core that may be working on it raises the epoch,
// and nothing else does.
func TestEventsThatRaiseTheEpoch(t *testing.T) {
	t.Parallel()
	for _, row := range life {
		taken := row.actor == cloud && row.outcomes[2] == outcome(failure)
		if row.event.RaisesEpoch() != taken {
			t.Errorf("%s raises the epoch: %v", row.event, !taken)
		}
	}
}

func TestACancelIsRequestedOnce(t *testing.T) {
	t.Parallel()
	d, err := deployment(claimed).After(cloud, fescue.DeploymentStep{Event: fescue.EventCancelRequested, At: at})
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.After(cloud, fescue.DeploymentStep{Event: fescue.EventCancelRequested, At: at.Add(time.Hour)})
	if !errors.Is(err, fescue.ErrNoChange) || !cmp.Equal(again, d) {
		t.Errorf("%v, %+v", err, again)
	}
	done, err := d.After(core, fescue.DeploymentStep{Event: fescue.EventSucceeded, At: at, Epoch: 3})
	if err != nil || done.Status != fescue.Success || done.CancelRequestedAt != at {
		t.Errorf("%v, %+v", err, done)
	}
}

func TestFinal(t *testing.T) {
	t.Parallel()
	for status, want := range map[fescue.DeploymentStatus]bool{
		fescue.Building: false, fescue.InProgress: false, fescue.Success: true, fescue.Failure: true, "": false,
	} {
		if got := status.Final(); got != want {
			t.Errorf("%q: %v", status, got)
		}
	}
}
