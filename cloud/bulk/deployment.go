package bulk

import (
	"slices"
	"time"

	"github.com/fescue-edge/fescue"
)

// BulkStatus is where a bulk deployment is, in the words of
// GetBulkDeploymentStatus.
type BulkStatus string

// The statuses of a bulk deployment. The last three are final.
const (
	// BulkInitializing: the input is being read and checked.
	BulkInitializing BulkStatus = "Initializing"
	// BulkRunning: its records become deployments.
	BulkRunning BulkStatus = "Running"
	// BulkStopping: StopBulkDeployment was called; nothing new is started.
	BulkStopping BulkStatus = "Stopping"
	// BulkCompleted: every record was processed, whatever became of it.
	BulkCompleted BulkStatus = "Completed"
	// BulkStopped: ended by StopBulkDeployment.
	BulkStopped BulkStatus = "Stopped"
	// BulkFailed: the input could not be used; no record was processed.
	BulkFailed BulkStatus = "Failed"
)

// Final reports whether the status never changes again.
func (s BulkStatus) Final() bool { return s == BulkCompleted || s == BulkStopped || s == BulkFailed }

// BulkDeployment is a run over a file of records, each a group version to be
// deployed.
type BulkDeployment struct {
	Partition        fescue.Partition
	ID               string
	Status           BulkStatus
	ExecutionRoleARN string
	// Bucket and Key are the object that holds the records.
	Bucket, Key string
	Tags        map[string]string
	// ErrorMessage and ErrorDetails say why a run failed.
	ErrorMessage string
	ErrorDetails []fescue.ErrorDetail
	// RecordsProcessed counts the records that were tried at least once,
	// InvalidRecords those that can never become a deployment, RetryAttempts the
	// tries that are repeated later.
	RecordsProcessed, InvalidRecords, RetryAttempts int64
	CreatedAt                                       time.Time
}

// BulkRecord is one line of the input.
type BulkRecord struct {
	Line           int64
	GroupID        string
	GroupVersionID string
	// Attempts counts the tries so far.
	Attempts int
}

// BulkOutcome is what came of one try of a record: a deployment, a failure for
// good, or another try later.
type BulkOutcome struct {
	DeploymentID string
	// ErrorMessage and ErrorDetails say why there is no deployment; Invalid, that
	// it is the record's fault.
	ErrorMessage string
	ErrorDetails []fescue.ErrorDetail
	Invalid      bool
	// RetryAt is when it is tried again; zero when this is the end of it.
	RetryAt time.Time
	// Held says that this was no try: something else had what belongs to the group.
	Held bool
	At   time.Time
}

// BulkTry is one try of a record, and what came of it. Attempts does not count it yet.
type BulkTry struct {
	BulkRecord
	BulkOutcome
}

// BulkReport is a record that has become a deployment or has failed for good.
type BulkReport struct {
	// Number orders the reports of one bulk deployment.
	Number int64
	BulkRecord
	BulkOutcome
	// Status, StatusMessage and StatusDetails are the deployment's present ones.
	Status        fescue.DeploymentStatus
	StatusMessage string
	StatusDetails []fescue.ErrorDetail
}

// Progress is how far a bulk deployment has come.
type Progress struct {
	BulkDeployment
	// Records are those that the input has, as far as it was read; Reported are those of them
	// that have become deployments or have failed for good.
	Records, Reported int
	// States counts what was reported by the deployments' present status; what never became
	// a deployment is a Failure. The status is empty where the deployment is no longer kept.
	States map[fescue.DeploymentStatus]int
	// Failures are the causes of the newest MaxCounted of those that failed, the most frequent
	// first.
	Failures []FailureCount
	// Failed are the newest MaxFailed of them, the newest first.
	Failed []FailedRecord
}

// Of how many of the records that failed a Progress has the causes, and how many it names.
const (
	MaxCounted = 10_000
	MaxFailed  = 50
)

// FailureCount is how many records failed with one code, and the newest of them.
type FailureCount struct {
	// Code is empty where the failure has none.
	Code   string
	Count  int
	Detail fescue.ErrorDetail
}

// FailedRecord is a record that failed.
type FailedRecord struct {
	Line int64
	// GroupName is empty where there is no such group.
	GroupID, GroupName string
	// DeploymentID is empty where none was made.
	DeploymentID string
	Detail       fescue.ErrorDetail
}

// Add counts a record that failed, after all newer ones, with its first cause.
func (p *Progress) Add(r FailedRecord) {
	if len(p.Failed) < MaxFailed {
		p.Failed = append(p.Failed, r)
	}
	i := slices.IndexFunc(p.Failures, func(f FailureCount) bool { return f.Code == r.Detail.DetailedErrorCode })
	if i < 0 {
		i = len(p.Failures)
		p.Failures = append(p.Failures, FailureCount{Code: r.Detail.DetailedErrorCode, Detail: r.Detail})
	}
	p.Failures[i].Count++
}
