package registry_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/registry"
)

func TestThingTypes(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	light := registry.ThingType{Name: "light", Description: "größer als eine Lampe, <ok>", SearchableAttributes: []string{"colour"}}
	made := must(s.CreateThingType(ctx, here, light))
	if !fescue.ValidID(made.ID) || !made.CreatedAt.Equal(now) || !made.DeprecatedAt.IsZero() {
		t.Errorf("%+v", made)
	}
	if diff := cmp.Diff(made, must(s.CreateThingType(ctx, here, light))); diff != "" {
		t.Error(diff)
	}
	for _, other := range []registry.ThingType{{Name: "light"}, {Name: "light", Description: light.Description, SearchableAttributes: []string{"size"}}} {
		_, err := s.CreateThingType(ctx, here, other)
		wantError(t, err, registry.ErrTypeDiffers)
	}
	_, err := s.CreateThing(ctx, there, "lamp", "light", nil)
	wantError(t, err, fescue.ErrNotFound)
	must(s.CreateThing(ctx, here, "lamp", "light", nil))
	must(s.CreateThing(ctx, here, "bare", "", nil))
	wantError(t, s.DeleteThingType(ctx, here, "light"), registry.ErrTypeNotDeprecated)
	mustDo(t, s.DeprecateThingType(ctx, here, "light", false))
	_, err = s.CreateThing(ctx, here, "late", "light", nil)
	wantError(t, err, registry.ErrTypeDeprecated)
	wantError(t, s.UpdateThing(ctx, here, "bare", registry.ThingChange{Type: "light"}), registry.ErrTypeDeprecated)
	mustDo(t, s.UpdateThing(ctx, here, "lamp", registry.ThingChange{Type: "light", Attributes: map[string]string{"a": "b"}}))
	must(s.CreateThing(ctx, here, "lamp", "light", map[string]string{"a": "b"})) // the same again
	wantError(t, s.DeleteThingType(ctx, here, "light"), registry.ErrTypeHasThings)
	mustDo(t, s.UpdateThing(ctx, here, "lamp", registry.ThingChange{RemoveType: true}), s.DeleteThingType(ctx, here, "light"))
	wantError(t, s.DeleteThingType(ctx, here, "light"), fescue.ErrNotFound)

	for _, tc := range []struct {
		t    registry.ThingType
		says string
	}{
		{registry.ThingType{}, "name is missing"},
		{registry.ThingType{Name: "a b"}, "thing type name"},
		{registry.ThingType{Name: strings.Repeat("a", 129)}, "thing type name"},
		{registry.ThingType{Name: "a", Description: strings.Repeat("ä", 2029)}, "thingTypeDescription"},
		{registry.ThingType{Name: "a", Description: "line\nline"}, "thingTypeDescription"},
		{registry.ThingType{Name: "a", SearchableAttributes: []string{"a", "b", "c", "d"}}, "searchableAttributes has 4 names"},
		{registry.ThingType{Name: "a", SearchableAttributes: []string{"a b"}}, "searchable attribute"},
		{registry.ThingType{Name: "a", SearchableAttributes: []string{""}}, "searchable attribute"},
	} {
		_, err := s.CreateThingType(ctx, here, tc.t)
		wantInvalid(t, err, tc.says)
		wantInvalid(t, s.UpdateThingType(ctx, here, tc.t), tc.says)
	}
}
