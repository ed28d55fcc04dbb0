package registry_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func TestCreateThing(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	must(s.CreateThingType(ctx, here, registry.ThingType{Name: "light"}))
	first, err := s.CreateThing(ctx, here, "lamp", "light", map[string]string{"colour": "red"})
	mustDo(t, err)

	t.Run("the same again is the same thing", func(t *testing.T) {
		again, err := s.CreateThing(ctx, here, "lamp", "light", map[string]string{"colour": "red"})
		mustDo(t, err)
		if diff := cmp.Diff(first, again); diff != "" {
			t.Error(diff)
		}
		if !fescue.ValidID(first.ID) || first.Version != 1 {
			t.Errorf("got %+v", first)
		}
	})
	t.Run("other settings are refused", func(t *testing.T) {
		for _, attributes := range []map[string]string{nil, {"colour": "blue"}, {"colour": "red", "more": ""}} {
			_, err := s.CreateThing(ctx, here, "lamp", "light", attributes)
			wantError(t, err, registry.ErrThingDiffers)
		}
		_, err := s.CreateThing(ctx, here, "lamp", "", map[string]string{"colour": "red"})
		wantError(t, err, registry.ErrThingDiffers)
	})
	t.Run("absent and empty attributes are the same", func(t *testing.T) {
		a := must(s.CreateThing(ctx, here, "bare", "", nil))
		b := must(s.CreateThing(ctx, here, "bare", "", map[string]string{}))
		if diff := cmp.Diff(a, b); diff != "" {
			t.Error(diff)
		}
	})
	many := make(map[string]string)
	for i := range 51 {
		many[fmt.Sprint("a", i)] = "x"
	}
	for _, tc := range []struct {
		title, name, thingType string
		attributes             map[string]string
		mention                string
	}{
		{"no name", "", "", nil, "thing name"},
		{"a slash", "a/b", "", nil, "thing name"},
		{"a space", "a b", "", nil, "thing name"},
		{"NUL", "a\x00", "", nil, "thing name"},
		{"bad UTF-8", "\xff", "", nil, "thing name"},
		{"129 characters", strings.Repeat("a", 129), "", nil, "thing name"},
		{"a type with a space", "ok", "a b", nil, "thing type name"},
		{"an attribute without name", "ok", "", map[string]string{"": "x"}, "attribute name"},
		{"an attribute name with a space", "ok", "", map[string]string{"a b": "x"}, "attribute name"},
		{"a value with a space", "ok", "", map[string]string{"a": "x y"}, "attribute a"},
		{"a value too long", "ok", "", map[string]string{"a": strings.Repeat("x", 801)}, "attribute a"},
		{"too many attributes", "ok", "", many, "at most 50"},
	} {
		t.Run("refused: "+tc.title, func(t *testing.T) {
			_, err := s.CreateThing(ctx, here, tc.name, tc.thingType, tc.attributes)
			wantInvalid(t, err, tc.mention)
		})
	}
}

func TestUpdateThing(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	version := func(n int64) *int64 { return &n }
	for _, name := range []string{"light", "heavy", "x"} {
		must(s.CreateThingType(ctx, here, registry.ThingType{Name: name}))
	}
	for i, tc := range []struct {
		title  string
		change registry.ThingChange
		want   fescue.Thing // name and id are filled in
	}{
		{"nothing but the version", registry.ThingChange{}, fescue.Thing{Type: "light", Attributes: map[string]string{"a": "1", "b": "2"}}},
		{"attributes are replaced", registry.ThingChange{Attributes: map[string]string{"c": "3"}}, fescue.Thing{Type: "light", Attributes: map[string]string{"c": "3"}}},
		{"attributes are merged, empty ones removed", registry.ThingChange{Attributes: map[string]string{"a": "", "c": "3"}, Merge: true}, fescue.Thing{Type: "light", Attributes: map[string]string{"b": "2", "c": "3"}}},
		{"all attributes go", registry.ThingChange{Attributes: map[string]string{}}, fescue.Thing{Type: "light", Attributes: map[string]string{}}},
		{"another type", registry.ThingChange{Type: "heavy"}, fescue.Thing{Type: "heavy", Attributes: map[string]string{"a": "1", "b": "2"}}},
		{"no type", registry.ThingChange{RemoveType: true}, fescue.Thing{Attributes: map[string]string{"a": "1", "b": "2"}}},
		{"at the expected version", registry.ThingChange{ExpectedVersion: version(1), Type: "x"}, fescue.Thing{Type: "x", Attributes: map[string]string{"a": "1", "b": "2"}}},
	} {
		t.Run(tc.title, func(t *testing.T) {
			name := fmt.Sprint("t", i)
			made := must(s.CreateThing(ctx, here, name, "light", map[string]string{"a": "1", "b": "2"}))
			mustDo(t, s.UpdateThing(ctx, here, name, tc.change))
			tc.want.Name, tc.want.ID, tc.want.Version = name, made.ID, 2
			if diff := cmp.Diff(tc.want, must(s.Thing(ctx, here, name))); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		must(s.CreateThing(ctx, here, "full", "", nil))
		wantError(t, s.UpdateThing(ctx, here, "full", registry.ThingChange{ExpectedVersion: version(2)}), registry.ErrThingVersion)
		wantError(t, s.UpdateThing(ctx, here, "none", registry.ThingChange{}), fescue.ErrNotFound)
		wantError(t, s.UpdateThing(ctx, there, "full", registry.ThingChange{}), fescue.ErrNotFound)
		wantInvalid(t, s.UpdateThing(ctx, here, "full", registry.ThingChange{Type: "x", RemoveType: true}), "exclude")
		wantInvalid(t, s.UpdateThing(ctx, here, "a/b", registry.ThingChange{}), "thing name")
		for half := range 2 {
			attributes := make(map[string]string)
			for i := range 30 {
				attributes[fmt.Sprint(half, "-", i)] = "x"
			}
			err := s.UpdateThing(ctx, here, "full", registry.ThingChange{Attributes: attributes, Merge: true})
			if half == 0 {
				mustDo(t, err)
			} else {
				wantInvalid(t, err, "at most 50")
			}
		}
	})
	t.Run("two at once both count", func(t *testing.T) {
		must(s.CreateThing(ctx, here, "busy", "", nil))
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				if err := s.UpdateThing(ctx, here, "busy", registry.ThingChange{Attributes: map[string]string{fmt.Sprint("a", i): "x"}, Merge: true}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := must(s.Thing(ctx, here, "busy")); got.Version != 5 || len(got.Attributes) != 4 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestDeleteThing(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	must(s.CreateThing(ctx, here, "lamp", "", nil))
	c := must(s.RegisterCertificateWithoutCA(ctx, here, device(t, authority(t)), fescue.CertificateActive))
	mustDo(t, s.AttachThing(ctx, here, "lamp", c.ID))
	for _, version := range []int64{-1, 0, 2} {
		wantError(t, s.DeleteThing(ctx, here, "lamp", &version), registry.ErrThingVersion)
	}
	wantError(t, s.DeleteThing(ctx, here, "lamp", nil), registry.ErrThingAttached)
	wantInvalid(t, s.DeleteThing(ctx, here, "..", nil), "thing name")
	mustDo(t, s.DeleteThing(ctx, there, "lamp", nil)) // not there: a success, and not this one
	mustDo(t, s.DetachThing(ctx, here, "lamp", c.ID), s.DeleteThing(ctx, here, "lamp", nil), s.DeleteThing(ctx, here, "lamp", nil))
}

func TestListThings(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	text := func(s string) *string { return &s }
	for _, name := range []string{"even", "odd"} {
		must(s.CreateThingType(ctx, here, registry.ThingType{Name: name}))
	}
	for i := range 9 {
		attributes := map[string]string{"row": fmt.Sprint("r", i%3)}
		if i == 8 {
			attributes = nil
		}
		must(s.CreateThing(ctx, here, fmt.Sprint("t", i), []string{"even", "odd"}[i%2], attributes))
	}
	for _, tc := range []struct {
		title  string
		filter registry.ThingFilter
		want   string
	}{
		{"all", registry.ThingFilter{}, "t0 t1 t2 t3 t4 t5 t6 t7 t8"},
		{"by type", registry.ThingFilter{Type: "odd"}, "t1 t3 t5 t7"},
		{"that have an attribute", registry.ThingFilter{Attribute: "row"}, "t0 t1 t2 t3 t4 t5 t6 t7"},
		{"by value", registry.ThingFilter{Attribute: "row", Value: text("r1")}, "t1 t4 t7"},
		{"by type and value", registry.ThingFilter{Type: "odd", Attribute: "row", Value: text("r1")}, "t1 t7"},
		{"by the beginning of a value", registry.ThingFilter{Attribute: "row", Value: text("r"), ValuePrefix: true}, "t0 t1 t2 t3 t4 t5 t6 t7"},
		{"none", registry.ThingFilter{Attribute: "row", Value: text("r")}, ""},
	} {
		for _, limit := range []int{1, 3, 250} {
			t.Run(fmt.Sprintf("%s, %d a page", tc.title, limit), func(t *testing.T) {
				var names []string
				page := fescue.Page{Limit: limit}
				for pages := 0; ; pages++ {
					list, next, err := s.Things(ctx, here, tc.filter, page)
					mustDo(t, err)
					if len(list) > limit || pages > 20 {
						t.Fatalf("page %d has %d things", pages, len(list))
					}
					for _, thing := range list {
						names = append(names, thing.Name)
					}
					if next == "" {
						break
					}
					page.After = next
				}
				if got := strings.Join(names, " "); got != tc.want {
					t.Errorf("got %s, want %s", got, tc.want)
				}
			})
		}
	}
	t.Run("refused", func(t *testing.T) {
		for mention, filter := range map[string]registry.ThingFilter{
			"attributeName": {Value: text("x")},
			"128":           {Attribute: "a b"},
			"type name":     {Type: "a b"},
		} {
			_, _, err := s.Things(ctx, here, filter, fescue.Page{Limit: 1})
			wantInvalid(t, err, mention)
		}
	})
}

// contended is a store on which another caller is always first.
type contended struct {
	registry.ThingStore
	tries int
}

func (c *contended) ReplaceThing(context.Context, fescue.Partition, fescue.Thing) ([]string, error) {
	c.tries++
	return nil, fmt.Errorf("thing %w", fescue.ErrConflict)
}

func TestUpdateThingGivesUp(t *testing.T) {
	t.Parallel()
	c := &contended{ThingStore: storetest.Open(t).Things()}
	s := registry.New(registry.Options{Stores: registry.Stores{Things: c}, Authority: authority(t), AWS: "aws", Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	must(s.CreateThing(t.Context(), here, "lamp", "", nil))
	wantError(t, s.UpdateThing(t.Context(), here, "lamp", registry.ThingChange{}), registry.ErrThingVersion)
	if c.tries < 2 || c.tries > 100 {
		t.Errorf("tried %d times", c.tries)
	}
}

// crowded is a store with a million things, none of which has an attribute.
type crowded struct {
	registry.ThingStore
	read int
}

func (c *crowded) Things(_ context.Context, _ fescue.Partition, _ string, page fescue.Page) ([]fescue.Thing, error) {
	first := 0
	if page.After != "" {
		fmt.Sscanf(page.After, "t%07d", &first)
	}
	var list []fescue.Thing
	for n := first + 1; n <= 1_000_000 && len(list) < page.Limit; n++ {
		list = append(list, fescue.Thing{Name: fmt.Sprintf("t%07d", n)})
	}
	c.read += len(list)
	return list, nil
}

func TestListThingsIsBounded(t *testing.T) {
	t.Parallel()
	c := &crowded{}
	s := registry.New(registry.Options{Stores: registry.Stores{Things: c}, Authority: authority(t), AWS: "aws", Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	list, next, err := s.Things(t.Context(), here, registry.ThingFilter{Attribute: "none"}, fescue.Page{Limit: 1})
	mustDo(t, err)
	if len(list) != 0 || next != fmt.Sprintf("t%07d", c.read) || c.read > 10_000 {
		t.Errorf("%d things, next %q, after %d reads", len(list), next, c.read)
	}
}
