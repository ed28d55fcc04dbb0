package store_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/cloud/store"
)

func addThing(t *testing.T, s *store.DB, p fescue.Partition, name string) {
	t.Helper()
	_, err := s.Things().CreateThing(t.Context(), p, fescue.Thing{Name: name, ID: fescue.NewID(), Version: 1}, epoch)
	mustDo(t, err)
}

func testThings(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	lamp := fescue.Thing{Name: "lamp", ID: fescue.NewID(), Type: "light", Attributes: map[string]string{"colour": "red", "empty": ""}, Version: 1}

	t.Run("a thing comes back as it was written", func(t *testing.T) {
		must(s.ThingTypes().CreateThingType(ctx, here, registry.ThingType{Name: "light", ID: fescue.NewID(), CreatedAt: epoch}))(t)
		made, err := s.Things().CreateThing(ctx, here, lamp, epoch)
		mustDo(t, err)
		read, err := s.Things().Thing(ctx, here, "lamp")
		mustDo(t, err)
		if diff := cmp.Diff(lamp, made) + cmp.Diff(lamp, read); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a taken name returns what has it", func(t *testing.T) {
		found, err := s.Things().CreateThing(ctx, here, fescue.Thing{Name: "lamp", ID: fescue.NewID(), Version: 1}, epoch)
		wantError(t, err, fescue.ErrExists, "thing lamp")
		if diff := cmp.Diff(lamp, found); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("another partition does not have it", func(t *testing.T) {
		_, err := s.Things().Thing(ctx, there, "lamp")
		wantError(t, err, fescue.ErrNotFound, "thing lamp")
		wantError(t, s.Things().DeleteThing(ctx, there, "lamp", 0), fescue.ErrNotFound, "thing lamp")
		list, err := s.Things().Things(ctx, there, "", fescue.Page{Limit: 10})
		if err != nil || len(list) != 0 {
			t.Errorf("got %v, %v, want no things", list, err)
		}
	})
	t.Run("a change is made to the version it was worked out from", func(t *testing.T) {
		next := lamp
		next.Version, next.Attributes = 2, map[string]string{"colour": "blue"}
		_, err := s.Things().ReplaceThing(ctx, here, next)
		mustDo(t, err)
		_, err = s.Things().ReplaceThing(ctx, here, next)
		wantError(t, err, fescue.ErrConflict, "thing lamp")
		_, err = s.Things().ReplaceThing(ctx, here, fescue.Thing{Name: "none", Version: 2})
		wantError(t, err, fescue.ErrNotFound, "thing none")
		read, err := s.Things().Thing(ctx, here, "lamp")
		mustDo(t, err)
		if diff := cmp.Diff(next, read); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("lists page by name and filter by type", func(t *testing.T) {
		addThing(t, s, here, "a")
		addThing(t, s, here, "z")
		for _, tc := range []struct {
			thingType string
			page      fescue.Page
			want      []string
		}{
			{"", fescue.Page{Limit: 10}, []string{"a", "lamp", "z"}},
			{"", fescue.Page{Limit: 2}, []string{"a", "lamp"}},
			{"", fescue.Page{After: "b", Limit: 2}, []string{"lamp", "z"}},
			{"light", fescue.Page{Limit: 10}, []string{"lamp"}},
			{"none", fescue.Page{Limit: 10}, nil},
		} {
			list, err := s.Things().Things(ctx, here, tc.thingType, tc.page)
			mustDo(t, err)
			var names []string
			for _, thing := range list {
				names = append(names, thing.Name)
			}
			if !slices.Equal(names, tc.want) {
				t.Errorf("type %q, page %v: got %v, want %v", tc.thingType, tc.page, names, tc.want)
			}
		}
	})
	t.Run("deleting asks for the version and for detached certificates", func(t *testing.T) {
		mustDo(t, s.Certificates().CreateCertificate(ctx, here, certificate(1, fescue.CertificateActive)), s.Things().AttachThing(ctx, here, "lamp", certID(1)))
		wantError(t, s.Things().DeleteThing(ctx, here, "lamp", 0), fescue.ErrInUse, "thing lamp")
		mustDo(t, s.Things().DetachThing(ctx, here, "lamp", certID(1)))
		wantError(t, s.Things().DeleteThing(ctx, here, "lamp", 1), fescue.ErrConflict, "thing lamp")
		mustDo(t, s.Things().DeleteThing(ctx, here, "lamp", 2))
		wantError(t, s.Things().DeleteThing(ctx, here, "lamp", 0), fescue.ErrNotFound, "thing lamp")
	})
}

func testThingAttachments(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	for _, name := range []string{"a", "b", "c"} {
		addThing(t, s, here, name)
	}
	addThing(t, s, there, "a")
	mustDo(t, s.Certificates().CreateCertificate(ctx, here, certificate(1, fescue.CertificateInactive)), s.Certificates().CreateCertificate(ctx, there, certificate(2, fescue.CertificateActive)))

	t.Run("what is unknown is named", func(t *testing.T) {
		for _, do := range []func(context.Context, fescue.Partition, string, string) error{s.Things().AttachThing, s.Things().DetachThing} {
			wantError(t, do(ctx, here, "none", certID(1)), fescue.ErrNotFound, "thing none")
			wantError(t, do(ctx, here, "a", certID(9)), fescue.ErrNotFound, "certificate "+certID(9))
			wantError(t, do(ctx, here, "a", certID(2)), fescue.ErrNotFound, "certificate "+certID(2))
		}
	})
	t.Run("both ends list it, once", func(t *testing.T) {
		mustDo(t, s.Things().AttachThing(ctx, here, "b", certID(1)), s.Things().AttachThing(ctx, here, "b", certID(1)), s.Things().AttachThing(ctx, here, "a", certID(1)))
		things, err := s.Things().CertificateThings(ctx, here, certID(1), fescue.Page{Limit: 10})
		mustDo(t, err)
		if !slices.Equal(things, []string{"a", "b"}) {
			t.Errorf("things %v", things)
		}
		things, err = s.Things().CertificateThings(ctx, here, certID(1), fescue.Page{After: "a", Limit: 1})
		mustDo(t, err)
		if !slices.Equal(things, []string{"b"}) {
			t.Errorf("things after a: %v", things)
		}
		ids, err := s.Things().ThingCertificates(ctx, here, "b", fescue.Page{Limit: 10})
		mustDo(t, err)
		if !slices.Equal(ids, []string{certID(1)}) {
			t.Errorf("certificates %v", ids)
		}
		ids, err = s.Things().ReplaceThing(ctx, here, fescue.Thing{Name: "b", Version: 2})
		if err != nil || !slices.Equal(ids, []string{certID(1)}) {
			t.Errorf("certificates of the changed thing: %v, %v", ids, err)
		}
	})
	t.Run("detaching again changes nothing", func(t *testing.T) {
		mustDo(t, s.Things().DetachThing(ctx, here, "b", certID(1)), s.Things().DetachThing(ctx, here, "b", certID(1)))
		ids, err := s.Things().ThingCertificates(ctx, here, "b", fescue.Page{Limit: 10})
		if err != nil || len(ids) != 0 {
			t.Errorf("certificates %v, %v, want none", ids, err)
		}
	})
}
