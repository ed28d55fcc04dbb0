// Package wire is what is known of AWS's services before it is known what a request
// asks of one: a row for each. The protocols that they speak are the packages below.
// It knows neither the operations, whose tables are beside what serves them, nor what
// they do.
package wire

import (
	"net/http"
	"slices"
)

// Protocol is how a service's requests, answers and errors look.
type Protocol int

// The protocols.
const (
	// RESTJSON has the operation in method and path. Whoever names no service is
	// answered so.
	RESTJSON Protocol = iota
	// JSON is JSON 1.1: the operation in X-Amz-Target, every client error 400.
	JSON
	// Query has the operation in a form, and answers XML.
	Query
	// S3 is S3's own.
	S3

	protocols
)

// Service is what is known of one service.
type Service struct {
	// Name is the one that requests are signed for.
	Name     string
	Protocol Protocol
	// Signed are further names that requests for it are signed for.
	Signed []string
	// Prefix stands before the colon of its actions in policies, where that is not
	// Name (Service Authorization Reference).
	Prefix string
	// Global services have nothing that belongs to a Region, and take signatures
	// for any: clients sign for us-east-1 or for their own, by version.
	Global bool
	// ByPath: a request that does not say what it is for is for this service when
	// one of its operations has the method and path. Services are asked in their
	// order.
	ByPath bool
	// Hosts are the first labels of the names of AWS's that lead to it.
	Hosts []string
	// Open are the operations that need no permission.
	Open []string
	// Recorded are operations that leave a record although they change nothing: what
	// they read is worth one.
	Recorded []string
	// Once are operations that make something of their own each time, and can be told by
	// nothing that a call of them is the same one again. S3's CreateMultipartUpload is none:
	// an upload that nobody fills ends by itself, and one that fails does so for everybody.
	Once []string
	// Throttled is how it words a call too many, where that is not its protocol's way.
	Throttled Refusal
}

// Services are those that are served, and after them those that are known only to be
// refused in their protocol.
var Services = []Service{
	{Name: "greengrass", ByPath: true, Hosts: []string{"greengrass"}},
	{
		Name: "iot", ByPath: true, Hosts: []string{"iot"},
		Once:      []string{"CreateKeysAndCertificate", "CreateCertificateFromCsr", "CreatePolicyVersion"},
		Throttled: Refusal{http.StatusBadRequest, "ThrottlingException", "Rate exceeded"},
	},
	{
		Name: "iotdata", ByPath: true, Hosts: []string{"data", "data-ats"}, Prefix: "iot",
		Signed: []string{"iotdevicegateway"}, // SDKs of the device gateway's first years
	},
	{
		Name: "lambda", ByPath: true, Hosts: []string{"lambda"},
		Throttled: Refusal{http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded."},
	},
	{Name: "iot-jobs-data", ByPath: true, Prefix: "iotjobsdata"},
	{
		Name: "secretsmanager", Protocol: JSON, Hosts: []string{"secretsmanager"},
		Recorded: []string{"GetSecretValue", "BatchGetSecretValue"},
	},
	{Name: "iam", Protocol: Query, Global: true, Hosts: []string{"iam"}},
	{
		Name: "sts", Protocol: Query, Global: true, Hosts: []string{"sts"},
		Open: []string{"GetCallerIdentity", "GetSessionToken"}, Recorded: []string{"GetSessionToken"},
	},
	{Name: "s3", Protocol: S3, Hosts: []string{"s3"}},
	{
		Name: "fescue", // what is Fescue's own, by its path
		Open: []string{"CreateConsoleLink", "CreateConsoleSession", "EndConsoleSession", "CreateTerminalSession", "EndTerminalSession"},
		Once: []string{"CreateAccessKey"},
	},

	{Name: "logs", Protocol: JSON},
}

// Find is the row of the service that a name signed for stands for. One that is not
// known has a row that says nothing but its name.
func Find(signed string) *Service {
	for i := range Services {
		if s := &Services[i]; s.Name == signed || slices.Contains(s.Signed, signed) {
			return s
		}
	}
	return &Service{Name: signed}
}

// Action is an operation of the service as policies name it.
func (s *Service) Action(operation string) string {
	if s.Prefix != "" {
		return s.Prefix + ":" + operation
	}
	return s.Name + ":" + operation
}

// Refusal is how something is refused.
type Refusal struct {
	Status  int
	Code    string
	Message string
}

// Words are how one thing is refused, by protocol.
type Words [protocols]Refusal

// What is refused before a service is asked ("Common Errors" of each API reference;
// S3: Amazon S3 API reference, "Error Responses").
var (
	// NotServed is for services that are not served.
	NotServed = Words{
		RESTJSON: {Status: http.StatusNotFound, Code: "UnknownOperationException"},
		JSON:     {Status: http.StatusBadRequest, Code: "UnknownOperationException"},
		Query:    {Status: http.StatusBadRequest, Code: "InvalidAction"},
		S3:       {Status: http.StatusNotImplemented, Code: "NotImplemented"},
	}
	// Denied is for what the caller's policies or limit do not allow.
	Denied = Words{
		RESTJSON: {Status: http.StatusForbidden, Code: "AccessDeniedException"},
		JSON:     {Status: http.StatusBadRequest, Code: "AccessDeniedException"},
		Query:    {Status: http.StatusForbidden, Code: "AccessDenied"},
		S3:       {Status: http.StatusForbidden, Code: "AccessDenied"},
	}
	// Throttled is for a call too many; SDKs try again.
	Throttled = Words{
		RESTJSON: {http.StatusTooManyRequests, "ThrottlingException", "Rate exceeded"},
		JSON:     {http.StatusBadRequest, "ThrottlingException", "Rate exceeded"},
		Query:    {http.StatusBadRequest, "Throttling", "Rate exceeded"},
		S3:       {http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate."},
	}
	// Uncertain is for what may have been carried out and is not to be repeated; SDKs do
	// not try again.
	Uncertain = Words{
		RESTJSON: {Status: http.StatusConflict, Code: "ConflictException"},
		JSON:     {Status: http.StatusBadRequest, Code: "ConflictException"},
		Query:    {Status: http.StatusConflict, Code: "Conflict"},
		S3:       {Status: http.StatusConflict, Code: "OperationAborted"},
	}
	// Full is for what there is no room for.
	Full = Words{
		RESTJSON: {Status: http.StatusServiceUnavailable, Code: "ServiceUnavailableException"},
		JSON:     {Status: http.StatusServiceUnavailable, Code: "ServiceUnavailableException"},
		Query:    {Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable"},
		S3:       {Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable"},
	}
)
