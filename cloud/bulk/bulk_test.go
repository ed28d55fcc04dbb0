package bulk_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/bulk"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/testkit"
)

func TestRun(t *testing.T) {
	t.Parallel()
	t.Run("every record becomes a deployment or says why not", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		running(t, s.Run)
		groups, content := s.fleet(20)
		coreless, version := s.group(false)
		known, _ := s.group(true)
		nobody, noVersion := fescue.NewID(), fescue.NewID()
		content += line(nobody, version) + "\r\n \n" + line(known, noVersion) + line(coreless, version) + strings.TrimSpace(line("not an id", version))
		b := s.until(s.begin(content).ID, bulk.BulkCompleted)
		if b.RecordsProcessed != 24 || b.InvalidRecords != 4 || b.RetryAttempts != 0 || b.ErrorMessage != "" || b.Bucket != "input" || b.Key != "records.json" {
			t.Errorf("%+v", b)
		}
		for g, n := range s.deployments(append(groups, known, coreless)) {
			if n != 1 || g == known || g == coreless {
				t.Errorf("group %s: %d deployments", g, n)
			}
		}
		reports := s.reports(b.ID)
		if len(reports) != 24 {
			t.Fatalf("%d reports", len(reports))
		}
		var failed []string
		for i, r := range reports {
			if r.Number != int64(24-i) || r.At.IsZero() {
				t.Errorf("report %d: %+v", i, r)
			}
			if r.DeploymentID == "" {
				failed = append(failed, r.ErrorMessage)
				continue
			}
			testkit.Eventually(t, "deployment built", func() error {
				d, err := s.store.Deployments().Deployment(t.Context(), home, r.GroupID, r.DeploymentID)
				if err == nil && d.Status != fescue.Failure {
					err = fmt.Errorf("%+v", d)
				}
				return err
			})
		}
		want := []string{
			"Line 26: Group not an id does not exist.",
			"Line 25: You need a Greengrass Core in this Group before you can deploy.",
			"Line 24: Version " + noVersion + " of Group Definition " + known + " does not exist.",
			"Line 21: Group " + nobody + " does not exist.",
		}
		if diff := gocmp.Diff(want, failed); diff != "" {
			t.Error(diff)
		}
		// Entries follow their deployments.
		last := s.reports(b.ID)[23]
		if last.Status != fescue.Failure || last.StatusMessage == "" || len(last.StatusDetails) == 0 {
			t.Errorf("%+v", last)
		}
	})
	t.Run("two records of one group", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		running(t, s.Run)
		groups, content := s.fleet(1)
		b := s.until(s.begin(content+content).ID, bulk.BulkCompleted)
		if n := s.deployments(groups)[groups[0]]; n != 2 || b.RecordsProcessed != 2 || b.InvalidRecords != 0 {
			t.Errorf("%d deployments, %+v", n, b)
		}
	})
	t.Run("an input that cannot be used", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		running(t, s.Run)
		groups, content := s.fleet(1)
		for name, c := range map[string]struct{ content, message, code string }{
			"bad line":   {content + `{"GroupId":"x"}`, "InvalidInputFile: Missing GroupVersionId at line number: 2", "400"},
			"no records": {"\n\n", "InvalidInputFile: The file has no records.", "400"},
			"too large":  {strings.Repeat("\n", 100<<20), "InvalidInputFile: The file has 104857600 bytes. It must have less than 104857600.", "400"},
		} {
			b := s.until(s.begin(c.content).ID, bulk.BulkFailed)
			want := []fescue.ErrorDetail{{DetailedErrorCode: c.code, DetailedErrorMessage: c.message}}
			if b.ErrorMessage != c.message || !gocmp.Equal(b.ErrorDetails, want) || b.RecordsProcessed != 0 {
				t.Errorf("%s: %+v", name, b)
			}
		}
		missing, err := s.Start(t.Context(), home, role, "s3://input/none", nil, fescue.Token{})
		if err != nil {
			t.Fatal(err)
		}
		if b := s.until(missing.ID, bulk.BulkFailed); b.ErrorMessage != "The input file s3://input/none does not exist in this account and Region." || b.ErrorDetails[0].DetailedErrorCode != "404" {
			t.Errorf("%+v", b)
		}
		s.objects.mu.Lock()
		s.objects.failures = 5
		s.objects.mu.Unlock()
		if b := s.until(s.begin(content).ID, bulk.BulkFailed); b.ErrorDetails[0].DetailedErrorCode != "500" {
			t.Errorf("%+v", b)
		}
		if n := s.deployments(groups); len(n) != 0 {
			t.Errorf("deployed by failed runs: %v", n)
		}
		s.objects.mu.Lock()
		s.objects.failures = 4
		s.objects.mu.Unlock()
		s.until(s.begin(content).ID, bulk.BulkCompleted)
		if n := s.deployments(groups); n[groups[0]] != 1 {
			t.Errorf("%v", n)
		}
	})
	t.Run("no faster than its rate", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.options.Rate = 20
		s.Service = bulk.New(s.options)
		running(t, s.Run)
		_, content := s.fleet(16) // of which 5 may be made up for
		start := time.Now()
		s.until(s.begin(content).ID, bulk.BulkCompleted)
		if took := time.Since(start); took < 500*time.Millisecond {
			t.Errorf("16 records at 20 a second in %v", took)
		}
	})
	t.Run("several partitions at once", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		running(t, s.Run)
		_, content := s.fleet(3)
		b := s.begin(content)
		there, err := s.Start(t.Context(), elsewhere, strings.Replace(role, home.Account, elsewhere.Account, 1), input, nil, fescue.Token{})
		if err != nil {
			t.Fatal(err)
		}
		s.until(b.ID, bulk.BulkCompleted)
		testkit.Eventually(t, "the other ends", func() error {
			got, err := s.BulkDeployment(t.Context(), elsewhere, there.ID)
			if err == nil && got.Status != bulk.BulkFailed { // the object is home's
				err = fmt.Errorf("%+v", got)
			}
			return err
		})
		if _, err := s.BulkDeployment(t.Context(), elsewhere, b.ID); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("seen from another partition: %v", err)
		}
		if _, err := s.Reports(t.Context(), elsewhere, b.ID, fescue.Page{Limit: 9}); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("reports from another partition: %v", err)
		}
		if err := s.Stop(t.Context(), elsewhere, b.ID); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("stopped from another partition: %v", err)
		}
	})
}

// engine is the real one but for what hook makes of a call.
type engine struct {
	bulk.Deployments
	hook func(group string, create func() (fescue.Deployment, error)) (fescue.Deployment, error)
}

func (e engine) CreateAll(ctx context.Context, p fescue.Partition, requests []deploy.Request) []deploy.Answer {
	answers := make([]deploy.Answer, len(requests))
	for i, r := range requests {
		answers[i].Deployment, answers[i].Err = e.hook(r.Deployment.GroupID, func() (fescue.Deployment, error) {
			a := e.Deployments.CreateAll(ctx, p, requests[i:i+1])[0]
			return a.Deployment, a.Err
		})
	}
	return answers
}

func TestRetries(t *testing.T) {
	t.Parallel()
	s := open(t)
	groups, content := s.fleet(4)
	var mu sync.Mutex
	tries := make(map[string]int)
	refusals := map[string]int{groups[0]: 0, groups[1]: 3, groups[2]: 5, groups[3]: 6}
	s.options.Deployments = engine{s.engine, func(group string, create func() (fescue.Deployment, error)) (fescue.Deployment, error) {
		mu.Lock()
		tries[group]++
		n := tries[group]
		mu.Unlock()
		if n <= refusals[group] {
			return fescue.Deployment{}, []error{deploy.ErrConcurrent, errors.New("the disk is full")}[n%2]
		}
		return create()
	}}
	s.Service = bulk.New(s.options)
	running(t, s.Run)
	b := s.until(s.begin(content).ID, bulk.BulkCompleted)
	if b.RecordsProcessed != 4 || b.RetryAttempts != 3+5+5 || b.InvalidRecords != 0 {
		t.Errorf("%+v", b)
	}
	want := map[string]int{groups[0]: 1, groups[1]: 1, groups[2]: 1}
	if diff := gocmp.Diff(want, s.deployments(groups)); diff != "" {
		t.Error(diff)
	}
	for _, r := range s.reports(b.ID) {
		var message string
		if r.GroupID == groups[3] {
			message = "Line 4: another deployment of the group was being built, also after 5 retries."
		}
		if r.ErrorMessage != message || (r.DeploymentID == "") != (message != "") {
			t.Errorf("%+v", r)
		}
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	t.Run("within a second, and what was started stays", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.options.Rate = 50
		s.Service = bulk.New(s.options)
		running(t, s.Run)
		groups, content := s.fleet(200)
		b := s.begin(content)
		testkit.Eventually(t, "some are processed", func() error {
			got, err := s.BulkDeployment(t.Context(), home, b.ID)
			if err == nil && got.RecordsProcessed < 3 {
				err = fmt.Errorf("%+v", got)
			}
			return err
		})
		if err := s.Stop(t.Context(), home, b.ID); err != nil {
			t.Fatal(err)
		}
		atStop, err := s.BulkDeployment(t.Context(), home, b.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Stop(t.Context(), home, b.ID); err != nil && !errors.Is(err, bulk.ErrFinished) {
			t.Errorf("stopped twice: %v", err)
		}
		got := s.until(b.ID, bulk.BulkStopped)
		// At this rate a second is 50 records, however busy the machine is.
		if more := got.RecordsProcessed - atStop.RecordsProcessed; more > 50 {
			t.Errorf("%d more were processed", more)
		}
		made := s.deployments(groups)
		if len(made) != int(got.RecordsProcessed) || len(made) >= 200 || len(s.reports(b.ID)) != len(made) {
			t.Errorf("%d deployments, %d reports, %+v", len(made), len(s.reports(b.ID)), got)
		}
		if err := s.Stop(t.Context(), home, b.ID); !errors.Is(err, bulk.ErrFinished) {
			t.Errorf("a stopped one: %v", err)
		}
		s.until(s.begin(line(fescue.NewID(), fescue.NewID())).ID, bulk.BulkCompleted)
	})
	t.Run("while the input cannot be read", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.options.FirstRetry = time.Hour
		s.Service = bulk.New(s.options)
		s.objects.failures = 1 << 30
		running(t, s.Run)
		b := s.begin("")
		if err := s.Stop(t.Context(), home, b.ID); err != nil {
			t.Fatal(err)
		}
		s.until(b.ID, bulk.BulkStopped)
	})
	t.Run("what a dead server had started is reported", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		groups, content := s.fleet(10)
		ctx, cancel := context.WithCancel(t.Context())
		s.options.Deployments = engine{s.engine, func(group string, create func() (fescue.Deployment, error)) (fescue.Deployment, error) {
			d, err := create()
			if group == groups[3] {
				cancel() // and nothing after that is written
			}
			return d, err
		}}
		dying := bulk.New(bulk.Options{
			Store: mortal{s.store.Bulk(), ctx}, Leases: s.store.Leases(), Objects: s.objects, Deployments: s.options.Deployments, AWS: "aws", Rate: 1e6,
			FirstRetry: time.Hour, Now: time.Now, Logger: s.options.Logger,
		})
		stop := running(t, dying.Run)
		b := s.begin(content)
		<-ctx.Done()
		stop()
		if err := s.Stop(t.Context(), home, b.ID); err != nil {
			t.Fatal(err)
		}
		running(t, s.Run)
		got := s.until(b.ID, bulk.BulkStopped)
		made := s.deployments(groups)
		if n := len(made); made[groups[3]] != 1 || int(got.RecordsProcessed) != n || len(s.reports(b.ID)) != n {
			t.Errorf("%v, %+v, %d reports", made, got, len(s.reports(b.ID)))
		}
	})
}

// mortal is a database that a server no longer reaches once it is dead.
type mortal struct {
	bulk.Store
	alive context.Context
}

func (m mortal) FinishBulkRecords(ctx context.Context, b bulk.BulkDeployment, tries []bulk.BulkTry) error {
	if m.alive.Err() != nil {
		return m.alive.Err()
	}
	return m.Store.FinishBulkRecords(ctx, b, tries)
}

// TestDeath: servers die one after the other between making a deployment and
// writing it down; every group is deployed once in the end.
func TestDeath(t *testing.T) {
	t.Parallel()
	s := open(t)
	groups, content := s.fleet(30)
	b := s.begin(content)
	var mu sync.Mutex
	var deaths []string
	for i := range 6 {
		ctx, cancel := context.WithCancel(t.Context())
		o := s.options
		o.Store, o.FirstRetry = mortal{s.store.Bulk(), ctx}, time.Hour
		o.Deployments = engine{s.engine, func(group string, create func() (fescue.Deployment, error)) (fescue.Deployment, error) {
			d, err := create()
			mu.Lock()
			defer mu.Unlock()
			if slices.Index(groups, group) >= i*5 && ctx.Err() == nil {
				deaths = append(deaths, group)
				cancel()
			}
			return d, err
		}}
		stop := running(t, bulk.New(o).Run)
		<-ctx.Done()
		stop()
	}
	running(t, s.Run)
	got := s.until(b.ID, bulk.BulkCompleted)
	want := make(map[string]int)
	for _, g := range groups {
		want[g] = 1
	}
	if diff := gocmp.Diff(want, s.deployments(groups)); diff != "" {
		t.Error(diff)
	}
	if got.RecordsProcessed != 30 || got.InvalidRecords != 0 || len(s.reports(b.ID)) != 30 || len(deaths) != 6 {
		t.Errorf("%+v, %d reports, deaths at %q", got, len(s.reports(b.ID)), deaths)
	}
}

// TestHeldUp: while the database is away, nothing is held against a record, however often it
// is tried; one that was made all the same is found by its token.
func TestHeldUp(t *testing.T) {
	t.Parallel()
	s := open(t)
	groups, content := s.fleet(3)
	var mu sync.Mutex
	tries := make(map[string]int)
	s.options.Deployments = engine{s.engine, func(group string, create func() (fescue.Deployment, error)) (fescue.Deployment, error) {
		mu.Lock()
		tries[group]++
		n := tries[group]
		mu.Unlock()
		switch {
		case group == groups[1] || n > 9:
			return create()
		case n%3 == 0:
			create()
			return fescue.Deployment{}, fmt.Errorf("commit: %w", fescue.ErrUncertain)
		default:
			return fescue.Deployment{}, fmt.Errorf("begin: %w", fescue.ErrAway)
		}
	}}
	s.Service = bulk.New(s.options)
	running(t, s.Run)
	b := s.until(s.begin(content).ID, bulk.BulkCompleted)
	if b.RecordsProcessed != 3 || b.RetryAttempts != 0 || b.InvalidRecords != 0 || tries[groups[1]] != 1 {
		t.Errorf("%+v after %v tries", b, tries)
	}
	want := map[string]int{groups[0]: 1, groups[1]: 1, groups[2]: 1}
	if diff := gocmp.Diff(want, s.deployments(groups)); diff != "" {
		t.Error(diff)
	}
	for _, r := range s.reports(b.ID) {
		if r.ErrorMessage != "" || r.DeploymentID == "" {
			t.Errorf("%+v", r)
		}
	}
}

// TestLockedGroup: a group that another transaction of the database has holds up no other one,
// and is deployed when it is free, whenever that is.
func TestLockedGroup(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	s := openOn(t, database)
	db, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	groups, content := s.fleet(5)
	hung, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Rollback()
	if _, err := hung.ExecContext(t.Context(), `
		INSERT INTO deployment (partition, id, group_id, group_version_id, type, status, phase, core_thing, epoch,
			group_tag, error_message, details_json, number, revision, leased_until, created_at, updated_at)
		VALUES ($1, 'hung', $2, 'v', 'NewDeployment', 'Building', '', '', 0, '', '', '', 1, 1, 0, 0, 0)`, home.Key(), groups[2]); err != nil {
		t.Fatal(err)
	}
	running(t, s.Run)
	b := s.begin(content)
	testkit.Eventually(t, "the others are deployed", func() error {
		if n := len(s.reports(b.ID)); n != 4 {
			return fmt.Errorf("%d records have their reports", n)
		}
		return nil
	})
	if counts := s.deployments(groups); len(counts) != 4 || counts[groups[2]] != 0 {
		t.Errorf("%v", counts)
	}
	if err := hung.Rollback(); err != nil {
		t.Fatal(err)
	}
	if b := s.until(b.ID, bulk.BulkCompleted); b.RecordsProcessed != 5 || b.RetryAttempts != 0 || b.InvalidRecords != 0 {
		t.Errorf("%+v", b)
	}
	if counts := s.deployments(groups); counts[groups[2]] != 1 {
		t.Errorf("%v", counts)
	}
}

// TestModelsBeingCopied: those of one account hold up its own bulk deployments, which says so, and
// nobody else's.
func TestModelsBeingCopied(t *testing.T) {
	t.Parallel()
	copying := func(s *site, p fescue.Partition) (list []fescue.Deployment) {
		s.t.Helper()
		now := time.Now().UTC().Truncate(time.Millisecond)
		until := now.Add(time.Minute)
		for range 100 {
			d := fescue.Deployment{
				Partition: p, ID: fescue.NewID(), GroupID: fescue.NewID(), GroupVersionID: fescue.NewID(),
				Type: fescue.NewDeployment, Status: fescue.Building, CreatedAt: now, UpdatedAt: now,
			}
			answers, err := s.store.Deployments().CreateDeployments(s.t.Context(), []deploy.Request{{Deployment: d, LeasedUntil: until}})
			if err == nil {
				err = answers[0].Err
			}
			if err == nil {
				err = s.store.Deployments().KeepBuilding(s.t.Context(), d, until, until, fescue.Progress{Activity: "copying the model of resource r", At: now})
			}
			if err != nil {
				s.t.Fatal(err)
			}
			list = append(list, answers[0].Deployment)
		}
		return list
	}
	t.Run("another account's", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		copying(s, elsewhere)
		_, content := s.fleet(3)
		began := time.Now()
		running(t, s.Run)
		s.until(s.begin(content).ID, bulk.BulkCompleted)
		if took := time.Since(began); took > 50*time.Second {
			t.Errorf("it took %v, in which the leases of the other's deployments may have ended", took)
		}
	})
	t.Run("its own", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		list := copying(s, home)
		var log testkit.Buffer
		s.options.Logger, s.options.SayWait = slog.New(slog.NewTextHandler(&log, nil)), 10*time.Millisecond
		s.Service = bulk.New(s.options)
		_, content := s.fleet(3)
		running(t, s.Run)
		b := s.begin(content)
		testkit.Eventually(t, "the log says that it waits", func() error {
			if text := log.String(); !strings.Contains(text, "bulk deployment waits") || !strings.Contains(text, b.ID) || !strings.Contains(text, "building=100") {
				return errors.New(text)
			}
			return nil
		})
		if n := len(s.reports(b.ID)); n > 0 {
			t.Errorf("%d records were made deployments while 100 were being built", n)
		}
		for _, d := range list {
			if _, err := s.engine.Cancel(t.Context(), home, d.GroupID, d.ID, false, "a test"); err != nil {
				t.Fatal(err)
			}
		}
		s.until(b.ID, bulk.BulkCompleted)
	})
}

// batches is the real engine but for what happens before and after it is called.
type batches struct {
	bulk.Deployments
	before, after func(requests []deploy.Request) []deploy.Request
}

func (e batches) CreateAll(ctx context.Context, p fescue.Partition, requests []deploy.Request) []deploy.Answer {
	answers := e.Deployments.CreateAll(ctx, p, e.before(requests))
	e.after(requests)
	return answers
}

// TestDeathOfBatch: servers die before a batch of deployments is written, while a batch is
// that another server has written in part, and between writing one and writing down what came of
// it; every group is deployed once in the end.
func TestDeathOfBatch(t *testing.T) {
	t.Parallel()
	s := open(t)
	groups, content := s.fleet(120)
	b := s.begin(content)
	whole := func(requests []deploy.Request) []deploy.Request { return requests }
	var sizes []int
	for _, before := range []func([]deploy.Request) []deploy.Request{
		func([]deploy.Request) []deploy.Request { return nil },
		func(requests []deploy.Request) []deploy.Request { return requests[:len(requests)/2] },
		whole, whole,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		o := s.options
		o.Store = mortal{s.store.Bulk(), ctx}
		o.FirstRetry = time.Hour
		o.Deployments = batches{s.engine, before, func(requests []deploy.Request) []deploy.Request {
			if ctx.Err() == nil {
				sizes = append(sizes, len(requests))
			}
			cancel()
			return nil
		}}
		stop := running(t, bulk.New(o).Run)
		<-ctx.Done()
		stop()
	}
	running(t, s.Run)
	got := s.until(b.ID, bulk.BulkCompleted)
	made := s.deployments(groups)
	for _, g := range groups {
		if made[g] != 1 {
			t.Errorf("group %s: %d deployments", g, made[g])
		}
	}
	if got.RecordsProcessed != 120 || got.InvalidRecords != 0 || len(s.reports(b.ID)) != 120 || slices.Max(sizes) < 2 {
		t.Errorf("%+v, %d reports, batches of %v", got, len(s.reports(b.ID)), sizes)
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	token := fescue.Token{Operation: "StartBulkDeployment", Value: "t", RequestHash: "h"}
	first, err := s.Start(ctx, home, role, input, map[string]string{"a": "b"}, token)
	if err != nil || first.Status != bulk.BulkInitializing {
		t.Fatalf("%+v, %v", first, err)
	}
	if again, err := s.Start(ctx, home, role, input, map[string]string{"a": "b"}, token); err != nil || again.ID != first.ID {
		t.Errorf("repeated: %+v, %v", again, err)
	}
	var badTags *definitions.TagError
	var badURI *bulk.URIError
	for name, c := range map[string]struct {
		role, uri string
		tags      map[string]string
		token     fescue.Token
		is        func(error) bool
	}{
		"another is active":      {role, input, nil, fescue.Token{}, func(err error) bool { return errors.Is(err, bulk.ErrActive) }},
		"token of other request": {role, input, nil, fescue.Token{Operation: "StartBulkDeployment", Value: "t", RequestHash: "x"}, func(err error) bool { return errors.Is(err, fescue.ErrTokenReused) }},
		"no role":                {"arn:aws:iam::123456789012:user/bulk", input, nil, fescue.Token{}, func(err error) bool { return errors.Is(err, bulk.ErrRole) }},
		"no URI":                 {role, "http://example.com/x", nil, fescue.Token{}, func(err error) bool { return errors.As(err, &badURI) }},
		"tags":                   {role, input, map[string]string{"aws:x": "y"}, fescue.Token{}, func(err error) bool { return errors.As(err, &badTags) }},
	} {
		if _, err := s.Start(ctx, home, c.role, c.uri, c.tags, c.token); !c.is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var started int
	for range 5 {
		if _, err := s.Start(ctx, elsewhere, role, input, nil, fescue.Token{}); err == nil {
			started++
		}
	}
	if started != 1 {
		t.Errorf("%d started in another partition", started)
	}
}
