package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"runtime"
	"slices"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"

	"github.com/fescue-edge/fescue/disk"
)

var sqliteEngine = engine{
	name:    "sqlite",
	dialect: goose.DialectSQLite3,
	// Sequence numbers rise in the order of commits: there is one writer at a time.
	changes: `
		SELECT (SELECT pruned FROM change_horizon) >= $1,
			COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'change'), 0) + 1, '', '',
			c.seq, c.kind, c.partition, c.subject
		FROM (SELECT 1) LEFT JOIN (SELECT * FROM change WHERE seq >= $1 ORDER BY seq LIMIT $2) c ON TRUE ORDER BY c.seq`,
	horizon: []string{`
		UPDATE change_horizon SET pruned = (SELECT MAX(seq) FROM change WHERE at < $1)
		WHERE pruned < (SELECT MAX(seq) FROM change WHERE at < $1)`},
	prune:  `DELETE FROM change WHERE seq IN (SELECT seq FROM change WHERE seq <= (SELECT pruned FROM change_horizon) ORDER BY seq LIMIT $1)`,
	listed: `SELECT value FROM json_each($1)`,
	schema: func(dir fs.FS) fs.FS { return dir },
	again:  func(error) bool { return false }, // one writer: nobody comes in between
}

// busyTimeout bounds how long a statement waits for another process's lock.
const busyTimeout = 10 * time.Second

const (
	// logPages is how many pages the log has before a commit writes them to their places, for
	// which all others wait: 16 MB, four times SQLite's own, as many pages are written again
	// and again. While a read is under way that began before, a backup say, that leaves some in
	// the log, which grows meanwhile.
	logPages = 4000
	// mostLog is to what size, in bytes, the file of the log is cut when all is in its place.
	mostLog = 16 << 20
)

// minReaders is the least number of read connections: with fewer, requests wait
// for a connection longer than for an answer.
const minReaders = 16

// readerIdle is how long a read connection stays that nobody needs: each keeps up to 2 MB of
// pages, and a moment in which many were needed would be paid for ever.
const readerIdle = 10 * time.Second

// OpenSQLite opens the SQLite file, makes it if it is absent, and brings its
// schema up to date. It has one connection that writes, as SQLite has one writer,
// and several that read; see groupCommit.
func OpenSQLite(ctx context.Context, path string, logger *slog.Logger) (*DB, error) {
	dsn := func(extra ...string) string {
		q := url.Values{"_pragma": append([]string{
			"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "temp_store(MEMORY)",
			fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), fmt.Sprintf("wal_autocheckpoint(%d)", logPages),
			fmt.Sprintf("journal_size_limit(%d)", mostLog),
		}, extra...)}
		q.Set("_txlock", "immediate")
		return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	}
	// Whoever may read a database may lock it. SQLite gives files that it makes beside
	// it the same mode.
	if err := disk.MakePrivate(path, "-wal", "-shm"); err != nil {
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
	read.SetConnMaxIdleTime(readerIdle)
	return &DB{engine: sqliteEngine, write: newGroupCommit(write), read: newStatements(read), now: time.Now}, nil
}

func sqliteCode(err error, codes ...int) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && slices.Contains(codes, e.Code())
}
