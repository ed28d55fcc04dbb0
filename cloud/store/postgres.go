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
	"strings"
	"sync/atomic"
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
	// The snapshot does not see what transactions from its xmax on did, and those that it says
	// were under way. One that is under way for long, be it in another database, holds back its
	// xmin only. A dump brings the numbers of another cluster's transactions, and those that lie
	// ahead of this one's mean nothing.
	//
	// A look has lost something if its snapshot was taken before the one whose changes were
	// removed: whoever takes one for that writes it down, and by that raises the xmax of all later
	// ones. What a server of before that removed is all up to pruned.
	changes: `
		SELECT COALESCE(h.removed < s.xmax AND h.removed >= GREATEST($1, pg_snapshot_xmax($3::TEXT::PG_SNAPSHOT)::TEXT::BIGINT), FALSE)
				OR h.pruned < s.xmax AND h.pruned >= $1 AND h.pruned > COALESCE(h.removed, 0),
			pg_snapshot_xmin(s.seen)::TEXT::BIGINT, pg_postmaster_start_time()::TEXT, s.seen::TEXT, c.seq, c.kind, c.partition, c.subject
		FROM (SELECT pruned, pg_snapshot_xmax(removed)::TEXT::BIGINT AS removed FROM change_horizon) h
		CROSS JOIN (SELECT pg_current_snapshot() AS seen, pg_snapshot_xmax(pg_current_snapshot())::TEXT::BIGINT AS xmax) s
		LEFT JOIN (
			SELECT * FROM (
				SELECT * FROM change WHERE tx >= $1::BIGINT::TEXT::XID8 AND tx >= pg_snapshot_xmax($3::TEXT::PG_SNAPSHOT)
				UNION ALL SELECT * FROM change WHERE tx = ANY (ARRAY(SELECT pg_snapshot_xip($3::TEXT::PG_SNAPSHOT)))
			) unseen WHERE tx < pg_snapshot_xmax(pg_current_snapshot()) ORDER BY seq LIMIT $2
		) c ON TRUE ORDER BY c.seq`,
	// A snapshot from a dump that lies ahead says of all changes of this cluster that they are old:
	// it is forgotten, also where no mark is old enough to take its place.
	horizon: []string{
		`UPDATE change_horizon SET removed = m.seen, pruned = CASE WHEN pruned < n.xmax THEN GREATEST(pruned, m.xmax) ELSE COALESCE(m.xmax, pruned) END
			FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::TEXT::BIGINT AS xmax) n
			LEFT JOIN LATERAL (
				SELECT seen, pg_snapshot_xmax(seen)::TEXT::BIGINT AS xmax FROM change_mark
				WHERE at < $1 AND pg_snapshot_xmax(seen)::TEXT::BIGINT < n.xmax ORDER BY 2 DESC LIMIT 1
			) m ON TRUE
			WHERE pg_snapshot_xmax(removed)::TEXT::BIGINT >= n.xmax OR m.xmax > COALESCE(pg_snapshot_xmax(removed)::TEXT::BIGINT, 0)`,
		`DELETE FROM change_mark WHERE at < $1 OR pg_snapshot_xmax(seen) >= pg_snapshot_xmax(pg_current_snapshot())`,
	},
	mark: `
		INSERT INTO change_mark (at, seen) SELECT n.at, pg_current_snapshot()
		FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT AS at) n
		WHERE NOT EXISTS (SELECT 1 FROM change_mark m WHERE m.at > n.at - $1 AND m.at <= n.at)`,
	prune: `
		DELETE FROM change WHERE seq IN (
			SELECT seq FROM change WHERE tx < (SELECT pg_snapshot_xmax(removed) FROM change_horizon)
				AND pg_visible_in_snapshot(tx, (SELECT removed FROM change_horizon))
			UNION ALL SELECT seq FROM change WHERE tx >= pg_snapshot_xmax(pg_current_snapshot())
			LIMIT $1)`,
	hurry:  `SELECT set_config('lock_timeout', $1, TRUE)`,
	free:   ` FOR UPDATE SKIP LOCKED`,
	listed: `SELECT jsonb_array_elements_text($1::JSONB) COLLATE "C"`,
	gin:    true,
	schema: func(dir fs.FS) fs.FS { return collated{dir} },
	again: func(err error) bool {
		return postgresCode(err, serializationFailure, deadlockDetected) || errors.Is(err, errBroken)
	},
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
	readOnlyTransaction  = "25006"
	adminShutdown        = "57P01"
	crashShutdown        = "57P02"
	cannotConnectNow     = "57P03"
	// connectionExceptions is how their class begins.
	connectionExceptions = "08"
)

// Bounds of one connection's waits, where the URL sets no others: for a lock that
// another transaction holds, and for a server that died inside a transaction.
var postgresBounds = map[string]string{
	"lock_timeout":                        "10s",
	"idle_in_transaction_session_timeout": "60s",
}

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
	configure(config, url)
	unhurried := sql.OpenDB(patientConnector{stdlib.GetConnector(*config.Copy())})
	defer unhurried.Close()
	tracer := newTracer()
	pooled.BeforeConnect, config.Tracer = guardCommits, tracer
	connections, err := pgxpool.NewWithConfig(ctx, pooled)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	pool := newPool(connections)
	pool.tracer = tracer
	schema, err := preparePostgres(ctx, unhurried, logger)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("open database %s on %s: %w", config.Database, config.Host, err)
	}
	return &DB{
		engine: postgresEngine, write: pool, read: pool, peers: newPeers(config, schema, logger), now: time.Now,
		sessions: &sessions{config: config, channel: fmt.Sprintf("fescue_changes_%08x", crc32.ChecksumIEEE([]byte(schema)))},
	}, nil
}

// pool is a database that takes several transactions at the same time: each piece of work
// has one of its own, on a connection of its own, see work.
type pool struct {
	*sql.DB
	connections *pgxpool.Pool
	// writing takes a value for each transaction. What waits for a standby that is away
	// leaves connections to whoever reads.
	writing chan struct{}
	// longestCommit is after what time a commit is answered as uncertain, in nanoseconds.
	longestCommit atomic.Int64
	tracer        *tracer
	now           whereabouts
	under         underWay
	// goodbye is for how long Close waits for transactions that are under way.
	goodbye time.Duration
	// life ends when no commit is waited for any more.
	life context.Context
	end  context.CancelFunc
}

func newPool(connections *pgxpool.Pool) *pool {
	db := sql.OpenDB(patientConnector{stdlib.GetPoolConnector(connections)})
	db.SetMaxIdleConns(0) // the pool has them
	most := int(connections.Config().MaxConns)
	p := &pool{DB: db, connections: connections, writing: make(chan struct{}, max(1, most-most/4)), goodbye: goodbye}
	p.longestCommit.Store(int64(longestCommit))
	p.life, p.end = context.WithCancel(context.Background())
	return p
}

// Close implements reader and writer. A commit that still waits for a standby is left to the
// database.
func (p *pool) Close() error {
	select {
	case <-p.under.end():
	case <-time.After(p.goodbye):
	}
	p.end()
	err := p.DB.Close()
	p.connections.Close()
	return err
}

// errBroken means that a transaction's connection broke before its commit: nothing was done,
// and it is run again on another.
var errBroken = errors.New("the connection broke")

// state implements writer: there are others.
func (p *pool) state() (number uint64, known bool) { return 0, false }

// broken is known, and errBroken for who had a connection.
func (p *pool) broken(err error) error {
	if p.lost(err) {
		return fmt.Errorf("%w: %w", errBroken, known(err))
	}
	return known(err)
}

// lost reports whether an error is of a connection that broke. The others of the pool have most
// likely gone with it; not so with one that was closed because a statement was not answered in
// time, which may just have been too much work.
func (p *pool) lost(err error) bool {
	if unanswered(err) || errors.Is(err, errNoConnection) || !away(err) && !errors.Is(err, fescue.ErrAway) {
		return false
	}
	p.connections.Reset()
	return true
}

// QueryContext implements reader. What a connection that broke did not answer is asked once
// more on another.
func (p *pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := p.DB.QueryContext(ctx, query, args...)
	if p.lost(err) {
		return p.DB.QueryContext(ctx, query, args...)
	}
	return rows, err
}

// QueryRowContext implements reader, as QueryContext.
func (p *pool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	row := p.DB.QueryRowContext(ctx, query, args...)
	if p.lost(row.Err()) {
		return p.DB.QueryRowContext(ctx, query, args...)
	}
	return row
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
