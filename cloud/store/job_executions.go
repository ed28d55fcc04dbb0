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

const selectExecution = `
	SELECT partition, job_id, thing, status, details_json, version, forced, queued_at, started_at, updated_at, timeout_at
	FROM job_execution`

// execution is a row with the partition that it lies in.
type execution struct {
	jobs.JobExecution
	partition string
}

func scanExecution(rows *sql.Rows) (execution, error) {
	var e execution
	var status, details string
	var queued, started, updated, timeout int64
	if err := rows.Scan(&e.partition, &e.JobID, &e.Thing, &status, &details, &e.Version, &e.Forced, &queued, &started, &updated, &timeout); err != nil {
		return e, err
	}
	e.Status = jobs.ExecutionStatus(status)
	e.QueuedAt, e.StartedAt, e.UpdatedAt, e.TimeoutAt = fromMillis(queued), fromMillis(started), fromMillis(updated), fromMillis(timeout)
	err := fromJSON(details, &e.Details)
	return e, err
}

func scanPlainExecution(rows *sql.Rows) (jobs.JobExecution, error) {
	e, err := scanExecution(rows)
	return e.JobExecution, err
}

// JobExecution reads the execution of a job on a thing.
func (s Jobs) JobExecution(ctx context.Context, p fescue.Partition, jobID, thing string) (jobs.JobExecution, error) {
	list, err := all(ctx, s.db.read, scanPlainExecution, selectExecution+` WHERE partition = $1 AND job_id = $2 AND thing = $3`, p.Key(), jobID, thing)
	if err != nil {
		return jobs.JobExecution{}, fmt.Errorf("read execution of job %s: %w", jobID, err)
	}
	if len(list) == 0 {
		return jobs.JobExecution{}, fmt.Errorf("execution of job %s on thing %s %w", jobID, thing, fescue.ErrNotFound)
	}
	return list[0], nil
}

// JobExecutions lists executions by job, or the executions of one job by thing;
// page.After is the key of that order.
func (s Jobs) JobExecutions(ctx context.Context, p fescue.Partition, f jobs.JobExecutionFilter, page fescue.Page) ([]jobs.JobExecution, error) {
	order := `thing`
	if f.Thing != "" {
		order = `job_id`
	}
	return all(ctx, s.db.read, scanPlainExecution, selectExecution+`
		WHERE partition = $1 AND (job_id = $2 OR $3 = '') AND (thing = $4 OR $5 = '') AND (status = $6 OR $7 = '') AND `+order+` > $8
		ORDER BY `+order+` LIMIT $9`,
		p.Key(), f.JobID, f.JobID, f.Thing, f.Thing, string(f.Status), string(f.Status), page.After, page.Limit)
}

// PendingExecutions lists at most limit executions of a thing that have not ended,
// in the order in which the thing is to take them: those in progress first, then
// by time.
func (s Jobs) PendingExecutions(ctx context.Context, p fescue.Partition, thing string, limit int) ([]jobs.JobExecution, error) {
	return all(ctx, s.db.read, scanPlainExecution, selectExecution+`
		WHERE partition = $1 AND thing = $2 AND (status = $3 OR status = $4)
		ORDER BY CASE WHEN status = $5 THEN 0 ELSE 1 END, queued_at, job_id LIMIT $6`,
		p.Key(), thing, string(jobs.ExecutionQueued), string(jobs.ExecutionInProgress), string(jobs.ExecutionInProgress), limit)
}

// ReplaceExecution writes e over its version e.Version-1, which must not be an
// end; when that is not the present one the error wraps fescue.ErrConflict. With
// the last execution that ends, the job completes.
func (s Jobs) ReplaceExecution(ctx context.Context, p fescue.Partition, e jobs.JobExecution) error {
	return s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			UPDATE job_execution SET status = $1, details_json = $2, version = $3, forced = $4, started_at = $5, updated_at = $6, timeout_at = $7
			WHERE partition = $8 AND job_id = $9 AND thing = $10 AND version = $11 AND (status = $12 OR status = $13)`,
			string(e.Status), toJSON(e.Details), e.Version, e.Forced, millis(e.StartedAt), millis(e.UpdatedAt), millis(e.TimeoutAt),
			p.Key(), e.JobID, e.Thing, e.Version-1, string(jobs.ExecutionQueued), string(jobs.ExecutionInProgress))
		if errors.Is(err, fescue.ErrNotFound) {
			return fmt.Errorf("version %d of the execution of job %s %w", e.Version-1, e.JobID, fescue.ErrConflict)
		}
		if err != nil || !e.Status.Ended() {
			return err
		}
		return changed(ctx, tx, `
			UPDATE job SET open = open - 1, updated_at = $1,
				completed_at = CASE WHEN open = 1 AND status = $2 THEN $3 ELSE completed_at END,
				status = CASE WHEN open = 1 AND status = $4 THEN $5 ELSE status END
			WHERE partition = $6 AND id = $7`,
			millis(e.UpdatedAt), string(jobs.JobInProgress), millis(e.UpdatedAt), string(jobs.JobInProgress), string(jobs.JobCompleted),
			p.Key(), e.JobID)
	})
}

// OverdueExecutions calls f for at most limit executions whose time is over. aws
// is the first part of ARNs.
func (s Jobs) OverdueExecutions(ctx context.Context, aws string, at time.Time, limit int, f func(fescue.Partition, jobs.JobExecution)) error {
	list, err := all(ctx, s.db.read, scanExecution, selectExecution+`
		WHERE timeout_at > 0 AND timeout_at <= $1 ORDER BY timeout_at LIMIT $2`, millis(at), limit)
	for _, e := range list {
		f(partitionOf(aws, e.partition), e.JobExecution)
	}
	return err
}
