package bulk

import (
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
	At      time.Time
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
