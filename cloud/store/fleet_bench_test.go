package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

// BenchmarkFleet is what the console's lists ask of SQLite with 10,000 cores, of which 20
// are wrong, and as many groups, of which 100 have a tag: a page each.
func BenchmarkFleet(b *testing.B) {
	const many = 10_000
	path := filepath.Join(b.TempDir(), "fescue.db")
	storetest.WriteSQLite(b, path)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		b.Fatal(err)
	}
	p, info := homePartition.Key(), `{"version":"1.0","architecture":"amd64","kernel":"6.1.0","features":["`+strings.Repeat(`feature","`, 40)+`"]}`
	fill := `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ` + fmt.Sprint(many) + `) `
	for _, statement := range []struct {
		text string
		args []any
	}{
		{`INSERT INTO definition (partition, kind, id, name, latest_version, tags_json, created_at, updated_at) ` + fill + `
			SELECT ?, 'groups', printf('00000000-0000-4000-8000-%012d', i), 'Mill ' || i, '', CASE i % 100 WHEN 0 THEN '{"kind":"mill","site":"north"}' ELSE '{"site":"south"}' END, i, i FROM n`, []any{p}},
		{`INSERT INTO core (partition, thing, epoch, group_id, info_json, info_at, seen_at) ` + fill + `
			SELECT ?, printf('mill-%05d', i), 2, printf('00000000-0000-4000-8000-%012d', i), ?, i, i FROM n`, []any{p, info}},
		{`INSERT INTO deployment (partition, id, group_id, group_version_id, type, status, phase, core_thing, epoch, error_message, details_json, number, revision, leased_until, created_at, updated_at)
			` + fill + `, e(epoch) AS (SELECT 1 UNION ALL SELECT 2)
			SELECT ?, printf('%08d-0000-4000-8000-%012d', epoch, i), printf('00000000-0000-4000-8000-%012d', i), printf('10000000-0000-4000-8000-%012d', i), 'NewDeployment',
			CASE WHEN epoch = 2 AND i % 500 = 0 THEN 'Failure' ELSE 'Success' END, '', printf('mill-%05d', i), epoch, '', '[]', epoch, 1, 0, i, i FROM n, e`, []any{p}},
	} {
		if _, err := db.Exec(statement.text, statement.args...); err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	s, err := store.Open(context.Background(), path, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	page := fescue.Page{Limit: 51}
	for name, list := range map[string]func(ctx context.Context) (int, error){
		"cores": func(ctx context.Context) (int, error) {
			list, err := s.Cores().Cores(ctx, homePartition, cores.Filter{}, page)
			return len(list), err
		},
		"cores, wrong": func(ctx context.Context) (int, error) {
			list, err := s.Cores().Cores(ctx, homePartition, cores.Filter{State: cores.Wrong}, page)
			return len(list) + 31, err
		},
		"cores, a text": func(ctx context.Context) (int, error) {
			list, err := s.Cores().Cores(ctx, homePartition, cores.Filter{Text: "99"}, page)
			return len(list), err
		},
		"groups, a tag": func(ctx context.Context) (int, error) {
			list, err := s.Definitions().Groups(ctx, homePartition, definitions.GroupFilter{Tag: "site", Value: "north"}, page)
			return len(list), err
		},
		"groups, a tag and no such text": func(ctx context.Context) (int, error) {
			list, err := s.Definitions().Groups(ctx, homePartition, definitions.GroupFilter{Text: "no such", Tag: "site", Value: "north"}, page)
			return len(list) + 51, err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if n, err := list(b.Context()); err != nil || n != page.Limit {
					b.Fatal(n, err)
				}
			}
		})
	}
}
