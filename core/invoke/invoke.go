// Package invoke is how functions call each other and the core: who calls, what
// is called, what is worked on and how it ended. One registry holds everything
// that can be called by its ARN, a user's function as well as a part of the core
// such as GGRouter, and keeps the outcomes until their callers fetch them.
//
// The package must not know processes, queues, HTTP or subscriptions: package
// lifecycle puts calls into queues and hands them to processes, package ipc is
// the form in which processes speak.
package invoke

import (
	"encoding/json"
	"errors"
	"fmt"
)

// MaxPayload bounds what a call carries, and a result, in bytes: what AWS Lambda
// allows for a synchronous call.
const MaxPayload = 6 << 20

// Type says whether the caller waits for a result.
type Type string

// The types, as they stand in X-Amz-Invocation-Type.
const (
	Event           Type = "Event"
	RequestResponse Type = "RequestResponse"
)

// Call is the invocation of a function as its caller asks for it.
type Call struct {
	// ARN is the target's ARN as the caller wrote it.
	ARN  string
	Type Type
	// ClientContext is base64 JSON, or empty. It is passed on unread.
	ClientContext string
	Payload       []byte
}

// Size is what a call counts for in queues, in bytes.
func (c Call) Size() int64 { return int64(len(c.Payload) + len(c.ClientContext)) }

// Work is a call as the process gets it that works on it.
type Work struct {
	// ID is the invocation's UUID.
	ID            string
	ClientContext string
	Payload       []byte
}

// FunctionError is the value of X-Amz-Function-Error.
type FunctionError string

// How an invocation ended. Handled was reported by the function, Unhandled was
// found out by the core: a timeout or the end of the process.
const (
	Succeeded FunctionError = ""
	Handled   FunctionError = "Handled"
	Unhandled FunctionError = "Unhandled"
)

// Outcome is the result of an invocation, or the description of its error.
type Outcome struct {
	Payload []byte
	Error   FunctionError
}

// Failed is the outcome of a call that the core, not the function, ended.
func Failed(message string) Outcome {
	// A map of text always encodes.
	body, _ := json.Marshal(map[string]string{"errorMessage": message})
	return Outcome{Payload: body, Error: Unhandled}
}

// TooLarge is the outcome of a call whose outcome would be larger than limit
// bytes. size is 0 where it is not known.
func TooLarge(kind FunctionError, size, limit int64) Outcome {
	what := "result"
	if kind != Succeeded {
		what = "error"
	}
	has := fmt.Sprintf("more than %d bytes", limit)
	if size > 0 {
		has = fmt.Sprintf("%d bytes", size)
	}
	return Failed(fmt.Sprintf("the function's %s has %s; the core passes on at most %d", what, has, limit))
}

// Why a call is refused. Errors of this package and of targets wrap these.
var (
	// ErrInvalid means that the call itself is wrong.
	ErrInvalid = errors.New("invalid request")
	// ErrForbidden means that this worker may not do that.
	ErrForbidden = errors.New("not allowed")
	// ErrNotFound means that there is no such function or invocation.
	ErrNotFound = errors.New("not found")
	// ErrTooLarge means that the message can never fit.
	ErrTooLarge = errors.New("message too large")
	// ErrQueueFull means that the message does not fit now.
	ErrQueueFull = errors.New("work queue full")
	// ErrBusy means that the caller has too much under way.
	ErrBusy = errors.New("too many calls at a time")
	// ErrShuttingDown means that the core is stopping.
	ErrShuttingDown = errors.New("the core is shutting down")
)
