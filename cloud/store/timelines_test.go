package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
)

func testTimelines(t *testing.T, open opener) {
	t.Parallel()
	t.Run("steps are kept in order with their circumstances", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		r := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
		staged := must(s.ApplyStep(ctx, r.Deployment, fescue.CoreActor, fescue.DeploymentStep{
			Event: fescue.EventStaged, At: madeAt.Add(3 * time.Minute), Note: "by wire", Fetched: 1 << 40,
		}))(t)
		must(s.ApplyStep(ctx, staged, fescue.CloudActor, fescue.DeploymentStep{
			Event: fescue.EventCancelRequested, At: madeAt.Add(4 * time.Minute), Note: "me",
		}))(t)
		want := []fescue.RecordedStep{
			{Event: "Created", Actor: fescue.CloudActor, At: madeAt},
			{Event: fescue.EventBuilt, Actor: fescue.CloudActor, At: madeAt.Add(time.Minute)},
			{Event: fescue.EventClaimed, Actor: fescue.CoreActor, At: madeAt.Add(2 * time.Minute)},
			{Event: fescue.EventStaged, Actor: fescue.CoreActor, At: madeAt.Add(3 * time.Minute), Note: "by wire", Fetched: 1 << 40},
			{Event: fescue.EventCancelRequested, Actor: fescue.CloudActor, At: madeAt.Add(4 * time.Minute), Note: "me"},
		}
		if diff := gocmp.Diff(want, must(s.Steps(ctx, homePartition, r.ID))(t)); diff != "" {
			t.Error(diff)
		}
		got := must(s.Deployment(ctx, homePartition, "g", r.ID))(t)
		if got.CancelRequestedAt != madeAt.Add(4*time.Minute) || got.Phase != fescue.Staged || got.UpdatedAt != madeAt.Add(3*time.Minute) {
			t.Errorf("%+v", got)
		}
		for _, p := range elsewhere {
			if steps := must(s.Steps(ctx, p, r.ID))(t); len(steps) != 0 {
				t.Errorf("another partition sees %v", steps)
			}
		}
	})
	t.Run("what takes a deployment from its core raises the core's epoch", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		r := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
		before := must(s.Epoch(ctx, homePartition, "core"))(t)
		r.step(fescue.EventTimedOut)
		if got := must(s.Epoch(ctx, homePartition, "core"))(t); got != before+1 {
			t.Errorf("epoch %d after %d", got, before)
		}
		waiting := deploying(t, s, "g").offer("core").step(fescue.EventExpired)
		if got := must(s.Epoch(ctx, homePartition, "core"))(t); got != waiting.Epoch {
			t.Errorf("epoch %d, the deployment that no core had claimed has %d", got, waiting.Epoch)
		}
	})
	t.Run("progress is of what has not ended", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		r := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
		if got := must(s.Progress(ctx, homePartition, r.ID))(t); got != (fescue.Progress{}) {
			t.Errorf("%+v before there was any", got)
		}
		want := fescue.Progress{Activity: "downloading", Fetched: 3, ToFetch: 9, At: madeAt}
		if err := s.SetProgress(ctx, r.Deployment, want); err != nil {
			t.Fatal(err)
		}
		if got := must(s.Progress(ctx, homePartition, r.ID))(t); got != want {
			t.Errorf("%+v", got)
		}
		r.stored() // no revision: a report that is under way is not disturbed
		ended := r.step(fescue.EventSucceeded)
		refused(t, "after the end", s.SetProgress(ctx, ended.Deployment, want), fescue.ErrEnded)
		forced := resetting(t, s, "g", fescue.ForceResetDeployment).force("core")
		if err := s.SetProgress(ctx, forced.Deployment, want); err != nil {
			t.Errorf("of a forced reset, which its core hears of after its end: %v", err)
		}
		refused(t, "of another partition", s.SetProgress(ctx, moved(r.Deployment, elsewhere[0]), want), fescue.ErrEnded)
		_, err := s.Progress(ctx, elsewhere[0], r.ID)
		refused(t, "read in another partition", err, fescue.ErrNotFound)
	})
	t.Run("what is overdue", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		want := map[string]fescue.Partition{}
		for i, p := range append([]fescue.Partition{homePartition}, elsewhere...) {
			want[deployingIn(t, s, p, "g").offer(fmt.Sprint("core", i)).ID] = p
		}
		deploying(t, s, "building")
		deploying(t, s, "claimed").offer("c").step(fescue.EventClaimed)
		deploying(t, s, "ended").offer("e").step(fescue.EventClaimed).step(fescue.EventSucceeded)
		got := map[string]fescue.Partition{}
		for _, d := range must(s.Overdue(ctx, "aws", fescue.Offered, madeAt.Add(time.Minute+time.Millisecond), 9))(t) {
			got[d.ID] = d.Partition
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if list := must(s.Overdue(ctx, "aws", fescue.Offered, madeAt.Add(time.Minute), 9))(t); len(list) != 0 {
			t.Errorf("%v are not overdue yet", list)
		}
		if list := must(s.Overdue(ctx, "aws", fescue.Offered, madeAt.Add(time.Hour), 2))(t); len(list) != 2 {
			t.Errorf("%d, at most 2 were asked for", len(list))
		}
	})
	t.Run("what a clock that was ahead has dated", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		ahead := deploying(t, s, "ahead").offer("a").step(fescue.EventClaimed)
		right := deploying(t, s, "right").offer("b")
		ended := deploying(t, s, "ended").offer("c").step(fescue.EventClaimed).step(fescue.EventSucceeded)
		before := must(s.Steps(ctx, homePartition, right.ID))(t)
		now := ahead.UpdatedAt
		if n := must(s.Redate(ctx, now, now, 9))(t); n != 0 {
			t.Fatalf("%d deployments were ahead of %s", n, now)
		}
		later := ahead.UpdatedAt.Add(time.Hour)
		next := must(s.ApplyStep(ctx, ahead.Deployment, fescue.CoreActor, fescue.DeploymentStep{Event: fescue.EventStaged, At: later, Epoch: ahead.Epoch}))(t)
		if n := must(s.Redate(ctx, later.Add(-time.Minute), now, 9))(t); n != 1 {
			t.Fatalf("%d deployments were redated", n)
		}
		got := must(s.Deployment(ctx, homePartition, ahead.GroupID, ahead.ID))(t)
		if !got.UpdatedAt.Equal(now) || got.Phase != fescue.Staged || got.Revision != next.Revision {
			t.Errorf("%+v", got)
		}
		for _, step := range must(s.Steps(ctx, homePartition, ahead.ID))(t) {
			if step.At.After(now) {
				t.Errorf("%s is told to be at %s", step.Event, step.At)
			}
		}
		if diff := gocmp.Diff(before, must(s.Steps(ctx, homePartition, right.ID))(t)); diff != "" {
			t.Error(diff)
		}
		if got := must(s.Deployment(ctx, homePartition, ended.GroupID, ended.ID))(t); !got.UpdatedAt.Equal(ended.UpdatedAt) {
			t.Errorf("one that ended is told to have ended at %s", got.UpdatedAt)
		}
		// A clock that went back dates no step before the one before it.
		last := must(s.ApplyStep(ctx, got, fescue.CoreActor, fescue.DeploymentStep{Event: fescue.EventSucceeded, At: now.Add(-time.Hour), Epoch: got.Epoch}))(t)
		if steps := must(s.Steps(ctx, homePartition, ahead.ID))(t); !last.UpdatedAt.Equal(now) || !steps[len(steps)-1].At.Equal(now) {
			t.Errorf("%+v, %+v", last, steps)
		}
	})
	t.Run("by status across groups, newest first", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		var want []string
		for i := range 5 {
			want = append(want, deploying(t, s, fmt.Sprint("g", i)).ID)
		}
		deploying(t, s, "other").offer("c")
		deployingIn(t, s, elsewhere[0], "g0")
		slices.Sort(want) // all were made at the same instant: the id decides
		slices.Reverse(want)
		var got []string
		for page := (fescue.Page{Limit: 2}); ; {
			ids := deploymentIDs(must(s.DeploymentsIn(ctx, homePartition, fescue.Building, page))(t))
			if len(ids) == 0 {
				break
			}
			got, page.After = append(got, ids...), ids[len(ids)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if list, err := s.DeploymentsIn(ctx, homePartition, fescue.Building, fescue.Page{After: fescue.NewID(), Limit: 9}); !errors.Is(err, fescue.ErrPage) {
			t.Errorf("after an unknown id: %v, %v", list, err)
		}
	})
}

func testPresence(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	see := func(list ...cores.Seen) {
		t.Helper()
		if err := s.See(ctx, list); err != nil {
			t.Fatal(err)
		}
	}
	want := func(p fescue.Partition, thing string, want fescue.Sighting) {
		t.Helper()
		if got := must(s.Sighting(ctx, p, thing))(t); got != want {
			t.Errorf("%s: %+v, want %+v", thing, got, want)
		}
	}
	at := func(minutes int) time.Time { return madeAt.Add(time.Duration(minutes) * time.Minute) }

	see(cores.Seen{Partition: homePartition, Thing: "device", Sighting: fescue.Sighting{SeenAt: at(1)}})
	want(homePartition, "device", fescue.Sighting{}) // it never spoke as a core
	see(cores.Seen{Partition: homePartition, Thing: "core", Sighting: fescue.Sighting{SeenAt: at(2)}, Core: true})
	see(cores.Seen{Partition: homePartition, Thing: "core", Sighting: fescue.Sighting{SeenAt: at(1), GoneAt: at(3)}})
	want(homePartition, "core", fescue.Sighting{SeenAt: at(2), GoneAt: at(3)})
	want(elsewhere[0], "core", fescue.Sighting{})
	if epoch := must(s.Epoch(ctx, homePartition, "core"))(t); epoch != 0 {
		t.Errorf("epoch %d", epoch)
	}
	if r := deploying(t, s, "g").offer("core"); r.Epoch != 1 {
		t.Errorf("the first epoch is %d", r.Epoch)
	}
	want(homePartition, "core", fescue.Sighting{SeenAt: at(2), GoneAt: at(3)})
}
