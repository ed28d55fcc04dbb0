// Package pgtest gives tests empty PostgreSQL databases: on the server whose URL stands
// in FESCUE_TEST_POSTGRES, else on a private one that it starts from the binaries
// of the machine and that ends with the test program. A test is skipped where
// there is neither.
package pgtest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/fescue-edge/fescue/disk"
)

// serverVariable names a server to be used: the URL of a database in which
// schemas may be created.
const serverVariable = "FESCUE_TEST_POSTGRES"

// startTime bounds how long a private server may take to start.
const startTime = time.Minute

// Server is a server that empty databases are made on.
type Server struct {
	url    *url.URL
	admin  *sql.DB
	stop   func() // nil where it is not a private one
	number atomic.Int64
}

// cluster is the server of this test program.
var cluster struct {
	*Server
	running bool // Run was called
	once    sync.Once
	err     error

	// template is the name of a database that copies are made of.
	templateOnce sync.Once
	template     string
	strategy     string // how it is copied, where there is a choice
	templateErr  error
}

// Run runs a package's tests and returns their exit code; TestMain calls it.
func Run(m *testing.M) int {
	cluster.running = true
	code := m.Run()
	if cluster.Server != nil {
		cluster.Close()
	}
	return code
}

// Close gives the server up, and ends a private one.
func (s *Server) Close() {
	s.admin.Close()
	if s.stop != nil {
		s.stop()
	}
}

// Database makes an empty schema of its own that goes with the test, which is
// many times faster than a database, and returns the URL of a connection that
// sees nothing else.
func Database(t testing.TB) string {
	t.Helper()
	connect(t)
	text, drop, err := cluster.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if cluster.stop == nil { // else all goes together
		t.Cleanup(func() {
			if err := drop(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	return text
}

// Database is the package's without a test: drop removes the schema.
func (s *Server) Database(ctx context.Context) (text string, drop func(context.Context) error, err error) {
	name := fmt.Sprintf("fescue_test_%d_%d", os.Getpid(), s.number.Add(1))
	// The names are made of letters and digits here.
	if _, err := s.admin.ExecContext(ctx, `CREATE SCHEMA `+name); err != nil {
		return "", nil, fmt.Errorf("make %s: %w", name, err)
	}
	u := *s.url
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String(), func(ctx context.Context) error {
		if _, err := s.admin.ExecContext(ctx, `DROP SCHEMA `+name+` CASCADE`); err != nil {
			return fmt.Errorf("drop %s: %w", name, err)
		}
		return nil
	}, nil
}

// Prepared is Database with what prepare, given the URL of an empty one, puts into
// it. A private server copies what was prepared the first time, which is several times
// faster than schemas of many tables; on another one, where there may be no right to
// make databases, it is an empty one.
func Prepared(t testing.TB, prepare func(url string) error) string {
	t.Helper()
	connect(t)
	if cluster.stop == nil {
		return Database(t)
	}
	cluster.templateOnce.Do(func() {
		cluster.template = "fescue_template"
		var version int
		if cluster.admin.QueryRow(`SELECT current_setting('server_version_num')::int`).Scan(&version) == nil && version >= 150000 {
			cluster.strategy = ` STRATEGY file_copy` // twice as fast as what is the default since then
		}
		if _, cluster.templateErr = cluster.admin.Exec(`CREATE DATABASE ` + cluster.template); cluster.templateErr == nil {
			cluster.templateErr = prepare(of(cluster.template))
		}
	})
	if cluster.templateErr != nil {
		t.Fatal(cluster.templateErr)
	}
	name := fmt.Sprintf("fescue_test_%d", cluster.number.Add(1))
	execute(t, `CREATE DATABASE `+name+` TEMPLATE `+cluster.template+cluster.strategy)
	t.Cleanup(func() {
		if _, err := cluster.admin.ExecContext(context.WithoutCancel(t.Context()), `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Errorf("drop %s: %v", name, err)
		}
	})
	return of(name)
}

// of is the URL of another database of the server.
func of(database string) string {
	u := *cluster.url
	u.Path = "/" + database
	return u.String()
}

func execute(t testing.TB, statement string) {
	t.Helper()
	if _, err := cluster.admin.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// connect makes sure of a server, or skips.
func connect(t testing.TB) {
	t.Helper()
	if !cluster.running {
		t.Fatal("TestMain of this package has to call pgtest.Run")
	}
	cluster.once.Do(func() { cluster.Server, cluster.err = Open() })
	if Missing(cluster.err) {
		t.Skipf("no PostgreSQL: %v; install postgresql or set %s to a server's URL", cluster.err, serverVariable)
	}
	if cluster.err != nil {
		t.Fatal(cluster.err)
	}
}

// errMissing says what the machine lacks.
type errMissing struct{ what string }

func (e errMissing) Error() string { return e.what }

// Missing reports whether an error of Open is that the machine has no PostgreSQL.
func Missing(err error) bool {
	_, missing := errors.AsType[errMissing](err)
	return missing
}

// Open gives a program that is no test what Run gives tests: the server, until Close.
func Open() (*Server, error) {
	s := &Server{}
	text := os.Getenv(serverVariable)
	if text == "" {
		var err error
		if text, s.stop, err = start(); err != nil {
			return nil, err
		}
	}
	var err error
	if s.url, err = url.Parse(text); err != nil {
		return nil, fmt.Errorf("%s: %w", serverVariable, err)
	}
	config, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", serverVariable, err)
	}
	s.admin = stdlib.OpenDB(*config)
	s.admin.SetMaxOpenConns(4)
	return s, nil
}

// start makes and starts a private server that listens on a socket in its own
// folder. It writes nothing through to the disk, and sorts texts unlike "C".
func start() (text string, stop func(), err error) {
	bin, err := binaries()
	if err != nil {
		return "", nil, err
	}
	// Each copy of a database is three hundred files, which memory makes in a fraction of
	// the time.
	parent := ""
	if free, err := (disk.Local{}).Free("/dev/shm"); err == nil && free >= 1<<30 {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "pgtest")
	if err != nil {
		return "", nil, err
	}
	remove := func() { os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			remove()
		}
	}()
	user, err := unprivileged(dir)
	if err != nil {
		return "", nil, err
	}
	data := filepath.Join(dir, "data")
	initialize := user.command(filepath.Join(bin, "initdb"), "-D", data, "-U", "fescue", "-A", "trust", "-E", "UTF8", "--no-sync",
		"--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
	initialize.Dir = dir
	if out, err := initialize.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	server := user.command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "max_connections=400",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "autovacuum_naptime=10s",
		"-c", "max_wal_size=64MB", "-c", "min_wal_size=32MB")
	server.Dir = dir
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	wait, err := run(server)
	if err != nil {
		return "", nil, fmt.Errorf("start postgres: %w", err)
	}
	stop = func() {
		server.Process.Signal(os.Interrupt) // ends its sessions and stops
		wait()
		remove()
	}
	u := url.URL{Scheme: "postgres", User: url.User("fescue"), Path: "/postgres", RawQuery: url.Values{"host": {dir}}.Encode()}
	if err := answers(u.String()); err != nil {
		stop()
		return "", nil, fmt.Errorf("postgres: %w\n%s", err, log.Bytes())
	}
	return u.String(), stop, nil
}

// answers waits until a server takes connections.
func answers(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, text)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// binaries is the folder of initdb and postgres: that of the newest version
// where Debian keeps them, else the one on the path.
func binaries() (string, error) {
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is good
	best, bestVersion := "", 0
	for _, path := range versions {
		var version int
		fmt.Sscanf(path, "/usr/lib/postgresql/%d/", &version)
		if version > bestVersion {
			best, bestVersion = filepath.Dir(path), version
		}
	}
	if best != "" {
		return best, nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errMissing{"there is no initdb in /usr/lib/postgresql/*/bin or on the path"}
	}
	return filepath.Dir(path), nil
}
