package iot

import (
	"context"
	"net/http"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/jobs"
)

func (a *API) jobOperations() []restjson.Operation {
	const job = "/jobs/{jobId}"
	return []restjson.Operation{
		{Name: "CreateJob", Method: http.MethodPut, Path: job, Handle: a.createJob},
		{Name: "DescribeJob", Method: http.MethodGet, Path: job, Handle: a.describeJob},
		{Name: "DeleteJob", Method: http.MethodDelete, Path: job, Handle: a.deleteJob},
		{Name: "CancelJob", Method: http.MethodPut, Path: job + "/cancel", Handle: a.cancelJob},
		{Name: "GetJobDocument", Method: http.MethodGet, Path: job + "/job-document", Handle: a.getJobDocument},
		{Name: "ListJobs", Method: http.MethodGet, Path: "/jobs", Handle: a.listJobs},
	}
}

// jobSummary and jobSettings are what the answers about jobs have in common.
type jobSummary struct {
	JobArn          string         `json:"jobArn"`
	JobID           string         `json:"jobId"`
	TargetSelection string         `json:"targetSelection"`
	Status          jobs.JobStatus `json:"status"`
	CreatedAt       seconds        `json:"createdAt"`
	LastUpdatedAt   seconds        `json:"lastUpdatedAt"`
	CompletedAt     *seconds       `json:"completedAt,omitempty"`
	IsConcurrent    bool           `json:"isConcurrent"`
}

// snapshot is the only kind of job: its things are those of its creation.
const snapshot = "SNAPSHOT"

func summaryOf(p fescue.Partition, job jobs.Job) jobSummary {
	return jobSummary{
		p.JobARN(job.ID), job.ID, snapshot, job.Status,
		seconds(job.CreatedAt), seconds(job.UpdatedAt), secondsUnlessZero(job.CompletedAt), false,
	}
}

func secondsUnlessZero(at time.Time) *seconds {
	if at.IsZero() {
		return nil
	}
	s := seconds(at)
	return &s
}

type presignedURLConfig struct {
	RoleArn      string `json:"roleArn,omitempty"`
	ExpiresInSec *int64 `json:"expiresInSec,omitempty"`
}

type timeoutConfig struct {
	InProgressTimeoutInMinutes *int64 `json:"inProgressTimeoutInMinutes,omitempty"`
}

func (a *API) createJob(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		Targets         []string `json:"targets"`
		Document        string   `json:"document"`
		DocumentSource  string   `json:"documentSource"`
		Description     string   `json:"description"`
		TargetSelection string   `json:"targetSelection"`

		PresignedURLConfig *presignedURLConfig `json:"presignedUrlConfig"`
		TimeoutConfig      *timeoutConfig      `json:"timeoutConfig"`
		// What follows would change what a job does.
		RolloutConfig    *struct{} `json:"jobExecutionsRolloutConfig"`
		AbortConfig      *struct{} `json:"abortConfig"`
		RetryConfig      *struct{} `json:"jobExecutionsRetryConfig"`
		SchedulingConfig *struct{} `json:"schedulingConfig"`
		TemplateArn      string    `json:"jobTemplateArn"`
		NamespaceID      string    `json:"namespaceId"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	for _, unserved := range []struct {
		member string
		given  bool
	}{
		{"documentSource", in.DocumentSource != ""},
		{"presignedUrlConfig", in.PresignedURLConfig != nil && in.PresignedURLConfig.RoleArn != ""},
		{"jobExecutionsRolloutConfig", in.RolloutConfig != nil},
		{"abortConfig", in.AbortConfig != nil},
		{"jobExecutionsRetryConfig", in.RetryConfig != nil},
		{"schedulingConfig", in.SchedulingConfig != nil},
		{"jobTemplateArn", in.TemplateArn != ""},
		{"namespaceId", in.NamespaceID != ""},
	} {
		if unserved.given {
			return nil, invalid("%s is not served. Leave it out; the document goes into the member document.", unserved.member)
		}
	}
	if in.TargetSelection != "" && in.TargetSelection != snapshot {
		return nil, invalid("targetSelection %.32q is not %s: a job that goes on needs thing groups, which are not served.", in.TargetSelection, snapshot)
	}
	job := jobs.Job{ID: r.Label("jobId"), Targets: in.Targets, Document: in.Document, Description: in.Description}
	if t := in.TimeoutConfig; t != nil && t.InProgressTimeoutInMinutes != nil {
		job.Timeout = jobs.Minutes(max(*t.InProgressTimeoutInMinutes, 0))
		if job.Timeout == 0 {
			return nil, invalid("inProgressTimeoutInMinutes is not at least 1.")
		}
	}
	job, err := a.jobs.Create(ctx, r.Partition, job, fescue.Token{})
	if err != nil {
		return nil, err
	}
	return madeJob(r.Partition, job), nil
}

// madeJob answers CreateJob and CancelJob.
func madeJob(p fescue.Partition, job jobs.Job) any {
	return struct {
		JobArn      string `json:"jobArn"`
		JobID       string `json:"jobId"`
		Description string `json:"description,omitempty"`
	}{p.JobARN(job.ID), job.ID, job.Description}
}

// processDetails are the counts of a job's executions.
type processDetails struct {
	ProcessingTargets []string `json:"processingTargets"`
	Canceled          int64    `json:"numberOfCanceledThings"`
	Succeeded         int64    `json:"numberOfSucceededThings"`
	Failed            int64    `json:"numberOfFailedThings"`
	Rejected          int64    `json:"numberOfRejectedThings"`
	Queued            int64    `json:"numberOfQueuedThings"`
	InProgress        int64    `json:"numberOfInProgressThings"`
	Removed           int64    `json:"numberOfRemovedThings"`
	TimedOut          int64    `json:"numberOfTimedOutThings"`
}

func (a *API) describeJob(ctx context.Context, r *restjson.Request) (any, error) {
	job, err := a.jobs.Job(ctx, r.Partition, r.Label("jobId"))
	if err != nil {
		return nil, err
	}
	n := job.Counts
	type described struct {
		jobSummary
		ForceCanceled      bool               `json:"forceCanceled"`
		ReasonCode         string             `json:"reasonCode,omitempty"`
		Comment            string             `json:"comment,omitempty"`
		Targets            []string           `json:"targets"`
		Description        string             `json:"description,omitempty"`
		PresignedURLConfig presignedURLConfig `json:"presignedUrlConfig"`
		ProcessDetails     processDetails     `json:"jobProcessDetails"`
		TimeoutConfig      timeoutConfig      `json:"timeoutConfig"`
	}
	out := described{
		jobSummary: summaryOf(r.Partition, job), ForceCanceled: job.Forced, ReasonCode: job.ReasonCode, Comment: job.Comment,
		Targets: job.Targets, Description: job.Description,
		ProcessDetails: processDetails{
			[]string{}, n[jobs.ExecutionCanceled], n[jobs.ExecutionSucceeded], n[jobs.ExecutionFailed], n[jobs.ExecutionRejected],
			n[jobs.ExecutionQueued], n[jobs.ExecutionInProgress], n[jobs.ExecutionRemoved], n[jobs.ExecutionTimedOut],
		},
	}
	if job.SignerRole != "" {
		lifetime := int64(job.URLLifetime / time.Second)
		out.PresignedURLConfig = presignedURLConfig{job.SignerRole, &lifetime}
	}
	if job.Timeout > 0 {
		minutes := int64(job.Timeout / time.Minute)
		out.TimeoutConfig.InProgressTimeoutInMinutes = &minutes
	}
	return struct {
		Job described `json:"job"`
	}{out}, nil
}

func (a *API) cancelJob(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		ReasonCode string `json:"reasonCode"`
		Comment    string `json:"comment"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	force, err := flag(r, "force")
	if err != nil {
		return nil, err
	}
	job, err := a.jobs.Cancel(ctx, r.Partition, r.Label("jobId"), force, in.ReasonCode, in.Comment)
	if err != nil {
		return nil, err
	}
	return madeJob(r.Partition, job), nil
}

func (a *API) deleteJob(ctx context.Context, r *restjson.Request) (any, error) {
	force, err := flag(r, "force")
	if err != nil {
		return nil, err
	}
	return nil, a.jobs.Delete(ctx, r.Partition, r.Label("jobId"), force)
}

func (a *API) getJobDocument(ctx context.Context, r *restjson.Request) (any, error) {
	job, err := a.jobs.Job(ctx, r.Partition, r.Label("jobId"))
	if err != nil {
		return nil, err
	}
	return struct {
		Document string `json:"document"`
	}{job.Document}, nil
}

func (a *API) listJobs(ctx context.Context, r *restjson.Request) (any, error) {
	limit, after, err := byToken.read(r)
	if err != nil {
		return nil, err
	}
	status := jobs.JobStatus(r.Query.Get("status"))
	switch status {
	case "", jobs.JobInProgress, jobs.JobCanceled, jobs.JobCompleted:
	default:
		return nil, invalid("status %.32q is not one of IN_PROGRESS, CANCELED and COMPLETED.", status)
	}
	for _, name := range []string{"thingGroupName", "thingGroupId", "namespaceId"} {
		if r.Query.Get(name) != "" {
			return nil, invalid("%s is not served: jobs are for things.", name)
		}
	}
	list, next, err := a.jobs.Jobs(ctx, r.Partition, status, jobs.Job{ID: after.Key, CreatedAt: after.time()}, limit)
	if err != nil {
		return nil, err
	}
	token := ""
	if next != nil {
		token = position{Key: next.ID, At: next.CreatedAt.UnixMilli()}.token()
	}
	return struct {
		Jobs      []jobSummary `json:"jobs"`
		NextToken string       `json:"nextToken,omitempty"`
	}{listed(list, func(job jobs.Job) jobSummary { return summaryOf(r.Partition, job) }), token}, nil
}
