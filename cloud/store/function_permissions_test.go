package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

func testFunctionPermissions(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	mustDo(t, s.Functions().CreateFunction(ctx, homePartition, latest("f", "r1"), nil, nil))
	is := func(t *testing.T, p fescue.Partition, qualifier string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, must(s.Functions().FunctionPermissions(ctx, p, "f", qualifier))(t)); diff != "" {
			t.Errorf("%s %q: %s", p, qualifier, diff)
		}
	}
	is(t, homePartition, "")
	mustDo(t,
		s.Functions().AddFunctionPermission(ctx, homePartition, "f", "", "b", `{"b":"”"}`, madeAt),
		s.Functions().AddFunctionPermission(ctx, homePartition, "f", "", "a", `{"a":1}`, madeAt),
		s.Functions().AddFunctionPermission(ctx, homePartition, "f", "PROD", "a", `{"p":1}`, madeAt))
	refused(t, "a taken id", s.Functions().AddFunctionPermission(ctx, homePartition, "f", "", "a", `{}`, madeAt), fescue.ErrExists)
	refused(t, "an unknown function", s.Functions().AddFunctionPermission(ctx, homePartition, "g", "", "a", `{}`, madeAt), fescue.ErrNotFound)
	is(t, homePartition, "", `{"a":1}`, `{"b":"”"}`)
	is(t, homePartition, "PROD", `{"p":1}`)
	for _, p := range elsewhere {
		is(t, p, "")
		refused(t, p.String(), s.Functions().RemoveFunctionPermission(ctx, p, "f", "", "a"), fescue.ErrNotFound)
	}
	mustDo(t, s.Functions().RemoveFunctionPermission(ctx, homePartition, "f", "", "a"))
	refused(t, "again", s.Functions().RemoveFunctionPermission(ctx, homePartition, "f", "", "a"), fescue.ErrNotFound)
	is(t, homePartition, "", `{"b":"”"}`)
	is(t, homePartition, "PROD", `{"p":1}`)
	mustDo(t, s.Functions().DeleteFunction(ctx, homePartition, "f"))
	is(t, homePartition, "PROD")
}
