package store_test

import (
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

func testIAM(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	const home, other = "123456789012", "210987654321"
	role := identity.IAMRole{
		Name: "r", ID: "AROA1", Path: "/x/", Description: "d", Trust: "{}", MaxSession: time.Hour, Tags: map[string]string{"a": "b"}, CreatedAt: madeAt,
	}
	for _, account := range []string{home, other} {
		if err := s.IAM().CreateIAMRole(ctx, account, role); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, "create again", s.IAM().CreateIAMRole(ctx, home, role), fescue.ErrExists)
	if got := must(s.IAM().IAMRole(ctx, home, "r"))(t); !gocmp.Equal(got, role) {
		t.Error(gocmp.Diff(role, got))
	}
	_, err := s.IAM().IAMRole(ctx, home, "R")
	refused(t, "another name", err, fescue.ErrNotFound)
	if list := must(s.IAM().IAMRoles(ctx, home, fescue.Page{Limit: 9}))(t); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	if list := must(s.IAM().IAMRoles(ctx, home, fescue.Page{After: "r", Limit: 9}))(t); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	if err := s.IAM().SetIAMRoleTrust(ctx, home, "r", "new"); err != nil {
		t.Fatal(err)
	}
	refused(t, "trust of nothing", s.IAM().SetIAMRoleTrust(ctx, home, "x", "new"), fescue.ErrNotFound)
	if got := must(s.IAM().IAMRole(ctx, other, "r"))(t); got.Trust != "{}" {
		t.Errorf("%+v", got)
	}

	for _, document := range []string{"old", "new"} {
		if err := s.IAM().PutIAMRolePolicy(ctx, home, "r", "p", document); err != nil {
			t.Fatal(err)
		}
		if err := s.IAM().AttachIAMPolicy(ctx, home, "r", "arn"); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, "policy of nothing", s.IAM().PutIAMRolePolicy(ctx, home, "x", "p", "d"), fescue.ErrNotFound)
	refused(t, "attach to nothing", s.IAM().AttachIAMPolicy(ctx, home, "x", "arn"), fescue.ErrNotFound)
	if got := must(s.IAM().IAMRolePolicies(ctx, home, "r"))(t); !gocmp.Equal(got, map[string]string{"p": "new"}) {
		t.Errorf("%v", got)
	}
	if got := must(s.IAM().AttachedIAMPolicies(ctx, home, "r"))(t); !gocmp.Equal(got, []string{"arn"}) {
		t.Errorf("%v", got)
	}
	if got := must(s.IAM().AttachedIAMPolicies(ctx, other, "r"))(t); len(got) != 0 {
		t.Errorf("%v", got)
	}
	refused(t, "delete with policies", s.IAM().DeleteIAMRole(ctx, home, "r"), fescue.ErrInUse)

	managed := identity.IAMPolicy{Name: "m", ID: "ANPA1", Path: "/", Description: "d", Document: "{}", CreatedAt: madeAt}
	if err := s.IAM().CreateIAMPolicy(ctx, home, managed); err != nil {
		t.Fatal(err)
	}
	refused(t, "policy again", s.IAM().CreateIAMPolicy(ctx, home, managed), fescue.ErrExists)
	if got := must(s.IAM().IAMPolicy(ctx, home, "m"))(t); !gocmp.Equal(got, managed) {
		t.Error(gocmp.Diff(managed, got))
	}
	if got := must(s.IAM().IAMPolicies(ctx, home, fescue.Page{Limit: 9}))(t); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	refused(t, "delete what is attached", s.IAM().DeleteIAMPolicy(ctx, home, "m", "arn"), fescue.ErrInUse)

	for what, f := range map[string]func() error{
		"detach": func() error { return s.IAM().DetachIAMPolicy(ctx, home, "r", "arn") },
		"policy": func() error { return s.IAM().DeleteIAMRolePolicy(ctx, home, "r", "p") },
	} {
		if err := f(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		refused(t, what+" again", f(), fescue.ErrNotFound)
	}
	for what, f := range map[string]func() error{
		"role":    func() error { return s.IAM().DeleteIAMRole(ctx, home, "r") },
		"managed": func() error { return s.IAM().DeleteIAMPolicy(ctx, home, "m", "arn") },
	} {
		if err := f(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		refused(t, what+" again", f(), fescue.ErrNotFound)
	}
	must(s.IAM().IAMRole(ctx, other, "r"))(t)
}
