package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/registry"
)

func testThingTypes(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	light := registry.ThingType{Name: "light", ID: fescue.NewID(), Description: "it shines", SearchableAttributes: []string{"b", "a"}, CreatedAt: madeAt}
	is := func(t *testing.T, want registry.ThingType) {
		t.Helper()
		if diff := cmp.Diff(want, must(s.ThingTypes().ThingType(ctx, homePartition, want.Name))(t)); diff != "" {
			t.Error(diff)
		}
	}
	thing := func(name, thingType string) fescue.Thing {
		return fescue.Thing{Name: name, ID: fescue.NewID(), Type: thingType, Attributes: map[string]string{}, Version: 1}
	}
	create := func(p fescue.Partition, t fescue.Thing) error {
		_, err := s.Things().CreateThing(ctx, p, t, madeAt)
		return err
	}
	replace := func(t fescue.Thing) error {
		_, err := s.Things().ReplaceThing(ctx, homePartition, t)
		return err
	}

	t.Run("what is not there", func(t *testing.T) {
		_, err := s.ThingTypes().ThingType(ctx, homePartition, "light")
		wantError(t, err, fescue.ErrNotFound, "thing type light")
		wantError(t, s.ThingTypes().UpdateThingType(ctx, homePartition, "light", "", nil), fescue.ErrNotFound, "thing type light")
		wantError(t, s.ThingTypes().DeprecateThingType(ctx, homePartition, "light", madeAt), fescue.ErrNotFound, "thing type light")
		wantError(t, s.ThingTypes().DeleteThingType(ctx, homePartition, "light"), fescue.ErrNotFound, "thing type light")
		wantError(t, create(homePartition, thing("lamp", "light")), fescue.ErrNotFound, "thing type light")
		_, err = s.Things().Thing(ctx, homePartition, "lamp")
		wantError(t, err, fescue.ErrNotFound, "thing lamp")
	})
	t.Run("it comes back as it was written", func(t *testing.T) {
		for _, p := range elsewhere {
			must(s.ThingTypes().CreateThingType(ctx, p, registry.ThingType{Name: "light", ID: fescue.NewID(), CreatedAt: madeAt}))(t)
		}
		if diff := cmp.Diff(light, must(s.ThingTypes().CreateThingType(ctx, homePartition, light))(t)); diff != "" {
			t.Error(diff)
		}
		is(t, light)
		other := light
		other.Description = "another"
		found, err := s.ThingTypes().CreateThingType(ctx, homePartition, other)
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
		mustDo(t, s.ThingTypes().UpdateThingType(ctx, homePartition, "light", "it glows", nil))
		is(t, light)
	})
	t.Run("deprecated it takes no more things, and keeps those that it has", func(t *testing.T) {
		wantError(t, s.ThingTypes().DeleteThingType(ctx, homePartition, "light"), fescue.ErrPrecondition, "thing type light")
		light.DeprecatedAt = madeAt.Add(time.Hour)
		mustDo(t, s.ThingTypes().DeprecateThingType(ctx, homePartition, "light", light.DeprecatedAt))
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
		mustDo(t, s.ThingTypes().DeprecateThingType(ctx, homePartition, "light", time.Time{}), create(homePartition, thing("third", "light")))
		is(t, light)
	})
	t.Run("it is deleted when no thing is of it", func(t *testing.T) {
		mustDo(t, s.ThingTypes().DeprecateThingType(ctx, homePartition, "light", madeAt))
		wantError(t, s.ThingTypes().DeleteThingType(ctx, homePartition, "light"), fescue.ErrInUse, "thing type light")
		mustDo(t, s.Things().DeleteThing(ctx, homePartition, "lamp", 0), s.Things().DeleteThing(ctx, homePartition, "third", 0), s.ThingTypes().DeleteThingType(ctx, homePartition, "light"))
		_, err := s.ThingTypes().ThingType(ctx, homePartition, "light")
		wantError(t, err, fescue.ErrNotFound, "thing type light")
		for _, p := range elsewhere {
			must(s.ThingTypes().ThingType(ctx, p, "light"))(t)
		}
	})
	t.Run("lists page by name", func(t *testing.T) {
		s := open(t)
		for _, name := range []string{"c", "a", "b"} {
			must(s.ThingTypes().CreateThingType(ctx, homePartition, registry.ThingType{Name: name, ID: name, CreatedAt: madeAt}))(t)
		}
		must(s.ThingTypes().CreateThingType(ctx, elsewhere[0], registry.ThingType{Name: "d", ID: "d", CreatedAt: madeAt}))(t)
		for page, want := range map[fescue.Page]string{{Limit: 10}: "a b c", {Limit: 2}: "a b", {After: "a", Limit: 10}: "b c", {After: "c", Limit: 1}: ""} {
			got := ""
			for i, found := range must(s.ThingTypes().ThingTypes(ctx, homePartition, page))(t) {
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
		must(s.ThingTypes().CreateThingType(ctx, homePartition, registry.ThingType{Name: "x", ID: "x", CreatedAt: madeAt, DeprecatedAt: madeAt}))(t)
		eightTimes(func(i int) error {
			if i%2 == 0 {
				err := s.ThingTypes().DeleteThingType(ctx, homePartition, "x")
				if err != nil {
					return fescue.ErrConflict
				}
				return nil
			}
			if err := s.ThingTypes().DeprecateThingType(ctx, homePartition, "x", time.Time{}); err != nil {
				return fescue.ErrConflict
			}
			defer s.ThingTypes().DeprecateThingType(ctx, homePartition, "x", madeAt)
			if _, err := s.Things().CreateThing(ctx, homePartition, thing(fmt.Sprint("t", i), "x"), madeAt); err != nil {
				return fescue.ErrConflict
			}
			return nil
		}, fescue.ErrConflict, t)
		_, err := s.ThingTypes().ThingType(ctx, homePartition, "x")
		if things := must(s.Things().Things(ctx, homePartition, "x", fescue.Page{Limit: 10}))(t); err != nil && len(things) > 0 {
			t.Errorf("%+v are of a type that is not there: %v", things, err)
		}
	})
}
