package store

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSessions(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), FileName)
	db, _ := open(t, path)
	if all, err := db.Sessions().Filters(ctx); err != nil || len(all) > 0 {
		t.Fatal(all, err)
	}
	if there, err := db.Exists(); there || err != nil {
		t.Errorf("a file was made to look into: %v", err)
	}
	for _, each := range []struct {
		do      func(context.Context, string, []string) error
		client  string
		filters []string
	}{
		{db.Sessions().Add, "Core-c00", []string{"b/#", "a", `it's "odd"`}},
		{db.Sessions().Add, "Core-c00", []string{"a", "c"}},
		{db.Sessions().Add, "Core-c01", []string{"a"}},
		{db.Sessions().Remove, "Core-c00", []string{"a", "never there"}},
		{db.Sessions().Remove, "Core-c02", []string{"c"}},
		{db.Sessions().Remove, "Core-c01", nil},
	} {
		if err := each.do(ctx, each.client, each.filters); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, path)
	all, err := again.Sessions().Filters(ctx)
	if diff := cmp.Diff(map[string][]string{"Core-c00": {"b/#", "c", `it's "odd"`}, "Core-c01": {"a"}}, all); err != nil || diff != "" {
		t.Error(err, diff)
	}
}
