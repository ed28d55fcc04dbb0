package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/bulk"
)

// bulkItem is a bulk deployment as ListBulkDeployments has it, with its status.
type bulkItem struct {
	BulkDeploymentId, BulkDeploymentArn, CreatedAt string
	bulkStatus
}

// bulkStatus is the answer of GetBulkDeploymentStatus.
type bulkStatus struct {
	BulkDeploymentMetrics struct{ InvalidInputRecords, RecordsProcessed, RetryAttempts int64 }
	BulkDeploymentStatus  bulk.BulkStatus
	CreatedAt             string
	ErrorDetails          []fescue.ErrorDetail
	ErrorMessage          string
	Tags                  map[string]string `json:"tags"`
}

// bulksPage lists bulk deployments.
type bulksPage struct {
	Bulks []bulkItem
	Next  string
	Later bool
}

// bulkPageSize is how many a list shows: each is asked for by itself.
const bulkPageSize = 20

func (v *visit) bulks() error {
	p := bulksPage{Later: v.form.Get("after") != ""}
	list, err := get[struct {
		BulkDeployments []bulkItem
		NextToken       string
	}](v, greengrass, "/greengrass/bulk/deployments?"+url.Values{"MaxResults": {fmt.Sprint(bulkPageSize)}, "NextToken": {v.form.Get("after")}}.Encode())
	if err != nil {
		return err
	}
	for _, item := range list.BulkDeployments {
		made := item.CreatedAt
		if item.bulkStatus, err = get[bulkStatus](v, greengrass, "/greengrass/bulk/deployments/"+item.BulkDeploymentId+"/status"); !refused(err) && err != nil {
			return err
		}
		item.CreatedAt = made
		p.Bulks = append(p.Bulks, item)
	}
	p.Next = nextPage(list.NextToken, nil)
	return v.show("bulks", "Bulk deployments", p, v.aws("greengrass list-bulk-deployments"),
		v.aws("greengrass start-bulk-deployment --execution-role-arn ROLE_ARN --input-file-uri s3://BUCKET/KEY"))
}

// bulkPage is one bulk deployment.
type bulkPage struct {
	ownapi.BulkProgress
	MayStop bool
}

// Uncounted reports that records failed whose causes are not among Failures.
func (p bulkPage) Uncounted() bool {
	counted := 0
	for _, f := range p.Failures {
		counted += f.Count
	}
	return slices.ContainsFunc(p.States, func(s ownapi.BulkState) bool { return s.DeploymentStatus == fescue.Failure && s.Count > counted })
}

func (v *visit) bulk() error {
	id, err := v.id("bulk")
	if err != nil {
		return err
	}
	var p bulkPage
	if p.BulkProgress, err = get[ownapi.BulkProgress](v, own, "/fescue/v1/bulk/deployments/"+id); err != nil {
		return err
	}
	p.MayStop = !p.BulkDeploymentStatus.Final() && p.BulkDeploymentStatus != bulk.BulkStopping &&
		v.may(greengrass, awsapi.Target{Operation: "StopBulkDeployment", Resource: v.partition().BulkDeploymentARN(id)})
	return v.show("bulk", "Bulk deployment "+short(id), p,
		v.aws("greengrass get-bulk-deployment-status --bulk-deployment-id "+id),
		v.aws("greengrass list-bulk-deployment-detailed-reports --bulk-deployment-id "+id),
		v.aws("greengrass stop-bulk-deployment --bulk-deployment-id "+id),
		v.fescueCLI("bulk "+id+" --follow"))
}

func (v *visit) stopBulk() error {
	id, err := v.id("bulk")
	if err != nil {
		return err
	}
	if _, err := call[struct{}](v.r.Context(), v.inside, greengrass, http.MethodPut, "/greengrass/bulk/deployments/"+id+"/$stop", nil); err != nil {
		return err
	}
	return v.to("/bulk/" + id)
}
