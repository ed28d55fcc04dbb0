package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

func testCoreInfo(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	is := func(t *testing.T, p fescue.Partition, thing string, want fescue.CoreInfo, wantAt time.Time) {
		t.Helper()
		got, at, err := s.Cores().CoreInfo(ctx, p, thing)
		if err != nil || !at.Equal(wantAt) {
			t.Errorf("at %v, %v; want %v", at, err, wantAt)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	first := fescue.CoreInfo{
		Version: "1.2.3", Architecture: "arm", Kernel: "6.1.0 ”ü'", Cgroups: "v2", Root: true, Formats: []int{1, 2},
		Runtimes: []fescue.CoreRuntime{{Name: "Python", Version: "3.11.2", Path: "/usr/bin/python3"}},
	}
	second := fescue.CoreInfo{Version: "1.2.4", Architecture: "arm", Formats: []int{2}}
	t.Run("of a core that was never seen", func(t *testing.T) { is(t, homePartition, "core", fescue.CoreInfo{}, time.Time{}) })
	t.Run("of one that has not said", func(t *testing.T) {
		must(s.Offers().CatchUp(ctx, homePartition, "silent", 7))(t)
		is(t, homePartition, "silent", fescue.CoreInfo{}, time.Time{})
	})
	t.Run("is kept, and replaced as a whole", func(t *testing.T) {
		mustDo(t, s.Cores().SetCoreInfo(ctx, homePartition, "core", first, madeAt))
		is(t, homePartition, "core", first, madeAt)
		mustDo(t, s.Cores().SetCoreInfo(ctx, homePartition, "core", second, madeAt.Add(time.Hour)))
		is(t, homePartition, "core", second, madeAt.Add(time.Hour))
	})
	t.Run("leaves the core's epoch", func(t *testing.T) {
		mustDo(t, s.Cores().SetCoreInfo(ctx, homePartition, "silent", first, madeAt))
		if epoch := must(s.Offers().Epoch(ctx, homePartition, "silent"))(t); epoch != 7 {
			t.Errorf("epoch %d", epoch)
		}
	})
	t.Run("in another partition", func(t *testing.T) {
		for _, p := range elsewhere {
			is(t, p, "core", fescue.CoreInfo{}, time.Time{})
		}
	})
}
