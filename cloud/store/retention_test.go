package store_test

import (
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/retention"
	"github.com/fescue-edge/fescue/cloud/store"
)

// expire removes what is older than before, and returns how many rows that were.
func expire(t *testing.T, s *store.DB, what retention.Retained, before time.Time) (total int64) {
	t.Helper()
	var from time.Time
	for {
		n, upTo, err := s.Retention().Expire(t.Context(), what, from, before, 3)
		if err != nil {
			t.Fatal(err)
		}
		if total += n; upTo.IsZero() {
			return total
		}
		if !upTo.After(from) {
			t.Fatalf("it does not get on from %s", from)
		}
		from = upTo
	}
}

func testRetention(t *testing.T, open opener) {
	t.Parallel()
	late := madeAt.Add(time.Hour)

	t.Run("of what nobody knows", func(t *testing.T) {
		t.Parallel()
		_, _, err := open(t).Retention().Expire(t.Context(), "nothing", time.Time{}, late, 1)
		refused(t, "Expire", err, fescue.ErrNotFound)
	})
	t.Run("of tokens", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		token := fescue.Token{Operation: "O", Value: "v", RequestHash: "h"}
		made := must(s.Definitions().CreateDefinition(ctx, homePartition, newContainer(fescue.CoreKind, "n"), nil, token))(t)
		if n := expire(t, s, retention.RetainedTokens, madeAt); n != 0 {
			t.Errorf("%d tokens went before their time", n)
		}
		if id := must(s.Definitions().TokenSubject(ctx, homePartition, token))(t); id != made.ID {
			t.Errorf("the token stands for %s", id)
		}
		if n := expire(t, s, retention.RetainedTokens, late); n != 1 {
			t.Errorf("%d tokens went", n)
		}
		_, err := s.Definitions().TokenSubject(ctx, homePartition, token)
		refused(t, "TokenSubject", err, fescue.ErrNotFound)
	})
	t.Run("of deployments", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		group := container(t, s, homePartition, fescue.GroupKind).ID
		succeed := func() *run {
			return deploying(t, s, group).offer("core").step(fescue.EventClaimed).step(fescue.EventSucceeded)
		}
		old, running := succeed(), succeed()
		var failed []*run
		for range 12 {
			failed = append(failed, deploying(t, s, group).step(fescue.EventBuildFailed))
		}
		waiting := deploying(t, s, group).offer("core")

		if n := expire(t, s, retention.RetainedDeployments, madeAt); n != 0 {
			t.Errorf("%d deployments went before their time", n)
		}
		// 15 deployments: the last ten stay, and so do the one that runs and the one
		// that waits.
		if n := expire(t, s, retention.RetainedDeployments, late); n != 4 {
			t.Errorf("%d deployments went", n)
		}
		for _, gone := range []*run{old, failed[0], failed[1], failed[2]} {
			_, err := s.Deployments().Deployment(ctx, homePartition, group, gone.ID)
			refused(t, "Deployment", err, fescue.ErrNotFound)
			if steps := must(s.Deployments().Steps(ctx, homePartition, gone.ID))(t); len(steps) != 0 {
				t.Errorf("its steps stayed: %v", steps)
			}
		}
		for _, kept := range append(failed[3:], running, waiting) {
			kept.stored()
		}
		// One more makes a number of its own.
		waiting = waiting.step(fescue.EventExpired)
		next := succeed()
		if list := must(s.Deployments().Deployments(ctx, homePartition, group, fescue.Page{Limit: 2}))(t); list[0].ID != next.ID || list[1].ID != waiting.ID {
			t.Errorf("%v", deploymentIDs(list))
		}
		if expire(t, s, retention.RetainedDeployments, late); true {
			_, err := s.Deployments().Deployment(ctx, homePartition, group, running.ID)
			refused(t, "what ran before", err, fescue.ErrNotFound)
		}
	})
	t.Run("of the deployments of a group that is gone", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		deploying(t, s, "g").offer("core").step(fescue.EventClaimed).step(fescue.EventSucceeded)
		reset := resetting(t, s, "g", fescue.ForceResetDeployment).force("core")
		if n := expire(t, s, retention.RetainedDeployments, late); n != 1 {
			t.Errorf("%d deployments went", n)
		}
		// The core may come for its reset in a year.
		if d, _, err := s.Offers().Waiting(ctx, homePartition, "core", 0); err != nil || d.ID != reset.ID {
			t.Errorf("%s waits, %v", d.ID, err)
		}
		deploying(t, s, "other").offer("core")
		if n := expire(t, s, retention.RetainedDeployments, late); n != 1 {
			t.Errorf("%d deployments went once the core has more to come for", n)
		}
	})
}
