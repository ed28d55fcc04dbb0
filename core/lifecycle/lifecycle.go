// Package lifecycle keeps the processes of functions: long-lived ones that run
// as long as the core does, and on-demand ones that are started when somebody
// calls. It owns their queues, their time limits, their restarts and their end.
//
// Its functions are targets of package invoke, and their processes get their work
// by what package ipc serves. It must not know HTTP, subscriptions, deployments
// or where logs are written: code arrives as folders, calls through the methods
// of Supervisor, and lines leave through a LogSink.
package lifecycle

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/runtimes"
)

// LogSink takes what functions write. It is called from many goroutines and
// must not block for long: a function that writes waits for it.
type LogSink interface {
	// FunctionLine takes one line without its newline. Level is TRACE, DEBUG,
	// INFO, WARN, ERROR or FATAL; origin is empty when the text begins with its
	// own ("app.py:12,message"), else it says where the text came from.
	FunctionLine(region, account, name string, at time.Time, level, origin, text string)
}

// Backoff are the pauses between attempts to keep a function running.
type Backoff struct {
	backoff.Policy
	// Reset is how long a process must have run for the next failure to count
	// as the first again.
	Reset time.Duration
}

// Options are what a Supervisor stands on. A zero duration or number means the
// default given with it.
type Options struct {
	// Logger, Logs, Sandbox and Registry are required. The group's functions are
	// registered while they are applied.
	Logger   *slog.Logger
	Logs     LogSink
	Sandbox  Sandbox
	Registry *invoke.Registry
	// RuntimeDir is where the runtimes package was extracted to.
	RuntimeDir sandbox.HostPath
	// Hidden are folders that functions in containers do not see: the core's own.
	Hidden []sandbox.HostPath
	// Port is where package ipc listens.
	Port int
	// Environment is added to every function's: the core thing's name and ARN,
	// endpoints, proxies. Functions may replace the variables that are not
	// reserved; see environment.go.
	Environment map[string]string
	// SearchPath are the folders in which interpreters are looked for; by
	// default /usr/bin and /usr/local/bin, as the original did.
	SearchPath []string

	// MaxWorkItems bounds the items that one caller may have waiting with one
	// function: config.json's maxWorkItemCount, 1024. All together are at most
	// three times as many; see shares.
	MaxWorkItems int
	// MaxBytes bounds the payloads that are queued or being worked on; 64 MiB.
	MaxBytes int64
	// MaxConcurrent bounds the on-demand processes of all functions together:
	// config.json's maxConcurrentLimit, 25.
	MaxConcurrent int

	// Idle is how long an on-demand process waits for more work; 60 s, as in
	// the original's successor.
	Idle time.Duration
	// InitTimeout bounds the time until an on-demand process asks for work; 60 s.
	InitTimeout time.Duration
	// StopGrace is the time between SIGTERM and SIGKILL; 5 s.
	StopGrace time.Duration
	// Backoff is 1 s doubling to 60 s, reset after 60 s.
	Backoff Backoff
	// Now is the clock for log lines and ages; time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	defaults := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	if len(o.SearchPath) == 0 {
		o.SearchPath = []string{"/usr/bin", "/usr/local/bin"}
	}
	if o.MaxWorkItems <= 0 {
		o.MaxWorkItems = 1024
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 20
	}
	if o.MaxConcurrent <= 0 {
		o.MaxConcurrent = 25
	}
	defaults(&o.Idle, time.Minute)
	defaults(&o.InitTimeout, time.Minute)
	defaults(&o.StopGrace, 5*time.Second)
	defaults(&o.Backoff.First, time.Second)
	defaults(&o.Backoff.Most, time.Minute)
	defaults(&o.Backoff.Reset, time.Minute)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Problem is a reason why a function cannot run on this machine.
type Problem struct {
	ARN string
	Err error
}

func (p Problem) Error() string { return fmt.Sprintf("function %s: %v", p.ARN, p.Err) }

func (p Problem) Unwrap() error { return p.Err }

// UnsupportedRuntimeError means that this version of the core does not run
// functions of that kind.
type UnsupportedRuntimeError struct{ Runtime string }

func (e *UnsupportedRuntimeError) Error() string {
	var labels []string
	for _, row := range runtimes.All() {
		labels = append(labels, row.Label)
	}
	return fmt.Sprintf("the runtime %s is not supported by this version of the core; it runs %s", e.Runtime, strings.Join(labels, ", "))
}

// CodeError means that the function's folder does not hold what its handler
// names.
type CodeError struct {
	Path string
	Err  error
}

func (e *CodeError) Error() string {
	return fmt.Sprintf("%s cannot be run: %v", e.Path, e.Err)
}

func (e *CodeError) Unwrap() error { return e.Err }
