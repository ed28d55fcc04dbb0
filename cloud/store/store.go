// Package store keeps the control plane's state in a SQL database. It implements
// the small interfaces that the services declare, and knows no rule but the
// schema's: an invariant is a unique index or a compare-and-set, never a read
// before a write. A public method opens the transaction; unexported steps that
// take it do the work and compose.
//
// Ids, names and texts are expected to be valid UTF-8 without NUL; the wires
// refuse anything else before it gets here.
package store

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/fescue-edge/fescue"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is an open database.
type Store struct {
	write *sql.DB // one connection: SQLite has one writer
	read  *statements
	now   func() time.Time
}

// busyTimeout bounds how long a statement waits for another process's lock.
const busyTimeout = 10 * time.Second

// minReaders is the least number of read connections: with fewer, requests wait
// for a connection longer than for an answer.
const minReaders = 16

// OpenSQLite opens the SQLite file, makes it if it is absent, and brings its
// schema up to date.
func OpenSQLite(ctx context.Context, path string, logger *slog.Logger) (*Store, error) {
	dsn := func(extra ...string) string {
		q := url.Values{"_pragma": append([]string{
			"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)",
			fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
		}, extra...)}
		q.Set("_txlock", "immediate")
		return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	}
	write, err := sql.Open("sqlite", dsn())
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	write.SetMaxOpenConns(1)
	if err := migrate(ctx, write, logger); err != nil {
		write.Close()
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	read, err := sql.Open("sqlite", dsn("query_only(ON)"))
	if err != nil {
		write.Close()
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	readers := max(minReaders, 2*runtime.NumCPU())
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	return &Store{write: write, read: newStatements(read), now: time.Now}, nil
}

func migrate(ctx context.Context, db *sql.DB, logger *slog.Logger) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, dir)
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("bring schema up to date: %w", err)
	}
	for _, r := range results {
		logger.Debug("schema brought up to date", "migration", r.Source.Version)
	}
	return nil
}

// Close closes the database. Statements under way finish first.
func (s *Store) Close() error { return errors.Join(s.read.Close(), s.write.Close()) }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return s.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one)
}

// update runs f in a write transaction.
func (s *Store) update(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// querier is a database, a transaction or a connection.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// one scans a single row; no row is fescue.ErrNotFound.
func one(row *sql.Row, dest ...any) error {
	err := row.Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return fescue.ErrNotFound
	}
	return err
}

// all scans every row of a query.
func all[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, rows.Err()
}

// changed runs a statement that must change at least one row, else the error is
// fescue.ErrNotFound.
func changed(ctx context.Context, q querier, query string, args ...any) error {
	res, err := q.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return fescue.ErrNotFound
	}
	return nil
}

// Constraint failures, told apart by what SQLite reports.
func isUnique(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) &&
		(e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

func isForeignKey(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// toJSON encodes values that always encode: maps of strings, lists, structs of
// this project.
func toJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("store: %T does not encode: %v", v, err))
	}
	return string(data)
}

func fromJSON(text string, v any) error {
	if text == "" {
		return nil
	}
	return json.NewDecoder(strings.NewReader(text)).Decode(v)
}
