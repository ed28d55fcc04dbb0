package store_test

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

// testHoldings: a group holds what its last deployment that succeeded gave it.
func testHoldings(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	north, south := map[string]string{"site": "north"}, map[string]string{"site": "south"}
	group := func(p fescue.Partition, tags map[string]string) string {
		t.Helper()
		d := fescue.Definition{Kind: fescue.GroupKind, ID: fescue.NewID(), Name: "g", CreatedAt: madeAt, UpdatedAt: madeAt, Tags: tags}
		return must(s.Definitions().CreateDefinition(ctx, p, d, nil, fescue.Token{}))(t).ID
	}
	offered := func(p fescue.Partition, group string, holds ...string) *run {
		t.Helper()
		r := deployingIn(t, s, p, group)
		next, _, err := s.Offers().Offer(ctx, r.Deployment, "core-"+group, madeAt, superseding, func(epoch int64) (fescue.Offering, error) {
			offering, err := signed(epoch)
			offering.Holds = holds
			return offering, err
		})
		if err != nil {
			t.Fatal(err)
		}
		return (&run{t, s, next, nil}).step(fescue.EventClaimed)
	}
	succeed := func(r *run) { r.step(fescue.EventStaged).step(fescue.EventSwitched).step(fescue.EventSucceeded) }
	holds := func(when, arn string, want ...map[string]string) {
		t.Helper()
		got := must(s.Holdings().HolderTags(ctx, homePartition, arn))(t)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s, %s: %s", when, arn, diff)
		}
	}
	g, other, third := group(homePartition, north), group(homePartition, south), group(homePartition, north)
	first := offered(homePartition, g, "thing", "thing", "function")
	holds("offered", "thing")
	succeed(first)
	holds("deployed", "thing", north)
	succeed(offered(homePartition, third, "function"))
	holds("by two with the same tags", "function", north)
	succeed(offered(elsewhere[0], group(elsewhere[0], south), "thing"))
	holds("elsewhere too", "thing", north)
	succeed(offered(homePartition, other, "function"))
	if got := must(s.Holdings().HolderTags(ctx, homePartition, "function"))(t); len(got) != 2 {
		t.Errorf("by two with other tags: %v", got)
	}
	offered(homePartition, g, "new").step(fescue.EventFailed)
	holds("a later one failed", "new")
	holds("a later one failed", "thing", north)
	running := must(s.Deployments().Running(ctx, "aws"))(t)
	if len(running) != 4 {
		t.Errorf("%d groups run", len(running))
	}
	succeed(offered(homePartition, g, "new"))
	holds("a later one succeeded", "new", north)
	holds("a later one succeeded", "thing")
	succeed(resetting(t, s, g, fescue.ResetDeployment).offer("core-" + g).step(fescue.EventClaimed))
	holds("reset", "new")
	if running := must(s.Deployments().Running(ctx, "aws"))(t); len(running) != 3 {
		t.Errorf("%d groups run", len(running))
	}
	t.Run("of what succeeded before holdings were kept", func(t *testing.T) {
		late := group(homePartition, south)
		succeed(offered(homePartition, late))
		for _, d := range must(s.Deployments().Running(ctx, "aws"))(t) {
			if d.GroupID == late {
				for range 2 { // two servers at once
					if err := s.Holdings().Hold(ctx, d, []string{"late"}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		holds("kept later", "late", south)
	})
}

// testTouching: whoever may touch only groups with a tag supersedes none of the
// others.
func testTouching(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	group := func(site string) string {
		t.Helper()
		d := fescue.Definition{Kind: fescue.GroupKind, ID: fescue.NewID(), Name: "g", CreatedAt: madeAt, UpdatedAt: madeAt, Tags: map[string]string{"site": site}}
		return must(s.Definitions().CreateDefinition(ctx, homePartition, d, nil, fescue.Token{}))(t).ID
	}
	limited := func(group string) *run {
		t.Helper()
		d := newDeployment(homePartition, group)
		d.GroupTag = "site=north"
		return &run{t: t, s: s, Deployment: must(s.Deployments().CreateDeployment(ctx, d, fescue.Token{}))(t)}
	}
	waiting := deploying(t, s, group("south")).offer("core")
	own := limited(group("north"))
	own.stored()
	_, _, err := s.Offers().Offer(ctx, own.Deployment, "core", madeAt, superseding, signed)
	refused(t, "another's waiting deployment", err, fescue.ErrInUse)
	waiting.stored()
	own.stored()
	if epoch := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); epoch != waiting.Epoch {
		t.Errorf("epoch %d", epoch)
	}
	_, _, err = s.Offers().Offer(ctx, deploying(t, s, fescue.NewID()).Deployment, "core2", madeAt, superseding, signed) // of a group that is gone
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Offers().Offer(ctx, own.Deployment, "core2", madeAt, superseding, signed)
	refused(t, "a waiting deployment of a group that is gone", err, fescue.ErrInUse)

	// Its own, and those of another group with the tag.
	first := limited(group("north")).offer("core3")
	second := own.offer("core3")
	if diff := gocmp.Diff([]string{first.ID}, deploymentIDs(second.replaced)); diff != "" {
		t.Error(diff)
	}
	again := limited(own.GroupID).offer("core3")
	if diff := gocmp.Diff([]string{second.ID}, deploymentIDs(again.replaced)); diff != "" {
		t.Error(diff)
	}
}
