package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store"
)

// forcedAway is the step that ends what a forced reset finds under way.
var forcedAway = fescue.DeploymentStep{
	Event: fescue.EventForcedAway, At: madeAt.Add(time.Minute), Message: "forced away", Details: []fescue.ErrorDetail{fescue.DeploymentForcedAway.Detail("x")},
}

// resetting writes a reset of a group that is to be built.
func resetting(t *testing.T, s *store.DB, group string, kind fescue.DeploymentType) *run {
	t.Helper()
	d := newDeployment(homePartition, group)
	d.Type, d.GroupVersionID = kind, ""
	return &run{t: t, s: s, Deployment: must(s.Deployments().CreateDeployment(t.Context(), d, fescue.Token{}))(t)}
}

func (r *run) force(thing string) *run {
	r.t.Helper()
	next, replaced, err := r.s.Offers().ForceReset(r.t.Context(), r.Deployment, thing, madeAt.Add(time.Minute), forcedAway, signed)
	if err != nil {
		r.t.Fatal(err)
	}
	return &run{r.t, r.s, next, replaced}
}

func testResets(t *testing.T, open opener) {
	t.Parallel()
	groupCore := func(t *testing.T, s *store.DB, p fescue.Partition, group, want string) {
		t.Helper()
		thing, err := s.Cores().GroupCore(t.Context(), p, group)
		if want == "" {
			refused(t, "GroupCore", err, fescue.ErrNotFound)
		} else if err != nil || thing != want {
			t.Errorf("core %q, %v; want %q", thing, err, want)
		}
	}
	t.Run("a group's core and what is unfinished", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		unfinished := func(want bool) {
			t.Helper()
			if got := must(s.Deployments().Unfinished(t.Context(), homePartition, "g"))(t); got != want {
				t.Errorf("unfinished: %v", got)
			}
		}
		for _, p := range elsewhere {
			deployingIn(t, s, p, "g").offer("theirs").step(fescue.EventClaimed)
		}
		deploying(t, s, "g2").offer("core2")
		groupCore(t, s, homePartition, "g", "")
		unfinished(false)
		r := deploying(t, s, "g")
		groupCore(t, s, homePartition, "g", "")
		unfinished(true)
		r = r.offer("core") // it waits for a core that it does not own yet
		groupCore(t, s, homePartition, "g", "core")
		unfinished(true)
		r = r.step(fescue.EventClaimed)
		groupCore(t, s, homePartition, "g", "core")
		unfinished(true)
		r.step(fescue.EventSucceeded)
		groupCore(t, s, homePartition, "g", "core")
		unfinished(false)
		deploying(t, s, "g").offer("core").step(fescue.EventClaimed).step(fescue.EventFailed) // what ran before runs again
		groupCore(t, s, homePartition, "g", "core")
		unfinished(false)
		deploying(t, s, "g3").offer("core3").step(fescue.EventClaimed).step(fescue.EventFailed) // nothing of it runs
		groupCore(t, s, homePartition, "g3", "")
	})
	t.Run("a reset frees the core when it has succeeded", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		deploying(t, s, "g").offer("core").step(fescue.EventClaimed).step(fescue.EventSucceeded)
		group := newContainer(fescue.GroupKind, "n")
		group.ID = "g"
		must(s.Definitions().CreateDefinition(ctx, homePartition, group, nil, fescue.Token{}))(t)
		r := resetting(t, s, "g", fescue.ResetDeployment).offer("core")
		if r.Epoch != 2 || r.Status != fescue.InProgress {
			t.Errorf("%+v", r.Deployment)
		}
		for _, event := range []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched} {
			r = r.step(event)
			groupCore(t, s, homePartition, "g", "core")
			refused(t, "DeleteDefinition", s.Definitions().DeleteDefinition(ctx, homePartition, fescue.GroupKind, "g"), fescue.ErrInUse)
		}
		r = r.step(fescue.EventSucceeded)
		r.stored()
		groupCore(t, s, homePartition, "g", "")
		if err := s.Definitions().DeleteDefinition(ctx, homePartition, fescue.GroupKind, "g"); err != nil {
			t.Error(err)
		}
		deploying(t, s, "g2").offer("core")
	})
	t.Run("a reset that fails keeps the core", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		deploying(t, s, "g").offer("core").step(fescue.EventClaimed).step(fescue.EventSucceeded)
		resetting(t, s, "g", fescue.ResetDeployment).offer("core").step(fescue.EventClaimed).step(fescue.EventFailed)
		groupCore(t, s, homePartition, "g", "core")
	})
	t.Run("a forced reset ends what is under way", func(t *testing.T) {
		t.Parallel()
		for _, events := range [][]fescue.DeploymentEvent{{}, {fescue.EventClaimed}, {fescue.EventClaimed, fescue.EventStaged}, {fescue.EventClaimed, fescue.EventSwitched}} {
			t.Run(fmt.Sprint(events), func(t *testing.T) {
				t.Parallel()
				s, ctx := open(t), t.Context()
				busy := deploying(t, s, "g").offer("core")
				for _, event := range events {
					busy = busy.step(event)
				}
				r := resetting(t, s, "g", fescue.ForceResetDeployment).force("core")
				r.stored()
				if r.Status != fescue.Success || r.Epoch != 2 || r.CoreThing != "core" || len(r.replaced) != 1 || r.replaced[0].ID != busy.ID {
					t.Fatalf("%+v, replaced %+v", r.Deployment, r.replaced)
				}
				ended := &run{t: t, s: s, Deployment: r.replaced[0]}
				ended.stored()
				if ended.Status != fescue.Failure || ended.ErrorMessage != forcedAway.Message {
					t.Errorf("%+v", ended.Deployment)
				}
				if epoch := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); epoch != 2 {
					t.Errorf("epoch %d", epoch)
				}
				groupCore(t, s, homePartition, "g", "")
				_, err := s.Deployments().ApplyStep(ctx, busy.Deployment, fescue.CoreActor, fescue.DeploymentStep{Event: fescue.EventSucceeded, At: madeAt})
				if len(events) > 0 {
					refused(t, "a late report", err, fescue.ErrConflict)
				}
				_, err = s.Offers().OfferedArtifacts(ctx, busy.Deployment)
				refused(t, "its artifacts", err, fescue.ErrNotFound)
				deploying(t, s, "g2").offer("core")
			})
		}
	})
	t.Run("a forced reset ends what is under way on the group's former core", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		former := deploying(t, s, "g").offer("former").step(fescue.EventClaimed)
		busy := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
		r := resetting(t, s, "g", fescue.ForceResetDeployment).force("core")
		if got := deploymentIDs(r.replaced); !slices.Contains(got, former.ID) || !slices.Contains(got, busy.ID) || len(got) != 2 {
			t.Errorf("ended %v", got)
		}
		groupCore(t, s, homePartition, "g", "")
		if must(s.Deployments().Unfinished(ctx, homePartition, "g"))(t) {
			t.Error("something is unfinished")
		}
	})
	t.Run("a forced reset waits for its core, behind nothing and before what is newer", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		deploying(t, s, "g").offer("core").step(fescue.EventClaimed).step(fescue.EventSucceeded)
		r := resetting(t, s, "g", fescue.ForceResetDeployment).force("core")
		next := deploying(t, s, "g2").offer("core")
		for after, want := range []*run{r, r, next} {
			d, envelope, err := s.Offers().Waiting(ctx, homePartition, "core", int64(after))
			offering, _ := signed(want.Epoch)
			if err != nil || !gocmp.Equal(d, want.Deployment) || string(envelope) != string(offering.Envelope) {
				t.Errorf("after %d: %s, %v", after, envelope, err)
			}
		}
		_, _, err := s.Offers().Waiting(ctx, homePartition, "core", 3)
		refused(t, "after 3", err, fescue.ErrNotFound)
		for _, p := range elsewhere {
			_, _, err := s.Offers().Waiting(ctx, p, "core", 0)
			refused(t, "elsewhere", err, fescue.ErrNotFound)
		}
	})
	t.Run("a forced reset without a core", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		r := resetting(t, s, "g", fescue.ForceResetDeployment).force("")
		r.stored()
		if r.Status != fescue.Success || r.Epoch != 0 || r.CoreThing != "" || len(r.replaced) != 0 {
			t.Errorf("%+v", r.Deployment)
		}
		_, _, err := s.Offers().Waiting(ctx, homePartition, "", 0)
		refused(t, "Waiting", err, fescue.ErrNotFound)
	})
	t.Run("a forced reset leaves another group's core alone", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		owner := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
		r := resetting(t, s, "g2", fescue.ForceResetDeployment).force("core")
		r.stored()
		if r.Status != fescue.Success || r.Epoch != 0 || r.CoreThing != "" || len(r.replaced) != 0 {
			t.Errorf("%+v, replaced %+v", r.Deployment, r.replaced)
		}
		owner.stored()
		owner.step(fescue.EventSucceeded)
		r = resetting(t, s, "g2", fescue.ForceResetDeployment)
		_, _, err := s.Offers().ForceReset(ctx, r.Deployment, "core", madeAt, forcedAway, signed)
		refused(t, "ForceReset of a core that runs another group", err, fescue.ErrInUse)
		r.stored()
	})
	t.Run("a forced reset that cannot be signed changes nothing", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		busy := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
		r := resetting(t, s, "g", fescue.ForceResetDeployment)
		broken := errors.New("no key")
		_, _, err := s.Offers().ForceReset(ctx, r.Deployment, "core", madeAt, forcedAway, func(int64) (fescue.Offering, error) { return fescue.Offering{}, broken })
		refused(t, "ForceReset", err, broken)
		busy.stored()
		r.stored()
		groupCore(t, s, homePartition, "g", "core")
		if epoch := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); epoch != 1 {
			t.Errorf("epoch %d", epoch)
		}
	})
	t.Run("resets are listed with the deployments", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		first := deploying(t, s, "g").offer("core").step(fescue.EventClaimed).step(fescue.EventSucceeded)
		second := resetting(t, s, "g", fescue.ForceResetDeployment).force("core")
		list := must(s.Deployments().Deployments(ctx, homePartition, "g", fescue.Page{Limit: 9}))(t)
		if got := deploymentIDs(list); !slices.Equal(got, []string{second.ID, first.ID}) || list[0].GroupVersionID != "" {
			t.Errorf("%+v", list)
		}
	})
}
