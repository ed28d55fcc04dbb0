package store_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// lastOfBefore is the last change of the schema that the version before knows, of which
// ./test runs servers beside those of today (serversBefore).
const lastOfBefore = 29

// additive are the statements that a server of the version before does not notice.
var additive = regexp.MustCompile(`(?is)^(` + strings.Join([]string{
	`CREATE TABLE `, `CREATE INDEX `, `CREATE TRIGGER `, `CREATE FUNCTION `, `SELECT 1$`,
	// It fills in the default of a column that it does not know.
	`ALTER TABLE \w+ ADD COLUMN \w+ \w+( NOT NULL DEFAULT ('[^']*'|\d+))?$`,
}, "|") + `)`)

var (
	sqlComment = regexp.MustCompile(`(?m)--.*$`)
	// sqlBlock is one statement with others in it.
	sqlBlock = regexp.MustCompile(`(?s)-- \+goose StatementBegin(.*?)-- \+goose StatementEnd`)
	made     = regexp.MustCompile(`(?i)^CREATE TABLE (\w+)`)
	into     = regexp.MustCompile(`(?i)^(?:INSERT INTO|CREATE UNIQUE INDEX \w+ ON) (\w+)`)
)

// narrowing are the statements of a migration that a server of the version before may notice.
func narrowing(migration string) (list []string) {
	up, _, _ := strings.Cut(migration, "-- +goose Down")
	var statements []string
	up = sqlBlock.ReplaceAllStringFunc(up, func(block string) string {
		statements = append(statements, sqlBlock.FindStringSubmatch(block)[1])
		return ""
	})
	own := make(map[string]bool) // tables that nobody else knows
	for _, s := range append(statements, strings.Split(sqlComment.ReplaceAllString(up, ""), ";")...) {
		s = strings.TrimSpace(sqlComment.ReplaceAllString(s, ""))
		if m := made.FindStringSubmatch(s); m != nil {
			own[m[1]] = true
		}
		if m := into.FindStringSubmatch(s); s == "" || additive.MatchString(s) || m != nil && own[m[1]] {
			continue
		}
		list = append(list, s)
	}
	return list
}

// TestAdditive: what changes the schema only adds to it, so that servers of the version before
// run on it, too, while others are brought up to date, and when they are taken back.
func TestAdditive(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	own, err := filepath.Glob("migrations/*/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, file := range append(files, own...) {
		number, err := strconv.Atoi(filepath.Base(file)[:5])
		if err != nil {
			t.Fatal(err)
		}
		if number <= lastOfBefore {
			continue
		}
		looked++
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range narrowing(string(text)) {
			t.Errorf("%s: %s\ndoes not only add to the schema: servers of the version before, which run on it while others are upgraded, would notice", file, statement)
		}
	}
	if looked == 0 {
		t.Error("there is no migration")
	}
}

func TestNarrowing(t *testing.T) {
	t.Parallel()
	for statement, bad := range map[string]bool{
		"CREATE TABLE a (b TEXT NOT NULL)":                                                                         false,
		"CREATE TABLE a (b TEXT); INSERT INTO a VALUES ('x')":                                                      false,
		"CREATE TABLE a (b TEXT); CREATE UNIQUE INDEX a_b ON a (b)":                                                false,
		"CREATE INDEX a_b ON a (b)":                                                                                false,
		"ALTER TABLE a ADD COLUMN c TEXT NOT NULL DEFAULT ''":                                                      false,
		"ALTER TABLE a ADD COLUMN c BIGINT NOT NULL DEFAULT 0 -- of whom":                                          false,
		"ALTER TABLE a ADD COLUMN c BIGINT":                                                                        false,
		"-- +goose StatementBegin\nCREATE FUNCTION f() AS $$ BEGIN DELETE FROM x; END $$;\n-- +goose StatementEnd": false,
		"ALTER TABLE a ADD COLUMN c TEXT NOT NULL":                                                                 true,
		"ALTER TABLE a DROP COLUMN c":                                                                              true,
		"ALTER TABLE a RENAME TO b":                                                                                true,
		"DROP TABLE a":                                                                                             true,
		"CREATE UNIQUE INDEX a_b ON a (b)":                                                                         true,
		"UPDATE a SET b = ''":                                                                                      true,
		"DELETE FROM a":                                                                                            true,
		"INSERT INTO a VALUES ('x')":                                                                               true,
		"ALTER TABLE a ALTER COLUMN b SET NOT NULL":                                                                true,
		"CREATE TABLE b (c TEXT);\nALTER TABLE a ADD CONSTRAINT d CHECK (e)":                                       true,
	} {
		if list := narrowing("-- +goose Up\n" + statement + ";\n-- +goose Down\nDROP TABLE a;\n"); (len(list) > 0) != bad {
			t.Errorf("%s: %q", statement, list)
		}
	}
}
