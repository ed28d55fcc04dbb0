package store_test

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store"
)

func TestSQLiteFile(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, path string) (*store.Store, error) {
		t.Helper()
		return store.Open(t.Context(), path, slog.New(slog.DiscardHandler))
	}
	t.Run("what was written is there when it is opened again", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "a b?#%.db")
		s := must(open(t, path))(t)
		d := newContainer(fescue.CoreKind, "mine")
		must(s.CreateDefinition(t.Context(), homePartition, d, nil, fescue.Token{}))(t)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s = must(open(t, path))(t); s.Ping(t.Context()) != nil {
			t.Error("it does not answer")
		}
		if got := must(s.Definition(t.Context(), homePartition, d.Kind, d.ID))(t); got.Name != "mine" {
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
