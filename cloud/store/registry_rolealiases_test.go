package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/registry"
)

func testRoleAliases(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	alias := func(name string, at time.Time) registry.RoleAlias {
		return registry.RoleAlias{Name: name, RoleARN: "arn:" + name, Owner: "123456789012", Lifetime: time.Hour, CreatedAt: at, UpdatedAt: at}
	}
	want := alias("a", madeAt)
	mustDo(t, s.RoleAliases().CreateRoleAlias(ctx, homePartition, want), s.RoleAliases().CreateRoleAlias(ctx, homePartition, alias("b", madeAt.Add(time.Second))))
	refused(t, "a taken name", s.RoleAliases().CreateRoleAlias(ctx, homePartition, want), fescue.ErrExists)
	is := func(t *testing.T) {
		t.Helper()
		if diff := cmp.Diff(want, must(s.RoleAliases().RoleAlias(ctx, homePartition, "a"))(t)); diff != "" {
			t.Error(diff)
		}
	}
	t.Run("is read", is)
	t.Run("an update leaves what it does not say", func(t *testing.T) {
		want.UpdatedAt = madeAt.Add(time.Minute)
		for _, change := range []func(*registry.RoleAlias){
			func(*registry.RoleAlias) {},
			func(r *registry.RoleAlias) { r.RoleARN, want.RoleARN = "new", "new" },
			func(r *registry.RoleAlias) { r.Lifetime, want.Lifetime = 2*time.Hour, 2*time.Hour },
		} {
			r := registry.RoleAlias{Name: "a", UpdatedAt: want.UpdatedAt}
			change(&r)
			mustDo(t, s.RoleAliases().UpdateRoleAlias(ctx, homePartition, r))
			is(t)
		}
	})
	t.Run("lists", func(t *testing.T) {
		for _, tc := range []struct {
			ascending bool
			want      string
		}{{true, "a"}, {false, "b"}} {
			first := must(s.RoleAliases().RoleAliases(ctx, homePartition, registry.RoleAlias{}, tc.ascending, 1))(t)
			rest := must(s.RoleAliases().RoleAliases(ctx, homePartition, first[0], tc.ascending, 9))(t)
			if len(first) != 1 || first[0].Name != tc.want || len(rest) != 1 || rest[0].Name == tc.want {
				t.Errorf("ascending %v: %v, %v", tc.ascending, first, rest)
			}
		}
	})
	t.Run("what is not there", func(t *testing.T) {
		for _, p := range append(elsewhere, homePartition) {
			name := "a"
			if p == homePartition {
				name = "none"
			}
			_, err := s.RoleAliases().RoleAlias(ctx, p, name)
			refused(t, "read", err, fescue.ErrNotFound)
			refused(t, "update", s.RoleAliases().UpdateRoleAlias(ctx, p, registry.RoleAlias{Name: name, RoleARN: "x"}), fescue.ErrNotFound)
			refused(t, "delete", s.RoleAliases().DeleteRoleAlias(ctx, p, name), fescue.ErrNotFound)
		}
	})
	t.Run("is deleted", func(t *testing.T) {
		mustDo(t, s.RoleAliases().DeleteRoleAlias(ctx, homePartition, "a"))
		_, err := s.RoleAliases().RoleAlias(ctx, homePartition, "a")
		refused(t, "read", err, fescue.ErrNotFound)
	})
}
