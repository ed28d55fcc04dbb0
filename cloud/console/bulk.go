package console

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
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

// Ended reports that no more records become deployments.
func (s bulkStatus) Ended() bool {
	return s.BulkDeploymentStatus != "" && !slices.Contains([]bulk.BulkStatus{bulk.BulkInitializing, bulk.BulkRunning, bulk.BulkStopping}, s.BulkDeploymentStatus)
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

// bulkReport is a record of a bulk deployment, as ListBulkDeploymentDetailedReports has it.
type bulkReport struct {
	CreatedAt, DeploymentId, GroupArn, ErrorMessage string
	DeploymentStatus                                fescue.DeploymentStatus
	ErrorDetails                                    []fescue.ErrorDetail
}

// Group and Deployment are the ids, Deployment empty where none was made.
func (r bulkReport) Group() string {
	_, rest, _ := strings.Cut(r.GroupArn, "/greengrass/groups/")
	id, _, _ := strings.Cut(rest, "/")
	return id
}

// Deployment implements what Group says.
func (r bulkReport) Deployment() string {
	_, id, _ := strings.Cut(r.DeploymentId, ":")
	return id
}

// failureCount is how many records failed for one cause.
type failureCount struct {
	Code   string
	Count  int
	Detail fescue.ErrorDetail // of one of them
}

// ending is how many records came to a state.
type ending struct {
	State string
	Count int
}

// bulkPage is one bulk deployment.
type bulkPage struct {
	Id string
	bulkStatus
	// States count the records by how it stands with their deployments, Failures those that
	// failed by their first code, the most frequent first; Counted is how many were
	// looked at, and More reports that there are more.
	States   []ending
	Failures []failureCount
	Counted  int
	More     bool
	// Failed are some of the records that failed.
	Failed  []bulkReport
	MayStop bool
	// Live reports that something may yet change.
	Live bool
}

// Records are read by pages of so many, at most so many pages.
const (
	reportBatch   = 1000
	reportBatches = 10
)

func (v *visit) bulk() error {
	id, err := v.id("bulk")
	if err != nil {
		return err
	}
	p := bulkPage{Id: id}
	path := "/greengrass/bulk/deployments/" + id
	if p.bulkStatus, err = get[bulkStatus](v, greengrass, path+"/status"); err != nil {
		return err
	}
	token, states, failures := "", make(map[string]int), make(map[string]*failureCount)
	for range reportBatches {
		list, err := get[struct {
			Deployments []bulkReport
			NextToken   string
		}](v, greengrass, path+"/detailed-reports?"+url.Values{"MaxResults": {fmt.Sprint(reportBatch)}, "NextToken": {token}}.Encode())
		if err != nil {
			return err
		}
		for _, r := range list.Deployments {
			p.Counted++
			states[string(r.DeploymentStatus)]++
			p.Live = p.Live || !r.DeploymentStatus.Final()
			if r.DeploymentStatus != fescue.Failure {
				continue
			}
			if len(p.Failed) < pageSize {
				p.Failed = append(p.Failed, r)
			}
			detail := fescue.ErrorDetail{DetailedErrorMessage: r.ErrorMessage}
			if len(r.ErrorDetails) > 0 {
				detail = r.ErrorDetails[0]
			}
			count, ok := failures[detail.DetailedErrorCode]
			if !ok {
				count = &failureCount{Code: cmp.Or(detail.DetailedErrorCode, "no code"), Detail: detail}
				failures[detail.DetailedErrorCode] = count
			}
			count.Count++
		}
		if token = list.NextToken; token == "" {
			break
		}
	}
	p.More, p.Live = token != "", p.Live || !p.Ended()
	for _, state := range slices.Sorted(maps.Keys(states)) {
		p.States = append(p.States, ending{state, states[state]})
	}
	for _, count := range failures {
		p.Failures = append(p.Failures, *count)
	}
	slices.SortFunc(p.Failures, func(a, b failureCount) int { return cmp.Or(b.Count-a.Count, strings.Compare(a.Code, b.Code)) })
	p.MayStop = !p.Ended() && p.BulkDeploymentStatus != bulk.BulkStopping &&
		v.may(greengrass, awsapi.Target{Operation: "StopBulkDeployment", Resource: v.partition().BulkDeploymentARN(id)})
	return v.show("bulk", "Bulk deployment "+short(id), p,
		v.aws("greengrass get-bulk-deployment-status --bulk-deployment-id "+id),
		v.aws("greengrass list-bulk-deployment-detailed-reports --bulk-deployment-id "+id),
		v.aws("greengrass stop-bulk-deployment --bulk-deployment-id "+id))
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
