package store_test

import (
	"context"
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

// getShadow reads one document with its revision.
func getShadow(ctx context.Context, s *store.DB, p fescue.Partition, id shadow.ID) (shadow.Document, int64, error) {
	kept, err := s.Shadows().Shadows(ctx, p, []shadow.ID{id})
	if err != nil {
		return shadow.Document{}, 0, err
	}
	return kept[0].Document, kept[0].Revision, nil
}

// putShadow writes one document over a revision.
func putShadow(ctx context.Context, s *store.DB, p fescue.Partition, id shadow.ID, d shadow.Document, over int64) error {
	moved, err := s.Shadows().PutShadows(ctx, p, []shadows.Kept{{ID: id, Document: d, Revision: over}})
	if err != nil {
		return err
	}
	return moved[0]
}

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
		d, got, err := getShadow(ctx, s, p, id)
		if err != nil || got != revision || string(d.Encode()) != string(want.Encode()) || d.Version != want.Version || !d.Deleted.Equal(want.Deleted) {
			t.Errorf("%+v at revision %d, %v; want %+v at %d", d, got, err, want, revision)
		}
	}
	t.Run("one that never was", func(t *testing.T) { is(t, homePartition, lamp, shadow.Document{}, 0) })
	t.Run("is written once", func(t *testing.T) {
		mustDo(t, putShadow(ctx, s, homePartition, lamp, document(1), 0))
		refused(t, "again", putShadow(ctx, s, homePartition, lamp, document(2), 0), fescue.ErrConflict)
		is(t, homePartition, lamp, document(1), 1)
	})
	t.Run("is written over its revision only", func(t *testing.T) {
		mustDo(t, putShadow(ctx, s, homePartition, lamp, document(2), 1))
		refused(t, "an old one", putShadow(ctx, s, homePartition, lamp, document(3), 1), fescue.ErrConflict)
		refused(t, "a later one", putShadow(ctx, s, homePartition, lamp, document(3), 3), fescue.ErrConflict)
		is(t, homePartition, lamp, document(2), 2)
	})
	t.Run("named ones are others", func(t *testing.T) {
		is(t, homePartition, night, shadow.Document{}, 0)
		mustDo(t, putShadow(ctx, s, homePartition, night, document(1), 0),
			putShadow(ctx, s, homePartition, shadow.ID{Thing: "lamp", Name: "day"}, document(1), 0),
			putShadow(ctx, s, homePartition, shadow.ID{Thing: "fan", Name: "x"}, document(1), 0))
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
	t.Run("many at once", func(t *testing.T) {
		var ids []shadow.ID
		var puts []shadows.Kept
		for i := range 120 {
			id := shadow.ID{Thing: fmt.Sprint("many", i/2), Name: []string{"", "n"}[i%2]}
			ids, puts = append(ids, id), append(puts, shadows.Kept{ID: id, Document: document(int64(i + 1))})
		}
		write := func(list []shadows.Kept, want ...int) {
			t.Helper()
			var moved []int
			for i, err := range must(s.Shadows().PutShadows(ctx, homePartition, list))(t) {
				if err != nil {
					refused(t, fmt.Sprint(i), err, fescue.ErrConflict)
					moved = append(moved, i)
				}
			}
			if diff := cmp.Diff(want, moved); diff != "" {
				t.Error(diff)
			}
		}
		// Those that others changed are left as they are, the rest is written.
		mustDo(t, putShadow(ctx, s, homePartition, ids[3], document(900), 0), putShadow(ctx, s, homePartition, ids[7], document(900), 0))
		write(puts, 3, 7)
		puts[5].Revision, puts[5].Document = 1, document(901)
		puts[6].Revision, puts[6].Document = 2, document(902)
		write(puts[5:7], 1)
		for _, n := range []int{0, 1, 2, 49, 50, 51, 120} {
			kept := must(s.Shadows().Shadows(ctx, homePartition, ids[:n]))(t)
			if len(kept) != n {
				t.Fatalf("%d for %d", len(kept), n)
			}
			for i, k := range kept {
				version, revision := int64(i+1), int64(1)
				switch i {
				case 3, 7:
					version = 900
				case 5:
					version, revision = 901, 2
				}
				if k.ID != ids[i] || k.Document.Version != version || k.Revision != revision || string(k.Document.Encode()) != string(document(1).Encode()) {
					t.Errorf("%d of %d: %+v", i, n, k)
				}
			}
		}
		kept := must(s.Shadows().Shadows(ctx, homePartition, []shadow.ID{{Thing: "none"}, lamp, {Thing: "many"}}))(t)
		if kept[0].Revision != 0 || kept[1].Revision != 2 || kept[2].ID.Thing != "many" || kept[2].Document.Exists() {
			t.Errorf("%+v", kept)
		}
		for _, p := range elsewhere {
			for _, k := range must(s.Shadows().Shadows(ctx, p, ids))(t) {
				if k.Revision != 0 {
					t.Errorf("%s: %+v", p, k)
				}
			}
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
			refused(t, p.String(), putShadow(ctx, s, p, lamp, document(3), 2), fescue.ErrConflict)
		}
	})
	t.Run("of a deleted one the version is left, for a while", func(t *testing.T) {
		gone := shadow.Document{Version: 1, Deleted: madeAt}
		mustDo(t, putShadow(ctx, s, homePartition, night, gone, 1), s.Shadows().ForgetShadows(ctx, madeAt))
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
				d, revision, err := getShadow(ctx, s, homePartition, lamp)
				if err == nil {
					d.Version++
					err = putShadow(ctx, s, homePartition, lamp, d, revision)
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
	if d, revision, err := getShadow(ctx, s, homePartition, lamp); err != nil || d.Version != writers*each || revision != writers*each {
		t.Errorf("version %d at revision %d, %v; want %d", d.Version, revision, err, writers*each)
	}
}
