package awsapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
)

// Failing is how a service answers for what its operations could not do. The
// protocols embed it.
type Failing struct {
	// Translate turns an error that is not an *Error into one; nil stands for an
	// internal error. It may be nil.
	Translate func(error) *Error
	// Internal is the code of an internal error.
	Internal string
	Logger   *slog.Logger
}

// Refusal is how an error goes over the wire. An internal one is logged, and
// answered 500; a database that is busy or away 503.
func (f *Failing) Refusal(ctx context.Context, call *Call, err error) *Error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e
	}
	if f.Translate != nil {
		if e := f.Translate(err); e != nil {
			return e
		}
	}
	if e := busy(call.service, call.Operation, err); e != nil {
		f.Logger.WarnContext(ctx, "operation refused", "operation", call.Operation, "request", call.RequestID, "error", err)
		return e
	}
	if !errors.Is(err, context.Canceled) {
		f.Logger.ErrorContext(ctx, "operation failed", "operation", call.Operation, "request", call.RequestID, "error", err)
	}
	return &Error{
		Status: http.StatusInternalServerError, Code: f.Internal,
		Message: internalText(err, "The server could not carry out the request. Its log has the request id and the cause."),
	}
}
