//go:build linux

package test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	_ "modernc.org/sqlite"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
)

const (
	// storedPerGroup is how many deployments each group of the benchmark has.
	storedPerGroup = 10
	// storedWaiting: the last deployment of one group in that many waits for a core
	// that is offline, each for its own; all others have ended.
	storedWaiting = 10
	// storedAsked is how many deployments scripts ask for again and again, spread over
	// all that are stored.
	storedAsked = 1000
	// storedFresh is how many groups more have none: CreateDeployment gets one of
	// them each time, at every size, as a group that is being built refuses.
	storedFresh = 20_000
)

// BenchmarkStored measures calls through HTTP with that many deployments stored as
// FESCUE_BENCH_STORED lists, 1,000 and 100,000 by default.
func BenchmarkStored(b *testing.B) {
	sizes := []int{1000, 100_000}
	if text := os.Getenv("FESCUE_BENCH_STORED"); text != "" {
		sizes = nil
		for _, field := range strings.Split(text, ",") {
			n, err := strconv.Atoi(field)
			if err != nil {
				b.Fatal(err)
			}
			sizes = append(sizes, n)
		}
	}
	for _, engine := range []string{"SQLite", "PostgreSQL"} {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", engine, n), func(b *testing.B) { benchmarkStored(b, engine, n) })
		}
	}
}

func benchmarkStored(b *testing.B, engine string, n int) {
	data := b.TempDir()
	driver, database := "sqlite", filepath.Join(data, "fescue.db")
	var environment []string
	if engine == "PostgreSQL" {
		driver, database = "pgx", pgtest.Database(b)
		environment = []string{"FESCUE_DATABASE=" + database}
	}
	s := startServerWith(b, environment, data)
	h := s.site(region)
	g := h.provision(b, "Stored_Core")
	_, version := g.groupVersion(b, "", nil, nil)
	s.Kill()
	ids := storeMany(b, driver, database, version, n)
	s.restart(b)
	h = s.site(region)

	ctx := context.Background()
	fresh := ids[n:]
	var created atomic.Int64
	for _, call := range []struct {
		name string
		do   func(i int) error
	}{
		{"GetDeploymentStatus", func(i int) error { // of the same number, whatever is stored besides
			id := ids[i%storedAsked*7919%n]
			_, err := h.status(ctx, id.group, id.deployment)
			return err
		}},
		{"GetDeploymentStatusOfEach", func(i int) error { // of every one once
			id := ids[i*7919%n]
			_, err := h.status(ctx, id.group, id.deployment)
			return err
		}},
		{"GetDeploymentStatusOfOneThatWaits", func(i int) error { // always read anew
			const every = storedPerGroup * storedWaiting
			id := ids[i*7919%(n/every)*every+storedPerGroup-1]
			_, err := h.status(ctx, id.group, id.deployment)
			return err
		}},
		{"CreateDeployment", func(int) error {
			id := fresh[created.Add(1)%storedFresh]
			_, err := h.greengrass.CreateDeployment(ctx, &greengrass.CreateDeploymentInput{
				GroupId: &id.group, GroupVersionId: &id.version, DeploymentType: types.DeploymentTypeNewDeployment,
			})
			return err
		}},
		{"ListGroups", func(int) error {
			_, err := h.greengrass.ListGroups(ctx, &greengrass.ListGroupsInput{MaxResults: aws.String("50")})
			return err
		}},
	} {
		b.Run(call.name, func(b *testing.B) {
			var mu sync.Mutex
			var took []time.Duration
			next := 0
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					mu.Lock()
					i := next
					next++
					mu.Unlock()
					start := time.Now()
					if err := call.do(i); err != nil {
						b.Error(err)
						return
					}
					mu.Lock()
					took = append(took, time.Since(start))
					mu.Unlock()
				}
			})
			if len(took) == 0 {
				return
			}
			slices.Sort(took)
			b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "req/s")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

type storedID struct{ group, version, deployment string }

// storeMany writes groups like the one of a version, and their deployments, into a
// database that no server has open.
func storeMany(b *testing.B, driver, database, version string, n int) []storedID {
	b.Helper()
	db, err := sql.Open(driver, database)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // one connection, which begins and commits by itself
	exec := func(statements ...string) {
		for _, statement := range statements {
			if _, err := db.Exec(statement); err != nil {
				b.Fatal(err)
			}
		}
	}
	var partition, body string
	if err := db.QueryRow(`SELECT partition, body_json FROM definition_version WHERE kind = 'groups' AND id = $1`, version).Scan(&partition, &body); err != nil {
		b.Fatal(err)
	}
	prepare := func(query string) func(args ...any) {
		stmt, err := db.Prepare(query)
		if err != nil {
			b.Fatal(err)
		}
		return func(args ...any) {
			if _, err := stmt.Exec(args...); err != nil {
				b.Fatal(err)
			}
		}
	}
	group := prepare(`INSERT INTO definition (partition, kind, id, name, latest_version, tags_json, created_at, updated_at)
		VALUES ($1, 'groups', $2, 'stored', $3, '{}', $4, $4)`)
	groupVersion := prepare(`INSERT INTO definition_version (partition, kind, definition_id, id, number, body_json, created_at)
		VALUES ($1, 'groups', $2, $3, 1, $4, $5)`)
	deployment := prepare(`INSERT INTO deployment (partition, id, group_id, group_version_id, type, status, phase, core_thing, epoch,
			error_message, details_json, number, revision, leased_until, created_at, updated_at)
		VALUES ($1, $2, $3, $4, 'NewDeployment', $5, $6, $7, 1, '', '', $8, 2, 0, $9, $9)`)
	manifest := prepare(`INSERT INTO manifest (partition, deployment_id, envelope, artifacts_json) VALUES ($1, $2, $3, '[]')`)
	step := prepare(`INSERT INTO deployment_step (partition, deployment_id, number, event, actor, note, at)
		VALUES ($1, $2, $3, $4, 'cloud', '', $5)`)
	envelope := strings.Repeat("x", 1500) // as a small manifest
	at := time.Now().UnixMilli()
	ids := make([]storedID, 0, n+storedFresh)
	exec("BEGIN")
	for i := range n + storedFresh {
		if i%10_000 == 9_999 {
			exec("COMMIT")
			if driver == "pgx" { // as its autovacuum does in time; SQLite keeps no statistics by itself
				exec("ANALYZE")
			}
			exec("BEGIN")
		}
		id := storedID{fescue.NewID(), fescue.NewID(), fescue.NewID()}
		if i < n && i%storedPerGroup != 0 {
			id.group, id.version = ids[i-1].group, ids[i-1].version
		} else {
			group(partition, id.group, id.version, at)
			groupVersion(partition, id.group, id.version, body, at)
		}
		ids = append(ids, id)
		if i >= n {
			continue
		}
		status, phase, core, last := fescue.Success, fescue.DeploymentPhase(""), "Stored_Core", "Succeeded"
		if i%(storedPerGroup*storedWaiting) == storedPerGroup-1 {
			status, phase, core, last = fescue.InProgress, fescue.Offered, fmt.Sprintf("Offline_Core_%d", i), "Built"
		}
		deployment(partition, id.deployment, id.group, id.version, status, phase, core, 1+i%storedPerGroup, at)
		if status == fescue.InProgress {
			manifest(partition, id.deployment, envelope)
		}
		step(partition, id.deployment, 1, "Created", at)
		step(partition, id.deployment, 2, last, at)
	}
	exec("COMMIT")
	if driver == "pgx" {
		exec("VACUUM ANALYZE")
	}
	return ids
}
