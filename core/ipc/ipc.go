// Package ipc is what functions speak to the core: HTTP/1.1 on the loopback
// interface, version 2016-11-01 of the original's function API. It is the HTTP
// form of package invoke: through it processes call functions, get work, answer
// it, and anyone on the machine asks for the health of workers.
//
// The package knows the wire: paths, headers, statuses, who may call what, and
// how much a connection may hold. It must not know processes, queues,
// subscriptions or files.
package ipc

import (
	"context"

	"github.com/fescue-edge/fescue/core/invoke"
)

// Calls are those of functions to each other and to the core; invoke.Registry is
// them. Errors wrap those of package invoke.
type Calls interface {
	// Invoke passes a call on and returns the invocation's id at once.
	Invoke(ctx context.Context, caller invoke.Worker, call invoke.Call) (id string, err error)
	// Result waits for an invocation that caller started to end, and hands its
	// outcome to take, once.
	Result(ctx context.Context, caller invoke.Worker, arn, id string, take func(invoke.Outcome)) error
}

// Workers are the processes that run functions. Errors wrap those of package
// invoke.
type Workers interface {
	// Authenticate finds the live worker whose token this is. It takes the
	// same time for every token that it does not know.
	Authenticate(authorization string) (invoke.Worker, bool)
	// NextWork waits for the worker's next item.
	NextWork(ctx context.Context, worker invoke.Worker) (invoke.Work, error)
	// Undelivered takes back an item that did not reach the worker.
	Undelivered(worker invoke.Worker, id string)
	// Complete ends an item that the worker holds.
	Complete(ctx context.Context, worker invoke.Worker, id string, outcome invoke.Outcome) error
	// Initialized records what the worker says about its start.
	Initialized(ctx context.Context, worker invoke.Worker, result invoke.Initialization) error
	// AppendLog takes log lines that a worker sends by HTTP.
	AppendLog(ctx context.Context, worker invoke.Worker, lines []invoke.LogLine) error
	// Workers lists all of them.
	Workers() []invoke.WorkerStatus
}
