package fescue_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	api "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/bulk"
)

func TestBulkProgress(t *testing.T) {
	t.Parallel()
	a := open(t)
	group, version := a.deployable()
	made, err := a.engine.Create(t.Context(), here, group, fescue.NewDeployment, version, "", fescue.Token{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.store.Bulk().CreateBulkDeployment(t.Context(), bulk.BulkDeployment{Partition: here, ID: fescue.NewID(), Status: bulk.BulkRunning, CreatedAt: now}, fescue.Token{})
	if err != nil {
		t.Fatal(err)
	}
	var records []bulk.BulkRecord
	for line := int64(1); line <= bulk.MaxFailed+9; line++ {
		records = append(records, bulk.BulkRecord{Line: line, GroupID: group, GroupVersionID: version})
	}
	if err := a.store.Bulk().AddBulkRecords(t.Context(), b, records); err != nil {
		t.Fatal(err)
	}
	// The first becomes a deployment, the last is not tried, and what is between them fails, the second for another reason.
	one, many := fescue.ErrorDetail{DetailedErrorCode: "409", DetailedErrorMessage: "one"}, fescue.ErrorDetail{DetailedErrorCode: "404", DetailedErrorMessage: "many"}
	tries := []bulk.BulkTry{{BulkRecord: records[0], BulkOutcome: bulk.BulkOutcome{DeploymentID: made.ID, At: now}}}
	for i, r := range records[1 : len(records)-1] {
		detail := many
		if i == 0 {
			detail = one
		}
		tries = append(tries, bulk.BulkTry{BulkRecord: r, BulkOutcome: bulk.BulkOutcome{ErrorMessage: "m", ErrorDetails: []fescue.ErrorDetail{detail}, Invalid: true, At: now}})
	}
	if err := a.store.Bulk().FinishBulkRecords(t.Context(), b, tries); err != nil {
		t.Fatal(err)
	}
	failed := bulk.MaxFailed + 7
	want := api.BulkProgress{
		BulkDeploymentId: b.ID, BulkDeploymentStatus: bulk.BulkRunning, CreatedAt: stamp, Records: failed + 2, Reported: failed + 1, Invalid: int64(failed), Live: true,
		States:   []api.BulkState{{DeploymentStatus: fescue.Building, Count: 1}, {DeploymentStatus: fescue.Failure, Count: failed}},
		Failures: []api.BulkFailure{{ErrorDetail: many, Count: failed - 1}, {ErrorDetail: one, Count: 1}},
	}
	for i := range bulk.MaxFailed {
		want.Failed = append(want.Failed, api.FailedBulkRecord{Line: int64(failed + 1 - i), GroupId: group, GroupName: "n", ErrorDetail: many})
	}
	var got api.BulkProgress
	a.get("GET", "/fescue/v1/bulk/deployments/"+b.ID, "", &got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, id := range []string{knownID, "mill"} {
		a.refused("GET", "/fescue/v1/bulk/deployments/"+id, "", 404, "ResourceNotFoundException", fmt.Sprintf("Bulk deployment '%s' does not exist.", id))
	}
	if got := a.call(there, "GET", "/fescue/v1/bulk/deployments/"+b.ID, ""); got.status != 404 {
		t.Errorf("another partition: %d %s", got.status, got.text)
	}
}
