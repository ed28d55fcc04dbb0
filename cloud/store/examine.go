package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Examination is what Examine found in a database.
type Examination struct {
	// Last is the number of the schema's last change that was made, 0 in an empty
	// database. Missing are changes that the next start of a server makes, Unknown
	// those that this version knows nothing of.
	Last             int64
	Missing, Unknown []int64
	// Damage is what SQLite's quick check found, at most ten lines; PostgreSQL has none.
	Damage []string
	// Clock is PostgreSQL's time, Asked when it was asked for on this machine; both are
	// zero for SQLite, which has this machine's.
	Clock, Asked time.Time
	// Refuses says why nothing can be written to PostgreSQL, empty where something can.
	Refuses string
	// Connections is how many PostgreSQL takes in all, Wanted how many one server keeps
	// at most; 0 for SQLite.
	Connections, Wanted int

	settings map[string]string
	cores    int
}

// Setting is a server-wide value, empty when none was kept.
func (e *Examination) Setting(name string) string { return e.settings[name] }

// Cores is how many cores there are.
func (e *Examination) Cores() int { return e.cores }

// Examine looks at a database, as Open names it, and changes nothing: a server may run on
// it meanwhile, or start, and does not wait. A SQLite file that is absent is
// fs.ErrNotExist.
func Examine(ctx context.Context, database string) (*Examination, error) {
	if strings.Contains(database, "://") {
		return examinePostgres(ctx, database)
	}
	return examineSQLite(ctx, database)
}

func examineSQLite(ctx context.Context, path string) (_ *Examination, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	// Without a log there is nothing that could be recovered or had to be locked. A log
	// is read by the index that its server keeps, or one in memory: no file is made that
	// would be another user's.
	mode := "mode=ro&readonly_shm=1"
	if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		mode = "mode=ro&immutable=1"
	}
	db, err := openPlain(path, mode)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	e := new(Examination)
	e.Damage, err = all(ctx, db, column[string], `PRAGMA quick_check(10)`)
	if err != nil {
		return nil, err
	}
	e.Damage = slices.DeleteFunc(e.Damage, func(line string) bool { return line == "ok" })
	if len(e.Damage) > 0 {
		return e, nil
	}
	return e, e.read(ctx, db, sqliteEngine, `SELECT COUNT(*) FROM sqlite_master WHERE name = 'goose_db_version'`)
}

func examinePostgres(ctx context.Context, url string) (_ *Examination, err error) {
	pooled, err := poolConfig(url)
	if err != nil {
		return nil, err
	}
	config := pooled.ConnConfig
	config.ConnectTimeout = connectTimeout
	config.RuntimeParams["lock_timeout"] = "5s"
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, db.Close()) }()
	e := &Examination{Wanted: int(pooled.MaxConns)}
	var encoding, readOnly string
	var schema sql.NullString
	var recovering, mayCreate bool
	// The clock is asked for on a connection that is open.
	if err := db.PingContext(ctx); err != nil {
		return nil, fmt.Errorf("%s on %s: %w", config.Database, config.Host, err)
	}
	e.Asked = time.Now()
	if err := db.QueryRowContext(ctx, `
		SELECT clock_timestamp(), current_setting('server_encoding'), current_setting('default_transaction_read_only'), current_setting('max_connections')::INT,
			current_schema(), pg_is_in_recovery(), COALESCE(has_schema_privilege(current_schema(), 'CREATE'), FALSE)`).
		Scan(&e.Clock, &encoding, &readOnly, &e.Connections, &schema, &recovering, &mayCreate); err != nil {
		return nil, err
	}
	switch {
	case recovering:
		e.Refuses = "it is a standby, which only reads: name the primary"
	case readOnly == "on":
		e.Refuses = "default_transaction_read_only is on for this user or database"
	case encoding != "UTF8":
		e.Refuses = "its encoding is " + encoding + ": create it with ENCODING 'UTF8'"
	case !schema.Valid:
		e.Refuses = "the search path names no schema that there is: create it first"
	case !mayCreate:
		e.Refuses = "its user may not create tables in the schema " + schema.String + ", as each new version does: GRANT CREATE ON SCHEMA"
	}
	return e, e.read(ctx, db, postgresEngine, `
		SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = 'goose_db_version'`)
}

// read reads what both databases have; begun counts the tables in which changes of the
// schema are noted.
func (e *Examination) read(ctx context.Context, db querier, engine engine, begun string) error {
	known, err := engine.versions()
	if err != nil {
		return err
	}
	var tables int
	if err := db.QueryRowContext(ctx, begun).Scan(&tables); err != nil {
		return err
	}
	var made []int64
	if tables > 0 {
		made, err = all(ctx, db, column[int64],
			`SELECT DISTINCT version_id FROM goose_db_version WHERE is_applied AND version_id > 0 ORDER BY version_id`)
		if err != nil {
			return err
		}
	}
	among := func(list []int64) func(int64) bool { return func(n int64) bool { return slices.Contains(list, n) } }
	e.Missing, e.Unknown = slices.DeleteFunc(slices.Clone(known), among(made)), slices.DeleteFunc(slices.Clone(made), among(known))
	if len(made) == 0 {
		return nil
	}
	e.Last = made[len(made)-1]
	e.settings = make(map[string]string)
	rows, err := all(ctx, db, columns(func(row *[2]string) []any { return []any{&row[0], &row[1]} }), `SELECT name, value FROM server_setting`)
	if err != nil {
		return err
	}
	for _, row := range rows {
		e.settings[row[0]] = row[1]
	}
	if len(e.Missing) > 0 {
		return nil
	}
	return db.QueryRowContext(ctx, `SELECT COUNT(*) FROM core`).Scan(&e.cores)
}

// versions are the numbers of the schema's changes, rising.
func (e engine) versions() (list []int64, err error) {
	dir, err := e.migrations()
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(dir, "*.sql")
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		n, err := goose.NumericComponent(name)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}
