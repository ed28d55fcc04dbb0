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
	"github.com/fescue-edge/fescue/cloud/deploy"
)

func testTimelines(t *testing.T, open opener) {
	t.Parallel()
	t.Run("steps are kept in order with their circumstances", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		r := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
		staged := must(s.Deployments().ApplyStep(ctx, r.Deployment, fescue.CoreActor, fescue.DeploymentStep{
			Event: fescue.EventStaged, At: madeAt.Add(3 * time.Minute), Note: "by wire", Fetched: 1 << 40,
		}))(t)
		must(s.Deployments().ApplyStep(ctx, staged, fescue.CloudActor, fescue.DeploymentStep{
			Event: fescue.EventCancelRequested, At: madeAt.Add(4 * time.Minute), Note: "me",
		}))(t)
		want := []fescue.RecordedStep{
			{Event: "Created", Actor: fescue.CloudActor, At: madeAt},
			{Event: fescue.EventBuilt, Actor: fescue.CloudActor, At: madeAt.Add(time.Minute)},
			{Event: fescue.EventClaimed, Actor: fescue.CoreActor, At: madeAt.Add(2 * time.Minute)},
			{Event: fescue.EventStaged, Actor: fescue.CoreActor, At: madeAt.Add(3 * time.Minute), Note: "by wire", Fetched: 1 << 40},
			{Event: fescue.EventCancelRequested, Actor: fescue.CloudActor, At: madeAt.Add(4 * time.Minute), Note: "me"},
		}
		if diff := gocmp.Diff(want, must(s.Deployments().Steps(ctx, homePartition, r.ID))(t)); diff != "" {
			t.Error(diff)
		}
		got := must(s.Deployments().Deployment(ctx, homePartition, "g", r.ID))(t)
		if got.CancelRequestedAt != madeAt.Add(4*time.Minute) || got.Phase != fescue.Staged || got.UpdatedAt != madeAt.Add(3*time.Minute) {
			t.Errorf("%+v", got)
		}
		for _, p := range elsewhere {
			if steps := must(s.Deployments().Steps(ctx, p, r.ID))(t); len(steps) != 0 {
				t.Errorf("another partition sees %v", steps)
			}
		}
	})
	t.Run("what takes a deployment from its core raises the core's epoch", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		r := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
		before := must(s.Offers().Epoch(ctx, homePartition, "core"))(t)
		r.step(fescue.EventTimedOut)
		if got := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); got != before+1 {
			t.Errorf("epoch %d after %d", got, before)
		}
		waiting := deploying(t, s, "g").offer("core").step(fescue.EventExpired)
		if got := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); got != waiting.Epoch {
			t.Errorf("epoch %d, the deployment that no core had claimed has %d", got, waiting.Epoch)
		}
	})
	t.Run("progress is of what has not ended", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		r := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
		if got := must(s.Deployments().Progress(ctx, homePartition, r.ID))(t); got != (fescue.Progress{}) {
			t.Errorf("%+v before there was any", got)
		}
		want := fescue.Progress{Activity: "downloading", Fetched: 3, ToFetch: 9, At: madeAt}
		if err := s.Deployments().SetProgress(ctx, r.Deployment, want); err != nil {
			t.Fatal(err)
		}
		if got := must(s.Deployments().Progress(ctx, homePartition, r.ID))(t); got != want {
			t.Errorf("%+v", got)
		}
		r.stored() // no revision: a report that is under way is not disturbed
		ended := r.step(fescue.EventSucceeded)
		refused(t, "after the end", s.Deployments().SetProgress(ctx, ended.Deployment, want), fescue.ErrEnded)
		forced := resetting(t, s, "g", fescue.ForceResetDeployment).force("core")
		if err := s.Deployments().SetProgress(ctx, forced.Deployment, want); err != nil {
			t.Errorf("of a forced reset, which its core learns of after its end: %v", err)
		}
		refused(t, "of another partition", s.Deployments().SetProgress(ctx, moved(r.Deployment, elsewhere[0]), want), fescue.ErrEnded)
		_, err := s.Deployments().Progress(ctx, elsewhere[0], r.ID)
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
		for _, d := range must(s.Deployments().Overdue(ctx, "aws", fescue.Offered, madeAt.Add(time.Minute+time.Millisecond), 9))(t) {
			got[d.ID] = d.Partition
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if list := must(s.Deployments().Overdue(ctx, "aws", fescue.Offered, madeAt.Add(time.Minute), 9))(t); len(list) != 0 {
			t.Errorf("%v are not overdue yet", list)
		}
		if list := must(s.Deployments().Overdue(ctx, "aws", fescue.Offered, madeAt.Add(time.Hour), 2))(t); len(list) != 2 {
			t.Errorf("%d, at most 2 were asked for", len(list))
		}
	})
	t.Run("what a clock that was ahead has dated", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		ahead := deploying(t, s, "ahead").offer("a").step(fescue.EventClaimed)
		right := deploying(t, s, "right").offer("b")
		ended := deploying(t, s, "ended").offer("c").step(fescue.EventClaimed).step(fescue.EventSucceeded)
		before := must(s.Deployments().Steps(ctx, homePartition, right.ID))(t)
		now := ahead.UpdatedAt
		if n := must(s.Deployments().Redate(ctx, now, now, 9))(t); n != 0 {
			t.Fatalf("%d deployments were ahead of %s", n, now)
		}
		later := ahead.UpdatedAt.Add(time.Hour)
		next := must(s.Deployments().ApplyStep(ctx, ahead.Deployment, fescue.CoreActor, fescue.DeploymentStep{Event: fescue.EventStaged, At: later, Epoch: ahead.Epoch}))(t)
		if n := must(s.Deployments().Redate(ctx, later.Add(-time.Minute), now, 9))(t); n != 1 {
			t.Fatalf("%d deployments were redated", n)
		}
		got := must(s.Deployments().Deployment(ctx, homePartition, ahead.GroupID, ahead.ID))(t)
		if !got.UpdatedAt.Equal(now) || got.Phase != fescue.Staged || got.Revision != next.Revision {
			t.Errorf("%+v", got)
		}
		for _, step := range must(s.Deployments().Steps(ctx, homePartition, ahead.ID))(t) {
			if step.At.After(now) {
				t.Errorf("%s is said to be at %s", step.Event, step.At)
			}
		}
		if diff := gocmp.Diff(before, must(s.Deployments().Steps(ctx, homePartition, right.ID))(t)); diff != "" {
			t.Error(diff)
		}
		if got := must(s.Deployments().Deployment(ctx, homePartition, ended.GroupID, ended.ID))(t); !got.UpdatedAt.Equal(ended.UpdatedAt) {
			t.Errorf("one that ended is said to have ended at %s", got.UpdatedAt)
		}
		// A clock that went back dates no step before the one before it.
		last := must(s.Deployments().ApplyStep(ctx, got, fescue.CoreActor, fescue.DeploymentStep{Event: fescue.EventSucceeded, At: now.Add(-time.Hour), Epoch: got.Epoch}))(t)
		if steps := must(s.Deployments().Steps(ctx, homePartition, ahead.ID))(t); !last.UpdatedAt.Equal(now) || !steps[len(steps)-1].At.Equal(now) {
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
			ids := listedIDs(must(s.Deployments().DeploymentsIn(ctx, homePartition, fescue.Building, page))(t))
			if len(ids) == 0 {
				break
			}
			got, page.After = append(got, ids...), ids[len(ids)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if list, err := s.Deployments().DeploymentsIn(ctx, homePartition, fescue.Building, fescue.Page{After: fescue.NewID(), Limit: 9}); !errors.Is(err, fescue.ErrPage) {
			t.Errorf("after an unknown id: %v, %v", list, err)
		}
	})
	t.Run("the last of its group to have ended", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		last := func(status fescue.DeploymentStatus, want ...*run) {
			t.Helper()
			got := slices.DeleteFunc(must(s.Deployments().DeploymentsIn(ctx, homePartition, status, fescue.Page{Limit: 9}))(t), func(l deploy.Listed) bool { return !l.Last })
			for i, r := range want {
				if len(got) != len(want) || !slices.Contains(listedIDs(got), r.ID) {
					t.Fatalf("in %s: %+v, want number %d, %s, among %d", status, got, i, r.ID, len(want))
				}
			}
			if len(got) != len(want) {
				t.Fatalf("in %s: %+v", status, got)
			}
		}
		first := deploying(t, s, "g").step(fescue.EventBuildFailed)
		other := deploying(t, s, "other").step(fescue.EventBuildFailed)
		deployingIn(t, s, elsewhere[0], "g").step(fescue.EventBuildFailed)
		last(fescue.Failure, first, other)
		second := deploying(t, s, "g").step(fescue.EventBuildFailed)
		last(fescue.Failure, second, other)
		third := deploying(t, s, "g")
		last(fescue.Failure, second, other) // the third has not ended
		third = third.offer("c")
		for _, event := range []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched, fescue.EventSucceeded} {
			last(fescue.Failure, second, other)
			third = third.step(event)
		}
		last(fescue.Failure, other)
		last(fescue.Success, third)
		fourth := deploying(t, s, "g").step(fescue.EventBuildFailed)
		last(fescue.Failure, fourth, other)
		last(fescue.Success)
	})
}

func testPresence(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	see := func(list ...cores.Seen) {
		t.Helper()
		if err := s.Cores().See(ctx, list); err != nil {
			t.Fatal(err)
		}
	}
	want := func(p fescue.Partition, thing string, want cores.LastSeen) {
		t.Helper()
		if got := must(s.Cores().LastSeen(ctx, p, thing))(t); got != want {
			t.Errorf("%s: %+v, want %+v", thing, got, want)
		}
	}
	at := func(minutes int) time.Time { return madeAt.Add(time.Duration(minutes) * time.Minute) }

	see(cores.Seen{Partition: homePartition, Thing: "device", LastSeen: cores.LastSeen{SeenAt: at(1)}})
	want(homePartition, "device", cores.LastSeen{}) // it never spoke as a core
	see(cores.Seen{Partition: homePartition, Thing: "core", LastSeen: cores.LastSeen{SeenAt: at(2)}, Core: true})
	see(cores.Seen{Partition: homePartition, Thing: "core", LastSeen: cores.LastSeen{SeenAt: at(1), GoneAt: at(3)}})
	want(homePartition, "core", cores.LastSeen{SeenAt: at(2), GoneAt: at(3)})
	want(elsewhere[0], "core", cores.LastSeen{})
	// Since when it is online, and from where: as cores.LastSeen.Then says.
	mirror := cores.LastSeen{SeenAt: at(2), GoneAt: at(3)}
	for _, next := range []cores.LastSeen{
		{SeenAt: at(5), ConnectedAt: at(5), Address: "10.0.0.7"},
		{SeenAt: at(6), ConnectedAt: at(6), Address: "10.0.0.8"}, // a second connection
		{SeenAt: at(7)},
		{SeenAt: at(9), ConnectedAt: at(8), GoneAt: at(9)},
		{SeenAt: at(20), ConnectedAt: at(20)}, // silent for too long
		{GoneAt: at(21)},
		{SeenAt: at(22), ConnectedAt: at(22), Address: "::1"}, // came back
		{SeenAt: at(1), ConnectedAt: at(1)},                   // late news
	} {
		see(cores.Seen{Partition: homePartition, Thing: "core", LastSeen: next})
		mirror = mirror.Then(next)
		want(homePartition, "core", mirror)
	}
	if mirror.ConnectedAt != at(22) || mirror.Address != "::1" {
		t.Errorf("online %+v", mirror)
	}
	for minutes, online := range map[int]int{22: 1, 28: 1, 29: 0} {
		known, got, err := s.Cores().CountCores(ctx, at(minutes))
		if err != nil || known != 1 || got != online {
			t.Errorf("after %d minutes %d of %d online, %v", minutes, got, known, err)
		}
	}
	if epoch := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); epoch != 0 {
		t.Errorf("epoch %d", epoch)
	}
	if r := deploying(t, s, "g").offer("core"); r.Epoch != 1 {
		t.Errorf("the first epoch is %d", r.Epoch)
	}
	want(homePartition, "core", mirror)
}

func testFleet(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	all := fescue.Page{Limit: 10}
	none := must(s.Cores().Cores(ctx, homePartition, cores.Filter{}, all))(t)
	if len(none) > 0 {
		t.Errorf("cores of an empty store: %v", none)
	}
	group := must(s.Definitions().CreateDefinition(ctx, homePartition, fescue.Definition{Kind: fescue.GroupKind, ID: fescue.NewID(), Name: "Mill", Tags: map[string]string{"site": "north", "kind": "mill=7", "owner": ""}, CreatedAt: madeAt, UpdatedAt: madeAt}, nil, fescue.Token{}))(t)
	good := deploying(t, s, group.ID).offer("b").step(fescue.EventClaimed).step(fescue.EventStaged).step(fescue.EventSwitched).step(fescue.EventSucceeded)
	bad := deploying(t, s, group.ID).offer("b").step(fescue.EventClaimed).step(fescue.EventFailed)
	waiting := deploying(t, s, fescue.NewID()).offer("a")
	info := fescue.CoreInfo{Version: "1.9", Formats: []int{2}, Findings: []fescue.ErrorDetail{{DetailedErrorCode: "X", DetailedErrorMessage: "y"}}}
	mustDo(t, s.Cores().SetCoreInfo(ctx, homePartition, "c", info, madeAt))
	mustDo(t, s.Cores().See(ctx, []cores.Seen{{Partition: homePartition, Thing: "c", LastSeen: cores.LastSeen{SeenAt: madeAt, ConnectedAt: madeAt, Address: "10.0.0.7"}}}))
	mustDo(t, s.Cores().See(ctx, []cores.Seen{{Partition: elsewhere[0], Thing: "d", Core: true, LastSeen: cores.LastSeen{SeenAt: madeAt}}}))

	list := must(s.Cores().Cores(ctx, homePartition, cores.Filter{}, all))(t)
	if len(list) != 3 || list[0].Thing != "a" || list[1].Thing != "b" || list[2].Thing != "c" {
		t.Fatalf("cores %+v", list)
	}
	if a := list[0]; a.Runs.ID != "" || a.Last.ID != waiting.ID || a.Last.Phase != fescue.Offered || a.GroupName != "" {
		t.Errorf("one that waits: %+v", a)
	}
	if b := list[1]; b.Runs.ID != good.ID || b.Last.ID != bad.ID || b.Last.Status != fescue.Failure || len(b.Last.ErrorDetails) != 1 || b.GroupID != group.ID || b.GroupName != "Mill" {
		t.Errorf("one whose last deployment failed: %+v", b)
	}
	if c := list[2]; c.Info.Version != "1.9" || len(c.Info.Findings) != 1 || c.SaidAt != madeAt || c.Address != "10.0.0.7" || c.Last.ID != "" || c.GroupID != "" {
		t.Errorf("one that only spoke: %+v", c)
	}
	t.Run("pages", func(t *testing.T) {
		got := must(s.Cores().Cores(ctx, homePartition, cores.Filter{}, fescue.Page{After: "a", Limit: 1}))(t)
		if len(got) != 1 || got[0].Thing != "b" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("of one group", func(t *testing.T) {
		if got := must(s.Cores().Cores(ctx, homePartition, cores.Filter{Group: group.ID}, all))(t); len(got) != 1 || got[0].Thing != "b" {
			t.Errorf("%+v", got)
		}
		if got := must(s.Cores().Cores(ctx, homePartition, cores.Filter{Group: fescue.NewID()}, all))(t); len(got) != 0 {
			t.Errorf("of an unknown one %+v", got)
		}
	})
	for _, tc := range []struct {
		cores.Filter
		names string
	}{
		{cores.Filter{Text: "mILl"}, "b"},
		{cores.Filter{Text: "10.0.0"}, "c"},
		{cores.Filter{Text: "B"}, "b"},
		{cores.Filter{Text: "_"}, ""},
		{cores.Filter{Text: "%"}, ""},
		{cores.Filter{Text: "!"}, ""},
		{cores.Filter{State: cores.Connected, Now: madeAt.Add(time.Minute)}, "c"},
		{cores.Filter{State: cores.Connected, Now: madeAt.Add(time.Hour)}, ""},
		{cores.Filter{State: cores.Offline, Now: madeAt.Add(time.Minute)}, "ab"},
		{cores.Filter{State: cores.Wrong}, "bc"},
		{cores.Filter{State: cores.Wrong, Text: "mill"}, "b"},
		{cores.Filter{Tag: "site", Value: "north"}, "b"},
		{cores.Filter{Tag: "kind", Value: "mill=7"}, "b"},
		{cores.Filter{Tag: "owner"}, "b"},
		{cores.Filter{Tag: "site"}, ""},
		{cores.Filter{Tag: "site", Value: "nort"}, ""},
		{cores.Filter{Tag: "ite", Value: "north"}, ""},
		{cores.Filter{Tag: "Site", Value: "north"}, ""},
		{cores.Filter{Tag: "site", Value: "north", Text: "MILL"}, "b"},
		{cores.Filter{Tag: "site", Value: "north", Text: "c"}, ""},
		{cores.Filter{Tag: "site", Value: "north", State: cores.Wrong}, "b"},
		{cores.Filter{Tag: "site", Value: "south", State: cores.Wrong}, ""},
		{cores.Filter{Tag: "site", Value: "north", State: cores.Offline, Now: madeAt.Add(time.Minute)}, "b"},
		{cores.Filter{Tag: "site", Value: "north", State: cores.Connected, Now: madeAt.Add(time.Minute)}, ""},
	} {
		t.Run(fmt.Sprintf("filtered by %+v", tc.Filter), func(t *testing.T) {
			names := ""
			for _, c := range must(s.Cores().Cores(ctx, homePartition, tc.Filter, all))(t) {
				names += c.Thing
			}
			if names != tc.names {
				t.Errorf("cores %q, want %q", names, tc.names)
			}
		})
	}
	t.Run("counted", func(t *testing.T) {
		if known, online, err := s.Cores().CountFleet(ctx, homePartition, madeAt.Add(time.Minute)); err != nil || known != 3 || online != 1 {
			t.Errorf("%d of %d online, %v", online, known, err)
		}
	})
	t.Run("in another partition", func(t *testing.T) {
		if got := must(s.Cores().Cores(ctx, elsewhere[0], cores.Filter{}, all))(t); len(got) != 1 || got[0].Thing != "d" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("after a reset", func(t *testing.T) {
		d := newDeployment(homePartition, group.ID)
		d.Type, d.GroupVersionID = fescue.ResetDeployment, ""
		r := &run{t: t, s: s, Deployment: must(s.Deployments().CreateDeployment(ctx, d, fescue.Token{}))(t)}
		r.offer("b").step(fescue.EventClaimed).step(fescue.EventSwitched).step(fescue.EventSucceeded)
		got := must(s.Cores().Cores(ctx, homePartition, cores.Filter{}, fescue.Page{After: "a", Limit: 1}))(t)
		if got[0].Runs.ID != "" || got[0].GroupID != "" || got[0].Last.Type != fescue.ResetDeployment {
			t.Errorf("%+v", got[0])
		}
	})
}
