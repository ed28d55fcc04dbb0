package store_test

import (
	"database/sql"
	"errors"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud/store"
)

// small are the tables that may be read from end to end: they do not grow with
// the fleet or with time. CONSTANT stands for a row that comes from no table, near and
// found for what a part of the statement has found, which is bounded.
var small = []string{"CONSTANT", "near", "found", "access_key", "event_destination", "goose_db_version", "server_setting", "sqlite_master"}

// scans are plans that read more than they answer with: a whole table, all of one
// state, or all cores, deployments or client devices (c) of a partition.
var scans = regexp.MustCompile(`^SCAN (\w+)|^SEARCH (deployment) USING .*\((?:partition=\? AND )?(?:status|phase)=\?\)$|^SEARCH (core|deployment|c) USING .*\(partition=\?\)$`)

// whole are statements that are meant to read a table from end to end, each by a
// part of it.
var whole = []string{
	// For a backup, of a copy of the database.
	"SELECT DISTINCT code_hash FROM lambda_version",
	"SELECT artifacts_json FROM manifest",
	"SELECT document_hash FROM manifest",
	// Once, of a database that an early version wrote.
	"WHERE status = 'Success' AND group_version_id <> ''",
	"SELECT partition, min(created_at) AS oldest FROM (",
	// For fescue doctor, of how many cores a machine has to hold.
	"SELECT COUNT(*) FROM core",
	// For /metrics.
	"FROM core WHERE seen_at > 0",
	// For the console's overview, of the account's cores.
	"WHEN gone_at <= seen_at AND seen_at > $2 THEN 1",
	// Each five minutes, by one server.
	"FROM core GROUP BY partition",
	// Over an index that has only the rows asked for.
	"FROM bulk_deployment WHERE status IN ('Initializing', 'Running', 'Stopping')",
	"WHERE status = 'Building' AND (leased_until < $1",
	"SELECT count(*) FROM deployment WHERE status = 'Building' AND (partition",
	// What expires within minutes, and what waits to be delivered.
	"DELETE FROM core_check WHERE expires_at < $1",
	"FROM core_check WHERE answer_json = ''",
	"FROM event_outbox GROUP BY destination",
}

// TestPlans asks SQLite, which keeps no statistics of a new database, how it would
// go about each statement of this package.
func TestPlans(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "plans.db")
	s := must(store.Open(t.Context(), path, slog.New(slog.DiscardHandler)))(t)
	defer s.Close()
	db := must(sql.Open("sqlite", path))(t)
	defer db.Close()
	explained := 0
	for position, query := range statementsOf(t) {
		steps, err := explain(db, query)
		if err != nil {
			if !strings.Contains(query, "pg_") && !strings.Contains(query, "current_setting") {
				t.Logf("%s: not explained: %v", position, err)
			}
			continue
		}
		explained++
		if slices.ContainsFunc(whole, func(part string) bool { return strings.Contains(query, part) }) {
			continue
		}
		for _, step := range steps {
			if m := scans.FindStringSubmatch(step); m != nil && !slices.Contains(small, m[1]) {
				t.Errorf("%s: %s\n%s", position, step, query)
			}
		}
	}
	if explained < 200 {
		t.Errorf("%d statements were found", explained)
	}
}

// explain is the plan of a statement.
func explain(db *sql.DB, query string) (steps []string, err error) {
	args := make([]any, strings.Count(query, "$"))
	rows, err := db.Query("EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return nil, err
		}
		steps = append(steps, detail)
	}
	return steps, rows.Err()
}

// verb begins a statement that reads.
var verb = regexp.MustCompile(`^\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s`)

// statementsOf are the constant statements of this package by where they are: what
// is given to a function, with the constants that it is put together from.
func statementsOf(t *testing.T) map[string]string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range must(filepath.Glob("*.go"))(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		files = append(files, must(parser.ParseFile(fset, name, must(os.ReadFile(name))(t), 0))(t))
	}
	info := types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}
	config := types.Config{Error: func(error) {}, Importer: noImports{}} // the values of constants need no imports
	config.Check("store", fset, files, &info)
	list := make(map[string]string)
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			for _, arg := range call.Args {
				if v := info.Types[arg].Value; v != nil && v.Kind() == constant.String && verb.MatchString(constant.StringVal(v)) {
					list[fset.Position(arg.Pos()).String()] = constant.StringVal(v)
				}
			}
			return true
		})
	}
	return list
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not needed") }
