package iot

import (
	"context"
	"net/http"
	"slices"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/jobs"
)

func (a *API) jobExecutionOperations() []restjson.Operation {
	const execution = "/things/{thingName}/jobs/{jobId}"
	return []restjson.Operation{
		{Name: "DescribeJobExecution", Method: http.MethodGet, Path: execution, Handle: a.describeJobExecution},
		{Name: "CancelJobExecution", Method: http.MethodPut, Path: execution + "/cancel", Handle: a.cancelJobExecution},
		{Name: "ListJobExecutionsForThing", Method: http.MethodGet, Path: "/things/{thingName}/jobs", Handle: a.listJobExecutionsForThing},
		{Name: "ListJobExecutionsForJob", Method: http.MethodGet, Path: "/jobs/{jobId}/things", Handle: a.listJobExecutionsForJob},
	}
}

// executionTimes are what the answers about executions have in common.
type executionTimes struct {
	Status          jobs.ExecutionStatus `json:"status"`
	QueuedAt        seconds              `json:"queuedAt"`
	StartedAt       *seconds             `json:"startedAt,omitempty"`
	LastUpdatedAt   seconds              `json:"lastUpdatedAt"`
	ExecutionNumber int64                `json:"executionNumber"`
}

func timesOf(e jobs.JobExecution) executionTimes {
	return executionTimes{e.Status, seconds(e.QueuedAt), secondsUnlessZero(e.StartedAt), seconds(e.UpdatedAt), 1}
}

func (a *API) describeJobExecution(ctx context.Context, r *restjson.Request) (any, error) {
	if n := r.Query.Get("executionNumber"); n != "" && n != "1" {
		return nil, invalid("executionNumber %.32q: the job has one execution on the thing, number 1.", n)
	}
	jobID := r.Label("jobId")
	if jobID == jobs.NextID {
		return nil, invalid("jobId %s is for the thing itself to ask for.", jobID)
	}
	e, err := a.jobs.Execution(ctx, r.Partition, r.Label("thingName"), jobID)
	if err != nil {
		return nil, err
	}
	type details struct {
		DetailsMap map[string]string `json:"detailsMap"`
	}
	type described struct {
		executionTimes
		JobID          string   `json:"jobId"`
		ForceCanceled  bool     `json:"forceCanceled"`
		StatusDetails  *details `json:"statusDetails,omitempty"`
		ThingArn       string   `json:"thingArn"`
		VersionNumber  int64    `json:"versionNumber"`
		TimeoutSeconds *int64   `json:"approximateSecondsBeforeTimedOut,omitempty"`
	}
	out := described{
		timesOf(e), e.JobID, e.Forced, nil, r.Partition.ThingARN(e.Thing), e.Version, jobs.Remaining(e, a.now()),
	}
	if len(e.Details) > 0 {
		out.StatusDetails = &details{e.Details}
	}
	return struct {
		Execution described `json:"execution"`
	}{out}, nil
}

func (a *API) cancelJobExecution(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		ExpectedVersion int64             `json:"expectedVersion"`
		StatusDetails   map[string]string `json:"statusDetails"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	force, err := flag(r, "force")
	if err != nil {
		return nil, err
	}
	return nil, a.jobs.CancelExecution(ctx, r.Partition, r.Label("thingName"), r.Label("jobId"), force, in.StatusDetails, in.ExpectedVersion)
}

// listExecutions pages through executions that a filter chooses; key is the name
// that they are ordered by.
func (a *API) listExecutions(ctx context.Context, r *restjson.Request, f jobs.JobExecutionFilter, key func(jobs.JobExecution) string, show func(jobs.JobExecution) any) (any, error) {
	limit, after, err := byToken.read(r)
	if err != nil {
		return nil, err
	}
	f.Status = jobs.ExecutionStatus(r.Query.Get("status"))
	if f.Status != "" && !slices.Contains(jobs.ExecutionStatuses, f.Status) {
		return nil, invalid("status %.32q is not the status of an execution.", f.Status)
	}
	list, err := a.jobs.Executions(ctx, r.Partition, f, fescue.Page{After: after.Key, Limit: limit + 1})
	if err != nil {
		return nil, err
	}
	list, next := cut(list, limit, func(e jobs.JobExecution) position { return position{Key: key(e)} })
	return struct {
		ExecutionSummaries []any  `json:"executionSummaries"`
		NextToken          string `json:"nextToken,omitempty"`
	}{listed(list, show), next}, nil
}

func (a *API) listJobExecutionsForThing(ctx context.Context, r *restjson.Request) (any, error) {
	thing := r.Label("thingName")
	if _, err := a.registry.Thing(ctx, r.Partition, thing); err != nil {
		return nil, err
	}
	if r.Query.Get("namespaceId") != "" {
		return nil, invalid("namespaceId is not served.")
	}
	return a.listExecutions(ctx, r, jobs.JobExecutionFilter{Thing: thing, JobID: r.Query.Get("jobId")},
		func(e jobs.JobExecution) string { return e.JobID },
		func(e jobs.JobExecution) any {
			return struct {
				JobID   string         `json:"jobId"`
				Summary executionTimes `json:"jobExecutionSummary"`
			}{e.JobID, timesOf(e)}
		})
}

func (a *API) listJobExecutionsForJob(ctx context.Context, r *restjson.Request) (any, error) {
	job, err := a.jobs.Job(ctx, r.Partition, r.Label("jobId"))
	if err != nil {
		return nil, err
	}
	return a.listExecutions(ctx, r, jobs.JobExecutionFilter{JobID: job.ID},
		func(e jobs.JobExecution) string { return e.Thing },
		func(e jobs.JobExecution) any {
			return struct {
				ThingArn string         `json:"thingArn"`
				Summary  executionTimes `json:"jobExecutionSummary"`
			}{r.Partition.ThingARN(e.Thing), timesOf(e)}
		})
}
