//go:build linux

package pgtest

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/jackc/pgx/v5"

	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/ports"
)

// Pair is a primary and a standby that follows it by streaming replication, each at a port of
// the loopback, until a test ends.
type Pair struct {
	Primary, Standby *Node
}

// Node is one server of a pair.
type Node struct {
	port    int
	data    string
	bin     string
	user    account
	process *os.Process
	wait    func() error
	log     bytes.Buffer
}

// StartPair starts a pair. With a synchronous standby a commit is answered when both have it.
// The test is skipped where PostgreSQL is missing.
func StartPair(t testing.TB, synchronous bool) *Pair {
	t.Helper()
	p, err := startPair(t, synchronous)
	if Missing(err) {
		t.Skipf("no PostgreSQL: %v; install postgresql", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// StartNode starts a server at a port of the loopback, beside whose programs its user can run
// others. The test is skipped where PostgreSQL is missing.
func StartNode(t testing.TB) *Node {
	t.Helper()
	nodes, err := prepare(t, "single")
	if err == nil {
		err = nodes[0].start()
	}
	if Missing(err) {
		t.Skipf("no PostgreSQL: %v; install postgresql", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return nodes[0]
}

// prepare makes nodes in one folder, and what the first of them has.
func prepare(t testing.TB, names ...string) (nodes []*Node, err error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"pg_basebackup", "pg_ctl", "pg_dump", "pg_restore", "psql"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return nil, errMissing{"there is no " + name + " beside initdb"}
		}
	}
	dir, err := os.MkdirTemp("", "pgpair")
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	user, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		n := &Node{port: ports.Take(t), data: filepath.Join(dir, name), bin: bin, user: user}
		t.Cleanup(func() {
			n.Kill()
			if t.Failed() {
				t.Logf("PostgreSQL %s said:\n%s", name, n.log.Bytes())
			}
		})
		nodes = append(nodes, n)
	}
	first := nodes[0]
	return nodes, first.tool("initdb", "-D", first.data, "-U", "fescue", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8")
}

func startPair(t testing.TB, synchronous bool) (*Pair, error) {
	nodes, err := prepare(t, "primary", "standby")
	if err != nil {
		return nil, err
	}
	p := &Pair{nodes[0], nodes[1]}
	waitFor := ""
	if synchronous {
		waitFor = "*"
	}
	if err := p.Primary.start("-c", "synchronous_standby_names="+waitFor); err != nil {
		return nil, err
	}
	if err := p.Standby.tool("pg_basebackup", "-d", p.Primary.URL(), "-D", p.Standby.data, "-R", "-X", "stream", "-c", "fast", "--no-sync"); err != nil {
		return nil, err
	}
	if err := p.Standby.start(); err != nil {
		return nil, err
	}
	db := p.Primary.open()
	defer db.Close()
	return p, testkit.Within(t.Context(), startTime, func() error {
		var n int
		if err := db.QueryRow(`SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = $1`,
			map[bool]string{true: "sync", false: "async"}[synchronous]).Scan(&n); err != nil {
			return err
		}
		if n != 1 {
			return errors.New("the standby does not follow")
		}
		return nil
	})
}

// URL leads to whichever of the two takes writes.
func (p *Pair) URL() string {
	return fmt.Sprintf("postgres://fescue@127.0.0.1:%d,127.0.0.1:%d/postgres?target_session_attrs=read-write", p.Primary.port, p.Standby.port)
}

// URL leads to this one.
func (n *Node) URL() string {
	return (&url.URL{Scheme: "postgres", User: url.User("fescue"), Host: fmt.Sprintf("127.0.0.1:%d", n.port), Path: "/postgres"}).String()
}

// Folder is where its user may write, beside its data.
func (n *Node) Folder() string { return filepath.Dir(n.data) }

// Run runs one of PostgreSQL's programs to its end, in Folder and as its user.
func (n *Node) Run(t testing.TB, name string, args ...string) {
	t.Helper()
	if err := n.tool(name, args...); err != nil {
		t.Fatal(err)
	}
}

// Open connects to it as its superuser until the test ends.
func (n *Node) Open(t testing.TB) *sql.DB {
	t.Helper()
	db := n.open()
	t.Cleanup(func() { db.Close() })
	return db
}

func (n *Node) open() *sql.DB {
	config, err := pgx.ParseConfig(n.URL())
	if err != nil {
		panic(err) // it is made of letters and a number
	}
	return stdlib.OpenDB(*config)
}

// tool runs one of PostgreSQL's programs to its end.
func (n *Node) tool(name string, args ...string) error {
	cmd := n.user.command(filepath.Join(n.bin, name), args...)
	cmd.Dir = filepath.Dir(n.data)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	wait, err := run(cmd)
	if err == nil {
		err = wait()
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out.Bytes())
	}
	return nil
}

// start starts it on its folder. What it acknowledges outlives its processes, and not the
// machine.
func (n *Node) start(settings ...string) error {
	args := append([]string{
		"-D", n.data, "-p", strconv.Itoa(n.port), "-k", filepath.Dir(n.data), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200",
		"-c", "fsync=off", "-c", "max_wal_size=128MB", "-c", "wal_keep_size=64MB", "-c", "wal_receiver_status_interval=1s",
	}, settings...)
	cmd := n.user.command(filepath.Join(n.bin, "postgres"), args...)
	cmd.Dir = filepath.Dir(n.data)
	cmd.Stdout, cmd.Stderr = &n.log, &n.log
	var err error
	if n.wait, err = run(cmd); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	n.process = cmd.Process
	if err := answers(n.URL()); err != nil {
		return fmt.Errorf("postgres: %w\n%s", err, n.log.Bytes())
	}
	return nil
}

// Kill ends all of its processes at once, as the end of its machine would.
func (n *Node) Kill() {
	if n.process == nil {
		return
	}
	n.process.Signal(syscall.SIGSTOP) // it starts none anew
	for _, pid := range childrenOf(n.process.Pid) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	n.process.Kill()
	n.wait()
	n.process = nil
}

// Freeze stops all of its processes until thaw is called.
func (n *Node) Freeze() (thaw func()) {
	list := append(childrenOf(n.process.Pid), n.process.Pid)
	signal := func(s syscall.Signal) {
		for _, pid := range list {
			syscall.Kill(pid, s)
		}
	}
	signal(syscall.SIGSTOP)
	return func() { signal(syscall.SIGCONT) }
}

// Start starts one that was killed again, on what it has.
func (n *Node) Start(t testing.TB) {
	t.Helper()
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
}

// Promote makes a standby a primary.
func (n *Node) Promote(t testing.TB) {
	t.Helper()
	if err := n.tool("pg_ctl", "promote", "-D", n.data, "-w"); err != nil {
		t.Fatal(err)
	}
}

// Detach has a standby receive nothing more.
func (n *Node) Detach(t testing.TB) {
	t.Helper()
	db := n.Open(t)
	for _, statement := range []string{`ALTER SYSTEM SET primary_conninfo = ''`, `SELECT pg_reload_conf()`} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "the standby receives nothing", func() error {
		var n int
		err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_wal_receiver`).Scan(&n)
		if err == nil && n > 0 {
			err = errors.New("it receives")
		}
		return err
	})
}

// childrenOf are the processes that a process has started.
func childrenOf(parent int) (list []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// The name, in brackets, may have anything in it.
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			list = append(list, pid)
		}
	}
	return list
}
