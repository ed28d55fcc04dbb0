// Package ipc is what functions speak to the core: HTTP/1.1 on the loopback
// interface, version 2016-11-01 of the original's function API. It invokes
// functions, hands work to the processes that run them, takes their answers and
// tells anyone on the machine about the health of workers.
//
// The package knows the wire: paths, headers, statuses, who may call what. It
// must not know processes, queues, subscriptions or files; they are behind the
// small interfaces declared here.
package ipc

import (
	"context"
	"errors"
	"time"
)

// Worker is one process that runs a function. The zero Worker is the core
// itself.
type Worker struct {
	// ID is a UUID, new for each process.
	ID string
	// FunctionARN is the version-qualified ARN of the function it runs.
	FunctionARN string
}

// InvocationType says whether the caller waits for a result.
type InvocationType string

// The invocation types, as they stand in X-Amz-Invocation-Type.
const (
	Event           InvocationType = "Event"
	RequestResponse InvocationType = "RequestResponse"
)

// Call is the invocation of a function.
type Call struct {
	// ARN is the target's ARN as the caller wrote it.
	ARN  string
	Type InvocationType
	// ClientContext is base64 JSON, or empty. It is passed on unread.
	ClientContext string
	Payload       []byte
}

// Work is one item of a function's queue.
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

// Initialization is what a worker says about its own start.
type Initialization struct {
	Success bool
	// Response is the reason when Success is false.
	Response string
}

// Functions runs functions. Its errors wrap the ones of this package.
type Functions interface {
	// Authenticate finds the live worker whose token this is. It takes the
	// same time for every token that it does not know.
	Authenticate(authorization string) (Worker, bool)
	// Invoke queues work and returns the invocation's id at once.
	Invoke(ctx context.Context, caller Worker, call Call) (id string, err error)
	// Result waits for an invocation that caller started to end, and hands its
	// outcome out once.
	Result(ctx context.Context, caller Worker, arn, id string) (Outcome, error)
	// NextWork waits for the worker's next item.
	NextWork(ctx context.Context, worker Worker) (Work, error)
	// Undelivered takes back an item that did not reach the worker.
	Undelivered(worker Worker, id string)
	// Complete ends an item that the worker holds.
	Complete(ctx context.Context, worker Worker, id string, outcome Outcome) error
	// Initialized records what the worker says about its start.
	Initialized(ctx context.Context, worker Worker, result Initialization) error
}

// SystemFunction is a part of the core that functions invoke like a function,
// such as GGShadowService. What it returns is kept for the caller to fetch.
type SystemFunction interface {
	Invoke(ctx context.Context, caller Worker, call Call) (Outcome, error)
}

// Publisher routes what functions publish. Nobody subscribing is a success.
// With allOrError either every subscriber gets the message or none does, and
// the error wraps ErrQueueFull.
type Publisher interface {
	Publish(ctx context.Context, source, topic string, payload []byte, allOrError bool) error
}

// Health lists the workers of all functions.
type Health interface {
	Workers() []WorkerStatus
}

// LogIntake takes log lines that a worker sends by HTTP.
type LogIntake interface {
	AppendLog(ctx context.Context, worker Worker, lines []LogLine) error
}

// LogLine is one line of a function's log.
type LogLine struct {
	Time time.Time
	// Level is TRACE, DEBUG, INFO, WARN, ERROR or FATAL.
	Level string
	// Text begins with its origin: "file.py:12,message".
	Text string
}

// WorkerState is the life stage of a worker, as the original's health API names
// it (AWS IoT Greengrass V1 developer guide, "local health check API").
type WorkerState string

// The worker states.
const (
	// Working means that it processes an item.
	Working WorkerState = "Working"
	// Waiting means that it has asked for work and there is none.
	Waiting WorkerState = "Waiting"
	// Starting means that the process runs but has not asked for work.
	Starting WorkerState = "Starting"
	// FailedInitialization means that it said it cannot start.
	FailedInitialization WorkerState = "FailedInitialization"
	// Terminated means that the core stops or stopped it.
	Terminated WorkerState = "Terminated"
	// NotStarted means that it failed and a new attempt is due.
	NotStarted WorkerState = "NotStarted"
	// Initialized means that it said it is ready, without asking for work yet.
	Initialized WorkerState = "Initialized"
)

// WorkerStatus is one entry of the health API.
type WorkerStatus struct {
	FuncArn  string
	WorkerId string
	// ProcessId is a decimal number in a string, as in every published sample.
	ProcessId   string
	WorkerState WorkerState
}

// What the interfaces answer when they refuse; each has its status.
var (
	// ErrInvalid means that the request itself is wrong.
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
