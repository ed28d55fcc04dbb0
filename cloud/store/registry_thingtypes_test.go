package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

func testThingTypes(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	light := fescue.ThingType{Name: "light", ID: fescue.NewID(), Description: "it shines", SearchableAttributes: []string{"b", "a"}, CreatedAt: madeAt}
	is := func(t *testing.T, want fescue.ThingType) {
		t.Helper()
		if diff := cmp.Diff(want, must(s.ThingType(ctx, homePartition, want.Name))(t)); diff != "" {
			t.Error(diff)
		}
	}
	thing := func(name, thingType string) fescue.Thing {
		return fescue.Thing{Name: name, ID: fescue.NewID(), Type: thingType, Attributes: map[string]string{}, Version: 1}
	}
	create := func(p fescue.Partition, t fescue.Thing) error {
		_, err := s.CreateThing(ctx, p, t, madeAt)
		return err
	}
	replace := func(t fescue.Thing) error {
		_, err := s.ReplaceThing(ctx, homePartition, t)
		return err
	}

	t.Run("what is not there", func(t *testing.T) {
		_, err := s.ThingType(ctx, homePartition, "light")
		wantError(t, err, fescue.ErrNotFound, "thing type light")
		wantError(t, s.UpdateThingType(ctx, homePartition, "light", "", nil), fescue.ErrNotFound, "thing type light")
		wantError(t, s.DeprecateThingType(ctx, homePartition, "light", madeAt), fescue.ErrNotFound, "thing type light")
		wantError(t, s.DeleteThingType(ctx, homePartition, "light"), fescue.ErrNotFound, "thing type light")
		wantError(t, create(homePartition, thing("lamp", "light")), fescue.ErrNotFound, "thing type light")
		_, err = s.Thing(ctx, homePartition, "lamp")
		wantError(t, err, fescue.ErrNotFound, "thing lamp")
	})
	t.Run("it comes back as it was written", func(t *testing.T) {
		for _, p := range elsewhere {
			must(s.CreateThingType(ctx, p, fescue.ThingType{Name: "light", ID: fescue.NewID(), CreatedAt: madeAt}))(t)
		}
		if diff := cmp.Diff(light, must(s.CreateThingType(ctx, homePartition, light))(t)); diff != "" {
			t.Error(diff)
		}
		is(t, light)
		other := light
		other.Description = "another"
		found, err := s.CreateThingType(ctx, homePartition, other)
		wantError(t, err, fescue.ErrExists, "thing type light")
		if diff := cmp.Diff(light, found); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("things are of it", func(t *testing.T) {
		mustDo(t, create(homePartition, thing("lamp", "light")))
		next := thing("lamp", "none")
		next.Version = 2
		wantError(t, replace(next), fescue.ErrNotFound, "thing type none")
		next.Type = ""
		mustDo(t, replace(next))
		next.Type, next.Version = "light", 3
		mustDo(t, replace(next))
	})
	t.Run("it is updated", func(t *testing.T) {
		light.Description, light.SearchableAttributes = "it glows", nil
		mustDo(t, s.UpdateThingType(ctx, homePartition, "light", "it glows", nil))
		is(t, light)
	})
	t.Run("deprecated it takes no more things, and keeps those that it has", func(t *testing.T) {
		wantError(t, s.DeleteThingType(ctx, homePartition, "light"), fescue.ErrPrecondition, "thing type light")
		light.DeprecatedAt = madeAt.Add(time.Hour)
		mustDo(t, s.DeprecateThingType(ctx, homePartition, "light", light.DeprecatedAt))
		is(t, light)
		wantError(t, create(homePartition, thing("other", "light")), fescue.ErrPrecondition, "thing type light")
		mustDo(t, create(elsewhere[0], thing("other", "light")), create(homePartition, thing("other", "")))
		next := thing("other", "light")
		next.Version = 2
		wantError(t, replace(next), fescue.ErrPrecondition, "thing type light")
		next = thing("lamp", "light")
		next.Version = 4
		mustDo(t, replace(next))
		wantError(t, create(homePartition, thing("lamp", "light")), fescue.ErrExists, "thing lamp")

		light.DeprecatedAt = time.Time{}
		mustDo(t, s.DeprecateThingType(ctx, homePartition, "light", time.Time{}), create(homePartition, thing("third", "light")))
		is(t, light)
	})
	t.Run("it is deleted when no thing is of it", func(t *testing.T) {
		mustDo(t, s.DeprecateThingType(ctx, homePartition, "light", madeAt))
		wantError(t, s.DeleteThingType(ctx, homePartition, "light"), fescue.ErrInUse, "thing type light")
		mustDo(t, s.DeleteThing(ctx, homePartition, "lamp", 0), s.DeleteThing(ctx, homePartition, "third", 0), s.DeleteThingType(ctx, homePartition, "light"))
		_, err := s.ThingType(ctx, homePartition, "light")
		wantError(t, err, fescue.ErrNotFound, "thing type light")
		for _, p := range elsewhere {
			must(s.ThingType(ctx, p, "light"))(t)
		}
	})
	t.Run("lists page by name", func(t *testing.T) {
		s := open(t)
		for _, name := range []string{"c", "a", "b"} {
			must(s.CreateThingType(ctx, homePartition, fescue.ThingType{Name: name, ID: name, CreatedAt: madeAt}))(t)
		}
		must(s.CreateThingType(ctx, elsewhere[0], fescue.ThingType{Name: "d", ID: "d", CreatedAt: madeAt}))(t)
		for page, want := range map[fescue.Page]string{{Limit: 10}: "a b c", {Limit: 2}: "a b", {After: "a", Limit: 10}: "b c", {After: "c", Limit: 1}: ""} {
			got := ""
			for i, found := range must(s.ThingTypes(ctx, homePartition, page))(t) {
				if got += found.Name; i < len(want)/2 {
					got += " "
				}
			}
			if got != want {
				t.Errorf("%+v: %q, want %q", page, got, want)
			}
		}
	})
	t.Run("eight delete it and make things of it: never a thing without its type", func(t *testing.T) {
		s := open(t)
		must(s.CreateThingType(ctx, homePartition, fescue.ThingType{Name: "x", ID: "x", CreatedAt: madeAt, DeprecatedAt: madeAt}))(t)
		eightTimes(func(i int) error {
			if i%2 == 0 {
				err := s.DeleteThingType(ctx, homePartition, "x")
				if err != nil {
					return fescue.ErrConflict
				}
				return nil
			}
			if err := s.DeprecateThingType(ctx, homePartition, "x", time.Time{}); err != nil {
				return fescue.ErrConflict
			}
			defer s.DeprecateThingType(ctx, homePartition, "x", madeAt)
			if _, err := s.CreateThing(ctx, homePartition, thing(fmt.Sprint("t", i), "x"), madeAt); err != nil {
				return fescue.ErrConflict
			}
			return nil
		}, fescue.ErrConflict, t)
		_, err := s.ThingType(ctx, homePartition, "x")
		if things := must(s.Things(ctx, homePartition, "x", fescue.Page{Limit: 10}))(t); err != nil && len(things) > 0 {
			t.Errorf("%+v are of a type that is not there: %v", things, err)
		}
	})
}
