package store_test

import (
	"errors"
	"testing"

	"github.com/fescue-edge/fescue"
)

// What is offered lies above what a core was said to have seen.
func testEpochs(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	first := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
	for _, tc := range []struct {
		epoch  int64
		raised bool
		want   int64
	}{{1, false, 1}, {0, false, 1}, {7, true, 7}, {7, false, 7}, {5, false, 7}} {
		if raised := must(s.Offers().CatchUp(ctx, homePartition, "core", tc.epoch))(t); raised != tc.raised {
			t.Errorf("to %d: raised %t", tc.epoch, raised)
		}
		if epoch := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); epoch != tc.want {
			t.Errorf("to %d: epoch %d", tc.epoch, epoch)
		}
	}
	if list := must(s.Offers().Passed(ctx, homePartition, "core", 7))(t); len(list) != 1 || list[0].ID != first.ID {
		t.Errorf("passed %+v", list)
	}
	if list := must(s.Offers().Passed(ctx, homePartition, "core", 0))(t); len(list) != 0 {
		t.Errorf("passed %+v", list)
	}
	first.step(fescue.EventFailed)
	if list := must(s.Offers().Passed(ctx, homePartition, "core", 7))(t); len(list) != 0 {
		t.Errorf("passed %+v", list)
	}
	if r := deploying(t, s, "g").offer("core"); r.Epoch != 8 {
		t.Errorf("epoch %d", r.Epoch)
	}
	if raised := must(s.Offers().CatchUp(ctx, homePartition, "unknown", 3))(t); !raised {
		t.Error("a core without an epoch was not raised")
	}
	if r := deploying(t, s, "g3").offer("unknown"); r.Epoch != 4 {
		t.Errorf("epoch %d", r.Epoch)
	}
	to := func(epoch int64) func(int64) (int64, error) {
		return func(int64) (int64, error) { return epoch, nil }
	}
	for _, tc := range []struct{ epoch, before, now int64 }{
		{1 << 53, 8, 1 << 53},
		{9, 1 << 53, 9},
		{0, 9, 8}, // not below the last deployment
		{8, 8, 8},
	} {
		before, now, err := s.Offers().SetEpoch(ctx, homePartition, "core", to(tc.epoch))
		if err != nil || before != tc.before || now != tc.now {
			t.Errorf("set to %d: from %d to %d, %v", tc.epoch, before, now, err)
		}
		if epoch := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); epoch != tc.now {
			t.Errorf("set to %d: epoch %d", tc.epoch, epoch)
		}
	}
	for _, p := range elsewhere {
		if _, _, err := s.Offers().SetEpoch(ctx, p, "core", to(5)); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("set in %s: %v", p, err)
		}
		if epoch := must(s.Offers().Epoch(ctx, p, "core"))(t); epoch != 0 {
			t.Errorf("epoch %d in %s", epoch, p)
		}
	}
	must(s.Things().CreateThing(ctx, homePartition, fescue.Thing{Name: "thing", ID: "i", Version: 1}, epoch))(t)
	refusal := errors.New("refused")
	if _, _, err := s.Offers().SetEpoch(ctx, homePartition, "thing", func(int64) (int64, error) { return 9, refusal }); !errors.Is(err, refusal) {
		t.Errorf("refused: %v", err)
	}
	if before, now, err := s.Offers().SetEpoch(ctx, homePartition, "thing", to(5)); err != nil || before != 0 || now != 5 {
		t.Errorf("a thing that was no core: from %d to %d, %v", before, now, err)
	}
	if r := deploying(t, s, "g4").offer("thing"); r.Epoch != 6 {
		t.Errorf("epoch %d", r.Epoch)
	}
}
