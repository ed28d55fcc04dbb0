package store_test

import (
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store"
)

func TestSQLiteFile(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, path string) (*store.DB, error) {
		t.Helper()
		return store.Open(t.Context(), path, slog.New(slog.DiscardHandler))
	}
	t.Run("what was written is there when it is opened again", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "a b?#%.db")
		s := must(open(t, path))(t)
		d := newContainer(fescue.CoreKind, "mine")
		must(s.Definitions().CreateDefinition(t.Context(), homePartition, d, nil, fescue.Token{}))(t)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s = must(open(t, path))(t); s.Ping(t.Context()) != nil {
			t.Error("it does not answer")
		}
		if got := must(s.Definitions().Definition(t.Context(), homePartition, d.Kind, d.ID))(t); got.Name != "mine" {
			t.Errorf("%+v", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s.Ping(t.Context()) == nil {
			t.Error("it answers after Close")
		}
	})
	t.Run("no folder", func(t *testing.T) {
		t.Parallel()
		if s, err := open(t, filepath.Join(t.TempDir(), "none", "x.db")); err == nil {
			s.Close()
			t.Error("no error")
		}
	})
	t.Run("no database", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "x.db")
		writeText(t, path, "this is not a database, and long enough to be looked at as one")
		if s, err := open(t, path); err == nil {
			s.Close()
			t.Error("no error")
		}
	})
}

// TestCoresThatRunNothing: what earlier versions left to groups of which nothing
// succeeded becomes free.
func TestCoresThatRunNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	s := must(store.Open(t.Context(), path, slog.New(slog.DiscardHandler)))(t)
	defer s.Close()
	deploying(t, s, "failed").offer("a").step(fescue.EventClaimed).step(fescue.EventFailed)
	deploying(t, s, "works").offer("b").step(fescue.EventClaimed).step(fescue.EventSucceeded)
	deploying(t, s, "works").offer("b").step(fescue.EventClaimed).step(fescue.EventFailed)
	deploying(t, s, "under way").offer("c").step(fescue.EventClaimed)
	deploying(t, s, "moved").offer("d").step(fescue.EventClaimed).step(fescue.EventSucceeded)
	deploying(t, s, "moved").offer("e").step(fescue.EventClaimed).step(fescue.EventSucceeded)
	owners := map[string]string{"a": "failed", "b": "works", "c": "under way", "d": "moved", "e": "moved"}
	db := must(sql.Open("sqlite", path))(t)
	defer db.Close()
	for thing, group := range owners {
		if _, err := db.ExecContext(t.Context(), `UPDATE core SET group_id = $1 WHERE thing = $2`, group, thing); err != nil {
			t.Fatal(err)
		}
	}
	migration := string(must(os.ReadFile("migrations/00016_cores_that_run_nothing.sql"))(t))
	from := strings.Index(migration, "UPDATE core")
	length := strings.Index(migration[from:], ";")
	if _, err := db.ExecContext(t.Context(), migration[from:from+length]); err != nil {
		t.Fatal(err)
	}
	owners["a"], owners["d"] = "", ""
	for thing, want := range owners {
		if got := must(s.Cores().CoreOwner(t.Context(), homePartition, thing))(t); got != want {
			t.Errorf("the core %s belongs to %q, want %q", thing, got, want)
		}
	}
}
