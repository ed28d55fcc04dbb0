// Package iotjobsdata speaks the AWS IoT jobs data plane API (2017-09-29), by
// which the software of a thing takes up and ends job executions, for callers
// that sign with an access key. Things themselves do the same over MQTT (package
// jobs). What the operations do is package jobs's.
package iotjobsdata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/jobs"
)

// Options are what an API is made of. All members are required.
type Options struct {
	Jobs   *jobs.Service
	Now    func() time.Time
	Logger *slog.Logger
}

// API is the service.
type API struct {
	restjson.API
	jobs *jobs.Service
	now  func() time.Time
}

var _ awsapi.Service = (*API)(nil)

// New makes the service.
func New(o Options) *API {
	a := &API{
		API: restjson.API{
			Failing:   awsapi.Failing{Translate: translate, Internal: "ServiceUnavailableException", Logger: o.Logger},
			ErrorBody: func(e *awsapi.Error) any { return map[string]string{"message": e.Message} },
			Malformed: malformed,
			Target: func(_ *restjson.Operation, r *restjson.Request) awsapi.Target {
				return awsapi.Target{Resource: r.Partition.ThingARN(r.Label("thingName"))}
			},
		},
		jobs: o.Jobs, now: o.Now,
	}
	const thing = "/things/{thingName}/jobs"
	a.Register([]restjson.Operation{
		{Name: "GetPendingJobExecutions", Method: http.MethodGet, Path: thing, Handle: a.getPending},
		{Name: "StartNextPendingJobExecution", Method: http.MethodPut, Path: thing + "/$next", Handle: a.startNext},
		{Name: "DescribeJobExecution", Method: http.MethodGet, Path: thing + "/{jobId}", Handle: a.describe},
		{Name: "UpdateJobExecution", Method: http.MethodPost, Path: thing + "/{jobId}", Handle: a.update},
	})
	return a
}

// refusals is how errors go over the wire (API model).
var refusals = []struct {
	is     error
	status int
	code   string
}{
	{fescue.ErrNotFound, http.StatusNotFound, "ResourceNotFoundException"},
	{jobs.ErrEnded, http.StatusConflict, "InvalidStateTransitionException"},
	{jobs.ErrVersion, http.StatusConflict, "InvalidStateTransitionException"},
}

func translate(err error) *awsapi.Error {
	var argument *jobs.InvalidError
	if errors.As(err, &argument) {
		return invalid("%s.", argument.Text)
	}
	for _, row := range refusals {
		if errors.Is(err, row.is) {
			return &awsapi.Error{Status: row.status, Code: row.code, Message: err.Error() + "."}
		}
	}
	return nil
}

func invalid(format string, args ...any) *awsapi.Error {
	return &awsapi.Error{Status: http.StatusBadRequest, Code: "InvalidRequestException", Message: fmt.Sprintf(format, args...)}
}

func malformed(cause string) *awsapi.Error {
	return invalid("The request is malformed: %s.", strings.TrimSuffix(cause, "."))
}

func (a *API) getPending(ctx context.Context, r *restjson.Request) (any, error) {
	pending, err := a.jobs.Pending(ctx, r.Partition, r.Label("thingName"))
	if err != nil {
		return nil, err
	}
	inProgress, queued := jobs.Summaries(pending)
	return struct {
		InProgressJobs []jobs.Summary `json:"inProgressJobs"`
		QueuedJobs     []jobs.Summary `json:"queuedJobs"`
	}{inProgress, queued}, nil
}

// executionAnswer has no execution when a thing has nothing to do.
type executionAnswer struct {
	Execution *jobs.Data `json:"execution,omitempty"`
}

// answer shows an execution; with next there need not be one.
func (a *API) answer(ctx context.Context, r *restjson.Request, e jobs.JobExecution, err error, next, withDocument bool) (any, error) {
	if next && errors.Is(err, fescue.ErrNotFound) {
		return executionAnswer{}, nil
	}
	if err != nil {
		return nil, err
	}
	var document any
	if withDocument {
		job, err := a.jobs.Job(ctx, r.Partition, e.JobID)
		if err != nil {
			return nil, err
		}
		document = job.Document
	}
	data := jobs.DataOf(e, document, a.now())
	return executionAnswer{&data}, nil
}

func (a *API) startNext(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		StatusDetails        map[string]string `json:"statusDetails"`
		StepTimeoutInMinutes int64             `json:"stepTimeoutInMinutes"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	e, err := a.jobs.StartNext(ctx, r.Partition, r.Label("thingName"), in.StatusDetails, jobs.Minutes(in.StepTimeoutInMinutes))
	return a.answer(ctx, r, e, err, true, true)
}

func (a *API) describe(ctx context.Context, r *restjson.Request) (any, error) {
	withDocument := true
	switch text := r.Query.Get("includeJobDocument"); text {
	case "", "true":
	case "false":
		withDocument = false
	default:
		return nil, invalid("includeJobDocument %.32q is not true or false.", text)
	}
	if n := r.Query.Get("executionNumber"); n != "" && n != "1" {
		return nil, invalid("executionNumber %.32q: the job has one execution on the thing, number 1.", n)
	}
	id := r.Label("jobId")
	e, err := a.jobs.Execution(ctx, r.Partition, r.Label("thingName"), id)
	return a.answer(ctx, r, e, err, id == jobs.NextID, withDocument)
}

func (a *API) update(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		Status                jobs.ExecutionStatus `json:"status"`
		StatusDetails         map[string]string    `json:"statusDetails"`
		ExpectedVersion       int64                `json:"expectedVersion"`
		ExecutionNumber       int64                `json:"executionNumber"`
		StepTimeoutInMinutes  int64                `json:"stepTimeoutInMinutes"`
		IncludeExecutionState bool                 `json:"includeJobExecutionState"`
		IncludeJobDocument    bool                 `json:"includeJobDocument"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	if in.ExecutionNumber > 1 {
		return nil, invalid("executionNumber %d: the job has one execution on the thing, number 1.", in.ExecutionNumber)
	}
	e, err := a.jobs.Update(ctx, r.Partition, r.Label("thingName"), r.Label("jobId"), jobs.Change{
		Status: in.Status, Details: in.StatusDetails, ExpectedVersion: in.ExpectedVersion, StepTimeout: jobs.Minutes(in.StepTimeoutInMinutes),
	})
	if err != nil {
		return nil, err
	}
	var out struct {
		ExecutionState *jobs.State `json:"executionState,omitempty"`
		JobDocument    string      `json:"jobDocument,omitempty"`
	}
	if in.IncludeExecutionState {
		state := jobs.StateOf(e)
		out.ExecutionState = &state
	}
	if in.IncludeJobDocument {
		job, err := a.jobs.Job(ctx, r.Partition, e.JobID)
		if err != nil {
			return nil, err
		}
		out.JobDocument = job.Document
	}
	return out, nil
}
