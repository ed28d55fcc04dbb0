//go:build linux

package test

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue/cloud/store/pgtest"
)

// BenchmarkConsole measures the console's pages with a fleet: how long each takes the
// server, and how large it is; then what consoles that stay open cost it in memory.
func BenchmarkConsole(b *testing.B) {
	for _, fleet := range []struct {
		engine string
		cores  int
	}{{"SQLite", 10_000}, {"PostgreSQL", 100_000}} {
		b.Run(fmt.Sprintf("%s/%d", fleet.engine, fleet.cores), func(b *testing.B) { benchmarkConsole(b, fleet.engine, fleet.cores) })
	}
}

// How many consoles are open, how often each fetches the overview anew, as its script does
// while the server tells it what changes, and for how long they are watched.
const (
	openConsoles  = 100
	refreshEvery  = 15 * time.Second
	consolesWatch = 40 * time.Second
)

func benchmarkConsole(b *testing.B, engine string, cores int) {
	data := b.TempDir()
	driver, database := "sqlite", filepath.Join(data, "fescue.db")
	var environment []string
	if engine == "PostgreSQL" {
		driver, database = "pgx", pgtest.Database(b)
		environment = []string{"FESCUE_DATABASE=" + database}
	}
	s := startServerWith(b, environment, data)
	h := s.site(region)
	g := h.provision(b, "Shown_Core")
	arn := h.echo(b, "Shown")
	_, version := g.groupVersion(b, "", []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary}}, ends(arn, g.thing))
	s.Kill()
	storeFleet(b, driver, database, version, cores)
	s.restart(b)

	v := s.visitor(b)
	first := v.get(b, "/")
	ofGroup := regexp.MustCompile(`/groups/[0-9a-f-]{36}`).FindString(first)
	ofDeployment := regexp.MustCompile(`/groups/[0-9a-f-]{36}/deployments/[0-9a-f-]{36}`).FindString(first)
	if ofGroup == "" || ofDeployment == "" {
		b.Fatalf("the overview has no deployment:\n%s", first)
	}
	ofVersion := strings.Replace(strings.TrimPrefix(ofGroup, "/groups/"), "00000000", "10000000", 1) // as storeFleet has them
	for _, page := range []struct{ name, path string }{
		{"overview", "/"}, {"overview of a week", "/?period=Week"},
		{"cores", "/cores"}, {"cores with a text", "/cores?q=mill-0099"}, {"cores with a text that none has", "/cores?q=nothing"},
		{"cores with a tag that all have", "/cores?tag=site%3Dnorth"}, {"cores with a tag that none has", "/cores?tag=site%3Dsouth"},
		{"cores that are connected", "/cores?state=connected"}, {"cores that are offline", "/cores?state=offline"}, {"cores with something wrong", "/cores?state=wrong"},
		{"groups", "/groups"}, {"groups with a text", "/groups?q=mill+99"}, {"a group", ofGroup}, {"compare", ofGroup + "/compare"}, {"deploy", ofGroup + "/deploy?version=" + ofVersion}, {"logs", ofGroup + "/logs"},
		{"a deployment", ofDeployment}, {"functions", "/functions"}, {"a function", "/functions/Shown?qualifier=1"}, {"bulk", "/bulk"},
		{"things", "/things"}, {"a thing", "/things/mill-000099"}, {"messages", "/messages"},
		{"certificates", "/certificates?days=90"}, {"keys", "/keys"}, {"audit", "/audit"}, {"audit of a week", "/audit?hours=168"},
	} {
		b.Run(page.name, func(b *testing.B) {
			var took []time.Duration
			var size int
			for b.Loop() {
				start := time.Now()
				size = len(v.get(b, page.path))
				took = append(took, time.Since(start))
				if b.Failed() {
					b.FailNow()
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1e3, "p95-ms")
			b.ReportMetric(float64(size)/1e3, "KB")
			b.ReportMetric(0, "ns/op")
		})
	}
	b.Run("the first page with its files", func(b *testing.B) {
		for b.Loop() {
			size := len(v.get(b, "/"))
			for _, file := range regexp.MustCompile(`"(/console/static/[^"]+\.(?:css|js))"`).FindAllStringSubmatch(first, -1) {
				size += len(v.at(b, file[1]))
			}
			b.ReportMetric(float64(size)/1e3, "KB")
		}
	})
	b.Run(fmt.Sprintf("%d open", openConsoles), func(b *testing.B) {
		for b.Loop() {
			open := []*visitor{v}
			alone, _ := s.watched(b, open)
			for range openConsoles - 1 {
				open = append(open, s.visitor(b))
			}
			together, cpu := s.watched(b, open)
			b.ReportMetric(together-alone, "more-MB")
			b.ReportMetric(alone, "alone-MB")
			b.ReportMetric(cpu, "processors")
		}
	})
}

// visitor is somebody at the console, as far as HTTP goes.
type visitor struct {
	client *http.Client
	base   string
}

// visitor signs in.
func (s *server) visitor(b *testing.B) *visitor {
	b.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.Fatal(err)
	}
	transport := &http.Transport{}
	b.Cleanup(transport.CloseIdleConnections)
	v := &visitor{&http.Client{Jar: jar, Timeout: patience, Transport: transport}, "http://" + s.api}
	answer, err := v.client.PostForm(v.base+"/console/sign-in", url.Values{"key": {keyID}, "secret": {secret}})
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		b.Fatalf("sign in: %d %v %s", answer.StatusCode, err, text)
	}
	return v
}

// get is a page of the first Region.
func (v *visitor) get(b *testing.B, path string) string { return v.at(b, "/console/"+region+path) }

func (v *visitor) at(b *testing.B, path string) string {
	answer, err := v.client.Get(v.base + path)
	if err != nil {
		b.Error(err)
		return ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		b.Errorf("%s: %d %v %.500s", path, answer.StatusCode, err, text)
	}
	return string(text)
}

// listen has the server tell what changes on the overview, until it is ended.
func (v *visitor) listen(b *testing.B) (end func()) {
	client := *v.client
	client.Timeout = 0
	answer, err := client.Get(v.base + "/console/" + region + "/live")
	if err != nil {
		b.Error(err)
		return func() {}
	}
	if kind := answer.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		b.Errorf("a stream is %d %s", answer.StatusCode, kind)
	}
	return func() { answer.Body.Close() }
}

// watched has consoles open on the overview for a while, and returns the server's resident
// memory in the second half of it, on average, and how many processors it took.
func (s *server) watched(b *testing.B, open []*visitor) (mb, processors float64) {
	b.Helper()
	end := time.Now().Add(consolesWatch)
	var watching sync.WaitGroup
	for i, v := range open {
		watching.Go(func() {
			defer v.listen(b)()
			next := time.NewTimer(refreshEvery * time.Duration(i) / time.Duration(len(open)))
			defer next.Stop()
			for at := range next.C {
				if at.After(end) {
					return
				}
				v.get(b, "/")
				next.Reset(refreshEvery)
			}
		})
	}
	used := cpuOf(b, s.process.Process.Pid)
	var sum float64
	var samples int
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for at := range tick.C {
		if at.After(end) {
			break
		}
		if at.After(end.Add(-consolesWatch / 2)) {
			sum, samples = sum+residentMB(b, s.process.Process.Pid), samples+1
		}
	}
	watching.Wait()
	return sum / float64(max(samples, 1)), (cpuOf(b, s.process.Process.Pid) - used).Seconds() / consolesWatch.Seconds()
}

// storeFleet writes cores into a database that no server has open: each connected but one
// in a hundred, with a thing, a certificate, a group like the one of a version, two
// deployments, of which one in 500 failed, and one under way in a thousand; a week of
// samples, and ten records of calls for each core.
func storeFleet(b testing.TB, driver, database, version string, cores int) {
	b.Helper()
	db, err := sql.Open(driver, database)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var partition, body string
	if err := db.QueryRow(`SELECT partition, body_json FROM definition_version WHERE kind = 'groups' AND id = $1`, version).Scan(&partition, &body); err != nil {
		b.Fatal(err)
	}
	now := time.Now().UnixMilli()
	const week, later = 7 * 24 * 3600 * 1000, 3600 * 1000 // ms; nobody writes that the cores are still there
	number := func(of string, digits int) string {
		return fmt.Sprintf("substr('%0*d' || %s, length(%[3]s || '') + 1)", digits, 0, of)
	}
	id := func(prefix, of string) string {
		return fmt.Sprintf("'%s-0000-4000-8000-' || %s", prefix, number(of, 12))
	}
	thing := "'mill-' || " + number("i", 6)
	info := `{"version":"1.0","architecture":"amd64","kernel":"6.1.0","formats":[2]}`
	for _, statement := range []string{
		fmt.Sprintf(`INSERT INTO thing (partition, name, id, type, attributes_json, version, created_at) %%s SELECT '%s', %s, %s, '', '{}', 1, %d FROM n`, partition, thing, id("50000000", "i"), now),
		fmt.Sprintf(`INSERT INTO certificate (id, partition, pem, status, mode, not_before, not_after, created_at, updated_at) %%s
			SELECT %s, '%s', '', 'ACTIVE', 'DEFAULT', %d, %d + CAST(i AS BIGINT) * 3600000, %d, %[3]d FROM n`, number("i", 64), partition, now-week, now, now),
		fmt.Sprintf(`INSERT INTO thing_certificate (partition, thing, certificate_id) %%s SELECT '%s', %s, %s FROM n`, partition, thing, number("i", 64)),
		fmt.Sprintf(`INSERT INTO definition (partition, kind, id, name, latest_version, tags_json, created_at, updated_at) %%s
			SELECT '%s', 'groups', %s, 'Mill ' || i, %s, '{"site":"north"}', %d + i, %[4]d + i FROM n`, partition, id("00000000", "i"), id("10000000", "i"), now-week),
		fmt.Sprintf(`INSERT INTO definition_version (partition, kind, definition_id, id, number, body_json, created_at) %%s
			SELECT '%s', 'groups', %s, %s, 1, '%s', %d FROM n`, partition, id("00000000", "i"), id("10000000", "i"), body, now-week),
		fmt.Sprintf(`INSERT INTO core (partition, thing, epoch, group_id, info_json, info_at, seen_at, connected_at, address) %%s
			SELECT '%s', %s, 2, %s, '%s', %d, CASE i %%%% 100 WHEN 0 THEN %[5]d ELSE %[6]d END, %[5]d, '10.0.0.7' FROM n`, partition, thing, id("00000000", "i"), info, now-week, now+later),
		fmt.Sprintf(`INSERT INTO deployment (partition, id, group_id, group_version_id, type, status, phase, core_thing, epoch, error_message, details_json, number, revision, leased_until, created_at, updated_at)
			%%s, e(epoch) AS (SELECT 1 UNION ALL SELECT 2)
			SELECT '%s', %s, %s, %s, 'NewDeployment',
			CASE WHEN epoch = 2 AND i %%%% 500 = 0 THEN 'Failure' WHEN epoch = 2 AND i %%%% 1000 = 1 THEN 'InProgress' ELSE 'Success' END, CASE WHEN epoch = 2 AND i %%%% 1000 = 1 THEN 'Claimed' ELSE '' END,
			%s, epoch, '', CASE WHEN epoch = 2 AND i %%%% 500 = 0 THEN '[{"DetailedErrorCode":"FUNCTION_DIED","DetailedErrorMessage":"The function died."}]' ELSE '[]' END,
			epoch, 4, 0, %d + CAST(i AS BIGINT) * %d, %[6]d + CAST(i AS BIGINT) * %[7]d FROM n CROSS JOIN e`, partition, "CASE epoch WHEN 1 THEN "+id("30000000", "i")+" ELSE "+id("40000000", "i")+" END", id("00000000", "i"), id("10000000", "i"), thing, now-week, week/cores),
		fmt.Sprintf(`INSERT INTO deployment_step (partition, deployment_id, number, event, actor, note, at)
			%%s, s(number, event) AS (SELECT 1, '' UNION ALL SELECT 2, 'Built' UNION ALL SELECT 3, 'Claimed' UNION ALL SELECT 4, 'Switched')
			SELECT '%s', %s, number, event, 'cloud', '', %d FROM n CROSS JOIN s`, partition, id("40000000", "i"), now-week),
		fmt.Sprintf(`INSERT INTO audit_record (partition, at, id, key_id, key_name, source, service, operation, resource, status, code)
			%%s, t(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM t WHERE k < 9)
			SELECT '%s', %d + (CAST(i AS BIGINT) * 10 + k) * %d, %s || k, '%s', 'first', '127.0.0.1', 'greengrass', 'CreateDeployment', 'arn', 200, '' FROM n CROSS JOIN t`, partition, now-week, week/(cores*10), id("60000000", "i"), keyID),
	} {
		if _, err := db.Exec(fmt.Sprintf(statement, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)`, cores))); err != nil {
			b.Fatalf("%v\n%s", err, statement)
		}
	}
	const bucket = 300_000 // ms
	since := (now - week) / bucket * bucket
	for _, statement := range []string{
		fmt.Sprintf(`INSERT INTO fleet_sample (partition, at, cores, connected, succeeded, failed, cancelled) %%s SELECT '%s', %d + CAST(i AS BIGINT) * %d, %d, %[4]d - i, 40, 2, 1 FROM n`, partition, since, bucket, cores),
		fmt.Sprintf(`INSERT INTO request_sample (at, took_0, took_1, took_2, took_3, took_4, took_5, took_6, took_7, took_8) %%s SELECT %d + CAST(i AS BIGINT) * %d, 1000, 9000, 400, 80, 9, 5, 3, 2, 1 FROM n
			WHERE TRUE ON CONFLICT (at) DO NOTHING`, since, bucket),
	} {
		if _, err := db.Exec(fmt.Sprintf(statement, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2010)`)); err != nil {
			b.Fatalf("%v\n%s", err, statement)
		}
	}
	if driver == "pgx" { // as its autovacuum does in time
		if _, err := db.Exec("VACUUM ANALYZE"); err != nil {
			b.Fatal(err)
		}
	}
}

// cpuOf is how much processor time a process has taken.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	const ticks = 100 // a second, on every machine that Go runs on
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// Behind the name, which may have anything in it.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var sum time.Duration
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(n) * time.Second / ticks
	}
	return sum
}
