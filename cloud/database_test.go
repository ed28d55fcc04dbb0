package cloud_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/testkit"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// onEachDatabase runs a test on an embedded database and on PostgreSQL, of which
// it gets the URL.
func onEachDatabase(t *testing.T, test func(t *testing.T, database string)) {
	for name, database := range map[string]func(t *testing.T) string{
		"SQLite":     func(*testing.T) string { return "" },
		"PostgreSQL": func(t *testing.T) string { return pgtest.Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, database(t))
		})
	}
}

func TestServersOnOneDatabase(t *testing.T) {
	t.Parallel()
	database, shared := pgtest.Database(t), t.TempDir()
	o := func(data string) cloud.Options {
		o := options(data)
		o.Database = database
		o.MasterKeyFile, o.Artifacts = filepath.Join(shared, "key"), filepath.Join(shared, "artifacts")
		return o
	}
	first, err := cloud.New(t.Context(), o(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()

	t.Run("a second one has the same authority", func(t *testing.T) {
		second, err := cloud.New(t.Context(), o(t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		if string(second.AuthorityPEM()) != string(first.AuthorityPEM()) {
			t.Error("the authorities differ")
		}
		if second.MadeKey.ID != "" {
			t.Errorf("it made a key: %s", second.MadeKey.ID)
		}
	})
	t.Run("keys are read without a server", func(t *testing.T) {
		keys, closeKeys, err := cloud.OpenKeys(t.Context(), cloud.State{
			DataDir: t.TempDir(), Database: database, MasterKeyFile: filepath.Join(shared, "key"),
		}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer closeKeys()
		if list, err := keys.List(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		}
	})
	for _, tc := range []struct {
		name   string
		change func(*cloud.Options)
		says   string
	}{
		{"another master key", func(o *cloud.Options) {
			o.MasterKeyFile = filepath.Join(t.TempDir(), "key")
			key := strings.Repeat("A", 43) + "=\n"
			if err := os.WriteFile(o.MasterKeyFile, []byte(key), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "FESCUE_MASTER_KEY_FILE"},
		{"no master key", func(o *cloud.Options) { o.MasterKeyFile = "" }, "FESCUE_MASTER_KEY_FILE"},
		{"artifacts of its own", func(o *cloud.Options) { o.Artifacts = "" }, "--artifacts"},
		{"no URL", func(o *cloud.Options) { o.Database = "fescue" }, "postgres://"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := o(t.TempDir())
			tc.change(&o)
			if got := refused(t, o); !strings.Contains(got, tc.says) {
				t.Errorf("%q does not mention %s", got, tc.says)
			}
		})
	}
}

// TestBusyDatabase: calls for which no connection to the database is free are refused as
// such, and go on when one is.
func TestBusyDatabase(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	o := options(t.TempDir())
	o.Database, o.Logger = database+"&pool_max_conns=4", slog.New(slog.DiscardHandler)
	s := start(t, o)
	const groups = "/greengrass/groups"
	if status, text, _ := s.sendAs("us-east-1", s.key, http.MethodGet, groups); status != http.StatusOK {
		t.Fatal(status, text)
	}
	outside, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	tx, err := outside.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(t.Context(), `LOCK TABLE definition IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for range 12 {
		calls.Go(func() {
			began := time.Now()
			status, text, header := s.sendAs("us-east-1", s.key, http.MethodGet, groups)
			// 5 s for a connection or 10 s for the lock, once for the key and once for the groups.
			if took := time.Since(began); took > testkit.Patience/2 {
				t.Errorf("answered after %v", took)
			}
			if status != http.StatusServiceUnavailable || !strings.Contains(text, "database is busy") ||
				header.Get("x-amzn-ErrorType") != "ServiceUnavailableException" || header.Get("Retry-After") == "" {
				t.Errorf("%d %s %v", status, text, header)
			}
		})
	}
	calls.Wait()
	tx.Rollback()
	testkit.Eventually(t, "served again", func() error {
		if status, text, _ := s.sendAs("us-east-1", s.key, http.MethodGet, groups); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, text)
		}
		return nil
	})
}
