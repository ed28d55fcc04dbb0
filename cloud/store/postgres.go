package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

var postgresEngine = engine{
	dialect: goose.DialectPostgres,
	schema:  func(dir fs.FS) fs.FS { return collated{dir} },
	again:   func(err error) bool { return postgresCode(err, serializationFailure, deadlockDetected) },
}

// What PostgreSQL calls the failures that are told apart here.
const (
	uniqueViolation      = "23505"
	foreignKeyViolation  = "23503"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	diskFull             = "53100"
)

// Bounds of one connection's waits, where the URL sets no others: for a lock that
// another transaction holds, and for a server that died inside a transaction.
var postgresBounds = map[string]string{
	"lock_timeout":                        "10s",
	"idle_in_transaction_session_timeout": "60s",
}

// connectTimeout bounds the making of a connection.
const connectTimeout = 10 * time.Second

// minConnections is the least number of connections a server may have open.
const minConnections = 20

// Servers that start together bring the schema up to date one after the other;
// they look once a second, and that often at most.
const (
	migrationLook  = 1
	migrationLooks = 600
)

// OpenPostgres opens a PostgreSQL database by its URL and brings its schema up to
// date, in the schema that comes first in the connection's search path. Any
// number of servers may do so at the same time.
func OpenPostgres(ctx context.Context, url string, logger *slog.Logger) (*DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err) // leaves the password out
	}
	for name, value := range postgresBounds {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	db := stdlib.OpenDB(*config)
	connections := max(minConnections, 4*runtime.NumCPU())
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	schema, err := preparePostgres(ctx, db, logger)
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open database %s on %s: %w", config.Database, config.Host, err)
	}
	return &DB{engine: postgresEngine, write: db, read: db, peers: newPeers(config, schema, logger), now: time.Now}, nil
}

// preparePostgres brings the schema up to date and returns its name.
func preparePostgres(ctx context.Context, db *sql.DB, logger *slog.Logger) (string, error) {
	var encoding string
	var schema sql.NullString
	if err := db.QueryRowContext(ctx, `SELECT current_setting('server_encoding'), current_schema()`).Scan(&encoding, &schema); err != nil {
		return "", err
	}
	if !schema.Valid {
		return "", errors.New("the search path names no schema that there is: create it first")
	}
	if encoding != "UTF8" {
		return "", fmt.Errorf("its encoding is %s: create it with ENCODING 'UTF8'", encoding)
	}
	locker, err := lock.NewPostgresSessionLocker(
		lock.WithLockID(int64(crc32.ChecksumIEEE([]byte("fescue schema "+schema.String)))), lock.WithLockTimeout(migrationLook, migrationLooks))
	if err != nil {
		return "", err
	}
	return schema.String, postgresEngine.migrate(ctx, db, logger, goose.WithSessionLocker(locker))
}

func postgresCode(err error, codes ...string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && slices.Contains(codes, e.Code)
}

// collated is the migrations with every text column in the collation "C", so that
// texts compare byte by byte whatever the database was created with: pages go in
// the order of ids and names, and continue after one.
type collated struct{ fs.FS }

var textColumn = regexp.MustCompile(`\bTEXT\b`)

// Open implements fs.FS.
func (c collated) Open(name string) (fs.File, error) {
	f, err := c.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return f, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return rewritten{f, bytes.NewReader(textColumn.ReplaceAll(text, []byte(`TEXT COLLATE "C"`)))}, nil
}

// rewritten is a file that reads as another text.
type rewritten struct {
	fs.File
	text io.Reader
}

// Read implements fs.File.
func (r rewritten) Read(p []byte) (int, error) { return r.text.Read(p) }
