package fescue

import (
	"context"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/bulk"
)

// Bulk says how far bulk deployments have come.
type Bulk interface {
	Progress(ctx context.Context, p fescue.Partition, id string) (bulk.Progress, error)
}

// BulkProgress answers GetBulkDeploymentProgress.
type BulkProgress struct {
	BulkDeploymentId     string
	BulkDeploymentStatus bulk.BulkStatus
	CreatedAt            string
	// ErrorMessage and ErrorDetails say why the bulk deployment itself failed.
	ErrorMessage string               `json:",omitempty"`
	ErrorDetails []fescue.ErrorDetail `json:",omitempty"`
	Tags         map[string]string    `json:",omitempty"`
	// Records are those of the input, as far as it was read, and Reported those of them that
	// became deployments or failed for good.
	Records, Reported int
	// Invalid can never become deployments, and Retried are the tries that are repeated.
	Invalid, Retried int64
	// States count what was reported by the present status of the deployments.
	States []BulkState
	// Failures count those that failed by their first code, the most frequent first; where there
	// are more than 10,000, the newest 10,000.
	Failures []BulkFailure
	// Failed are the newest 50 of them, the newest first.
	Failed []FailedBulkRecord
	// Live reports that something of it may change yet.
	Live bool
}

// BulkState is how many records came to a status. It is empty where the deployment is no
// longer kept.
type BulkState struct {
	DeploymentStatus fescue.DeploymentStatus `json:",omitempty"`
	Count            int
}

// BulkFailure is how many records failed with one code, and what the newest of them says.
type BulkFailure struct {
	fescue.ErrorDetail
	Count int
}

// FailedBulkRecord is a record that failed, with its first cause.
type FailedBulkRecord struct {
	// Line is its place in the input, from 1.
	Line      int64
	GroupId   string
	GroupName string `json:",omitempty"`
	// DeploymentId is absent where none was made.
	DeploymentId string `json:",omitempty"`
	fescue.ErrorDetail
}

func onBulk(r *restjson.Request) string {
	return r.Partition.BulkDeploymentARN(r.Label("BulkDeploymentId"))
}

func (a *API) getBulkProgress(ctx context.Context, r *restjson.Request, _ nothing) (out BulkProgress, err error) {
	id := r.Label("BulkDeploymentId")
	unknown := refuse(http.StatusNotFound, resourceNotFound, "Bulk deployment '%s' does not exist.", id)
	if !fescue.ValidID(id) {
		return out, unknown
	}
	b, err := a.o.Bulk.Progress(ctx, r.Partition, id)
	if err != nil {
		return out, notFoundAs(err, unknown)
	}
	out = BulkProgress{
		BulkDeploymentId: b.ID, BulkDeploymentStatus: b.Status, CreatedAt: timestamp(b.CreatedAt),
		ErrorMessage: b.ErrorMessage, ErrorDetails: b.ErrorDetails, Tags: b.Tags,
		Records: b.Records, Reported: b.Reported, Invalid: b.InvalidRecords, Retried: b.RetryAttempts,
		States: []BulkState{}, Failures: []BulkFailure{}, Failed: []FailedBulkRecord{}, Live: !b.Status.Final(),
	}
	for _, status := range []fescue.DeploymentStatus{fescue.Building, fescue.InProgress, fescue.Success, fescue.Failure, ""} {
		if n := b.States[status]; n > 0 {
			out.States = append(out.States, BulkState{status, n})
			out.Live = out.Live || status != "" && !status.Final()
		}
	}
	for _, f := range b.Failures {
		out.Failures = append(out.Failures, BulkFailure{f.Detail, f.Count})
	}
	for _, f := range b.Failed {
		out.Failed = append(out.Failed, FailedBulkRecord{f.Line, f.GroupID, f.GroupName, f.DeploymentID, f.Detail})
	}
	return out, nil
}
