package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/fescue-edge/fescue"
)

// NextID stands for the execution that a thing is to take next.
const NextID = "$next"

// maxPending bounds how many executions of one thing are looked at and sent: what
// waits behind them comes later.
const maxPending = 100

// Execution reads the execution of a job on a thing. For NextID it is the next one
// that has not ended; there may be none, which is fescue.ErrNotFound.
func (s *Service) Execution(ctx context.Context, p fescue.Partition, thing, jobID string) (JobExecution, error) {
	if jobID == NextID {
		pending, err := s.Store.PendingExecutions(ctx, p, thing, 1)
		if err == nil && len(pending) == 0 {
			err = fmt.Errorf("next execution of thing %.128q %w", thing, fescue.ErrNotFound)
		}
		if err != nil {
			return JobExecution{}, err
		}
		return pending[0], nil
	}
	if !ValidID(jobID) || !fescue.ValidThingName(thing) {
		return JobExecution{}, fmt.Errorf("execution of job %.64q on thing %.128q %w", jobID, thing, fescue.ErrNotFound)
	}
	return s.Store.JobExecution(ctx, p, jobID, thing)
}

// Executions lists executions, those of a thing by job and otherwise by thing.
func (s *Service) Executions(ctx context.Context, p fescue.Partition, f JobExecutionFilter, page fescue.Page) ([]JobExecution, error) {
	return s.Store.JobExecutions(ctx, p, f, page)
}

// Pending lists what has not ended on a thing, in the order in which the thing is
// to take it.
func (s *Service) Pending(ctx context.Context, p fescue.Partition, thing string) ([]JobExecution, error) {
	return s.Store.PendingExecutions(ctx, p, thing, maxPending)
}

// Change is what a thing says of an execution.
type Change struct {
	Status ExecutionStatus
	// Details replace those that are there; nil leaves them.
	Details map[string]string
	// ExpectedVersion is 0 for any.
	ExpectedVersion int64
	// StepTimeout is how long the thing gives itself until its next change: 0
	// leaves what is set, a negative one takes it away.
	StepTimeout time.Duration
}

func (c *Change) check() error {
	if !c.Status.SettableByThing() {
		return invalid("status %.32q is not one that a thing sets: IN_PROGRESS, SUCCEEDED, FAILED, REJECTED", c.Status)
	}
	if c.StepTimeout > maxTimeout || c.StepTimeout > 0 && c.StepTimeout < time.Minute {
		return invalid("stepTimeoutInMinutes is not -1 or from 1 to %d", maxTimeout/time.Minute)
	}
	return checkDetails(c.Details)
}

func checkDetails(details map[string]string) error {
	if len(details) > maxDetails {
		return invalid("statusDetails has %d members, at most %d are allowed", len(details), maxDetails)
	}
	for name, value := range details {
		if name == "" || len(name) > maxDetailName || len(value) == 0 || len(value) > maxDetailValue {
			return invalid("statusDetails: a name has 1 to %d bytes, a value 1 to %d; %.64q is not that", maxDetailName, maxDetailValue, name)
		}
	}
	return nil
}

// Update makes a change that a thing reports. When the execution has ended the
// error wraps ErrEnded, at another version ErrVersion; the execution returned is
// then the present one.
func (s *Service) Update(ctx context.Context, p fescue.Partition, thing, jobID string, c Change) (JobExecution, error) {
	if err := c.check(); err != nil {
		return JobExecution{}, err
	}
	defer s.locks.Lock(thingKey{p, thing})()
	return s.change(ctx, p, thing, jobID, c.ExpectedVersion, func(e *JobExecution, job Job) bool {
		c.apply(e, job, s.Now().UTC())
		return true
	})
}

func (c *Change) apply(e *JobExecution, job Job, now time.Time) {
	if e.StartedAt.IsZero() && c.Status == ExecutionInProgress {
		e.StartedAt = now
		if job.Timeout > 0 {
			e.TimeoutAt = now.Add(job.Timeout)
		}
	}
	e.Status = c.Status
	if c.Details != nil {
		e.Details = maps.Clone(c.Details)
	}
	switch {
	case c.StepTimeout > 0:
		e.TimeoutAt = now.Add(c.StepTimeout)
		if limit := e.StartedAt.Add(job.Timeout); job.Timeout > 0 && !e.StartedAt.IsZero() && limit.Before(e.TimeoutAt) {
			e.TimeoutAt = limit
		}
	case c.StepTimeout < 0:
		e.TimeoutAt = time.Time{}
		if job.Timeout > 0 && !e.StartedAt.IsZero() {
			e.TimeoutAt = e.StartedAt.Add(job.Timeout)
		}
	}
}

// StartNext gives a thing its next execution, which is then in progress. One that
// is already stays as it is. There may be none: fescue.ErrNotFound.
func (s *Service) StartNext(ctx context.Context, p fescue.Partition, thing string, details map[string]string, stepTimeout time.Duration) (JobExecution, error) {
	c := Change{Status: ExecutionInProgress, Details: details, StepTimeout: stepTimeout}
	if err := c.check(); err != nil {
		return JobExecution{}, err
	}
	defer s.locks.Lock(thingKey{p, thing})()
	return s.change(ctx, p, thing, NextID, 0, func(e *JobExecution, job Job) bool {
		if e.Status == ExecutionInProgress {
			return false
		}
		c.apply(e, job, s.Now().UTC())
		return true
	})
}

// CancelExecution cancels an execution that waits, or with force one in progress.
func (s *Service) CancelExecution(ctx context.Context, p fescue.Partition, thing, jobID string, force bool, details map[string]string, expectedVersion int64) error {
	if err := checkDetails(details); err != nil {
		return err
	}
	defer s.locks.Lock(thingKey{p, thing})()
	underWay := false
	_, err := s.change(ctx, p, thing, jobID, expectedVersion, func(e *JobExecution, _ Job) bool {
		started := e.Status == ExecutionInProgress
		if underWay = started && !force; underWay {
			return false
		}
		e.Status, e.Forced = ExecutionCanceled, started
		if details != nil {
			e.Details = maps.Clone(details)
		}
		return true
	})
	if underWay {
		return ErrUnderWay
	}
	return err
}

// changeAttempts bounds how often a change is worked out anew because another
// server made one first.
const changeAttempts = 20

// change replaces an execution that has not ended by what f makes of it, unless f
// returns false, and notifies the thing of what is next.
func (s *Service) change(ctx context.Context, p fescue.Partition, thing, jobID string, expected int64, f func(*JobExecution, Job) bool) (JobExecution, error) {
	for attempt := 1; ; attempt++ {
		e, err := s.Execution(ctx, p, thing, jobID)
		if err != nil {
			return e, err
		}
		switch {
		case e.Status.Ended():
			return e, fmt.Errorf("execution of job %s on thing %s is %s: %w", e.JobID, thing, e.Status, ErrEnded)
		case expected != 0 && expected != e.Version:
			return e, fmt.Errorf("execution of job %s on thing %s is at version %d: %w", e.JobID, thing, e.Version, ErrVersion)
		}
		job, err := s.Store.Job(ctx, p, e.JobID)
		if err != nil {
			return e, err
		}
		if !f(&e, job) {
			return e, nil
		}
		e.Version++
		e.UpdatedAt = s.Now().UTC()
		if e.Status.Ended() {
			e.TimeoutAt = time.Time{}
		}
		err = s.Store.ReplaceExecution(ctx, p, e)
		if err == nil {
			if e.Status.Ended() {
				s.announce(ctx, p, thing)
			}
			return e, nil
		}
		if !errors.Is(err, fescue.ErrConflict) || attempt == changeAttempts {
			return e, fmt.Errorf("change execution of job %s on thing %s: %w", e.JobID, thing, err)
		}
	}
}

// Timing of Run.
const (
	overdueEvery = 2 * time.Second
	overdueBatch = 100
)

// Run ends executions whose time is over, and software updates of cores that were
// seen, until ctx ends. Several servers may do it: each execution ends once.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(overdueEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case core := <-s.cores:
			if err := s.EndUpdates(ctx, core.partition, core.thing); err != nil && ctx.Err() == nil {
				s.Logger.Error("software updates were not ended; they are looked at again with the core's next request", "error", err)
			}
			continue
		}
		if err := s.EndOverdue(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Error("job executions whose time is over were not ended; they are tried again", "error", err)
		}
	}
}

// EndOverdue ends the executions whose time is over.
func (s *Service) EndOverdue(ctx context.Context) error {
	type overdue struct {
		p fescue.Partition
		JobExecution
	}
	var list []overdue
	err := s.Store.OverdueExecutions(ctx, s.AWS, s.Now(), overdueBatch, func(p fescue.Partition, e JobExecution) {
		list = append(list, overdue{p, e})
	})
	errs := []error{err}
	for _, e := range list {
		errs = append(errs, s.end(ctx, e.p, e.JobExecution, ExecutionTimedOut, nil))
	}
	return errors.Join(errs...)
}

// end ends an execution as it was read; one that has changed since is left alone.
func (s *Service) end(ctx context.Context, p fescue.Partition, read JobExecution, status ExecutionStatus, details map[string]string) error {
	defer s.locks.Lock(thingKey{p, read.Thing})()
	_, err := s.change(ctx, p, read.Thing, read.JobID, read.Version, func(e *JobExecution, _ Job) bool {
		e.Status = status
		if details != nil {
			e.Details = details
		}
		return true
	})
	if errors.Is(err, ErrEnded) || errors.Is(err, ErrVersion) || errors.Is(err, fescue.ErrNotFound) {
		return nil
	}
	return err
}
