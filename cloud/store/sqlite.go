package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

var sqliteEngine = engine{
	dialect: goose.DialectSQLite3,
	schema:  func(dir fs.FS) fs.FS { return dir },
	again:   func(error) bool { return false }, // one writer: nobody comes in between
}

// busyTimeout bounds how long a statement waits for another process's lock.
const busyTimeout = 10 * time.Second

// minReaders is the least number of read connections: with fewer, requests wait
// for a connection longer than for an answer.
const minReaders = 16

// OpenSQLite opens the SQLite file, makes it if it is absent, and brings its
// schema up to date. It has one connection that writes, as SQLite has one writer,
// and several that read.
func OpenSQLite(ctx context.Context, path string, logger *slog.Logger) (*DB, error) {
	dsn := func(extra ...string) string {
		q := url.Values{"_pragma": append([]string{
			"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)",
			fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
		}, extra...)}
		q.Set("_txlock", "immediate")
		return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	}
	if err := keepPrivate(path); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	write, err := sql.Open("sqlite", dsn())
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	write.SetMaxOpenConns(1)
	if err := sqliteEngine.migrate(ctx, write, logger); err != nil {
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
	return &DB{engine: sqliteEngine, write: write, read: newStatements(read), now: time.Now}, nil
}

// keepPrivate makes the file, if it is absent, and leaves it and those beside it to
// their owner, whatever the umask is: whoever may read a database may lock it.
// SQLite gives files that it makes beside it the same mode.
func keepPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err == nil && info.Mode()&0o077 != 0 {
			err = os.Chmod(name, 0o600)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func sqliteCode(err error, codes ...int) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && slices.Contains(codes, e.Code())
}
