// Package awsapi puts AWS wire protocols in front of the control plane's
// services: one endpoint that verifies signatures, finds the service by what
// they are signed for, and hands the request on. Each service spoken has a package of
// its own below, with its own table of operations and errors. The package knows
// nothing of what the services do.
package awsapi

import (
	"context"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// Call is one authenticated request on its way through a service.
type Call struct {
	// Partition is the account of the access key in the Region of the
	// credential scope.
	Partition fescue.Partition
	// KeyID is the access key that signed.
	KeyID string
	// RequestID goes back in x-amzn-RequestId.
	RequestID string
	// Caller is who signed.
	Caller identity.Caller
	// PathNormalized is true when the signature covers the path only without its
	// empty segments, "." and "..": a service must not act on one that has such.
	PathNormalized bool
	// Operation is set by Admit, for metrics and logs.
	Operation string

	// service is the signing name, for the words of refusals that all services share.
	service string
	// admission is how the handler lets it in; a call that no handler made has none.
	admission *admission
}

// Covers says whether the caller may use what the request names beside its
// target: a thing in a definition, the bucket that code is read from. The error is
// the answer. Only limited callers are refused.
func (c *Call) Covers(ctx context.Context, arns ...string) error {
	if c.admission == nil || c.Caller.Scope == nil {
		return nil
	}
	return c.admission.covers(ctx, arns)
}

// Admit says whether the caller may do what the call is about to do. A service
// asks once for each call, when it knows the operation and before anything
// happens; the error is the answer.
func (c *Call) Admit(ctx context.Context, t Target) error {
	c.Operation = t.Operation
	if c.admission == nil {
		return nil
	}
	return c.admission.admit(ctx, t)
}

// Still says whether the caller may still do what Admit let in, by the key, role and
// policies of now. An answer that goes on for long asks again and again.
func (c *Call) Still(ctx context.Context) error {
	if c.admission == nil {
		return nil
	}
	return c.admission.still(ctx)
}

// Service answers the requests that are signed for one AWS service.
type Service interface {
	// ServeCall answers an authenticated request whose body is complete and
	// bounded by MaxBody. Before it does what is asked it calls Admit.
	ServeCall(w http.ResponseWriter, r *http.Request, call *Call)
	// MaxBody is the largest body, in bytes, that the service takes for the
	// request. It is asked before the body is read.
	MaxBody(r *http.Request) int64
	// Foresee is what a request is about to do, as far as its head shows: the
	// Operation is empty where only the body names it, and so is the Resource. It
	// is asked before a large body is read. Of the call the partition is known.
	Foresee(r *http.Request, call *Call) Target
	// WriteError writes a refusal in the service's own form.
	WriteError(w http.ResponseWriter, err *Error)
}

// Error is a refusal as it goes over the wire.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is the exception's name. An empty one is sent without a type, as the
	// original did for some Greengrass errors.
	Code    string
	Message string
	// Details are the ErrorDetails of a Greengrass error.
	Details []fescue.ErrorDetail
	// Members are further members of the body, for example resourceArn.
	Members map[string]string
}

// Error is the code and the message.
func (e *Error) Error() string {
	if e.Code == "" {
		return e.Message
	}
	return e.Code + ": " + e.Message
}

// DefaultMaxBody bounds the body of an operation that says nothing else.
const DefaultMaxBody = 1 << 20
