// Package jobs keeps AWS IoT jobs: a document for things to act on, with one
// execution for each thing, which the thing takes up and ends. It checks
// arguments and limits, notifies things over MQTT of what waits for them, and ends
// executions whose time is over. It must not know how callers speak, what a
// document means, nor how records are kept.
package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/keyed"
)

// Store keeps jobs. What a partition does not have is fescue.ErrNotFound.
type Store interface {
	// TokenSubject is the id of what an earlier call with the token made. A token
	// that was not used is fescue.ErrNotFound, one that was used for another
	// request fescue.ErrTokenReused.
	TokenSubject(ctx context.Context, p fescue.Partition, t fescue.Token) (id string, err error)
	// CreateJob writes a job with an execution queued on each thing. When the
	// token was used for the same request before it returns the id of the job
	// made then. A taken id is fescue.ErrExists.
	CreateJob(ctx context.Context, p fescue.Partition, job Job, things []string, token fescue.Token) (id string, replayed bool, err error)
	// Job reads a job with the counts of its executions.
	Job(ctx context.Context, p fescue.Partition, id string) (Job, error)
	// Jobs lists jobs without counts, newest first, beginning after the one whose
	// CreatedAt and ID are given, or at the newest when the ID is empty.
	Jobs(ctx context.Context, p fescue.Partition, after Job, limit int) ([]Job, error)
	// CancelJob cancels a job that is in progress, else the error wraps
	// fescue.ErrConflict: its queued executions, and with job.Forced those in
	// progress too. It returns the things whose executions were canceled.
	CancelJob(ctx context.Context, p fescue.Partition, job Job, at time.Time) (things []string, err error)
	// DeleteJob removes a job with its executions. One that has an execution
	// under way is fescue.ErrConflict unless force is set. It returns the things
	// whose executions had not ended.
	DeleteJob(ctx context.Context, p fescue.Partition, id string, force bool) (things []string, err error)
	JobExecution(ctx context.Context, p fescue.Partition, jobID, thing string) (JobExecution, error)
	// JobExecutions lists executions by job, or the executions of one job by
	// thing; page.After is the key of that order.
	JobExecutions(ctx context.Context, p fescue.Partition, f JobExecutionFilter, page fescue.Page) ([]JobExecution, error)
	// PendingExecutions lists at most limit executions of a thing that have not
	// ended, in the order in which the thing is to take them.
	PendingExecutions(ctx context.Context, p fescue.Partition, thing string, limit int) ([]JobExecution, error)
	// ReplaceExecution writes e over its version e.Version-1, which must not be
	// an end; when that is not the present one the error wraps
	// fescue.ErrConflict. With the last execution that ends, the job completes.
	ReplaceExecution(ctx context.Context, p fescue.Partition, e JobExecution) error
	// OverdueExecutions calls f for at most limit executions whose time is over.
	OverdueExecutions(ctx context.Context, aws string, at time.Time, limit int, f func(fescue.Partition, JobExecution)) error
}

// Things knows which things there are.
type Things interface {
	// Thing of a name that the partition does not have is fescue.ErrNotFound.
	Thing(ctx context.Context, p fescue.Partition, name string) (fescue.Thing, error)
}

// Publisher sends an MQTT message to all subscribers of a topic in a partition.
type Publisher interface {
	Publish(ctx context.Context, p fescue.Partition, topic string, payload []byte, qos byte, retain bool) error
}

// Options are what a Service is made of. All members are required.
type Options struct {
	Store     Store
	Things    Things
	Publisher Publisher
	// AWS is the first part of every ARN.
	AWS    string
	Now    func() time.Time
	Logger *slog.Logger
}

// Service is the jobs service. Its methods may be called at the same time.
type Service struct {
	Options
	// locks lets the executions of one thing change one at a time, so that what
	// the thing is sent leaves this server in the order in which it happened.
	locks keyed.Mutex[thingKey]
	// cores are the cores that were seen and not yet looked at.
	cores chan thingKey
}

type thingKey struct {
	partition fescue.Partition
	thing     string
}

// New makes the service. Run ends executions whose time is over and updates of
// cores that take none; everything else works without it.
func New(o Options) *Service { return &Service{Options: o, cores: make(chan thingKey, maxSeen)} }

// Limits (AWS IoT API model; AWS General Reference, "AWS IoT Device Management
// endpoints and quotas").
const (
	maxTargets     = 100
	maxDocument    = 32 << 10 // bytes
	maxDescription = 2028     // characters
	maxTimeout     = 7 * 24 * time.Hour
	maxReasonCode  = 128
	maxDetails     = 10
	maxDetailName  = 128
	maxDetailValue = 1024
)

// InvalidError says what is wrong with an argument, to the user who gave it.
type InvalidError struct{ Text string }

// Error is the text.
func (e *InvalidError) Error() string { return e.Text }

func invalid(format string, args ...any) error { return &InvalidError{fmt.Sprintf(format, args...)} }

// Why the service refuses, apart from fescue.ErrNotFound and InvalidError.
var (
	// ErrExists means that another job has the id.
	ErrExists = errors.New("a job with this id already exists")
	// ErrUnderWay means that a job has executions that have not ended.
	ErrUnderWay = errors.New("the job has executions that have not ended; cancel it first, or delete it with force")
	// ErrEnded means that a job or an execution has ended, so that it does not
	// change any more.
	ErrEnded = errors.New("it has ended")
	// ErrVersion means that the execution is not at the version expected.
	ErrVersion = errors.New("it is not at the expected version")
)

// Create makes a job whose executions wait on the things of job.Targets. A repeated
// call with the same token answers the job that the first one made.
func (s *Service) Create(ctx context.Context, p fescue.Partition, job Job, token fescue.Token) (Job, error) {
	if token.Value != "" {
		id, err := s.Store.TokenSubject(ctx, p, token)
		if err == nil {
			return s.Job(ctx, p, id)
		}
		if !errors.Is(err, fescue.ErrNotFound) {
			return job, err
		}
	}
	if !ValidID(job.ID) {
		return job, invalid("jobId %.64q is not 1 to 64 characters of a-z, A-Z, 0-9, underscore and hyphen", job.ID)
	}
	things, err := s.targets(ctx, p, job.Targets)
	if err != nil {
		return job, err
	}
	switch {
	case job.Document == "":
		return job, invalid("the job has no document")
	case len(job.Document) > maxDocument:
		return job, invalid("the document has %d bytes, at most %d are allowed", len(job.Document), maxDocument)
	case !json.Valid([]byte(job.Document)):
		return job, invalid("the document is not valid JSON")
	case utf8.RuneCountInString(job.Description) > maxDescription:
		return job, invalid("the description has more than %d characters", maxDescription)
	case job.Timeout != 0 && (job.Timeout < time.Minute || job.Timeout > maxTimeout):
		return job, invalid("inProgressTimeoutInMinutes is not from 1 to %d", maxTimeout/time.Minute)
	}
	job.Status, job.CreatedAt = JobInProgress, s.Now().UTC()
	id, replayed, err := s.Store.CreateJob(ctx, p, job, things, token)
	switch {
	case errors.Is(err, fescue.ErrExists):
		return job, ErrExists
	case err != nil:
		return job, fmt.Errorf("create job: %w", err)
	case replayed:
		return s.Job(ctx, p, id)
	}
	for _, thing := range things {
		s.lockAndAnnounce(ctx, p, thing)
	}
	return job, nil
}

// targets are the names of the things that ARNs name, each once.
func (s *Service) targets(ctx context.Context, p fescue.Partition, arns []string) ([]string, error) {
	if len(arns) == 0 || len(arns) > maxTargets {
		return nil, invalid("a job has 1 to %d targets, not %d", maxTargets, len(arns))
	}
	var things []string
	for _, text := range arns {
		arn, err := fescue.ParseARN(text)
		name, ok := arn.ThingName()
		if err != nil || !ok || !fescue.ValidThingName(name) {
			return nil, invalid("target %.256q is not the ARN of a thing. Thing groups are not served: name the things", text)
		}
		if arn.Partition() != p {
			return nil, invalid("target %.256q lies in another account or Region", text)
		}
		if _, err := s.Things.Thing(ctx, p, name); errors.Is(err, fescue.ErrNotFound) {
			return nil, invalid("target %.256q does not exist", text)
		} else if err != nil {
			return nil, err
		}
		if !slices.Contains(things, name) {
			things = append(things, name)
		}
	}
	return things, nil
}

// Job reads a job.
func (s *Service) Job(ctx context.Context, p fescue.Partition, id string) (Job, error) {
	if !ValidID(id) {
		return Job{}, fmt.Errorf("job %.64q %w", id, fescue.ErrNotFound)
	}
	return s.Store.Job(ctx, p, id)
}

// scanLimit bounds how many jobs one page of a list with a status looks at.
const scanLimit = 1000

// Jobs lists jobs newest first, with a status unless it is empty: at most limit,
// beginning after the job given, and the job after which to go on when there may
// be more. With a status a page may be short and not be the last.
func (s *Service) Jobs(ctx context.Context, p fescue.Partition, status JobStatus, after Job, limit int) (list []Job, next *Job, err error) {
	batch := limit + 1
	if status != "" {
		batch = scanLimit
	}
	jobs, err := s.Store.Jobs(ctx, p, after, batch)
	if err != nil {
		return nil, nil, fmt.Errorf("list jobs: %w", err)
	}
	for i, job := range jobs {
		if status != "" && job.Status != status {
			continue
		}
		if len(list) == limit {
			return list, &jobs[i-1], nil
		}
		list = append(list, job)
	}
	if len(jobs) == batch {
		return list, &jobs[batch-1], nil
	}
	return list, nil, nil
}

// Cancel cancels a job: what waits, and with force also what is in progress. Things
// that have begun then find their execution canceled.
func (s *Service) Cancel(ctx context.Context, p fescue.Partition, id string, force bool, reasonCode, comment string) (Job, error) {
	if len(reasonCode) > maxReasonCode || utf8.RuneCountInString(comment) > maxDescription {
		return Job{}, invalid("reasonCode has more than %d characters or comment more than %d", maxReasonCode, maxDescription)
	}
	if !ValidID(id) {
		return Job{}, fmt.Errorf("job %.64q %w", id, fescue.ErrNotFound)
	}
	things, err := s.Store.CancelJob(ctx, p, Job{ID: id, Forced: force, ReasonCode: reasonCode, Comment: comment}, s.Now().UTC())
	if errors.Is(err, fescue.ErrConflict) {
		return Job{}, fmt.Errorf("job %s cannot be canceled: %w", id, ErrEnded)
	}
	if err != nil {
		return Job{}, fmt.Errorf("cancel job: %w", err)
	}
	for _, thing := range things {
		s.lockAndAnnounce(ctx, p, thing)
	}
	return s.Store.Job(ctx, p, id)
}

// Delete removes a job that has ended, or with force any.
func (s *Service) Delete(ctx context.Context, p fescue.Partition, id string, force bool) error {
	if !ValidID(id) {
		return fmt.Errorf("job %.64q %w", id, fescue.ErrNotFound)
	}
	things, err := s.Store.DeleteJob(ctx, p, id, force)
	if errors.Is(err, fescue.ErrConflict) {
		return ErrUnderWay
	}
	if err != nil {
		return fmt.Errorf("delete job: %w", err)
	}
	for _, thing := range things {
		s.lockAndAnnounce(ctx, p, thing)
	}
	return nil
}
