package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/store"
)

func newDeployment(p fescue.Partition, group string) fescue.Deployment {
	return fescue.Deployment{
		Partition: p, ID: fescue.NewID(), GroupID: group, GroupVersionID: fescue.NewID(), Type: fescue.NewDeployment,
		Status: fescue.Building, CreatedAt: madeAt, UpdatedAt: madeAt,
	}
}

// run is a deployment on its way, the newest known revision.
type run struct {
	t *testing.T
	s *store.DB
	fescue.Deployment
	// replaced are those that its offer superseded.
	replaced []fescue.Deployment
}

func deploying(t *testing.T, s *store.DB, group string) *run {
	t.Helper()
	return deployingIn(t, s, homePartition, group)
}

func deployingIn(t *testing.T, s *store.DB, p fescue.Partition, group string) *run {
	t.Helper()
	return &run{t: t, s: s, Deployment: must(s.Deployments().CreateDeployment(t.Context(), newDeployment(p, group), fescue.Token{}))(t)}
}

// superseding is the step that ends what a newer deployment replaces.
var superseding = fescue.DeploymentStep{
	Event: fescue.EventSuperseded, At: madeAt.Add(time.Minute), Message: "superseded", Details: []fescue.ErrorDetail{fescue.DeploymentSuperseded.Detail("x")},
}

// signing makes an envelope that contains the epoch.
func signed(epoch int64) (fescue.Offering, error) {
	return fescue.Offering{Envelope: fmt.Appendf(nil, `{"epoch":%d}`, epoch), Artifacts: []string{fmt.Sprintf("%064x", epoch)}}, nil
}

func (r *run) offer(thing string) *run {
	r.t.Helper()
	next, replaced, err := r.s.Offers().Offer(r.t.Context(), r.Deployment, thing, madeAt.Add(time.Minute), superseding, signed)
	if err != nil {
		r.t.Fatal(err)
	}
	return &run{r.t, r.s, next, replaced}
}

func (r *run) step(event fescue.DeploymentEvent) *run {
	r.t.Helper()
	actor := fescue.CoreActor
	switch event {
	case fescue.EventBuildFailed, fescue.EventTimedOut, fescue.EventExpired, fescue.EventForcedAway, fescue.EventOutdated:
		actor = fescue.CloudActor
	}
	next, err := r.s.Deployments().ApplyStep(r.t.Context(), r.Deployment, actor, fescue.DeploymentStep{
		Event: event, At: madeAt.Add(2 * time.Minute), Message: "m", Details: []fescue.ErrorDetail{{DetailedErrorCode: "A", DetailedErrorMessage: "b"}},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return &run{r.t, r.s, next, nil}
}

// stored checks that the database has exactly this deployment.
func (r *run) stored() {
	r.t.Helper()
	got := must(r.s.Deployments().Deployment(r.t.Context(), r.Partition, r.GroupID, r.ID))(r.t)
	if diff := gocmp.Diff(r.Deployment, got); diff != "" {
		r.t.Error(diff)
	}
	want := fescue.CurrentStatus{Type: r.Type, Status: r.Status, ErrorMessage: r.ErrorMessage, ErrorDetails: r.ErrorDetails, UpdatedAt: r.UpdatedAt}
	if diff := gocmp.Diff(want, must(r.s.Deployments().DeploymentStatus(r.t.Context(), r.Partition, r.GroupID, r.ID))(r.t)); diff != "" {
		r.t.Error(diff)
	}
}

// leaseOne leases a deployment that is to be built. Where there is none the error is
// fescue.ErrNotFound.
func leaseOne(ctx context.Context, s *store.DB, until time.Time) (fescue.Deployment, error) {
	list, err := s.Deployments().LeaseBuilding(ctx, "aws", until, 1)
	if err == nil && len(list) == 0 {
		err = fescue.ErrNotFound
	}
	return append(list, fescue.Deployment{})[0], err
}

func listedIDs(list []deploy.Listed) []string {
	var ids []string
	for _, l := range list {
		ids = append(ids, l.ID)
	}
	return ids
}

func deploymentIDs(list []fescue.Deployment) []string {
	var ids []string
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	return ids
}

func testDeployments(t *testing.T, open opener) {
	t.Parallel()
	t.Run("written and read through its life", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		r := deploying(t, s, "g")
		r.stored()
		r = r.offer("core")
		r.stored()
		for _, event := range []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched, fescue.EventFailed} {
			r = r.step(event)
			r.stored()
		}
		if r.ErrorMessage != "m" || len(r.ErrorDetails) != 1 || r.Status != fescue.Failure {
			t.Errorf("%+v", r.Deployment)
		}
	})
	t.Run("what is not there", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		r := deploying(t, s, "g")
		for what, c := range map[string]struct {
			p         fescue.Partition
			group, id string
		}{
			"another id":      {homePartition, "g", fescue.NewID()},
			"another group":   {homePartition, "g2", r.ID},
			"another Region":  {elsewhere[0], "g", r.ID},
			"another account": {elsewhere[1], "g", r.ID},
		} {
			_, err := s.Deployments().Deployment(ctx, c.p, c.group, c.id)
			refused(t, what, err, fescue.ErrNotFound)
			_, err = s.Deployments().DeploymentStatus(ctx, c.p, c.group, c.id)
			refused(t, what, err, fescue.ErrNotFound)
		}
		for _, p := range elsewhere {
			if list := must(s.Deployments().Deployments(ctx, p, "g", fescue.Page{Limit: 9}))(t); len(list) != 0 {
				t.Errorf("%v lists %v", p, list)
			}
		}
		if list := must(s.Deployments().Deployments(ctx, homePartition, "g2", fescue.Page{Limit: 9}))(t); len(list) != 0 {
			t.Errorf("another group lists %v", list)
		}
	})
	t.Run("page newest first, over inserts", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		add := func(group string) string { return deploying(t, s, group).step(fescue.EventBuildFailed).ID }
		var newest []string
		for range 7 {
			newest = append([]string{add("g")}, newest...)
			add("g2")
		}
		var paged []string
		page := fescue.Page{Limit: 3}
		for {
			ids := deploymentIDs(must(s.Deployments().Deployments(ctx, homePartition, "g", page))(t))
			if len(ids) == 0 {
				break
			}
			paged = append(paged, ids...)
			page.After = ids[len(ids)-1]
			add("g")
		}
		if !slices.Equal(paged, newest) {
			t.Errorf("%v, want %v", paged, newest)
		}
		for _, after := range []string{fescue.NewID(), deploymentIDs(must(s.Deployments().Deployments(ctx, homePartition, "g2", fescue.Page{Limit: 1}))(t))[0]} {
			if list, err := s.Deployments().Deployments(ctx, homePartition, "g", fescue.Page{After: after, Limit: 9}); !errors.Is(err, fescue.ErrPage) {
				t.Errorf("a key that is not of the group: %v, %v", list, err)
			}
		}
	})
	t.Run("client tokens", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		token := fescue.Token{Operation: "CreateDeployment", Value: "t", RequestHash: "h"}
		first := &run{t: t, s: s, Deployment: must(s.Deployments().CreateDeployment(ctx, newDeployment(homePartition, "g"), token))(t)}
		// The first call's deployment comes back as it is by now, even while the
		// group is being built.
		if again := must(s.Deployments().CreateDeployment(ctx, newDeployment(homePartition, "g"), token))(t); again.ID != first.ID {
			t.Error("a second deployment was made")
		}
		ended := first.step(fescue.EventBuildFailed)
		if again := must(s.Deployments().CreateDeployment(ctx, newDeployment(homePartition, "g"), token))(t); !gocmp.Equal(again, ended.Deployment) {
			t.Error(gocmp.Diff(ended.Deployment, again))
		}
		token.RequestHash = "h2"
		_, err := s.Deployments().CreateDeployment(ctx, newDeployment(homePartition, "g"), token)
		refused(t, "another request", err, fescue.ErrTokenReused)
	})
	t.Run("a step is applied to the revision it was computed from", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		r := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
		next := r.step(fescue.EventStaged)
		_, err := s.Deployments().ApplyStep(ctx, r.Deployment, fescue.CoreActor, fescue.DeploymentStep{Event: fescue.EventSucceeded, At: madeAt})
		refused(t, "an old revision", err, fescue.ErrConflict)
		next.stored()
		for what, c := range map[string]struct {
			d     fescue.Deployment
			actor fescue.Actor
			step  fescue.DeploymentStep
			err   error
		}{
			"a duplicate":         {next.Deployment, fescue.CoreActor, fescue.DeploymentStep{Event: fescue.EventStaged}, fescue.ErrNoChange},
			"another epoch":       {next.Deployment, fescue.CoreActor, fescue.DeploymentStep{Event: fescue.EventSwitched, Epoch: 9}, fescue.ErrWrongEpoch},
			"the wrong actor":     {next.Deployment, fescue.CloudActor, fescue.DeploymentStep{Event: fescue.EventSwitched}, fescue.ErrTransition},
			"what is not there":   {newDeployment(homePartition, "g"), fescue.CloudActor, fescue.DeploymentStep{Event: fescue.EventBuildFailed}, fescue.ErrConflict},
			"another's partition": {moved(next.Deployment, elsewhere[0]), fescue.CoreActor, fescue.DeploymentStep{Event: fescue.EventSwitched}, fescue.ErrConflict},
		} {
			_, err := s.Deployments().ApplyStep(ctx, c.d, c.actor, c.step)
			refused(t, what, err, c.err)
		}
		next.stored()
	})
	t.Run("eight cores' reports at once, one is applied", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		r := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
		wins := eightTimes(func(i int) error {
			event := fescue.EventSucceeded
			if i%2 == 0 {
				event = fescue.EventFailed
			}
			_, err := s.Deployments().ApplyStep(ctx, r.Deployment, fescue.CoreActor, fescue.DeploymentStep{Event: event, At: madeAt})
			return err
		}, fescue.ErrConflict, t)
		if wins != 1 {
			t.Errorf("%d were applied", wins)
		}
	})
}

func moved(d fescue.Deployment, p fescue.Partition) fescue.Deployment {
	d.Partition = p
	return d
}

// eightTimes calls f eight times at once and counts the successes; every other
// call must fail with want.
func eightTimes(f func(i int) error, want error, t *testing.T) int {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	wins := 0
	for _, err := range errs {
		if err == nil {
			wins++
		} else if !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
	}
	return wins
}

func testBuilding(t *testing.T, open opener) {
	t.Parallel()
	const aws = "aws"
	soon := func() time.Time { return time.Now().Add(time.Hour) }
	t.Run("one at a time for a group", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		for round := range 3 {
			var made sync.Map
			wins := eightTimes(func(int) error {
				d, err := s.Deployments().CreateDeployment(ctx, newDeployment(homePartition, "g"), fescue.Token{})
				if err == nil {
					made.Store(d.ID, d)
				}
				return err
			}, fescue.ErrConflict, t)
			if wins != 1 {
				t.Fatalf("round %d: %d were made", round, wins)
			}
			made.Range(func(_, d any) bool {
				(&run{t: t, s: s, Deployment: d.(fescue.Deployment)}).step(fescue.EventBuildFailed)
				return true
			})
		}
		// Other groups and other partitions are not in the way.
		deploying(t, s, "g")
		deploying(t, s, "g2")
		for _, p := range elsewhere {
			deployingIn(t, s, p, "g")
		}
	})
	t.Run("a refused deployment leaves nothing", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		first := deploying(t, s, "g")
		token := fescue.Token{Operation: "CreateDeployment", Value: "t", RequestHash: "h"}
		_, err := s.Deployments().CreateDeployment(ctx, newDeployment(homePartition, "g"), token)
		refused(t, "while another is built", err, fescue.ErrConflict)
		first.step(fescue.EventBuildFailed)
		must(s.Deployments().CreateDeployment(ctx, newDeployment(homePartition, "g"), token))(t)
		if list := must(s.Deployments().Deployments(ctx, homePartition, "g", fescue.Page{Limit: 9}))(t); len(list) != 2 {
			t.Errorf("%d deployments", len(list))
		}
	})
	t.Run("many at once, each for itself", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		building := deploying(t, s, "building")
		token := func(value, hash string) fescue.Token {
			return fescue.Token{Operation: "CreateDeployment", Value: value, RequestHash: hash}
		}
		request := func(group string, token fescue.Token) deploy.Request {
			return deploy.Request{Deployment: newDeployment(homePartition, group), Token: token}
		}
		again := must(s.Deployments().CreateDeployment(ctx, newDeployment(homePartition, "again"), token("again", "h")))(t)
		list := []deploy.Request{
			request("g1", token("1", "h")), request("building", token("2", "h")), request("again", token("again", "h")),
			request("g2", token("again", "other")), request("g3", token("again", "h")), request("g1", token("3", "h")), request("g4", fescue.Token{}),
		}
		want := []error{nil, fescue.ErrConflict, nil, fescue.ErrTokenReused, fescue.ErrNotFound, fescue.ErrConflict, nil}
		answers := must(s.Deployments().CreateDeployments(ctx, list))(t)
		for i, err := range want {
			if !errors.Is(answers[i].Err, err) {
				t.Errorf("%d: %v, want %v", i, answers[i].Err, err)
			}
		}
		for i, id := range map[int]string{0: list[0].Deployment.ID, 2: again.ID, 6: list[6].Deployment.ID} {
			if got := answers[i].Deployment; got.ID != id || got.Revision != 1 {
				t.Errorf("%d: %+v", i, got)
			}
		}
		if steps := must(s.Deployments().Steps(ctx, homePartition, list[0].Deployment.ID))(t); len(steps) != 1 {
			t.Errorf("%d steps", len(steps))
		}
		// What was refused has left no token, and what was made is made once.
		building.step(fescue.EventBuildFailed)
		answers = must(s.Deployments().CreateDeployments(ctx, list[:2]))(t)
		if answers[0].Err != nil || answers[0].Deployment.ID != list[0].Deployment.ID || answers[1].Err != nil || answers[1].Deployment.ID != list[1].Deployment.ID {
			t.Errorf("again: %+v", answers)
		}
		for group, n := range map[string]int{"g1": 1, "building": 2, "again": 1, "g2": 0, "g3": 0, "g4": 1} {
			if list := must(s.Deployments().Deployments(ctx, homePartition, group, fescue.Page{Limit: 9}))(t); len(list) != n {
				t.Errorf("group %s: %d deployments", group, len(list))
			}
		}
		ended, end := context.WithCancel(ctx)
		end()
		if _, err := s.Deployments().CreateDeployments(ended, []deploy.Request{request("g6", fescue.Token{})}); err == nil {
			t.Error("written although the context had ended")
		}
		if list := must(s.Deployments().Deployments(ctx, homePartition, "g6", fescue.Page{Limit: 9}))(t); len(list) != 0 {
			t.Errorf("%d deployments", len(list))
		}
	})
	t.Run("made with a lease", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		until := time.Now().Add(time.Minute)
		ours := deploy.Request{Deployment: newDeployment(homePartition, "ours"), LeasedUntil: until}
		all := deploy.Request{Deployment: newDeployment(homePartition, "all")}
		must(s.Deployments().CreateDeployments(ctx, []deploy.Request{ours, all}))(t)
		if got := deploymentIDs(must(s.Deployments().LeaseBuilding(ctx, "aws", until, 9))(t)); !slices.Equal(got, []string{all.Deployment.ID}) {
			t.Errorf("leased to others: %v", got)
		}
		// It is given back, and ends by itself.
		mustDo(t, s.Deployments().KeepBuilding(ctx, ours.Deployment, until, time.Now().Add(-time.Second), fescue.Progress{}))
		if got := deploymentIDs(must(s.Deployments().LeaseBuilding(ctx, "aws", until, 9))(t)); !slices.Equal(got, []string{ours.Deployment.ID}) {
			t.Errorf("given back: %v", got)
		}
	})
	t.Run("a lease is given once", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		want := map[string]fescue.Partition{}
		for i := range 3 {
			want[deploying(t, s, fmt.Sprint("g", i)).ID] = homePartition
		}
		for _, p := range elsewhere {
			want[deployingIn(t, s, p, "g").ID] = p
		}
		deploying(t, s, "offered").offer("core")
		deploying(t, s, "failed").step(fescue.EventBuildFailed)
		var got sync.Map
		wins := eightTimes(func(int) error {
			d, err := leaseOne(ctx, s, soon())
			if err == nil {
				if _, twice := got.LoadOrStore(d.ID, d); twice {
					t.Errorf("%s is leased twice", d.ID)
				}
			}
			return err
		}, fescue.ErrNotFound, t)
		if wins != len(want) {
			t.Errorf("%d leases, want %d", wins, len(want))
		}
		got.Range(func(id, v any) bool {
			d := v.(fescue.Deployment)
			if p, ok := want[id.(string)]; !ok || d.Partition != p || d.Status != fescue.Building {
				t.Errorf("leased %+v, want %v", d, p)
			}
			(&run{t: t, s: s, Deployment: d}).stored()
			return true
		})
	})
	t.Run("a lease that ran out is given again", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		r := deploying(t, s, "g")
		dead := must(leaseOne(ctx, s, time.Now().Add(-time.Millisecond)))(t)
		again := must(leaseOne(ctx, s, soon()))(t)
		if dead.ID != r.ID || again.ID != r.ID {
			t.Errorf("leased %s and %s, want %s", dead.ID, again.ID, r.ID)
		}
		_, err := leaseOne(ctx, s, soon())
		refused(t, "a third", err, fescue.ErrNotFound)
	})
	t.Run("a lease of a clock that was wrong binds nobody", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		r := deploying(t, s, "g")
		must(leaseOne(ctx, s, time.Now().Add(24*time.Hour)))(t)
		if again := must(leaseOne(ctx, s, soon()))(t); again.ID != r.ID {
			t.Errorf("leased %s, want %s", again.ID, r.ID)
		}
		_, err := leaseOne(ctx, s, soon())
		refused(t, "a third", err, fescue.ErrNotFound)
	})
	t.Run("several at once, the oldest first", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		var want []string
		for i := range 5 {
			d := newDeployment(homePartition, fmt.Sprint("g", i))
			d.CreatedAt = madeAt.Add(time.Duration(i) * time.Second)
			want = append(want, must(s.Deployments().CreateDeployment(ctx, d, fescue.Token{}))(t).ID)
		}
		var got []string
		for _, limit := range []int{2, 9} {
			got = append(got, deploymentIDs(must(s.Deployments().LeaseBuilding(ctx, aws, soon(), limit))(t))...)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("nothing to build", func(t *testing.T) {
		t.Parallel()
		_, err := leaseOne(t.Context(), open(t), soon())
		refused(t, "lease", err, fescue.ErrNotFound)
	})
}
