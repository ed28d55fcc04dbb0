package greengrass

import (
	"cmp"
	"context"
	"net/http"
	"strconv"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/bulk"
)

func (a *API) bulkOperations() []restjson.Operation {
	const base = "/greengrass/bulk/deployments"
	return []restjson.Operation{
		{Name: "StartBulkDeployment", Method: http.MethodPost, Path: base, Handle: a.startBulk},
		{Name: "ListBulkDeployments", Method: http.MethodGet, Path: base, Handle: a.listBulk},
		{Name: "GetBulkDeploymentStatus", Method: http.MethodGet, Path: base + "/{BulkDeploymentId}/status", Handle: a.getBulkStatus},
		{Name: "ListBulkDeploymentDetailedReports", Method: http.MethodGet, Path: base + "/{BulkDeploymentId}/detailed-reports", Handle: a.listBulkReports},
		{Name: "StopBulkDeployment", Method: http.MethodPut, Path: base + "/{BulkDeploymentId}/$stop", Handle: a.stopBulk},
	}
}

func (a *API) startBulk(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		ExecutionRoleArn, InputFileUri string
		Tags                           tagMap `json:"tags"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	for _, m := range []struct{ name, value string }{{"ExecutionRoleArn", in.ExecutionRoleArn}, {"InputFileUri", in.InputFileUri}} {
		if m.value == "" {
			return nil, malformed(m.name + " is required")
		}
	}
	t, err := token(r)
	if err != nil {
		return nil, err
	}
	b, err := a.bulk.Start(ctx, r.Partition, in.ExecutionRoleArn, in.InputFileUri, in.Tags, t)
	if err != nil {
		return nil, err
	}
	return struct{ BulkDeploymentArn, BulkDeploymentId string }{r.Partition.BulkDeploymentARN(b.ID), b.ID}, nil
}

func (a *API) stopBulk(ctx context.Context, r *restjson.Request) (any, error) {
	if err := a.bulk.Stop(ctx, r.Partition, r.Label("BulkDeploymentId")); err != nil {
		return nil, notFoundAs(err, unknownBulk)
	}
	return struct{}{}, nil
}

func (a *API) getBulkStatus(ctx context.Context, r *restjson.Request) (any, error) {
	b, err := a.bulk.BulkDeployment(ctx, r.Partition, r.Label("BulkDeploymentId"))
	if err != nil {
		return nil, notFoundAs(err, unknownBulk)
	}
	type metrics struct{ InvalidInputRecords, RecordsProcessed, RetryAttempts int64 }
	return struct {
		BulkDeploymentMetrics metrics
		BulkDeploymentStatus  bulk.BulkStatus
		CreatedAt             string
		ErrorDetails          []fescue.ErrorDetail `json:",omitempty"`
		ErrorMessage          string               `json:",omitempty"`
		Tags                  map[string]string    `json:"tags"`
	}{
		metrics{b.InvalidRecords, b.RecordsProcessed, b.RetryAttempts}, b.Status, fescue.Timestamp(b.CreatedAt),
		b.ErrorDetails, b.ErrorMessage, b.Tags,
	}, nil
}

func (a *API) listBulk(ctx context.Context, r *restjson.Request) (any, error) {
	type item struct{ BulkDeploymentArn, BulkDeploymentId, CreatedAt string }
	pg, err := page(r)
	if err != nil {
		return nil, err
	}
	list, err := a.bulk.BulkDeployments(ctx, r.Partition, pg)
	if err != nil {
		return nil, err
	}
	list, next := restjson.Cut(list, pg, func(b bulk.BulkDeployment) string { return b.ID })
	items := make([]item, 0, len(list))
	for _, b := range list {
		items = append(items, item{r.Partition.BulkDeploymentARN(b.ID), b.ID, fescue.Timestamp(b.CreatedAt)})
	}
	return struct {
		BulkDeployments []item
		NextToken       string `json:",omitempty"`
	}{items, next}, nil
}

// listBulkReports has an entry for every record that became a deployment, with
// the deployment's present status, and one for every record that failed before.
func (a *API) listBulkReports(ctx context.Context, r *restjson.Request) (any, error) {
	type item struct {
		CreatedAt        string
		DeploymentArn    string                  `json:",omitempty"`
		DeploymentId     string                  `json:",omitempty"`
		DeploymentStatus fescue.DeploymentStatus `json:",omitempty"`
		DeploymentType   fescue.DeploymentType
		ErrorDetails     []fescue.ErrorDetail `json:",omitempty"`
		ErrorMessage     string               `json:",omitempty"`
		GroupArn         string
	}
	pg, err := r.Page(maxPage, func(key string) bool {
		n, err := strconv.ParseInt(key, 10, 64)
		return err == nil && n > 0
	})
	if err != nil {
		return nil, err
	}
	list, err := a.bulk.Reports(ctx, r.Partition, r.Label("BulkDeploymentId"), pg)
	if err != nil {
		return nil, notFoundAs(err, unknownBulk)
	}
	list, next := restjson.Cut(list, pg, func(b bulk.BulkReport) string { return strconv.FormatInt(b.Number, 10) })
	items := make([]item, 0, len(list))
	for _, b := range list {
		it := item{
			CreatedAt: fescue.Timestamp(b.At), DeploymentStatus: b.Status, DeploymentType: fescue.NewDeployment,
			ErrorDetails: b.StatusDetails, ErrorMessage: cmp.Or(b.StatusMessage, b.ErrorMessage),
			GroupArn: r.Partition.VersionARN(fescue.GroupKind, b.GroupID, b.GroupVersionID),
		}
		if b.DeploymentID == "" {
			it.DeploymentStatus, it.ErrorDetails = fescue.Failure, b.ErrorDetails
		} else {
			it.DeploymentArn = r.Partition.DeploymentARN(b.GroupID, b.DeploymentID)
			it.DeploymentId = r.Partition.Account + ":" + b.DeploymentID
		}
		items = append(items, it)
	}
	return struct {
		Deployments []item
		NextToken   string `json:",omitempty"`
	}{items, next}, nil
}
