package jobs

import (
	"regexp"
	"slices"
	"time"
)

// JobStatus is where an AWS IoT job is.
type JobStatus string

// The statuses of a job. A job completes when its last execution ends; a canceled
// one may have executions under way.
const (
	JobInProgress JobStatus = "IN_PROGRESS"
	JobCanceled   JobStatus = "CANCELED"
	JobCompleted  JobStatus = "COMPLETED"
)

// ExecutionStatus is where a job is on one thing.
type ExecutionStatus string

// The statuses of an execution. All but the first two are ends.
const (
	ExecutionQueued     ExecutionStatus = "QUEUED"
	ExecutionInProgress ExecutionStatus = "IN_PROGRESS"
	ExecutionSucceeded  ExecutionStatus = "SUCCEEDED"
	ExecutionFailed     ExecutionStatus = "FAILED"
	ExecutionRejected   ExecutionStatus = "REJECTED"
	ExecutionTimedOut   ExecutionStatus = "TIMED_OUT"
	ExecutionCanceled   ExecutionStatus = "CANCELED"
	ExecutionRemoved    ExecutionStatus = "REMOVED"
)

// ExecutionStatuses are all of them.
var ExecutionStatuses = []ExecutionStatus{
	ExecutionQueued, ExecutionInProgress, ExecutionSucceeded, ExecutionFailed,
	ExecutionRejected, ExecutionTimedOut, ExecutionCanceled, ExecutionRemoved,
}

// Ended reports whether the status is an end.
func (s ExecutionStatus) Ended() bool { return s != ExecutionQueued && s != ExecutionInProgress }

// SettableByThing reports whether a thing may give its execution the status, from
// any that is no end.
func (s ExecutionStatus) SettableByThing() bool {
	return slices.Contains([]ExecutionStatus{ExecutionInProgress, ExecutionSucceeded, ExecutionFailed, ExecutionRejected}, s)
}

// Job is a document for things to act on, one execution on each.
type Job struct {
	ID string `json:"-"`
	// Targets are the ARNs that CreateJob named.
	Targets     []string `json:"targets"`
	Document    string   `json:"document"`
	Description string   `json:"description,omitempty"`
	// SignerRole is the ARN of the role for presigned URLs, with their lifetime.
	// It is only kept: Fescue signs no URLs in documents.
	SignerRole  string        `json:"signerRole,omitempty"`
	URLLifetime time.Duration `json:"urlLifetime,omitempty"`
	// Timeout is how long an execution may be in progress, 0 for ever.
	Timeout time.Duration `json:"timeout,omitempty"`

	Status JobStatus `json:"-"`
	// ReasonCode and Comment are those of a cancellation, Forced marks one that
	// reached what was in progress.
	ReasonCode  string    `json:"-"`
	Comment     string    `json:"-"`
	Forced      bool      `json:"-"`
	CreatedAt   time.Time `json:"-"`
	UpdatedAt   time.Time `json:"-"`
	CompletedAt time.Time `json:"-"`
	// Counts are how many executions have each status.
	Counts map[ExecutionStatus]int64 `json:"-"`
}

// JobExecution is a job on one thing.
type JobExecution struct {
	JobID, Thing string
	Status       ExecutionStatus
	// Details are what the thing, or who ended the execution, said of it.
	Details map[string]string
	// Version is 1 when the execution is queued and rises with each change.
	Version int64
	// Forced marks an execution that was canceled while in progress.
	Forced    bool
	QueuedAt  time.Time
	StartedAt time.Time
	UpdatedAt time.Time
	// TimeoutAt is when the execution ends by itself, zero for never.
	TimeoutAt time.Time
}

// JobExecutionFilter chooses executions: those of a job, of a thing or both, with
// any status when Status is empty.
type JobExecutionFilter struct {
	JobID, Thing string
	Status       ExecutionStatus
}

var jobID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// ValidID reports whether s can be the id of a job.
func ValidID(s string) bool { return jobID.MatchString(s) }
