package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/shadows"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/shadow"
)

var _ shadows.Store = store.Shadows{}

func testShadows(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	lamp := shadow.ID{Thing: "lamp"}
	night := shadow.ID{Thing: "lamp", Name: "night"}
	document := func(version int64) shadow.Document {
		return shadow.Document{Version: version, Desired: map[string]any{"text": "<ü> \x00"}, Metadata: shadow.Metadata{Desired: map[string]any{}}}
	}
	is := func(t *testing.T, p fescue.Partition, id shadow.ID, want shadow.Document, revision int64) {
		t.Helper()
		d, got, err := s.Shadows().Shadow(ctx, p, id)
		if err != nil || got != revision || string(d.Encode()) != string(want.Encode()) || d.Version != want.Version || !d.Deleted.Equal(want.Deleted) {
			t.Errorf("%+v at revision %d, %v; want %+v at %d", d, got, err, want, revision)
		}
	}
	t.Run("one that never was", func(t *testing.T) { is(t, homePartition, lamp, shadow.Document{}, 0) })
	t.Run("is written once", func(t *testing.T) {
		mustDo(t, s.Shadows().PutShadow(ctx, homePartition, lamp, document(1), 0))
		refused(t, "again", s.Shadows().PutShadow(ctx, homePartition, lamp, document(2), 0), fescue.ErrConflict)
		is(t, homePartition, lamp, document(1), 1)
	})
	t.Run("is written over its revision only", func(t *testing.T) {
		mustDo(t, s.Shadows().PutShadow(ctx, homePartition, lamp, document(2), 1))
		refused(t, "an old one", s.Shadows().PutShadow(ctx, homePartition, lamp, document(3), 1), fescue.ErrConflict)
		refused(t, "a later one", s.Shadows().PutShadow(ctx, homePartition, lamp, document(3), 3), fescue.ErrConflict)
		is(t, homePartition, lamp, document(2), 2)
	})
	t.Run("named ones are others", func(t *testing.T) {
		is(t, homePartition, night, shadow.Document{}, 0)
		mustDo(t, s.Shadows().PutShadow(ctx, homePartition, night, document(1), 0),
			s.Shadows().PutShadow(ctx, homePartition, shadow.ID{Thing: "lamp", Name: "day"}, document(1), 0),
			s.Shadows().PutShadow(ctx, homePartition, shadow.ID{Thing: "fan", Name: "x"}, document(1), 0))
		for _, tc := range []struct {
			page fescue.Page
			want []string
		}{
			{fescue.Page{Limit: 10}, []string{"day", "night"}},
			{fescue.Page{Limit: 1}, []string{"day"}},
			{fescue.Page{After: "day", Limit: 10}, []string{"night"}},
			{fescue.Page{After: "night", Limit: 10}, nil},
		} {
			if diff := cmp.Diff(tc.want, must(s.Shadows().ShadowNames(ctx, homePartition, "lamp", tc.page))(t)); diff != "" {
				t.Errorf("%+v: %s", tc.page, diff)
			}
		}
	})
	t.Run("all of a thing", func(t *testing.T) {
		said := make(map[string]string)
		for name, d := range must(s.Shadows().ShadowsOf(ctx, homePartition, "lamp"))(t) {
			said[name] = fmt.Sprintf("%d %s", d.Version, d.Encode())
		}
		want := map[string]string{"": "2 " + string(document(2).Encode()), "day": "1 " + string(document(1).Encode()), "night": "1 " + string(document(1).Encode())}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("in another partition", func(t *testing.T) {
		for _, p := range elsewhere {
			is(t, p, lamp, shadow.Document{}, 0)
			if names := must(s.Shadows().ShadowNames(ctx, p, "lamp", fescue.Page{Limit: 10}))(t); names != nil {
				t.Errorf("%s: %v", p, names)
			}
			if found := must(s.Shadows().ShadowsOf(ctx, p, "lamp"))(t); len(found) > 0 {
				t.Errorf("%s: %v", p, found)
			}
			refused(t, p.String(), s.Shadows().PutShadow(ctx, p, lamp, document(3), 2), fescue.ErrConflict)
		}
	})
	t.Run("of a deleted one the version is left, for a while", func(t *testing.T) {
		gone := shadow.Document{Version: 1, Deleted: madeAt}
		mustDo(t, s.Shadows().PutShadow(ctx, homePartition, night, gone, 1), s.Shadows().ForgetShadows(ctx, madeAt))
		is(t, homePartition, night, gone, 2)
		if names := must(s.Shadows().ShadowNames(ctx, homePartition, "lamp", fescue.Page{Limit: 10}))(t); len(names) != 1 {
			t.Errorf("listed %v", names)
		}
		if found := must(s.Shadows().ShadowsOf(ctx, homePartition, "lamp"))(t); len(found) != 2 {
			t.Errorf("found %v", found)
		}
		mustDo(t, s.Shadows().ForgetShadows(ctx, madeAt.Add(time.Millisecond)))
		is(t, homePartition, night, shadow.Document{}, 0)
		is(t, homePartition, lamp, document(2), 2)
	})
}

// testShadowRace has writers count together: each change is made over the
// revision that was read, so none is lost.
func testShadowRace(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	lamp := shadow.ID{Thing: "lamp"}
	const writers, each = 8, 10
	var wg sync.WaitGroup
	failed := make(chan error, writers)
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				d, revision, err := s.Shadows().Shadow(ctx, homePartition, lamp)
				if err == nil {
					d.Version++
					err = s.Shadows().PutShadow(ctx, homePartition, lamp, d, revision)
				}
				if err == nil {
					done++
				} else if !errors.Is(err, fescue.ErrConflict) {
					failed <- fmt.Errorf("writer: %w", err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if d, revision, err := s.Shadows().Shadow(ctx, homePartition, lamp); err != nil || d.Version != writers*each || revision != writers*each {
		t.Errorf("version %d at revision %d, %v; want %d", d.Version, revision, err, writers*each)
	}
}
