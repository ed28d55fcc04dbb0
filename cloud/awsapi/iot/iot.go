// Package iot speaks the part of the AWS IoT control plane API (2015-05-28) that
// provisions devices, things, certificates, policies, attachments and the
// endpoint, and jobs. It has the table of operations, the shapes of requests and answers,
// and the table of errors. What the operations do is in packages registry and jobs; how a
// request was signed is package awsapi's.
package iot

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/jobs"
	"github.com/fescue-edge/fescue/cloud/registry"
)

// Options are what an API is made of. All members are required.
type Options struct {
	Registry *registry.Service
	Jobs     *jobs.Service
	Now      func() time.Time
	// Host is the public name of the device listeners, without scheme and port:
	// clients add the port themselves.
	Host   string
	Logger *slog.Logger
}

// API is the service.
type API struct {
	restjson.API
	registry *registry.Service
	jobs     *jobs.Service
	now      func() time.Time
	host     string
}

var _ awsapi.Service = (*API)(nil)

// New makes the service.
func New(o Options) *API {
	a := &API{
		API: restjson.API{
			Failing:   awsapi.Failing{Internal: "InternalFailureException", Logger: o.Logger},
			ErrorBody: errorBody,
			Malformed: malformed,
			Target:    target,
		},
		registry: o.Registry, jobs: o.Jobs, now: o.Now,
		host: o.Host,
	}
	ops := slices.Concat(a.thingOperations(), a.thingTypeOperations(), a.certificateOperations(), a.policyOperations(), a.attachmentOperations(),
		a.roleAliasOperations(), a.jobOperations(), a.jobExecutionOperations(), []restjson.Operation{
			{Name: "DescribeEndpoint", Method: http.MethodGet, Path: "/endpoint", Handle: a.describeEndpoint},
		})
	for i := range ops {
		ops[i].Handle = refusing(ops[i].Handle)
	}
	a.Register(ops)
	a.RegisterNotServed(notServed)
	return a
}

// refusing has a handler's errors looked up in the table of errors.
func refusing(handle restjson.Handler) restjson.Handler {
	return func(ctx context.Context, r *restjson.Request) (any, error) {
		answer, err := handle(ctx, r)
		return answer, translate(err)
	}
}

// endpointTypes are the documented ones (API reference, DescribeEndpoint); one
// host answers for all. An absent type is iot:Data.
var endpointTypes = []string{"", "iot:Data", "iot:Data-ATS", "iot:CredentialProvider", "iot:Jobs"}

func (a *API) describeEndpoint(_ context.Context, r *restjson.Request) (any, error) {
	if t := r.Query.Get("endpointType"); !slices.Contains(endpointTypes, t) {
		return nil, invalid("endpointType %.64q is not one of iot:Data, iot:Data-ATS, iot:CredentialProvider and iot:Jobs.", t)
	}
	return struct {
		EndpointAddress string `json:"endpointAddress"`
	}{a.host}, nil
}

// seconds is a time as the API prints it: a number of seconds since the epoch,
// with milliseconds.
type seconds time.Time

func (s seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(time.Time(s).UnixMilli()) / 1000)
}

// flag reads a boolean of the query string, false when it is absent.
func flag(r *restjson.Request, name string) (bool, error) {
	switch text := r.Query.Get(name); text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, invalid("%s %.32q is not true or false.", name, text)
	}
}

// version reads expectedVersion of the query string, nil when it is absent.
func version(r *restjson.Request, name string) (*int64, error) {
	text := r.Query.Get(name)
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, invalid("%s %.32q is not a whole number.", name, text)
	}
	return &n, nil
}

// certificateOf is the id of the certificate that an ARN names. A certificate of
// another account or Region is simply not found.
func certificateOf(p fescue.Partition, member, text string) (string, error) {
	if text == "" {
		return "", invalid("%s is missing: it names a certificate by its ARN.", member)
	}
	arn, err := fescue.ParseARN(text)
	id, ok := arn.CertificateID()
	if err != nil || !ok || !fescue.ValidHash(id) {
		return "", invalid("%s %.256q is not the ARN of a certificate (arn:%s:iot:%s:%s:cert/…). Other principals and thing groups are not served.",
			member, text, p.AWS, p.Region, p.Account)
	}
	if arn.Partition() != p {
		return "", refuse(http.StatusNotFound, resourceNotFound, "certificate %s not found in account %s and Region %s.", id, p.Account, p.Region)
	}
	return id, nil
}
