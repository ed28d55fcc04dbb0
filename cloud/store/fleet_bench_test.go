package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/history"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

// onFleets runs a benchmark on SQLite with 10,000 cores and on PostgreSQL with 100,000.
func onFleets(b *testing.B, run func(b *testing.B, s *store.DB, cores int)) {
	for _, on := range []struct {
		engine, driver string
		database       func(testing.TB) string
		cores          int
	}{
		{"SQLite, 10,000 cores", "sqlite", storetest.SQLite, 10_000},
		{"PostgreSQL, 100,000 cores", "pgx", storetest.Postgres, 100_000},
	} {
		b.Run(on.engine, func(b *testing.B) {
			database := on.database(b)
			fill(b, on.driver, database, on.cores)
			run(b, storetest.OpenOn(b, database), on.cores)
		})
	}
}

// fill writes cores, of which one in 500 failed last and one in 2,000 says that something
// is wrong, as many groups, of which one in a hundred has a tag, two deployments of each,
// spread over the week before madeAt, and a week of samples.
func fill(b *testing.B, driver, database string, many int) {
	b.Helper()
	db, err := sql.Open(driver, database)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	n := func(many int) string {
		return fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)`, many-1)
	}
	digits := func(count int) string { return fmt.Sprintf("substr('%0*d' || i, length(i || '') + 1)", count, 0) }
	p, from := homePartition.Key(), madeAt.Truncate(history.Bucket).Add(-7*24*time.Hour).UnixMilli()
	info := `{"version":"1.0","architecture":"amd64","kernel":"6.1.0","features":["` + strings.Repeat(`feature","`, 40) + `"]}`
	wrong := strings.Replace(info, `,"features"`, `,"findings":[{"DetailedErrorCode":"CORE_DISK_FULL","DetailedErrorMessage":"m"}],"features"`, 1)
	group, version, core := `'00000000-0000-4000-8000-' || `+digits(12), `'10000000-0000-4000-8000-' || `+digits(12), `'mill-' || `+digits(6)
	statements := []string{
		n(many) + fmt.Sprintf(` INSERT INTO definition (partition, kind, id, name, latest_version, tags_json, created_at, updated_at)
			SELECT '%s', 'groups', %s, 'Mill ' || i, '', CASE i %% 100 WHEN 0 THEN '{"kind":"mill","site":"north"}' ELSE '{"site":"south"}' END, i, i FROM n`, p, group),
		n(many) + fmt.Sprintf(` INSERT INTO core (partition, thing, epoch, group_id, info_json, info_at, seen_at)
			SELECT '%s', %s, 2, %s, CASE i %% 2000 WHEN 0 THEN '%s' ELSE '%s' END, i, %d FROM n`, p, core, group, wrong, info, from),
		n(many) + fmt.Sprintf(`, e(epoch) AS (SELECT 1 UNION ALL SELECT 2)
			INSERT INTO deployment (partition, id, group_id, group_version_id, type, status, phase, core_thing, epoch, error_message, details_json, number, revision, leased_until, created_at, updated_at)
			SELECT '%s', epoch || '0000000-0000-4000-8000-' || %s, %s, %s, 'NewDeployment', CASE WHEN epoch = 2 AND i %% 500 = 1 THEN 'Failure' ELSE 'Success' END, '', %s, epoch, '', '[]', epoch, 1, 0,
			%d + CAST(i AS BIGINT) * %d, %[6]d + CAST(i AS BIGINT) * %[7]d FROM n CROSS JOIN e`, p, digits(12), group, version, core, from, 7*24*3_600_000/many),
		n(2016) + fmt.Sprintf(` INSERT INTO fleet_sample (partition, at, cores, connected, succeeded, failed, cancelled)
			SELECT '%s', %d + CAST(i AS BIGINT) * %d, %d, %[4]d, 48, 1, 0 FROM n`, p, from, history.Bucket.Milliseconds(), many),
	}
	if driver == "pgx" { // as its autovacuum does in time
		statements = append(statements, "VACUUM ANALYZE")
	}
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			b.Fatalf("%v\n%.500s", err, statement)
		}
	}
}

// BenchmarkFleet is what the console's pages ask of the database: a page of each list.
func BenchmarkFleet(b *testing.B) {
	onFleets(b, func(b *testing.B, s *store.DB, many int) {
		page, now := fescue.Page{Limit: 51}, madeAt
		listCores := func(f cores.Filter) func(context.Context) (int, error) {
			f.Now = now
			return func(ctx context.Context) (int, error) {
				list, err := s.Cores().Cores(ctx, homePartition, f, page)
				return len(list), err
			}
		}
		listGroups := func(f definitions.GroupFilter) func(context.Context) (int, error) {
			return func(ctx context.Context) (int, error) {
				list, err := s.Definitions().Groups(ctx, homePartition, f, page)
				return len(list), err
			}
		}
		for _, ask := range []struct {
			name string
			want int
			list func(ctx context.Context) (int, error)
		}{
			{"cores", 51, func(ctx context.Context) (int, error) {
				list, err := s.Cores().Cores(ctx, homePartition, cores.Filter{}, page)
				return len(list), err
			}},
			{"cores, counted", many, func(ctx context.Context) (int, error) {
				known, _, err := s.Cores().CountFleet(ctx, homePartition, now)
				return known, err
			}},
			{"cores, wrong", min(many/500+many/2000, 51), listCores(cores.Filter{State: cores.Wrong})},
			{"cores, connected, none", 0, listCores(cores.Filter{State: cores.Connected})},
			{"cores, a text", 51, listCores(cores.Filter{Text: "9"})},
			{"cores, no such text", 0, listCores(cores.Filter{Text: "no such"})},
			{"cores, a tag of one in a hundred", min(many/100, 51), listCores(cores.Filter{Tag: "kind", Value: "mill"})},
			{"cores, a tag of nearly all", 51, listCores(cores.Filter{Tag: "site", Value: "south"})},
			{"cores, no such tag", 0, listCores(cores.Filter{Tag: "site", Value: "west"})},
			{"cores, a tag of nearly all and a rare text", 1, listCores(cores.Filter{Tag: "site", Value: "south", Text: fmt.Sprintf("%06d", many-1)})},
			{"cores, a tag of nearly all and no such text", 0, listCores(cores.Filter{Tag: "site", Value: "south", Text: "no such"})},
			{"cores, a tag of one in a hundred and a text of all", min(many/100, 51), listCores(cores.Filter{Tag: "kind", Value: "mill", Text: "mill"})},
			{"cores, a tag of nearly all, none connected", 0, listCores(cores.Filter{Tag: "site", Value: "south", State: cores.Connected})},
			{"groups, a tag", 51, listGroups(definitions.GroupFilter{Tag: "site", Value: "north"})},
			{"groups, no such text", 0, listGroups(definitions.GroupFilter{Text: "no such"})},
			{"groups, a tag and no such text", 0, listGroups(definitions.GroupFilter{Text: "no such", Tag: "site", Value: "north"})},
			{"deployments, failed", 20, func(ctx context.Context) (int, error) {
				list, err := s.Deployments().DeploymentsIn(ctx, homePartition, fescue.Failure, fescue.Page{Limit: 20})
				return len(list), err
			}},
		} {
			b.Run(ask.name, func(b *testing.B) {
				for b.Loop() {
					if n, err := ask.list(b.Context()); err != nil || n != ask.want {
						b.Fatal(n, err)
					}
				}
			})
		}
	})
}
