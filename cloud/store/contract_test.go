package store_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/events"
	"github.com/fescue-edge/fescue/cloud/store"
)

var (
	_ definitions.Store = (*store.Store)(nil)
	_ deploy.Store      = (*store.Store)(nil)
	_ buckets.Store     = (*store.Store)(nil)
	_ events.Store      = (*store.Store)(nil)
)

// opener opens an empty database. The contracts below hold for every engine.
type opener func(t *testing.T) *store.Store

func openSQLite(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "fescue.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// The partitions of the contracts: the second and third differ from the first in
// one part each.
var (
	homePartition = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	elsewhere     = []fescue.Partition{
		{AWS: "aws", Account: "123456789012", Region: "eu-west-1"},
		{AWS: "aws", Account: "210987654321", Region: "us-east-1"},
	}
	madeAt = time.Date(2026, 11, 23, 12, 0, 0, 457e6, time.UTC)
)

// must is the value of a call that cannot fail here.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func refused(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	t.Run("definitions", func(t *testing.T) { testDefinitions(t, openSQLite) })
	t.Run("client tokens", func(t *testing.T) { testTokens(t, openSQLite) })
	t.Run("restoring", func(t *testing.T) { testRestore(t, openSQLite) })
	t.Run("deletion", func(t *testing.T) { testDeletion(t, openSQLite) })
	t.Run("deployments", func(t *testing.T) { testDeployments(t, openSQLite) })
	t.Run("building", func(t *testing.T) { testBuilding(t, openSQLite) })
	t.Run("offers", func(t *testing.T) { testOffers(t, openSQLite) })
	t.Run("timelines", func(t *testing.T) { testTimelines(t, openSQLite) })
	t.Run("presence", func(t *testing.T) { testPresence(t, openSQLite) })
	t.Run("resets", func(t *testing.T) { testResets(t, openSQLite) })
	t.Run("roles", func(t *testing.T) { testRoles(t, openSQLite) })
	t.Run("keys", func(t *testing.T) { testKeys(t, openSQLite) })
	t.Run("events", func(t *testing.T) { testEvents(t, openSQLite) })
	t.Run("leases", func(t *testing.T) { testLeases(t, openSQLite) })
}

func TestSQLiteFile(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, path string) (*store.Store, error) {
		t.Helper()
		return store.OpenSQLite(t.Context(), path, slog.New(slog.DiscardHandler))
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
