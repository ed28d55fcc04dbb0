package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/functions"
	"github.com/fescue-edge/fescue/cloud/store"
)

var _ functions.Store = store.Functions{}

var lambdaHome = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}

// latest is a $LATEST with everything in it.
func latest(name, revision string) fescue.FunctionVersion {
	return fescue.FunctionVersion{
		Name: name, Version: fescue.LatestVersion, Runtime: "python3.7", Role: "arn:aws:iam::123456789012:role/r", Handler: "app.handler",
		Description: "d", Timeout: 3, MemorySize: 128, Environment: map[string]string{"A1": "x"}, Architectures: []string{"x86_64"},
		CodeHash: strings.Repeat("a", 64), CodeSize: 7, RevisionID: revision, UpdatedAt: time.UnixMilli(1_700_000_000_123).UTC(),
	}
}

func published(v fescue.FunctionVersion, revision string) *fescue.FunctionVersion {
	v.Version, v.RevisionID = "", revision
	return &v
}

func wantIs(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// withFunction is a store with the function f.
func withFunction(t *testing.T, open opener) *store.DB {
	t.Helper()
	s := open(t)
	if err := s.Functions().CreateFunction(t.Context(), lambdaHome, latest("f", "r1"), map[string]string{"k": "v"}, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

func testFunctions(t *testing.T, open opener) {
	t.Parallel()
	ctx := t.Context()
	made := func(t *testing.T) *store.DB { return withFunction(t, open) }

	t.Run("what was written is read", func(t *testing.T) {
		t.Parallel()
		s := made(t)
		got, err := s.Functions().FunctionVersion(ctx, lambdaHome, "f", fescue.LatestVersion)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(latest("f", "r1"), got); diff != "" {
			t.Error(diff)
		}
		tags, err := s.Functions().FunctionTags(ctx, lambdaHome, "f")
		if diff := cmp.Diff(map[string]string{"k": "v"}, tags); diff != "" || err != nil {
			t.Error(diff, err)
		}
	})
	t.Run("a name is taken once in a partition", func(t *testing.T) {
		t.Parallel()
		s := made(t)
		wantIs(t, s.Functions().CreateFunction(ctx, lambdaHome, latest("f", "r2"), nil, nil), fescue.ErrExists)
		other := lambdaHome
		other.Region = "eu-west-1"
		_, err := s.Functions().FunctionVersion(ctx, other, "f", fescue.LatestVersion)
		wantIs(t, err, fescue.ErrNotFound)
		wantIs(t, s.Functions().CreateFunction(ctx, other, latest("f", "r2"), nil, nil), nil)
	})
	t.Run("a late change is a conflict and changes nothing", func(t *testing.T) {
		t.Parallel()
		s := made(t)
		_, err := s.Functions().UpdateFunction(ctx, lambdaHome, latest("f", "r3"), "r0", true, published(latest("f", ""), "p"))
		wantIs(t, err, fescue.ErrConflict)
		_, err = s.Functions().PublishFunction(ctx, lambdaHome, *published(latest("f", ""), "p"), "r0")
		wantIs(t, err, fescue.ErrConflict)
		list, err := s.Functions().FunctionVersions(ctx, lambdaHome, "f", "", -1, 10)
		if err != nil || len(list) != 1 || list[0].RevisionID != "r1" {
			t.Errorf("%+v, %v", list, err)
		}
		v, err := s.Functions().PublishFunction(ctx, lambdaHome, *published(latest("f", ""), "p"), "r1")
		if err != nil || v.Version != "1" {
			t.Errorf("the lost publications took a number: %s, %v", v.Version, err)
		}
		_, err = s.Functions().UpdateFunction(ctx, lambdaHome, latest("none", "r3"), "r0", true, nil)
		wantIs(t, err, fescue.ErrNotFound)
		_, err = s.Functions().PublishFunction(ctx, lambdaHome, *published(latest("none", ""), "p"), "r0")
		wantIs(t, err, fescue.ErrNotFound)
	})
	t.Run("an unchanged function is not published again", func(t *testing.T) {
		t.Parallel()
		s := made(t)
		for _, step := range []struct {
			changed   bool
			want, rev string
		}{{false, "1", "p0"}, {false, "1", "p0"}, {true, "2", "p2"}, {false, "2", "p2"}} {
			before, err := s.Functions().FunctionVersion(ctx, lambdaHome, "f", fescue.LatestVersion)
			if err != nil {
				t.Fatal(err)
			}
			next := latest("f", before.RevisionID+"+")
			v, err := s.Functions().UpdateFunction(ctx, lambdaHome, next, before.RevisionID, step.changed, published(next, step.rev))
			if err != nil || v.Version != step.want || v.RevisionID != step.rev {
				t.Errorf("%+v: version %s, revision %s, %v", step, v.Version, v.RevisionID, err)
			}
		}
	})
	t.Run("what is no version is not found", func(t *testing.T) {
		t.Parallel()
		s := made(t)
		for _, version := range []string{"", "0", "-1", "01", "+1", "1.0", "PROD", "99999999999999999999", "$latest"} {
			_, err := s.Functions().FunctionVersion(ctx, lambdaHome, "f", version)
			wantIs(t, err, fescue.ErrNotFound)
			wantIs(t, s.Functions().DeleteFunctionVersion(ctx, lambdaHome, "f", version), fescue.ErrNotFound)
			wantIs(t, s.Functions().CreateFunctionAlias(ctx, lambdaHome, "f", fescue.FunctionAlias{Name: "A", FunctionVersion: version}), fescue.ErrNotFound)
		}
		wantIs(t, s.Functions().DeleteFunctionVersion(ctx, lambdaHome, "f", fescue.LatestVersion), fescue.ErrInUse)
	})
	t.Run("tags change by comparison", func(t *testing.T) {
		t.Parallel()
		s := made(t)
		wantIs(t, s.Functions().ReplaceFunctionTags(ctx, lambdaHome, "f", nil, map[string]string{"a": "b"}), fescue.ErrConflict)
		wantIs(t, s.Functions().ReplaceFunctionTags(ctx, lambdaHome, "f", map[string]string{"k": "v"}, nil), nil)
		wantIs(t, s.Functions().ReplaceFunctionTags(ctx, lambdaHome, "none", nil, nil), fescue.ErrNotFound)
		_, err := s.Functions().FunctionTags(ctx, lambdaHome, "none")
		wantIs(t, err, fescue.ErrNotFound)
	})
	t.Run("code is named inside its partition", func(t *testing.T) {
		t.Parallel()
		s := made(t)
		other := lambdaHome
		other.Account = "210987654321"
		for _, c := range []struct {
			p    fescue.Partition
			hash string
			want bool
		}{{lambdaHome, strings.Repeat("a", 64), true}, {lambdaHome, strings.Repeat("b", 64), false}, {other, strings.Repeat("a", 64), false}} {
			if got, err := s.Functions().FunctionCodeNamed(ctx, c.p, c.hash); err != nil || got != c.want {
				t.Errorf("%v %s: %v, %v", c.p, c.hash, got, err)
			}
		}
	})
}

func testFunctionAliases(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := withFunction(t, open), t.Context()
	if _, err := s.Functions().PublishFunction(ctx, lambdaHome, *published(latest("f", ""), "p"), "r1"); err != nil {
		t.Fatal(err)
	}
	alias := fescue.FunctionAlias{Name: "PROD", FunctionVersion: "1", Description: "live", RevisionID: "a1"}
	wantIs(t, s.Functions().CreateFunctionAlias(ctx, lambdaHome, "f", alias), nil)
	wantIs(t, s.Functions().CreateFunctionAlias(ctx, lambdaHome, "f", alias), fescue.ErrExists)
	wantIs(t, s.Functions().DeleteFunctionVersion(ctx, lambdaHome, "f", "1"), fescue.ErrInUse)
	got, err := s.Functions().FunctionAlias(ctx, lambdaHome, "f", "PROD")
	if err != nil || got != alias {
		t.Errorf("%+v, %v", got, err)
	}
	alias.FunctionVersion, alias.RevisionID = "2", "a2"
	wantIs(t, s.Functions().UpdateFunctionAlias(ctx, lambdaHome, "f", alias, "a1"), fescue.ErrNotFound)
	alias.FunctionVersion = fescue.LatestVersion
	wantIs(t, s.Functions().UpdateFunctionAlias(ctx, lambdaHome, "f", alias, "a0"), fescue.ErrConflict)
	wantIs(t, s.Functions().UpdateFunctionAlias(ctx, lambdaHome, "f", alias, "a1"), nil)
	wantIs(t, s.Functions().DeleteFunctionVersion(ctx, lambdaHome, "f", "1"), nil)
	wantIs(t, s.Functions().DeleteFunctionVersion(ctx, lambdaHome, "f", "1"), fescue.ErrNotFound)
	wantIs(t, s.Functions().DeleteFunction(ctx, lambdaHome, "f"), nil)
	_, err = s.Functions().FunctionAlias(ctx, lambdaHome, "f", "PROD")
	wantIs(t, err, fescue.ErrNotFound)
	wantIs(t, s.Functions().DeleteFunction(ctx, lambdaHome, "f"), fescue.ErrNotFound)
}
