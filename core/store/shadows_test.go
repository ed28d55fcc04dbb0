package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/shadows"
	"github.com/fescue-edge/fescue/shadow"
)

func TestShadows(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), FileName)
	db, log := open(t, path)
	s := db.Shadows()
	document := func(t *testing.T, payload string) (d shadow.Document) {
		t.Helper()
		u, err := shadow.ParseUpdate([]byte(payload), shadow.CoreLimits)
		if err == nil {
			d, err = d.Apply(u, time.Unix(7, 0), shadow.CoreLimits)
		}
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	write := func(id shadow.ID, r shadows.Record, most shadows.Bounds) error {
		refused, err := s.PutShadows(ctx, []shadows.Kept{{ID: id, Record: r}}, most)
		return errors.Join(append(refused, err)...)
	}
	synceds := func(things ...string) (list []shadow.ID, err error) {
		records := make(map[shadow.ID]shadows.Record)
		err = s.SyncedShadows(ctx, things, func(id shadow.ID, r shadows.Record, err error) {
			if err != nil {
				t.Error(err)
			}
			list, records[id] = append(list, id), r
		})
		for id, r := range records {
			if is, err := s.Shadow(ctx, id); err != nil || fmt.Sprint(is) != fmt.Sprint(r) {
				t.Errorf("%v: %+v; read alone %+v, %v", id, r, is, err)
			}
		}
		return list, err
	}
	put := func(t *testing.T, id shadow.ID, r shadows.Record) {
		t.Helper()
		if err := write(id, r, shadows.Bounds{All: 100, Named: 100}); err != nil {
			t.Fatal(err)
		}
	}
	get := func(t *testing.T, id shadow.ID) shadows.Record {
		t.Helper()
		r, err := s.Shadow(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	// what forgets or lists makes no file
	for _, f := range []func() error{
		func() error { return s.ClearShadows(ctx) },
		func() error { return s.UnsyncShadows(ctx, nil) },
		func() error { return s.ForgetShadows(ctx, time.Now()) },
		func() error { _, err := synceds("lamp"); return err },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("there is a file: %v", err)
	}
	lamp, named, fan := shadow.ID{Thing: "lamp"}, shadow.ID{Thing: "lamp", Name: "$night"}, shadow.ID{Thing: "fan"}
	if r := get(t, lamp); !r.Zero() {
		t.Errorf("one that never was: %+v", r)
	}
	one, two := document(t, `{"state":{"desired":{"a":1.10}}}`), document(t, `{"state":{"reported":{"b":[1,{"c":2}]}}}`)
	synced := shadow.Synced{Local: one.State(), Cloud: two.State(), LocalVersion: 1, CloudVersion: 9}
	put(t, lamp, shadows.Record{Document: one, Synced: synced})
	put(t, named, shadows.Record{Document: two})
	put(t, fan, shadows.Record{Document: two, Synced: synced})
	t.Run("a record comes back as it went in", func(t *testing.T) {
		for id, want := range map[shadow.ID]shadows.Record{lamp: {Document: one, Synced: synced}, named: {Document: two}} {
			got := get(t, id)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
	})
	t.Run("a deleted one leaves its version, and what was in step", func(t *testing.T) {
		at := time.UnixMilli(1234567).UTC()
		put(t, lamp, shadows.Record{Document: shadow.Document{Version: 4, Deleted: at}, Synced: synced})
		if got := get(t, lamp); got.Document.Exists() || got.Document.Version != 4 || !got.Document.Deleted.Equal(at) || got.Synced.CloudVersion != 9 {
			t.Errorf("%+v", got)
		}
		put(t, named, shadows.Record{Document: shadow.Document{Version: 2, Deleted: at}})
		if list, err := synceds("lamp"); err != nil || fmt.Sprint(list) != "[{lamp }]" {
			t.Errorf("%v, %v", list, err)
		}
		if err := s.ForgetShadows(ctx, at); err != nil || get(t, named).Zero() {
			t.Errorf("forgotten too early, %v", err)
		}
		if err := s.ForgetShadows(ctx, at.Add(time.Millisecond)); err != nil || !get(t, named).Zero() || get(t, lamp).Zero() {
			t.Errorf("forgotten %+v and %+v, %v", get(t, named), get(t, lamp), err)
		}
	})
	t.Run("what is not in step any more", func(t *testing.T) {
		if err := s.UnsyncShadows(ctx, []string{"fan", "none"}); err != nil {
			t.Fatal(err)
		}
		if !get(t, lamp).Synced.Zero() || get(t, fan).Synced.Zero() {
			t.Errorf("%+v, %+v", get(t, lamp), get(t, fan))
		}
	})
	t.Run("too many", func(t *testing.T) {
		// There are the fan's, and the lamp's, which is deleted and does not count.
		most := shadows.Bounds{All: 3, Named: 1}
		day, third := shadow.ID{Thing: "lamp", Name: "day"}, shadow.ID{Thing: "third"}
		gone := func(at int64) shadows.Record {
			return shadows.Record{Document: shadow.Document{Version: 2, Deleted: time.Unix(at, 0)}}
		}
		for _, tc := range []struct {
			title string
			id    shadow.ID
			r     shadows.Record
			want  error
		}{
			{"a named one", named, shadows.Record{Document: two}, nil},
			{"another one of the thing", day, shadows.Record{Document: two}, shadows.ErrTooManyNamed},
			{"another thing's", shadow.ID{Thing: "fan", Name: "day"}, shadows.Record{Document: two}, nil},
			{"one more in all", third, shadows.Record{Document: two}, shadows.ErrTooMany},
			{"one that was deleted, made again", lamp, shadows.Record{Document: one}, shadows.ErrTooMany},
			{"one that is there", fan, shadows.Record{Document: one, Synced: synced}, nil},
			{"a deletion", named, gone(2000), nil},
			{"another one in its place", day, shadows.Record{Document: two}, nil},
			{"the deleted one again", named, shadows.Record{Document: two}, shadows.ErrTooManyNamed},
			{"a deletion that the cloud does not know of", day, shadows.Record{Document: gone(2001).Document, Synced: synced}, nil},
			{"one in its place", named, shadows.Record{Document: two}, shadows.ErrTooManyNamed},
			{"that has been heard of", day, gone(2001), nil},
		} {
			if err := write(tc.id, tc.r, most); !errors.Is(err, tc.want) {
				t.Errorf("%s: %v, want %v", tc.title, err, tc.want)
			}
		}
		// Of the lamp's deleted ones the last is left.
		if !get(t, lamp).Zero() || !get(t, named).Zero() || get(t, day).Zero() {
			t.Errorf("%+v, %+v, %+v", get(t, lamp), get(t, named), get(t, day))
		}
		put(t, shadow.ID{Thing: "fan", Name: "day"}, shadows.Record{})
		put(t, lamp, shadows.Record{Document: two})
	})
	t.Run("many together", func(t *testing.T) {
		before, err := synceds("lamp", "fan", "third", "many")
		if err != nil {
			t.Fatal(err)
		}
		var list []shadows.Kept
		for i := range 60 {
			list = append(list, shadows.Kept{ID: shadow.ID{Thing: "many", Name: fmt.Sprint("n", i)}, Record: shadows.Record{Document: two}})
		}
		most := shadows.Bounds{All: len(before) + 50, Named: 52}
		refused, err := s.PutShadows(ctx, list, most)
		if err != nil || len(refused) != len(list) {
			t.Fatal(len(refused), err)
		}
		for i, err := range refused {
			if want := i >= 50; errors.Is(err, shadows.ErrTooMany) != want || get(t, list[i].ID).Zero() != want {
				t.Errorf("%d: %v", i, err)
			}
		}
		if after, err := synceds("lamp", "fan", "third", "many"); err != nil || len(after) != len(before)+50 {
			t.Errorf("%d, then %d, %v", len(before), len(after), err)
		}
		for i := range list {
			list[i].Record = shadows.Record{}
		}
		if _, err := s.PutShadows(ctx, list, most); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("another process goes on", func(t *testing.T) {
		other, _ := open(t, path)
		if r, err := other.Shadows().Shadow(ctx, fan); err != nil || !r.Document.Exists() {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("nothing at all", func(t *testing.T) {
		put(t, fan, shadows.Record{})
		if !get(t, fan).Zero() || get(t, lamp).Zero() {
			t.Error("one record is not one record")
		}
		if err := s.ClearShadows(ctx); err != nil || !get(t, lamp).Zero() {
			t.Error(err)
		}
	})
	if log.Len() > 0 {
		t.Errorf("the log says %s", log)
	}
}
