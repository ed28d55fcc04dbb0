// Package storetest gives the tests of what stands on the store an empty one: on
// SQLite, or on PostgreSQL when FESCUE_TEST_STORE is "postgres".
package storetest

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
)

// storeVariable says what stores lie in.
const storeVariable = "FESCUE_TEST_STORE"

// Run runs a package's tests and returns their exit code; TestMain calls it.
func Run(m *testing.M) int { return pgtest.Run(m) }

// Database is where a store that goes with the test can be opened.
func Database(t testing.TB) string {
	t.Helper()
	switch engine := os.Getenv(storeVariable); engine {
	case "":
	case "postgres":
		return pgtest.Database(t)
	default:
		t.Fatalf("%s is %q: leave it empty or make it \"postgres\"", storeVariable, engine)
	}
	return filepath.Join(t.TempDir(), "fescue.db")
}

// Open opens an empty store that goes with the test.
func Open(t testing.TB) *store.DB {
	t.Helper()
	return OpenOn(t, Database(t))
}

// OpenOn opens the store that lies in a database until the test ends.
func OpenOn(t testing.TB, database string) *store.DB {
	t.Helper()
	s, err := store.Open(t.Context(), database, slog.New(slog.DiscardHandler))
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
