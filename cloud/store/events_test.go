package store_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/events"
	"github.com/fescue-edge/fescue/cloud/store"
)

// delivered drains a destination in the order in which it is due, and returns what
// each deployment reported.
func delivered(t *testing.T, s *store.DB, destination string) map[string][]fescue.DeploymentStatus {
	t.Helper()
	ctx, got := t.Context(), make(map[string][]fescue.DeploymentStatus)
	for {
		due := must(s.Events().DueNotifications(ctx, "aws", destination, 3))(t)
		if len(due) == 0 {
			return got
		}
		for _, n := range due {
			change := must(n.StatusChange())(t)
			if change.ID != n.ID || change.Detail.DeploymentID != n.DeploymentID || n.Destination != destination {
				t.Errorf("%+v: %s", n, n.Body)
			}
			got[n.DeploymentID] = append(got[n.DeploymentID], change.Detail.Status)
			if err := s.Events().FinishNotifications(ctx, destination, []string{n.ID}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func testEvents(t *testing.T, open opener) {
	t.Parallel()
	t.Run("every change of status goes to every destination, in order", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		if err := s.Events().SetEventDestinations(t.Context(), []string{"a", "b"}); err != nil {
			t.Fatal(err)
		}
		want := make(map[string][]fescue.DeploymentStatus)
		expect := func(d fescue.Deployment, statuses ...fescue.DeploymentStatus) { want[d.ID] = statuses }

		failed := deploying(t, s, "g").step(fescue.EventBuildFailed)
		expect(failed.Deployment, fescue.Building, fescue.Failure)
		superseded := deploying(t, s, "g").offer("core")
		expect(superseded.Deployment, fescue.Building, fescue.InProgress, fescue.Failure)
		done := deploying(t, s, "g").offer("core").
			step(fescue.EventClaimed).step(fescue.EventStaged).step(fescue.EventSwitched).step(fescue.EventSucceeded)
		expect(done.Deployment, fescue.Building, fescue.InProgress, fescue.Success)
		reset := newDeployment(homePartition, "g")
		reset.Type = fescue.ForceResetDeployment
		reset = must(s.Deployments().CreateDeployment(t.Context(), reset, fescue.Token{}))(t)
		if _, _, err := s.Offers().ForceReset(t.Context(), reset, "core", madeAt, superseding, signed); err != nil {
			t.Fatal(err)
		}
		expect(reset, fescue.Building, fescue.Success)
		for _, destination := range []string{"a", "b"} {
			if diff := gocmp.Diff(want, delivered(t, s, destination)); diff != "" {
				t.Errorf("%s: %s", destination, diff)
			}
		}
		if left := must(s.Events().NotificationBacklog(t.Context()))(t); len(left) != 0 {
			t.Errorf("what was delivered is still there: %+v", left)
		}
	})
	t.Run("the documented event", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		if err := s.Events().SetEventDestinations(t.Context(), []string{"a"}); err != nil {
			t.Fatal(err)
		}
		d := deploying(t, s, "g")
		due := must(s.Events().DueNotifications(t.Context(), "aws", "a", 2))(t)
		if len(due) != 1 {
			t.Fatalf("%+v", due)
		}
		var got, want any
		wantText := fmt.Sprintf(`{"version":"0","id":%q,"detail-type":"Greengrass Deployment Status Change","source":"aws.greengrass",
			"account":"123456789012","time":"2026-11-23T12:00:00Z","region":"us-east-1","resources":[],
			"detail":{"group-id":"g","deployment-id":%q,"deployment-type":"NewDeployment","status":"Building"}}`, due[0].ID, d.ID)
		if json.Unmarshal(due[0].Body, &got) != nil || json.Unmarshal([]byte(wantText), &want) != nil {
			t.Fatalf("%s", due[0].Body)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if n := due[0]; n.Partition != homePartition || !n.CreatedAt.Equal(madeAt) || n.Revision != 1 || n.Attempts != 0 {
			t.Errorf("%+v", n)
		}
	})
	t.Run("what failed waits, and what follows it", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		if err := s.Events().SetEventDestinations(ctx, []string{"a"}); err != nil {
			t.Fatal(err)
		}
		first := deploying(t, s, "g").offer("core")
		other := deploying(t, s, "g2").offer("core2")
		due := must(s.Events().DueNotifications(ctx, "aws", "a", 10))(t)
		later := make(map[string]time.Time)
		for _, n := range due {
			if n.DeploymentID == first.ID {
				later[n.ID] = time.Now().Add(time.Hour)
			}
		}
		if len(due) != 2 || len(later) != 1 {
			t.Fatalf("%+v", due)
		}
		if err := s.Events().FinishNotifications(ctx, "a", nil, later); err != nil {
			t.Fatal(err)
		}
		want := map[string][]fescue.DeploymentStatus{other.ID: {fescue.Building, fescue.InProgress}}
		if diff := gocmp.Diff(want, delivered(t, s, "a")); diff != "" {
			t.Error(diff)
		}
		// Once its time has come it is tried again, and counted.
		for id := range later {
			later[id] = time.Now().Add(-time.Second)
		}
		if err := s.Events().FinishNotifications(ctx, "a", nil, later); err != nil {
			t.Fatal(err)
		}
		due = must(s.Events().DueNotifications(ctx, "aws", "a", 10))(t)
		if len(due) != 1 || due[0].Attempts != 2 || due[0].DeploymentID != first.ID {
			t.Errorf("%+v", due)
		}
	})
	t.Run("what is not written is not reported", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		if err := s.Events().SetEventDestinations(t.Context(), []string{"a"}); err != nil {
			t.Fatal(err)
		}
		r := deploying(t, s, "g")
		if _, err := s.Deployments().CreateDeployment(t.Context(), newDeployment(homePartition, "g"), fescue.Token{}); err == nil {
			t.Fatal("two deployments of a group are being built")
		}
		token := fescue.Token{Operation: "CreateDeployment", Value: "t", RequestHash: "h"}
		r.step(fescue.EventBuildFailed)
		again := must(s.Deployments().CreateDeployment(t.Context(), newDeployment(homePartition, "g"), token))(t)
		must(s.Deployments().CreateDeployment(t.Context(), newDeployment(homePartition, "g"), token))(t)
		want := map[string][]fescue.DeploymentStatus{r.ID: {fescue.Building, fescue.Failure}, again.ID: {fescue.Building}}
		if diff := gocmp.Diff(want, delivered(t, s, "a")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("destinations come and go", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		deploying(t, s, "before")
		for i, names := range [][]string{{"a", "b"}, {"b"}} {
			if err := s.Events().SetEventDestinations(ctx, names); err != nil {
				t.Fatal(err)
			}
			deploying(t, s, fmt.Sprint(i))
		}
		want := []events.NotificationBacklog{{Destination: "a", Pending: 1, Oldest: madeAt}, {Destination: "b", Pending: 2, Oldest: madeAt}}
		if diff := gocmp.Diff(want, must(s.Events().NotificationBacklog(ctx))(t)); diff != "" {
			t.Error(diff)
		}
		dropped := must(s.Events().DropNotifications(ctx, madeAt))(t)
		if len(dropped) != 0 {
			t.Errorf("dropped too early: %v", dropped)
		}
		dropped = must(s.Events().DropNotifications(ctx, madeAt.Add(time.Millisecond)))(t)
		if diff := gocmp.Diff(map[string]int64{"a": 1, "b": 2}, dropped); diff != "" {
			t.Error(diff)
		}
	})
}

func testLeases(t *testing.T, open opener) {
	t.Parallel()
	t.Run("one holder at a time", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		until := time.Now().Add(time.Hour)
		var holders atomic.Int64
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				held, err := s.Leases().Take(ctx, "work", fmt.Sprint(i), until)
				if err != nil {
					t.Error(err)
				}
				if held {
					holders.Add(1)
				}
			})
		}
		all.Wait()
		if holders.Load() != 1 {
			t.Errorf("%d holders", holders.Load())
		}
	})
	t.Run("kept, given back, run out", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		take := func(name, holder string, until time.Time) bool {
			return must(s.Leases().Take(ctx, name, holder, until))(t)
		}
		future, past := time.Now().Add(time.Hour), time.Now().Add(-time.Second)
		got := map[string]bool{
			"free":             take("w", "a", future),
			"prolonged":        take("w", "a", future),
			"another's":        take("w", "b", future),
			"of another work":  take("v", "b", future),
			"given back by b":  s.Leases().Release(ctx, "w", "b") == nil && take("w", "b", future),
			"given back by a":  s.Leases().Release(ctx, "w", "a") == nil && take("w", "b", past),
			"after it ran out": take("w", "c", future),
			"of a wrong clock": take("u", "a", future.Add(24*time.Hour)) && take("u", "b", future),
		}
		want := map[string]bool{
			"free": true, "prolonged": true, "another's": false, "of another work": true,
			"given back by b": false, "given back by a": true, "after it ran out": true,
			"of a wrong clock": true,
		}
		for _, what := range slices.Sorted(maps.Keys(want)) {
			if got[what] != want[what] {
				t.Errorf("%s: held %v", what, got[what])
			}
		}
	})
}
