// Package store keeps the control plane's state in a SQL database. DB is the open
// database: schema, transactions, how databases differ. What is kept
// lies in aggregates over it, a type for each (Definitions, Jobs, Buckets), which
// implement the small interfaces that the services declare.
//
// They know no rule but the schema's: an invariant is a unique index or a
// compare-and-set, never a read before a write. A public method opens the
// transaction; unexported steps that take it do the work and compose.
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
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/fescue-edge/fescue"
)

//go:embed migrations/*.sql migrations/*/*.sql
var migrations embed.FS

// DB is an open database.
type DB struct {
	engine engine
	write  writer
	read   reader
	peers  *peers // nil where one server has the database to itself
	// sessions are what looks for changes go through; nil on SQLite.
	sessions *sessions
	// commits rings for each piece of work that is done.
	commits bell
	now     func() time.Time
}

// engine is what differs between databases.
type engine struct {
	name    string
	dialect goose.Dialect
	// schema makes the migrations what this database takes.
	schema func(fs.FS) fs.FS
	// changes reads what changed, see Changes. horizon notes up to where changes are older than a
	// time, and prune removes some of those. mark notes where changes are now, which horizon finds
	// when that is old; it is empty where changes say themselves when they were made.
	changes, mark, prune string
	horizon              []string
	// hurry bounds how long a transaction waits for a record that another one has, in
	// milliseconds; free ends a query that is to leave those out. Both are empty where there is
	// one writer.
	hurry, free string
	// listed is a query for the texts of a JSON list, which is $1.
	listed string
	// gin says that texts and tags are indexed, by text_grams and tag_pairs.
	gin bool
	// again reports whether a transaction that failed so did nothing, and may
	// succeed when it is run again.
	again func(error) bool
}

// writer carries out work in write transactions.
type writer interface {
	// do runs f, and returns nil when all that f did through tx is committed, and what it
	// found done already; with any other answer but fescue.ErrUncertain nothing of it is done. f may be run several times, each time after what
	// it did before was undone.
	do(ctx context.Context, f func(tx transaction) error) error
	// state is Deployments.State.
	state() (number uint64, known bool)
	// Close refuses further work. What is under way is finished first.
	Close() error
}

// transaction is the database as one piece of work changes it: all together, or not at all.
type transaction struct{ querier }

// reader is what reads outside transactions.
type reader interface {
	querier
	Close() error
}

// Open opens a database and brings its schema up to date: a postgres:// URL, or
// the path of a SQLite file, which is made if it is absent.
func Open(ctx context.Context, database string, logger *slog.Logger) (*DB, error) {
	scheme, _, isURL := strings.Cut(database, "://")
	switch {
	case scheme == "postgres" || scheme == "postgresql":
		return OpenPostgres(ctx, database, logger)
	case isURL:
		return nil, fmt.Errorf("database URL of scheme %s: give postgres://user@host/database, or the path of a SQLite file", scheme)
	}
	return OpenSQLite(ctx, database, logger)
}

func (e engine) migrate(ctx context.Context, db *sql.DB, logger *slog.Logger, options ...goose.ProviderOption) error {
	dir, err := e.migrations()
	if err != nil {
		return err
	}
	// Migrations are merged in any order: one that is missing is made up for,
	// whatever its number.
	options = append(options, goose.WithAllowOutofOrder(true))
	provider, err := goose.NewProvider(e.dialect, db, dir, options...)
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

// migrations are those for every database, and those that this one has its own way for,
// which lie in a folder of its name.
func (e engine) migrations() (fs.FS, error) {
	shared, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	own, err := fs.Sub(shared, e.name)
	if err != nil {
		return nil, err
	}
	return e.schema(both{shared, own}), nil
}

// both is two folders as one.
type both [2]fs.FS

// Open implements fs.FS.
func (b both) Open(name string) (fs.File, error) {
	f, err := b[1].Open(name)
	if name != "." && errors.Is(err, fs.ErrNotExist) {
		return b[0].Open(name)
	}
	return f, err
}

// ReadDir implements fs.ReadDirFS.
func (b both) ReadDir(name string) ([]fs.DirEntry, error) {
	shared, err := fs.ReadDir(b[0], name)
	if err != nil {
		return nil, err
	}
	own, err := fs.ReadDir(b[1], name)
	return append(shared, own...), err
}

// Close closes the database. Statements under way finish first.
func (db *DB) Close() error {
	return errors.Join(db.sessions.Close(), db.peers.Close(), db.read.Close(), db.write.Close())
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	return db.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one)
}

// errAgain ends a transaction that another one came before in a way that only a
// fresh look shows: it is rolled back and run again.
var errAgain = errors.New("another transaction came first")

// A transaction that may be run again is, with a pause in between.
const (
	attempts   = 12
	firstPause = 2 * time.Millisecond
	longPause  = 250 * time.Millisecond
)

// update runs f in a write transaction. Where the database has several writers
// it may find that two of them cannot both go on; where it has one, the commit that is
// for many pieces of work may fail. f is then run again from the start, so f sets what it
// hands out, and never adds to it.
func (db *DB) update(ctx context.Context, f func(tx transaction) error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := db.write.do(ctx, f)
		if err == nil {
			db.commits.ring()
			return nil
		}
		if attempt == attempts || !errors.Is(err, errAgain) && !db.engine.again(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, longPause)
	}
}

// known names a full disk, a database that others keep busy, and one that is away, as what they are.
func known(err error) error {
	switch {
	case sqliteCode(err, sqlite3.SQLITE_FULL) || postgresCode(err, diskFull):
		return fmt.Errorf("%w: %w", fescue.ErrDiskFull, err)
	case postgresCode(err, lockNotAvailable):
		return fmt.Errorf("%w: %w", fescue.ErrLocked, err)
	case sqliteCode(err, sqlite3.SQLITE_BUSY) || postgresCode(err, tooManyConnections):
		return fmt.Errorf("%w: %w", fescue.ErrBusy, err)
	case unanswered(err):
		return fmt.Errorf("%w: a statement was not answered in time: %w", fescue.ErrAway, err)
	case away(err):
		return fmt.Errorf("%w: %w", fescue.ErrAway, err)
	}
	return err
}

// insertUnique inserts a row whose name may be taken.
func (db *DB) insertUnique(ctx context.Context, what, query string, args ...any) error {
	return db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, query, args...)
		if errors.Is(err, fescue.ErrNotFound) {
			return fmt.Errorf("%s: %w", what, fescue.ErrExists)
		}
		return err
	})
}

// settled returns when whatever can be read now is as safe as what is written now.
func (db *DB) settled(ctx context.Context) error {
	return db.update(ctx, func(transaction) error { return nil })
}

// alter runs a statement that must find its row.
func (db *DB) alter(ctx context.Context, query string, args ...any) error {
	return db.update(ctx, func(tx transaction) error { return changed(ctx, tx, query, args...) })
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
	return known(err)
}

// pageStart is the place in a list, newest first, behind which a page of it
// begins: what query reads of the record that page.After names, beyond all
// without one. If that record is not there any more, or never was, it is
// fescue.ErrPage: what is behind it is unknown.
func pageStart(ctx context.Context, q querier, page fescue.Page, query string, args ...any) (before int64, err error) {
	if page.After == "" {
		return math.MaxInt64, nil
	}
	if err = one(q.QueryRowContext(ctx, query, args...), &before); errors.Is(err, fescue.ErrNotFound) {
		err = fescue.ErrPage
	}
	return before, err
}

// all scans every row of a query.
func all[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, known(err)
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
	return list, known(rows.Err())
}

// column scans rows of one column.
func column[T any](rows *sql.Rows) (item T, err error) {
	err = rows.Scan(&item)
	return item, err
}

// columns scans rows that are as they are read: into says where of an item the columns go.
func columns[T any](into func(*T) []any) func(*sql.Rows) (T, error) {
	return func(rows *sql.Rows) (item T, err error) {
		err = rows.Scan(into(&item)...)
		return item, err
	}
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

// Constraint failures, distinguished by what the database reports.
func isUnique(err error) bool {
	return sqliteCode(err, sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY) ||
		postgresCode(err, uniqueViolation)
}

func isForeignKey(err error) bool {
	return sqliteCode(err, sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY) || postgresCode(err, foreignKeyViolation)
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
