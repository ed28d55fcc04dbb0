package functions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/functions"
)

func TestLists(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newService(t)
	for i := range 5 {
		name := fmt.Sprintf("f%d", i)
		create(t, s, name)
		publish(t, s, name)
	}
	if _, err := s.Create(ctx, elsewhere, creation(t, "f9")); err != nil {
		t.Fatal(err)
	}
	type lister func(functions.Page) ([]fescue.FunctionVersion, string, error)
	walk := func(t *testing.T, list lister, size int, between func()) (got []string) {
		t.Helper()
		page := functions.Page{MaxItems: size}
		for range 20 {
			versions, next, err := list(page)
			if err != nil {
				t.Fatal(err)
			}
			if len(versions) > size {
				t.Errorf("%d records on a page of %d", len(versions), size)
			}
			for _, v := range versions {
				got = append(got, v.Name+":"+v.Version)
			}
			if page.Marker = next; next == "" {
				return got
			}
			between()
		}
		t.Fatal("the pages do not end")
		return nil
	}
	every := []string{"f0:$LATEST", "f0:1", "f1:$LATEST", "f1:1", "f2:$LATEST", "f2:1", "f3:$LATEST", "f3:1", "f4:$LATEST", "f4:1"}

	t.Run("all versions", func(t *testing.T) {
		for _, size := range []int{1, 3, 10, 50} {
			got := walk(t, func(p functions.Page) ([]fescue.FunctionVersion, string, error) { return s.ListAll(ctx, home, p) }, size, func() {})
			if diff := cmp.Diff(every, got); diff != "" {
				t.Errorf("in pages of %d: %s", size, diff)
			}
		}
	})
	t.Run("one function's versions", func(t *testing.T) {
		got := walk(t, func(p functions.Page) ([]fescue.FunctionVersion, string, error) {
			return s.ListVersions(ctx, home, "f3", p)
		}, 1, func() {})
		if diff := cmp.Diff([]string{"f3:$LATEST", "f3:1"}, got); diff != "" {
			t.Error(diff)
		}
		_, _, err := s.ListVersions(ctx, home, "none", functions.Page{})
		wantErr(t, err, fescue.ErrNotFound, "function:none")
	})
	t.Run("markers survive what comes and goes", func(t *testing.T) {
		i := 0
		got := walk(t, func(p functions.Page) ([]fescue.FunctionVersion, string, error) { return s.List(ctx, home, p) }, 2, func() {
			i++
			create(t, s, fmt.Sprintf("a%d", i)) // before the marker
			if i == 1 {
				if err := s.Delete(ctx, home, functions.Reference{Name: "f1"}); err != nil {
					t.Fatal(err)
				}
			}
		})
		want := []string{"f0:$LATEST", "f1:$LATEST", "f2:$LATEST", "f3:$LATEST", "f4:$LATEST"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("aliases", func(t *testing.T) {
		for _, name := range []string{"a", "b", "c"} {
			version := map[string]string{"a": "1", "b": "$LATEST", "c": "1"}[name]
			if _, err := s.CreateAlias(ctx, home, functions.AliasChange{Function: "f4", Name: name, FunctionVersion: &version}); err != nil {
				t.Fatal(err)
			}
		}
		first, next, err := s.ListAliases(ctx, home, "f4", "", functions.Page{MaxItems: 2})
		if err != nil || len(first) != 2 || next == "" {
			t.Fatalf("%v, %q, %v", first, next, err)
		}
		rest, next, err := s.ListAliases(ctx, home, "f4", "", functions.Page{Marker: next})
		if err != nil || len(rest) != 1 || rest[0].Name != "c" || next != "" {
			t.Errorf("%v, %q, %v", rest, next, err)
		}
		ones, _, err := s.ListAliases(ctx, home, "f4", "1", functions.Page{})
		if err != nil || len(ones) != 2 || ones[0].Name != "a" || ones[1].Name != "c" {
			t.Errorf("those of version 1: %v, %v", ones, err)
		}
		_, _, err = s.ListAliases(ctx, home, "none", "", functions.Page{})
		wantErr(t, err, fescue.ErrNotFound, "function:none")
	})
	t.Run("bad pages", func(t *testing.T) {
		for _, page := range []functions.Page{
			{Marker: "!"}, {Marker: "Li4vLi4"}, {Marker: strings.Repeat("A", 1000)}, {MaxItems: -1}, {MaxItems: 10_001},
		} {
			_, _, all := s.ListAll(ctx, home, page)
			_, _, list := s.List(ctx, home, page)
			_, _, versions := s.ListVersions(ctx, home, "f0", page)
			_, _, aliases := s.ListAliases(ctx, home, "f0", "", page)
			for _, err := range []error{all, list, versions, aliases} {
				if !errors.Is(err, functions.ErrInvalid) && !errors.Is(err, functions.ErrShape) {
					t.Errorf("%+v: error %v", page, err)
				}
			}
		}
	})
}

func TestTags(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newService(t)
	create(t, s, "f")
	arn := home.FunctionARN("f")
	want := func(want map[string]string) {
		t.Helper()
		got, err := s.Tags(ctx, home, arn)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	want(map[string]string{})
	for _, tags := range []map[string]string{{"a": "1", "b": "2"}, {"b": "3"}} {
		if err := s.Tag(ctx, home, arn, tags); err != nil {
			t.Fatal(err)
		}
	}
	want(map[string]string{"a": "1", "b": "3"})
	if err := s.Untag(ctx, home, arn, []string{"a", "none"}); err != nil {
		t.Fatal(err)
	}
	want(map[string]string{"b": "3"})
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprint("k", i)] = ""
	}
	wantErr(t, s.Tag(ctx, home, arn, many), functions.ErrInvalid, "at most 50")
	wantErr(t, s.Tag(ctx, home, arn, nil), functions.ErrInvalid, "at least one")
	wantErr(t, s.Untag(ctx, home, arn, nil), functions.ErrInvalid, "at least one")
	wantErr(t, s.Tag(ctx, home, arn+"x", map[string]string{"a": ""}), fescue.ErrNotFound, "Function not found")
	want(map[string]string{"b": "3"})
}

func TestOpenCode(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newService(t)
	v := create(t, s, "f")
	t.Run("of the partition", func(t *testing.T) {
		r, err := s.OpenCode(ctx, home, v.CodeHash, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if data, err := io.ReadAll(r); err != nil || int64(len(data)) != v.CodeSize {
			t.Errorf("%d bytes, %v", len(data), err)
		}
	})
	t.Run("of another partition", func(t *testing.T) {
		_, err := s.OpenCode(ctx, elsewhere, v.CodeHash, 0)
		wantErr(t, err, fescue.ErrNotFound, "")
	})
	t.Run("of no hash", func(t *testing.T) {
		for _, hash := range []string{"", "../" + v.CodeHash, strings.ToUpper(v.CodeHash)} {
			_, err := s.OpenCode(ctx, home, hash, 0)
			wantErr(t, err, fescue.ErrNotFound, "")
		}
	})
}
