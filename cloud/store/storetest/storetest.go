// Package storetest gives the tests of what stands on the store an empty one: on
// SQLite, or on PostgreSQL when FESCUE_TEST_STORE is "postgres".
package storetest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
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
		return Postgres(t)
	default:
		t.Fatalf("%s is %q: leave it empty or make it \"postgres\"", storeVariable, engine)
	}
	return SQLite(t)
}

// SQLite is where a store on SQLite can be opened.
func SQLite(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fescue.db")
	WriteSQLite(t, file)
	return file
}

// Postgres is where a store on PostgreSQL can be opened.
func Postgres(t testing.TB) string {
	t.Helper()
	return pgtest.Prepared(t, migrate)
}

// WriteSQLite makes a file into an empty store: the copy of one that was brought up to
// the present schema once, as migrations take several times as long as what most tests do
// with a store.
func WriteSQLite(t testing.TB, file string) {
	t.Helper()
	content, err := emptySQLite()
	if err == nil {
		err = os.WriteFile(file, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

var emptySQLite = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "storetest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "fescue.db")
	if err := migrate(file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

func migrate(database string) error {
	s, err := store.Open(context.Background(), database, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return s.Close()
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
