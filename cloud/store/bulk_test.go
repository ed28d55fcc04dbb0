package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/bulk"
	"github.com/fescue-edge/fescue/cloud/store"
)

func newBulk(p fescue.Partition) bulk.BulkDeployment {
	return bulk.BulkDeployment{
		Partition: p, ID: fescue.NewID(), Status: bulk.BulkInitializing, ExecutionRoleARN: "arn:aws:iam::123456789012:role/r",
		Bucket: "b", Key: "k", Tags: map[string]string{"a": "b"}, CreatedAt: madeAt,
	}
}

// ended is a bulk deployment that was and is no more.
func ended(t *testing.T, s *store.DB, b bulk.BulkDeployment) bulk.BulkDeployment {
	t.Helper()
	b = must(s.Bulk().CreateBulkDeployment(t.Context(), b, fescue.Token{}))(t)
	mustDo(t, s.Bulk().MoveBulkDeployment(t.Context(), b, bulk.BulkCompleted, "", nil))
	b.Status = bulk.BulkCompleted
	return b
}

func testBulkDeployments(t *testing.T, open opener) {
	t.Parallel()
	t.Run("written, moved and read", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		b := must(s.Bulk().CreateBulkDeployment(ctx, newBulk(homePartition), fescue.Token{}))(t)
		stored := func() {
			t.Helper()
			if diff := gocmp.Diff(b, must(s.Bulk().BulkDeployment(ctx, b.Partition, b.ID))(t)); diff != "" {
				t.Error(diff)
			}
		}
		stored()
		if list := must(s.Bulk().ActiveBulkDeployments(ctx, "aws"))(t); len(list) != 1 || !gocmp.Equal(list[0], b) {
			t.Errorf("%+v", list)
		}
		details := []fescue.ErrorDetail{{DetailedErrorCode: "400", DetailedErrorMessage: "m"}}
		mustDo(t, s.Bulk().MoveBulkDeployment(ctx, b, bulk.BulkFailed, "m", details))
		refused(t, "moved twice", s.Bulk().MoveBulkDeployment(ctx, b, bulk.BulkRunning, "", nil), fescue.ErrConflict)
		b.Status, b.ErrorMessage, b.ErrorDetails = bulk.BulkFailed, "m", details
		stored()
		tags := map[string]string{"c": "d"}
		refused(t, "tags of another state", s.Bulk().ReplaceBulkTags(ctx, b.Partition, b.ID, nil, tags), fescue.ErrConflict)
		mustDo(t, s.Bulk().ReplaceBulkTags(ctx, b.Partition, b.ID, b.Tags, tags))
		b.Tags = tags
		stored()
		if list := must(s.Bulk().ActiveBulkDeployments(ctx, "aws"))(t); len(list) != 0 {
			t.Errorf("%+v", list)
		}
		for _, p := range elsewhere {
			_, err := s.Bulk().BulkDeployment(ctx, p, b.ID)
			refused(t, p.String(), err, fescue.ErrNotFound)
			refused(t, p.String(), s.Bulk().ReplaceBulkTags(ctx, p, b.ID, tags, nil), fescue.ErrNotFound)
			if list := must(s.Bulk().BulkDeployments(ctx, p, fescue.Page{Limit: 9}))(t); len(list) != 0 {
				t.Errorf("%s: %+v", p, list)
			}
		}
	})
	t.Run("one of a partition at a time", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		var made atomic.Int64
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				_, err := s.Bulk().CreateBulkDeployment(ctx, newBulk(homePartition), fescue.Token{})
				if err == nil {
					made.Add(1)
				} else if !errors.Is(err, fescue.ErrConflict) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if made.Load() != 1 {
			t.Errorf("%d made", made.Load())
		}
		for _, p := range elsewhere {
			must(s.Bulk().CreateBulkDeployment(ctx, newBulk(p), fescue.Token{}))(t)
		}
		if list := must(s.Bulk().ActiveBulkDeployments(ctx, "aws"))(t); len(list) != 3 {
			t.Errorf("%+v", list)
		}
	})
	t.Run("tokens", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		token := fescue.Token{Operation: "StartBulkDeployment", Value: "t", RequestHash: "h"}
		b := must(s.Bulk().CreateBulkDeployment(ctx, newBulk(homePartition), token))(t)
		if again := must(s.Bulk().CreateBulkDeployment(ctx, newBulk(homePartition), token))(t); again.ID != b.ID {
			t.Errorf("%+v", again)
		}
		token.RequestHash = "other"
		_, err := s.Bulk().CreateBulkDeployment(ctx, newBulk(homePartition), token)
		refused(t, "another request", err, fescue.ErrTokenReused)
	})
	t.Run("newest first, by page", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		var want []string
		for range 5 {
			want = append([]string{ended(t, s, newBulk(homePartition)).ID}, want...)
		}
		var got []string
		page := fescue.Page{Limit: 2}
		for {
			list := must(s.Bulk().BulkDeployments(ctx, homePartition, page))(t)
			if len(list) == 0 {
				break
			}
			for _, b := range list {
				got = append(got, b.ID)
			}
			page.After = got[len(got)-1]
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if list, err := s.Bulk().BulkDeployments(ctx, homePartition, fescue.Page{After: fescue.NewID(), Limit: 2}); !errors.Is(err, fescue.ErrPage) {
			t.Errorf("after what is not there: %+v, %v", list, err)
		}
	})
}

func tried(r bulk.BulkRecord, o bulk.BulkOutcome) bulk.BulkTry {
	return bulk.BulkTry{BulkRecord: r, BulkOutcome: o}
}

func testBulkRecords(t *testing.T, open opener) {
	t.Parallel()
	begin := func(t *testing.T, s *store.DB, n int64) (bulk.BulkDeployment, []bulk.BulkRecord) {
		t.Helper()
		b := must(s.Bulk().CreateBulkDeployment(t.Context(), newBulk(homePartition), fescue.Token{}))(t)
		var records []bulk.BulkRecord
		for line := int64(1); line <= n; line++ {
			records = append(records, bulk.BulkRecord{Line: line, GroupID: fmt.Sprintf("g%d", line), GroupVersionID: "v"})
		}
		mustDo(t, s.Bulk().AddBulkRecords(t.Context(), b, records))
		return b, records
	}
	due := func(t *testing.T, s *store.DB, b bulk.BulkDeployment) (lines []int64, pending bool) {
		t.Helper()
		list, pending, err := s.Bulk().DueBulkRecords(t.Context(), b, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			lines = append(lines, r.Line)
		}
		return lines, pending
	}
	t.Run("tried, reported and counted", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		b, records := begin(t, s, 4)
		if lines, _ := due(t, s, b); !gocmp.Equal(lines, []int64{1, 2, 3, 4}) {
			t.Errorf("due %v", lines)
		}
		d := must(s.Deployments().CreateDeployment(ctx, newDeployment(homePartition, "g1"), fescue.Token{}))(t)
		details := []fescue.ErrorDetail{{DetailedErrorCode: "404", DetailedErrorMessage: "m"}}
		made := bulk.BulkOutcome{DeploymentID: d.ID, At: madeAt}
		mustDo(t, s.Bulk().FinishBulkRecords(ctx, b, []bulk.BulkTry{tried(records[0], made)}))
		mustDo(t, s.Bulk().FinishBulkRecords(ctx, b, []bulk.BulkTry{tried(records[1], bulk.BulkOutcome{RetryAt: time.Now().Add(time.Hour), At: madeAt})}))
		mustDo(t, s.Bulk().FinishBulkRecords(ctx, b, []bulk.BulkTry{tried(records[2], bulk.BulkOutcome{ErrorMessage: "m", ErrorDetails: details, Invalid: true, At: madeAt})}))
		// What could not be tried is due later, and counts for nothing.
		mustDo(t, s.Bulk().FinishBulkRecords(ctx, b, []bulk.BulkTry{tried(records[3], bulk.BulkOutcome{RetryAt: time.Now().Add(time.Hour), Held: true, At: madeAt})}))
		if lines, pending := due(t, s, b); len(lines) > 0 || !pending {
			t.Errorf("due %v, pending %v", lines, pending)
		}
		mustDo(t, s.Bulk().FinishBulkRecords(ctx, b, []bulk.BulkTry{tried(records[3], bulk.BulkOutcome{RetryAt: time.Now().Add(-time.Hour), Held: true, At: madeAt})}))
		// What was reported and what was tried stays as it is.
		mustDo(t, s.Bulk().FinishBulkRecords(ctx, b, []bulk.BulkTry{
			tried(records[0], bulk.BulkOutcome{DeploymentID: "other", At: madeAt}), tried(records[1], made), tried(records[2], made),
		}))
		if lines, pending := due(t, s, b); !gocmp.Equal(lines, []int64{4}) || !pending {
			t.Errorf("due %v, pending %v", lines, pending)
		}
		records[1].Attempts = 1
		mustDo(t, s.Bulk().FinishBulkRecords(ctx, b, []bulk.BulkTry{tried(records[1], bulk.BulkOutcome{RetryAt: time.Now().Add(-time.Second), At: madeAt})}))
		if lines, _ := due(t, s, b); !gocmp.Equal(lines, []int64{4, 2}) {
			t.Errorf("due %v: what waits longest is first", lines)
		}
		got := must(s.Bulk().BulkDeployment(ctx, homePartition, b.ID))(t)
		if got.RecordsProcessed != 3 || got.InvalidRecords != 1 || got.RetryAttempts != 2 {
			t.Errorf("%+v", got)
		}
		want := []bulk.BulkReport{
			{
				Number: 2, BulkRecord: bulk.BulkRecord{Line: 3, GroupID: "g3", GroupVersionID: "v", Attempts: 1},
				BulkOutcome: bulk.BulkOutcome{ErrorMessage: "m", ErrorDetails: details, At: madeAt},
			},
			{
				Number: 1, BulkRecord: bulk.BulkRecord{Line: 1, GroupID: "g1", GroupVersionID: "v", Attempts: 1},
				BulkOutcome: made, Status: fescue.Building,
			},
		}
		if diff := gocmp.Diff(want, must(s.Bulk().BulkReports(ctx, homePartition, b.ID, fescue.Page{Limit: 9}))(t)); diff != "" {
			t.Error(diff)
		}
		if page := must(s.Bulk().BulkReports(ctx, homePartition, b.ID, fescue.Page{Limit: 9, After: "2"}))(t); len(page) != 1 || page[0].Number != 1 {
			t.Errorf("%+v", page)
		}
		for _, p := range elsewhere {
			if list := must(s.Bulk().BulkReports(ctx, p, b.ID, fescue.Page{Limit: 9}))(t); len(list) != 0 {
				t.Errorf("%s: %+v", p, list)
			}
		}
		progress := bulk.Progress{
			BulkDeployment: got, Records: 4, Reported: 2, States: map[fescue.DeploymentStatus]int{fescue.Building: 1, fescue.Failure: 1},
			Failures: []bulk.FailureCount{{Code: "404", Count: 1, Detail: details[0]}},
			Failed:   []bulk.FailedRecord{{Line: 3, GroupID: "g3", Detail: details[0]}},
		}
		if diff := gocmp.Diff(progress, must(s.Bulk().BulkProgress(ctx, homePartition, b.ID))(t)); diff != "" {
			t.Error(diff)
		}
		if _, err := s.Bulk().BulkProgress(ctx, elsewhere[0], b.ID); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("of another account: %v", err)
		}
		for _, p := range append(elsewhere[:1:1], homePartition) {
			if n := must(s.Bulk().BuildingDeployments(ctx, p))(t); n != 1 {
				t.Errorf("%s: waits for %d", p, n)
			}
		}
		until := time.Now().Add(time.Minute)
		must(s.Deployments().LeaseBuilding(ctx, "aws", until, 9))(t)
		mustDo(t, s.Deployments().KeepBuilding(ctx, d, until, until, fescue.Progress{Activity: "copying a model"}))
		if n := must(s.Bulk().BuildingDeployments(ctx, homePartition))(t); n != 1 {
			t.Errorf("waits for %d while a model of its own is copied", n)
		}
		if n := must(s.Bulk().BuildingDeployments(ctx, elsewhere[0]))(t); n != 0 {
			t.Errorf("waits for %d while another's model is copied", n)
		}
	})
	t.Run("several in one order, beside one that another reported", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		b, records := begin(t, s, 5)
		mustDo(t, s.Bulk().FinishBulkRecords(ctx, b, []bulk.BulkTry{tried(records[1], bulk.BulkOutcome{DeploymentID: "another's", At: madeAt})}))
		var tries []bulk.BulkTry
		for _, r := range records {
			tries = append(tries, bulk.BulkTry{BulkRecord: r, BulkOutcome: bulk.BulkOutcome{DeploymentID: fmt.Sprint("d", r.Line), At: madeAt}})
		}
		tries[3].BulkOutcome = bulk.BulkOutcome{RetryAt: madeAt, At: madeAt}
		tries[4].Invalid = true
		mustDo(t, s.Bulk().FinishBulkRecords(ctx, b, tries))
		var got []string
		for _, r := range must(s.Bulk().BulkReports(ctx, homePartition, b.ID, fescue.Page{Limit: 9}))(t) {
			got = append(got, fmt.Sprint(r.Number, " ", r.Line, " ", r.DeploymentID))
		}
		if diff := gocmp.Diff([]string{"4 5 d5", "3 3 d3", "2 1 d1", "1 2 another's"}, got); diff != "" {
			t.Error(diff)
		}
		if got := must(s.Bulk().BulkDeployment(ctx, homePartition, b.ID))(t); got.RecordsProcessed != 5 || got.InvalidRecords != 1 || got.RetryAttempts != 1 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("cleared", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		b, records := begin(t, s, 5)
		mustDo(t, s.Bulk().FinishBulkRecords(ctx, b, []bulk.BulkTry{tried(records[2], bulk.BulkOutcome{DeploymentID: "d", At: madeAt})}))
		for _, want := range []int64{3, 1, 0} {
			if n := must(s.Bulk().ClearBulkRecords(ctx, b, 3))(t); n != want {
				t.Errorf("cleared %d, want %d", n, want)
			}
		}
		if lines, pending := due(t, s, b); len(lines) != 0 || pending {
			t.Errorf("due %v", lines)
		}
		if list := must(s.Bulk().BulkReports(ctx, homePartition, b.ID, fescue.Page{Limit: 9}))(t); len(list) != 1 {
			t.Errorf("%+v", list)
		}
	})
	t.Run("what was started is found by its token", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		b, records := begin(t, s, 3)
		for line, p := range map[int64]fescue.Partition{1: homePartition, 2: homePartition, 3: elsewhere[0]} {
			d := newDeployment(p, fmt.Sprintf("g%d", line))
			d.ID = fmt.Sprintf("d%d", line)
			must(s.Deployments().CreateDeployment(ctx, d, fescue.Token{Operation: "BulkDeployment", Value: fmt.Sprintf("%s/%d", b.ID, line), RequestHash: "h"}))(t)
		}
		mustDo(t, s.Bulk().FinishBulkRecords(ctx, b, []bulk.BulkTry{tried(records[0], bulk.BulkOutcome{DeploymentID: "d1", At: madeAt})}))
		want := map[string]bulk.BulkRecord{"d2": records[1]}
		if diff := gocmp.Diff(want, must(s.Bulk().StartedBulkRecords(ctx, b, "BulkDeployment"))(t)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("one report of several that try the same record", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		b, records := begin(t, s, 1)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				err := s.Bulk().FinishBulkRecords(ctx, b, []bulk.BulkTry{tried(records[0], bulk.BulkOutcome{DeploymentID: fmt.Sprint("d", i), At: madeAt})})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		reports := must(s.Bulk().BulkReports(ctx, homePartition, b.ID, fescue.Page{Limit: 9}))(t)
		if got := must(s.Bulk().BulkDeployment(ctx, homePartition, b.ID))(t); len(reports) != 1 || got.RecordsProcessed != 1 {
			t.Errorf("%+v, %+v", reports, got)
		}
	})
}
