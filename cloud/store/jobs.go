package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/jobs"
)

// Jobs keep jobs and what becomes of each on each thing.
type Jobs struct{ tokens }

// Jobs is that part of the database.
func (db *DB) Jobs() Jobs { return Jobs{tokens{db}} }

// CreateJob writes a job with an execution queued on each thing. When the token
// was used for the same request before it returns the id of the job made then. A
// taken id is fescue.ErrExists.
func (s Jobs) CreateJob(ctx context.Context, p fescue.Partition, job jobs.Job, things []string, token fescue.Token) (id string, replayed bool, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		if id, replayed, err = claimToken(ctx, tx, p, token, job.ID, millis(job.CreatedAt)); err != nil || replayed {
			return err
		}
		err := changed(ctx, tx, `
			INSERT INTO job (partition, id, status, open, body_json, reason_code, comment, forced, created_at, updated_at, completed_at)
			VALUES ($1, $2, $3, $4, $5, '', '', $6, $7, $8, 0) ON CONFLICT (partition, id) DO NOTHING`,
			p.Key(), job.ID, string(jobs.JobInProgress), len(things), toJSON(job), false, millis(job.CreatedAt), millis(job.CreatedAt))
		if errors.Is(err, fescue.ErrNotFound) {
			return fmt.Errorf("job %s %w", job.ID, fescue.ErrExists)
		}
		if err != nil {
			return err
		}
		for _, thing := range things {
			_, err := tx.ExecContext(ctx, `
				INSERT INTO job_execution (partition, job_id, thing, status, details_json, version, forced, queued_at, started_at, updated_at, timeout_at)
				VALUES ($1, $2, $3, $4, '{}', 1, $5, $6, 0, $7, 0)`,
				p.Key(), job.ID, thing, string(jobs.ExecutionQueued), false, millis(job.CreatedAt), millis(job.CreatedAt))
			if err != nil {
				return err
			}
		}
		return nil
	})
	return id, replayed, err
}

const selectJob = `
	SELECT id, status, body_json, reason_code, comment, forced, created_at, updated_at, completed_at FROM job`

func scanJob(rows *sql.Rows) (jobs.Job, error) {
	var job jobs.Job
	var id, status, body, reason, comment string
	var forced bool
	var created, updated, completed int64
	if err := rows.Scan(&id, &status, &body, &reason, &comment, &forced, &created, &updated, &completed); err != nil {
		return job, err
	}
	err := fromJSON(body, &job)
	job.ID, job.Status, job.ReasonCode, job.Comment, job.Forced = id, jobs.JobStatus(status), reason, comment, forced
	job.CreatedAt, job.UpdatedAt, job.CompletedAt = fromMillis(created), fromMillis(updated), fromMillis(completed)
	return job, err
}

// Job reads a job with the counts of its executions.
func (s Jobs) Job(ctx context.Context, p fescue.Partition, id string) (jobs.Job, error) {
	list, err := all(ctx, s.db.read, scanJob, selectJob+` WHERE partition = $1 AND id = $2`, p.Key(), id)
	if err != nil {
		return jobs.Job{}, fmt.Errorf("read job %s: %w", id, err)
	}
	if len(list) == 0 {
		return jobs.Job{}, fmt.Errorf("job %s %w", id, fescue.ErrNotFound)
	}
	job := list[0]
	job.Counts = make(map[jobs.ExecutionStatus]int64)
	_, err = all(ctx, s.db.read, func(rows *sql.Rows) (any, error) {
		var status string
		var n int64
		err := rows.Scan(&status, &n)
		job.Counts[jobs.ExecutionStatus(status)] = n
		return nil, err
	}, `SELECT status, count(*) FROM job_execution WHERE partition = $1 AND job_id = $2 GROUP BY status`, p.Key(), id)
	return job, err
}

// Jobs lists at most limit jobs without counts, newest first, beginning after the
// one whose CreatedAt and ID are given, or at the newest when the ID is empty.
func (s Jobs) Jobs(ctx context.Context, p fescue.Partition, after jobs.Job, limit int) ([]jobs.Job, error) {
	query, at := byCreation(false, "id", after.CreatedAt, after.ID)
	return all(ctx, s.db.read, scanJob, selectJob+query, p.Key(), at, after.ID, limit)
}

// CancelJob cancels a job that is in progress, else the error wraps
// fescue.ErrConflict: its queued executions, and with job.Forced those in progress
// too. It returns the things whose executions were canceled.
func (s Jobs) CancelJob(ctx context.Context, p fescue.Partition, job jobs.Job, at time.Time) (things []string, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			UPDATE job SET status = $1, reason_code = $2, comment = $3, forced = $4, updated_at = $5, completed_at = $6
			WHERE partition = $7 AND id = $8 AND status = $9`,
			string(jobs.JobCanceled), job.ReasonCode, job.Comment, job.Forced, millis(at), millis(at),
			p.Key(), job.ID, string(jobs.JobInProgress))
		if errors.Is(err, fescue.ErrNotFound) {
			return jobIsOther(ctx, tx, p, job.ID)
		}
		if err != nil {
			return err
		}
		reach := jobs.ExecutionQueued
		if job.Forced {
			reach = jobs.ExecutionInProgress
		}
		things, err = all(ctx, tx, column[string], `
			UPDATE job_execution SET forced = (status = $1), status = $2, version = version + 1, updated_at = $3, timeout_at = 0
			WHERE partition = $4 AND job_id = $5 AND (status = $6 OR status = $7) RETURNING thing`,
			string(jobs.ExecutionInProgress), string(jobs.ExecutionCanceled), millis(at),
			p.Key(), job.ID, string(jobs.ExecutionQueued), string(reach))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE job SET open = open - $1 WHERE partition = $2 AND id = $3`, len(things), p.Key(), job.ID)
		return err
	})
	return things, err
}

// jobIsOther says why a statement that named a job in a state found none.
func jobIsOther(ctx context.Context, tx transaction, p fescue.Partition, id string) error {
	var status string
	if err := one(tx.QueryRowContext(ctx, `SELECT status FROM job WHERE partition = $1 AND id = $2`, p.Key(), id), &status); err != nil {
		return fmt.Errorf("job %s %w", id, err)
	}
	return fmt.Errorf("job %s is %s, which %w", id, status, fescue.ErrConflict)
}

// DeleteJob removes a job with its executions. One that has an execution under
// way is fescue.ErrConflict unless force is set. It returns the things whose
// executions had not ended.
func (s Jobs) DeleteJob(ctx context.Context, p fescue.Partition, id string, force bool) (things []string, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		// The row is locked before its executions are looked at.
		var open int64
		err := one(tx.QueryRowContext(ctx, `
			UPDATE job SET updated_at = updated_at WHERE partition = $1 AND id = $2 RETURNING open`, p.Key(), id), &open)
		switch {
		case err != nil:
			return fmt.Errorf("job %s %w", id, err)
		case open > 0 && !force:
			return fmt.Errorf("job %s has executions under way, which %w", id, fescue.ErrConflict)
		}
		things, err = all(ctx, tx, column[string], `
			SELECT thing FROM job_execution WHERE partition = $1 AND job_id = $2 AND (status = $3 OR status = $4)`,
			p.Key(), id, string(jobs.ExecutionQueued), string(jobs.ExecutionInProgress))
		if err != nil {
			return err
		}
		return changed(ctx, tx, `DELETE FROM job WHERE partition = $1 AND id = $2`, p.Key(), id)
	})
	return things, err
}
