package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/jobs"
	"github.com/fescue-edge/fescue/cloud/store"
)

var _ jobs.Store = store.Jobs{}

func newJob(id string, at time.Time) jobs.Job {
	return jobs.Job{
		ID: id, Targets: []string{"arn:1", "arn:2"}, Document: `{"a":"<ü>"}`, Description: "”", SignerRole: "role",
		URLLifetime: time.Hour, Timeout: time.Minute, Status: jobs.JobInProgress, CreatedAt: at, UpdatedAt: at,
	}
}

func addJob(t *testing.T, s *store.DB, job jobs.Job, things ...string) {
	t.Helper()
	if id, replayed, err := s.Jobs().CreateJob(t.Context(), homePartition, job, things, fescue.Token{}); err != nil || replayed || id != job.ID {
		t.Fatalf("%s, %v, %v", id, replayed, err)
	}
}

func testJobs(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	job := newJob("a", madeAt)
	addJob(t, s, job, "x", "y")

	t.Run("is read with its counts", func(t *testing.T) {
		want := job
		want.Counts = map[jobs.ExecutionStatus]int64{jobs.ExecutionQueued: 2}
		if diff := cmp.Diff(want, must(s.Jobs().Job(ctx, homePartition, "a"))(t)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("the id is taken", func(t *testing.T) {
		_, _, err := s.Jobs().CreateJob(ctx, homePartition, job, []string{"z"}, fescue.Token{})
		refused(t, "again", err, fescue.ErrExists)
	})
	t.Run("a token", func(t *testing.T) {
		token := fescue.Token{Operation: "CreateSoftwareUpdateJob", Value: "v", RequestHash: "h"}
		first := newJob("token-1", madeAt.Add(-time.Hour))
		id, replayed, err := s.Jobs().CreateJob(ctx, homePartition, first, []string{"x"}, token)
		if id != "token-1" || replayed || err != nil {
			t.Errorf("%s, %v, %v", id, replayed, err)
		}
		id, replayed, err = s.Jobs().CreateJob(ctx, homePartition, newJob("token-2", madeAt), []string{"x"}, token)
		if id != "token-1" || !replayed || err != nil {
			t.Errorf("again: %s, %v, %v", id, replayed, err)
		}
		token.RequestHash = "other"
		_, _, err = s.Jobs().CreateJob(ctx, homePartition, newJob("token-3", madeAt), []string{"x"}, token)
		refused(t, "another request", err, fescue.ErrTokenReused)
		for _, id := range []string{"token-2", "token-3"} {
			_, err := s.Jobs().Job(ctx, homePartition, id)
			refused(t, id, err, fescue.ErrNotFound)
		}
	})
	t.Run("lists, newest first", func(t *testing.T) {
		addJob(t, s, newJob("b", madeAt.Add(time.Hour)), "x")
		var ids []string
		var after jobs.Job
		for range 3 {
			list := must(s.Jobs().Jobs(ctx, homePartition, after, 1))(t)
			after = list[0]
			ids = append(ids, after.ID)
		}
		if !slices.Equal(ids, []string{"b", "a", "token-1"}) {
			t.Errorf("%v", ids)
		}
		if list := must(s.Jobs().Jobs(ctx, homePartition, after, 1))(t); len(list) != 0 {
			t.Errorf("%v", list)
		}
	})
	t.Run("in another partition", func(t *testing.T) {
		for _, p := range elsewhere {
			_, err := s.Jobs().Job(ctx, p, "a")
			refused(t, "read", err, fescue.ErrNotFound)
			_, err = s.Jobs().CancelJob(ctx, p, jobs.Job{ID: "a"}, madeAt)
			refused(t, "cancel", err, fescue.ErrNotFound)
			_, err = s.Jobs().DeleteJob(ctx, p, "a", true)
			refused(t, "delete", err, fescue.ErrNotFound)
			if list := must(s.Jobs().Jobs(ctx, p, jobs.Job{}, 10))(t); len(list) != 0 {
				t.Errorf("%v", list)
			}
			if list := must(s.Jobs().PendingExecutions(ctx, p, "x", 10))(t); len(list) != 0 {
				t.Errorf("%v", list)
			}
		}
	})
	t.Run("is canceled once", func(t *testing.T) {
		things := must(s.Jobs().CancelJob(ctx, homePartition, jobs.Job{ID: "a", ReasonCode: "R", Comment: "c"}, madeAt))(t)
		slices.Sort(things)
		if !slices.Equal(things, []string{"x", "y"}) {
			t.Errorf("%v", things)
		}
		_, err := s.Jobs().CancelJob(ctx, homePartition, jobs.Job{ID: "a"}, madeAt)
		refused(t, "again", err, fescue.ErrConflict)
		got := must(s.Jobs().Job(ctx, homePartition, "a"))(t)
		if got.Status != jobs.JobCanceled || got.ReasonCode != "R" || got.Comment != "c" || got.Forced || !got.CompletedAt.Equal(madeAt) || got.Counts[jobs.ExecutionCanceled] != 2 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("what is in progress is canceled by force only", func(t *testing.T) {
		for _, force := range []bool{false, true} {
			id := fmt.Sprintf("force-%v", force)
			addJob(t, s, newJob(id, madeAt), "p", "q")
			e := must(s.Jobs().JobExecution(ctx, homePartition, id, "p"))(t)
			e.Status, e.Version = jobs.ExecutionInProgress, 2
			mustDo(t, s.Jobs().ReplaceExecution(ctx, homePartition, e))
			things := must(s.Jobs().CancelJob(ctx, homePartition, jobs.Job{ID: id, Forced: force}, madeAt))(t)
			e = must(s.Jobs().JobExecution(ctx, homePartition, id, "p"))(t)
			if len(things) == 2 != force || e.Forced != force || e.Status.Ended() != force {
				t.Errorf("force %v: %v, %+v", force, things, e)
			}
			if q := must(s.Jobs().JobExecution(ctx, homePartition, id, "q"))(t); q.Forced || q.Status != jobs.ExecutionCanceled || q.Version != 2 {
				t.Errorf("%+v", q)
			}
		}
	})
	t.Run("is deleted when nothing is under way, or by force", func(t *testing.T) {
		_, err := s.Jobs().DeleteJob(ctx, homePartition, "b", false)
		refused(t, "under way", err, fescue.ErrConflict)
		if things := must(s.Jobs().DeleteJob(ctx, homePartition, "b", true))(t); !slices.Equal(things, []string{"x"}) {
			t.Errorf("%v", things)
		}
		if things := must(s.Jobs().DeleteJob(ctx, homePartition, "a", false))(t); len(things) != 0 {
			t.Errorf("%v", things)
		}
		_, err = s.Jobs().DeleteJob(ctx, homePartition, "a", false)
		refused(t, "again", err, fescue.ErrNotFound)
		_, err = s.Jobs().JobExecution(ctx, homePartition, "a", "x")
		refused(t, "its execution", err, fescue.ErrNotFound)
	})
}

func testJobExecutions(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	addJob(t, s, newJob("b", madeAt), "x", "y")
	addJob(t, s, newJob("a", madeAt.Add(time.Second)), "x")
	addJob(t, s, newJob("c", madeAt.Add(2*time.Second)), "x")
	read := func(t *testing.T, job, thing string) jobs.JobExecution {
		t.Helper()
		return must(s.Jobs().JobExecution(ctx, homePartition, job, thing))(t)
	}
	t.Run("is queued first", func(t *testing.T) {
		want := jobs.JobExecution{JobID: "b", Thing: "x", Status: jobs.ExecutionQueued, Version: 1, QueuedAt: madeAt, UpdatedAt: madeAt}
		if diff := cmp.Diff(want, read(t, "b", "x"), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		_, err := s.Jobs().JobExecution(ctx, homePartition, "b", "z")
		refused(t, "of another thing", err, fescue.ErrNotFound)
	})
	t.Run("lists", func(t *testing.T) {
		for _, tc := range []struct {
			filter jobs.JobExecutionFilter
			page   fescue.Page
			want   string
		}{
			{jobs.JobExecutionFilter{Thing: "x"}, fescue.Page{Limit: 9}, "[a/x b/x c/x]"},
			{jobs.JobExecutionFilter{Thing: "x"}, fescue.Page{After: "a", Limit: 1}, "[b/x]"},
			{jobs.JobExecutionFilter{JobID: "b"}, fescue.Page{Limit: 9}, "[b/x b/y]"},
			{jobs.JobExecutionFilter{JobID: "b"}, fescue.Page{After: "x", Limit: 9}, "[b/y]"},
			{jobs.JobExecutionFilter{JobID: "b", Thing: "y"}, fescue.Page{Limit: 9}, "[b/y]"},
			{jobs.JobExecutionFilter{Thing: "x", Status: jobs.ExecutionFailed}, fescue.Page{Limit: 9}, "[]"},
		} {
			got := []string{}
			for _, e := range must(s.Jobs().JobExecutions(ctx, homePartition, tc.filter, tc.page))(t) {
				got = append(got, e.JobID+"/"+e.Thing)
			}
			if fmt.Sprint(got) != tc.want {
				t.Errorf("%+v %+v: %v, want %s", tc.filter, tc.page, got, tc.want)
			}
		}
	})
	t.Run("what is in progress comes first, then by time", func(t *testing.T) {
		e := read(t, "c", "x")
		e.Status, e.Version, e.StartedAt, e.TimeoutAt = jobs.ExecutionInProgress, 2, madeAt.Add(time.Minute), madeAt.Add(time.Hour)
		e.Details = map[string]string{"step": "”1"}
		mustDo(t, s.Jobs().ReplaceExecution(ctx, homePartition, e))
		if diff := cmp.Diff(e, read(t, "c", "x")); diff != "" {
			t.Error(diff)
		}
		var order []string
		for _, e := range must(s.Jobs().PendingExecutions(ctx, homePartition, "x", 9))(t) {
			order = append(order, e.JobID)
		}
		if !slices.Equal(order, []string{"c", "b", "a"}) {
			t.Errorf("%v", order)
		}
		refused(t, "an old version", s.Jobs().ReplaceExecution(ctx, homePartition, e), fescue.ErrConflict)
	})
	t.Run("whose time is over", func(t *testing.T) {
		for at, want := range map[time.Duration]int{time.Hour - time.Millisecond: 0, time.Hour: 1} {
			n := 0
			mustDo(t, s.Jobs().OverdueExecutions(ctx, "aws", madeAt.Add(at), 9, func(p fescue.Partition, e jobs.JobExecution) {
				if n++; p != homePartition || e.JobID != "c" || e.Thing != "x" {
					t.Errorf("%s %+v", p, e)
				}
			}))
			if n != want {
				t.Errorf("after %v: %d, want %d", at, n, want)
			}
		}
	})
	t.Run("the last one that ends completes the job", func(t *testing.T) {
		for i, thing := range []string{"x", "y"} {
			e := read(t, "b", thing)
			e.Status, e.Version, e.UpdatedAt = jobs.ExecutionSucceeded, 2, madeAt.Add(time.Hour)
			mustDo(t, s.Jobs().ReplaceExecution(ctx, homePartition, e))
			job := must(s.Jobs().Job(ctx, homePartition, "b"))(t)
			if done := i == 1; (job.Status == jobs.JobCompleted) != done || job.CompletedAt.IsZero() == done {
				t.Errorf("after %s: %+v", thing, job)
			}
			e.Version = 3
			refused(t, "after its end", s.Jobs().ReplaceExecution(ctx, homePartition, e), fescue.ErrConflict)
		}
	})
}

// testJobRace ends the executions of a job at once, each several times: every
// execution ends once, and the job completes.
func testJobRace(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	var things []string
	for i := range 8 {
		things = append(things, fmt.Sprint(i))
	}
	addJob(t, s, newJob("j", madeAt), things...)
	var wg sync.WaitGroup
	var mu sync.Mutex
	ended := map[string]int{}
	for _, thing := range things {
		for range 3 {
			wg.Go(func() {
				e, err := s.Jobs().JobExecution(ctx, homePartition, "j", thing)
				if err == nil && e.Version == 1 {
					e.Status, e.Version = jobs.ExecutionFailed, 2
					err = s.Jobs().ReplaceExecution(ctx, homePartition, e)
				} else if err == nil {
					return
				}
				if err == nil {
					mu.Lock()
					ended[thing]++
					mu.Unlock()
				} else if !errors.Is(err, fescue.ErrConflict) {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for _, thing := range things {
		if ended[thing] != 1 {
			t.Errorf("%s ended %d times", thing, ended[thing])
		}
	}
	if job := must(s.Jobs().Job(ctx, homePartition, "j"))(t); job.Status != jobs.JobCompleted || job.Counts[jobs.ExecutionFailed] != 8 {
		t.Errorf("%+v", job)
	}
}
