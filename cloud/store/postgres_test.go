package store_test

import (
	"context"
	"database/sql"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func TestPostgres(t *testing.T) {
	t.Parallel()
	logger := slog.New(slog.DiscardHandler)
	t.Run("servers that start together on an empty database", func(t *testing.T) {
		t.Parallel()
		url := pgtest.Database(t)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				s, err := store.Open(t.Context(), url, logger)
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				if kept, err := s.Settings().Keep(t.Context(), "name", "value"); err != nil || kept != "value" {
					t.Errorf("%q, %v", kept, err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("every text compares byte by byte", func(t *testing.T) {
		t.Parallel()
		url := pgtest.Database(t)
		s := storetest.OpenOn(t, url)
		db := must(sql.Open("pgx", url))(t)
		defer db.Close()
		rows := must(db.QueryContext(t.Context(), `
			SELECT table_name || '.' || column_name, coalesce(collation_name, '') FROM information_schema.columns
			WHERE table_schema = current_schema() AND data_type = 'text'`))(t)
		columns := 0
		for rows.Next() {
			var column, collation string
			if err := rows.Scan(&column, &collation); err != nil {
				t.Fatal(err)
			}
			if columns++; collation != "C" {
				t.Errorf("%s has the collation %q", column, collation)
			}
		}
		if err := rows.Err(); err != nil || columns < 50 {
			t.Errorf("%d columns, %v", columns, err)
		}
		// The test's own server sorts a before B.
		for _, name := range []string{"a", "B", "_", "é"} {
			addThing(t, s, here, name)
		}
		var names []string
		for _, thing := range must(s.Things().Things(t.Context(), here, "", fescue.Page{Limit: 9}))(t) {
			names = append(names, thing.Name)
		}
		if want := []string{"B", "_", "a", "é"}; !slices.Equal(names, want) {
			t.Errorf("%v, want %v", names, want)
		}
	})
}

// TestBusyPostgres: whoever comes to no connection, or to no lock, learns that in time.
func TestBusyPostgres(t *testing.T) {
	t.Parallel()
	s := storetest.OpenOn(t, pgtest.Database(t)+"&pool_max_conns=2&lock_timeout=100")
	hold := func(statement string) (release func()) {
		held, end := make(chan struct{}), make(chan struct{})
		var holding sync.WaitGroup
		holding.Go(func() {
			err := s.Update(t.Context(), func(tx store.Transaction) error {
				_, err := tx.ExecContext(t.Context(), statement)
				close(held)
				<-end
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-held
		return func() { close(end); holding.Wait() }
	}
	lock := hold(`LOCK TABLE server_setting IN ACCESS EXCLUSIVE MODE`)
	_, err := s.Settings().Kept(t.Context(), "name")
	refused(t, "a locked table", err, fescue.ErrBusy)

	second := hold(`SELECT 1`)
	refused(t, "a write", s.Settings().Put(t.Context(), "name", "value"), fescue.ErrBusy)
	_, err = s.Definitions().Definition(t.Context(), homePartition, fescue.GroupKind, "g")
	refused(t, "a read", err, fescue.ErrBusy)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Definitions().Definition(gone, homePartition, fescue.GroupKind, "g")
	refused(t, "who has gone", err, context.Canceled)
	second()
	lock()
	mustDo(t, s.Settings().Put(t.Context(), "name", "value"))
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, database, says string }{
		{"another engine", "mysql://u:secret@host/db", "postgres://"},
		{"a malformed URL", "postgres://u:secret@host:port/db", "database URL"},
		{"an unknown option", "postgres://u:secret@127.0.0.1/db?sslmode=none", "sslmode"},
		{"nobody there", "postgres://u:secret@127.0.0.1:1/db", "127.0.0.1"},
		{"no folder", filepath.Join(t.TempDir(), "none", "x.db"), "none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, err := store.Open(t.Context(), tc.database, slog.New(slog.DiscardHandler))
			if err == nil {
				s.Close()
				t.Fatal("it opens")
			}
			if !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "secret") {
				t.Error(err)
			}
		})
	}
}
