// Package store keeps what a core must not lose in one SQLite file: the queue of
// messages for the cloud, and shadows. DB is the file: schema, transactions, and what
// is done when the disk fails. What is kept lies in aggregates over it, a type for
// each, which implement the small interfaces that their users declare. A public method
// opens the transaction; unexported steps that take it do the work and compose.
//
// What a transaction has written survives a kill and a power cut once it has returned:
// the log of the file is flushed to the disk with each. A file that turns out to be
// damaged is put aside, named in the log, and begun anew, so that the core goes on.
//
// The package must not know what its rows mean.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/disk"
)

// FileName is the file's name in the core's folder of state.
const FileName = "core.db"

// Errors of every method. All wrap what the database said, and name the file.
var (
	// ErrDiskFull means that there is no room for what was to be written. Nothing of
	// it was.
	ErrDiskFull = errors.New("the core's disk is full")
	// ErrUnusable means that the file cannot be opened or written: a disk that may
	// only be read, a folder that is closed to the core's user, something else by
	// the file's name.
	ErrUnusable = errors.New("the core's store cannot be used; make its folder one that the core's user may write")
	// ErrClosed means a use after Close.
	ErrClosed = errors.New("the core's store is closed")
)

// busyTimeout bounds how long a statement waits for the lock of another process,
// which can only be someone with the sqlite3 shell: a core has its folder to itself.
const busyTimeout = 5 * time.Second

// DB is the file. Make one with New. Its methods may be called from any goroutine;
// those that write wait for each other.
type DB struct {
	path   string
	logger *slog.Logger
	now    func() time.Time

	mu     sync.Mutex
	open   *handles // nil until the first use, and after damage
	closed bool
	// generation counts the files that were opened: what was read of an earlier one
	// no longer holds.
	generation uint64
}

// handles are an open file: one connection that writes, as SQLite has one writer, and
// one that reads meanwhile. Each may hold 256 KB of pages.
type handles struct{ write, read *sql.DB }

// New makes a DB of the file at path, in a folder that need not exist. Nothing is
// opened before the first use: a core that needs no store spends no memory on one.
func New(path string, logger *slog.Logger) *DB {
	return &DB{path: path, logger: logger, now: time.Now}
}

// Exists reports whether there is a file, of this start or an earlier one.
func (db *DB) Exists() (bool, error) { return disk.Exists(disk.Local{}, db.path) }

// Close closes the file. Statements under way finish first. Closing twice is fine.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.closed = true
	return db.drop()
}

// drop closes the connections; the caller holds mu.
func (db *DB) drop() error {
	h := db.open
	db.open = nil
	if h == nil {
		return nil
	}
	return errors.Join(h.read.Close(), h.write.Close())
}

// handles opens the file if that has not happened, with the number of the opening.
func (db *DB) handles(ctx context.Context) (h *handles, generation uint64, err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, 0, ErrClosed
	}
	if db.open == nil {
		db.open, err = db.connect(ctx)
		if isDamage(err) {
			if err = db.putAside(err); err == nil {
				db.open, err = db.connect(ctx)
			}
		}
		if err != nil {
			return nil, 0, err
		}
		db.generation++
	}
	return db.open, db.generation, nil
}

// connect opens the file, makes it if it is absent, and brings its schema up to date.
func (db *DB) connect(ctx context.Context) (_ *handles, err error) {
	if err := disk.MakeFolder(filepath.Dir(db.path), 0o711); err != nil {
		return nil, err
	}
	if err := disk.MakePrivate(db.path, "-wal", "-shm"); err != nil {
		return nil, err
	}
	h := new(handles)
	if h.write, err = sql.Open("sqlite", db.dsn("immediate")); err != nil {
		return nil, err
	}
	h.write.SetMaxOpenConns(1)
	if err := migrate(ctx, h.write); err != nil {
		return nil, errors.Join(err, h.write.Close())
	}
	if h.read, err = sql.Open("sqlite", db.dsn("deferred", "query_only(ON)")); err != nil {
		return nil, errors.Join(err, h.write.Close())
	}
	h.read.SetMaxOpenConns(1)
	return h, nil
}

// dsn names the file with what holds for a connection. Pages that are free at the end
// of the file can be given back; how large the log may stay is bounded.
func (db *DB) dsn(lock string, extra ...string) string {
	q := url.Values{"_txlock": {lock}, "_pragma": append([]string{
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
		"auto_vacuum(INCREMENTAL)", "journal_mode(WAL)", "synchronous(FULL)",
		"journal_size_limit(1048576)", "cache_size(-256)",
	}, extra...)}
	return "file:" + (&url.URL{Path: db.path}).EscapedPath() + "?" + q.Encode()
}

// update runs f in a transaction that writes. f may be run twice, so it sets what it
// hands out, and never adds to it; generation says which file it is run on.
func (db *DB) update(ctx context.Context, f func(tx *sql.Tx, generation uint64) error) error {
	return db.run(ctx, func(h *handles, generation uint64) error {
		return transaction(ctx, h.write, func(tx *sql.Tx) error { return f(tx, generation) })
	})
}

// view runs f in a transaction that reads, beside one that writes. f may be run twice.
func (db *DB) view(ctx context.Context, f func(tx *sql.Tx) error) error {
	return db.run(ctx, func(h *handles, _ uint64) error { return transaction(ctx, h.read, f) })
}

func transaction(ctx context.Context, on *sql.DB, f func(tx *sql.Tx) error) error {
	tx, err := on.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
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

// run runs f on the open file, and once more on a new one if the file is damaged.
func (db *DB) run(ctx context.Context, f func(h *handles, generation uint64) error) error {
	h, generation, err := db.handles(ctx)
	if err == nil {
		err = f(h, generation)
	}
	if err != nil && isDamage(err) {
		if err = db.replace(generation, err); err == nil {
			if h, generation, err = db.handles(ctx); err == nil {
				err = f(h, generation)
			}
		}
	}
	return db.named(err)
}

// named says which file, and what kind of failure, as far as that is known.
func (db *DB) named(err error) error {
	if err == nil || errors.Is(err, ErrClosed) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if kind := kindOf(err); kind != nil {
		return fmt.Errorf("%w: %s: %w", kind, db.path, err)
	}
	return fmt.Errorf("%s: %w", db.path, err)
}
