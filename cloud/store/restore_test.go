package store_test

import (
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

func testRestore(t *testing.T, open opener) {
	t.Parallel()
	for _, k := range everyKind() {
		t.Run("a version under its ids: "+k.Name, func(t *testing.T) {
			t.Parallel()
			s, ctx := open(t), t.Context()
			d := newContainer(k, "mine")
			d.Tags = map[string]string{"a": "b"}
			v := newVersion(k, d.ID, `{"X":1}`)
			if !must(s.Definitions().RestoreVersion(ctx, homePartition, d, v))(t) {
				t.Error("not made")
			}
			d.LatestVersion = v.ID
			if got := must(s.Definitions().Definition(ctx, homePartition, k, d.ID))(t); !gocmp.Equal(got, d) {
				t.Error(gocmp.Diff(d, got))
			}
			if got := must(s.Definitions().Version(ctx, homePartition, k, d.ID, v.ID))(t); !gocmp.Equal(got, v) {
				t.Error(gocmp.Diff(v, got))
			}
			// Again, under another name: nothing changes.
			other := d
			other.Name = "other"
			if must(s.Definitions().RestoreVersion(ctx, homePartition, other, v))(t) {
				t.Error("made twice")
			}
			changed := v
			changed.Body = []byte(`{"X":2}`)
			_, err := s.Definitions().RestoreVersion(ctx, homePartition, d, changed)
			refused(t, "another body", err, fescue.ErrExists)
			if got := must(s.Definitions().Definition(ctx, homePartition, k, d.ID))(t); !gocmp.Equal(got, d) {
				t.Error(gocmp.Diff(d, got))
			}
			// The next version becomes the latest; so does one that is made as usual.
			second := newVersion(k, d.ID, `{}`)
			if !must(s.Definitions().RestoreVersion(ctx, homePartition, d, second))(t) {
				t.Error("not made")
			}
			third := must(s.Definitions().CreateVersion(ctx, homePartition, newVersion(k, d.ID, `{}`), fescue.Token{}))(t)
			list := must(s.Definitions().Versions(ctx, homePartition, k, d.ID, fescue.Page{Limit: 9}))(t)
			if diff := gocmp.Diff([]string{third.ID, second.ID, v.ID}, versionIDs(list)); diff != "" {
				t.Error(diff)
			}
			for _, p := range elsewhere {
				if !must(s.Definitions().RestoreVersion(ctx, p, d, changed))(t) {
					t.Errorf("the ids are taken in %s", p)
				}
			}
		})
	}
	t.Run("many at once", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		d := newContainer(fescue.CoreKind, "")
		same := newVersion(d.Kind, d.ID, `{}`)
		var made sync.Map
		var running sync.WaitGroup
		for i := range 8 {
			running.Go(func() {
				ok, err := s.Definitions().RestoreVersion(ctx, homePartition, d, same)
				if err != nil {
					t.Error(err)
				}
				if ok {
					made.Store(i, true)
				}
				if _, err := s.Definitions().RestoreVersion(ctx, homePartition, d, newVersion(d.Kind, d.ID, `{}`)); err != nil {
					t.Error(err)
				}
			})
		}
		running.Wait()
		n := 0
		made.Range(func(any, any) bool { n++; return true })
		if list := must(s.Definitions().Versions(ctx, homePartition, d.Kind, d.ID, fescue.Page{Limit: 99}))(t); n != 1 || len(list) != 9 {
			t.Errorf("the same version was made %d times; %d versions", n, len(list))
		}
	})
	t.Run("a function's version under its number", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		numbered := func(number, code string) fescue.FunctionVersion {
			v := latest("f", "r"+number)
			v.Version, v.CodeHash = number, code
			return v
		}
		if !must(s.Functions().RestoreFunctionVersion(ctx, homePartition, latest("f", "r"), numbered("7", "seven")))(t) {
			t.Error("not made")
		}
		if got := must(s.Functions().FunctionVersion(ctx, homePartition, "f", "7"))(t); !gocmp.Equal(got, numbered("7", "seven")) {
			t.Error(gocmp.Diff(numbered("7", "seven"), got))
		}
		if got := must(s.Functions().FunctionVersion(ctx, homePartition, "f", fescue.LatestVersion))(t); !gocmp.Equal(got, latest("f", "r")) {
			t.Error(gocmp.Diff(latest("f", "r"), got))
		}
		again := numbered("7", "seven")
		again.RevisionID = "another"
		if must(s.Functions().RestoreFunctionVersion(ctx, homePartition, latest("f", "x"), again))(t) {
			t.Error("made twice")
		}
		_, err := s.Functions().RestoreFunctionVersion(ctx, homePartition, latest("f", "x"), numbered("7", "other"))
		refused(t, "other code", err, fescue.ErrExists)
		// $LATEST is what version 7 is: publishing makes nothing new.
		if got := must(s.Functions().PublishFunction(ctx, homePartition, *published(latest("f", "r"), "p"), "r"))(t); got.Version != "7" {
			t.Errorf("published %s, want 7 again", got.Version)
		}
		for _, number := range []string{"3", "9"} { // below and above
			if !must(s.Functions().RestoreFunctionVersion(ctx, homePartition, latest("f", "x"), numbered(number, number)))(t) {
				t.Errorf("%s was not made", number)
			}
		}
		// $LATEST is not version 9, so publishing makes a version of it.
		got := must(s.Functions().PublishFunction(ctx, homePartition, *published(latest("f", "r"), "p"), "r"))(t)
		if got.Version != "10" || got.CodeHash != latest("f", "r").CodeHash {
			t.Errorf("published %+v, want 10 with the code of $LATEST", got)
		}
		for _, bad := range []string{fescue.LatestVersion, "0", "-1", "07", "x", ""} {
			_, err := s.Functions().RestoreFunctionVersion(ctx, homePartition, latest("f", "x"), numbered(bad, ""))
			refused(t, "version "+bad, err, fescue.ErrNotFound)
		}
	})
}
