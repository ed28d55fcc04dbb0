package store

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/fescue-edge/fescue"
)

var postgresEngine = engine{
	name:    "postgres",
	dialect: goose.DialectPostgres,
	// What transactions below the snapshot's xmin did is seen by it, or was rolled back.
	changes: `
		SELECT h.pruned, s.next::TEXT::BIGINT, c.seq, c.kind, c.partition, c.subject
		FROM change_horizon h CROSS JOIN (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS next) s
		LEFT JOIN (SELECT * FROM change WHERE tx >= $1::BIGINT::TEXT::XID8 ORDER BY seq LIMIT $2) c ON TRUE ORDER BY c.seq`,
	prune: []string{`
		WITH gone AS (DELETE FROM change WHERE at < $1 RETURNING tx)
		UPDATE change_horizon SET pruned = last FROM (SELECT MAX(tx::TEXT::BIGINT) AS last FROM gone) g WHERE pruned < last`},
	schema: func(dir fs.FS) fs.FS { return collated{dir} },
	again:  func(err error) bool { return postgresCode(err, serializationFailure, deadlockDetected) },
}

// What PostgreSQL calls the failures that are distinguished here.
const (
	uniqueViolation      = "23505"
	foreignKeyViolation  = "23503"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	diskFull             = "53100"
	tooManyConnections   = "53300"
	lockNotAvailable     = "55P03"
)

// Bounds of one connection's waits, where the URL sets no others: for a lock that
// another transaction holds, and for a server that died inside a transaction.
var postgresBounds = map[string]string{
	"lock_timeout":                        "10s",
	"idle_in_transaction_session_timeout": "60s",
}

// connectTimeout bounds the making of a connection.
const connectTimeout = 10 * time.Second

const (
	// minConnections is the least number of connections a server may have open, where the
	// URL does not say how many (pool_max_conns).
	minConnections = 20
	// longestWait is how long whoever finds all of them at work waits for one.
	longestWait = 5 * time.Second
)

// poolConfig reads a database's URL.
func poolConfig(url string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err) // leaves the password out
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = int32(max(minConnections, 4*runtime.NumCPU()))
	}
	return config, nil
}

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
	pooled, err := poolConfig(url)
	if err != nil {
		return nil, err
	}
	config := pooled.ConnConfig
	for name, value := range postgresBounds {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	connections, err := pgxpool.NewWithConfig(ctx, pooled)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	db := sql.OpenDB(patientConnector{stdlib.GetPoolConnector(connections)})
	db.SetMaxIdleConns(0) // the pool has them
	pool := &pool{db, connections}
	schema, err := preparePostgres(ctx, db, logger)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("open database %s on %s: %w", config.Database, config.Host, err)
	}
	return &DB{engine: postgresEngine, write: pool, read: pool, peers: newPeers(config, schema, logger), now: time.Now}, nil
}

// patientConnector waits for a connection of a pool, but not for ever.
type patientConnector struct{ driver.Connector }

// Connect implements driver.Connector.
func (c patientConnector) Connect(ctx context.Context) (driver.Conn, error) {
	waiting, done := context.WithTimeout(ctx, longestWait)
	defer done()
	conn, err := c.Connector.Connect(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("%w: no connection to it was free for %v", fescue.ErrBusy, longestWait)
	}
	return conn, err
}

// pool is a database that takes several transactions at the same time: each piece of work
// has one of its own, on a connection of its own.
type pool struct {
	*sql.DB
	connections *pgxpool.Pool
}

// Close implements reader and writer.
func (p *pool) Close() error {
	err := p.DB.Close()
	p.connections.Close()
	return err
}

// do implements writer.
func (p *pool) do(ctx context.Context, f func(tx transaction) error) error {
	tx, err := p.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", known(err))
	}
	defer tx.Rollback()
	if err := f(transaction{tx}); err != nil {
		return known(err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", known(err))
	}
	return nil
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

// ReadDir implements fs.ReadDirFS.
func (c collated) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(c.FS, name) }

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
