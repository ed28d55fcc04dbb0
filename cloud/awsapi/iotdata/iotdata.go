// Package iotdata speaks the AWS IoT data plane API (2015-05-28) for callers
// that sign with an access key: the table of operations, the shapes of requests
// and answers, and the table of errors. Messages go out through a Publisher, what
// shadows do is in package shadows; the package knows nothing of brokers, sessions
// or device certificates.
package iotdata

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
	"github.com/fescue-edge/fescue/cloud/shadows"
	"github.com/fescue-edge/fescue/shadow"
	"github.com/fescue-edge/fescue/topic"
)

// Publisher sends a message to all subscribers of a topic in a partition. It
// returns once the broker has the message. The payload is not changed or kept
// after that.
type Publisher interface {
	Publish(ctx context.Context, p fescue.Partition, topic string, payload []byte, qos byte, retain bool) error
}

// Options are what an API is made of. All members are required.
type Options struct {
	Publisher Publisher
	Shadows   *shadows.Service
	Now       func() time.Time
	Logger    *slog.Logger
}

// API is the service.
type API struct {
	restjson.API
	publisher Publisher
	shadows   *shadows.Service
	now       func() time.Time
}

var _ awsapi.Service = (*API)(nil)

// New makes the service.
func New(o Options) *API {
	a := &API{
		API: restjson.API{
			Failing:   awsapi.Failing{Translate: translate, Internal: "InternalFailureException", Logger: o.Logger},
			ErrorBody: errorBody,
			Malformed: malformed,
			Target: func(_ *restjson.Operation, r *restjson.Request) awsapi.Target {
				if thing, ok := r.Labels.Find("thingName"); ok {
					return awsapi.Target{Resource: r.Partition.ShadowARN(thing, r.Query.Get("name"))}
				}
				return awsapi.Target{Resource: r.Partition.TopicARN(r.Label("topic"))}
			},
		},
		publisher: o.Publisher, shadows: o.Shadows, now: o.Now,
	}
	a.Register(append(a.shadowOperations(), restjson.Operation{
		Name: "Publish", Method: http.MethodPost, Path: "/topics/{topic+}", MaxBody: MaxPayload, Handle: a.publish,
	}))
	a.RegisterNotServed(notServed)
	return a
}

// errorBody has the status as a number too, which clients of shadows read.
func errorBody(e *awsapi.Error) any {
	return struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{e.Status, e.Message}
}

// refusals is how errors go over the wire.
var refusals = []struct {
	is     error
	status int
	code   string
}{
	{topic.ErrEmpty, http.StatusBadRequest, invalidRequest},
	{topic.ErrEncoding, http.StatusBadRequest, invalidRequest},
	{topic.ErrTooLong, http.StatusBadRequest, invalidRequest},
	{topic.ErrTooDeep, http.StatusBadRequest, invalidRequest},
	{topic.ErrWildcard, http.StatusBadRequest, invalidRequest},
	{fescue.ErrCrowded, http.StatusTooManyRequests, "ThrottlingException"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "ServiceUnavailableException"},
}

const invalidRequest = "InvalidRequestException"

func translate(err error) *awsapi.Error {
	var refusal *shadow.Error
	if errors.As(err, &refusal) && shadowCodes[refusal.Code] != "" {
		return refuse(refusal.Code, shadowCodes[refusal.Code], "%s", refusal.Message)
	}
	for _, row := range refusals {
		if errors.Is(err, row.is) {
			return refuse(row.status, row.code, "%v.", err)
		}
	}
	return nil
}

func refuse(status int, code, format string, args ...any) *awsapi.Error {
	return &awsapi.Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *awsapi.Error {
	return refuse(http.StatusBadRequest, invalidRequest, format, args...)
}

// malformed answers for a path, body or query that does not decode.
func malformed(cause string) *awsapi.Error {
	return invalid("The request is malformed: %s.", strings.TrimSuffix(cause, "."))
}
