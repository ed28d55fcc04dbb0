package invoke

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
)

// Target is what can be invoked: a user's function, or a part of the core such
// as GGRouter.
type Target interface {
	// Invoke takes a call, without waiting for the work to be done, or refuses
	// it with an error that wraps one of this package's. What it took it ends
	// once, perhaps before it returns.
	Invoke(ctx context.Context, i *Invocation) error
}

// Func is a target that answers at once.
type Func func(ctx context.Context, caller Worker, call Call) (Outcome, error)

// Invoke implements Target.
func (f Func) Invoke(ctx context.Context, i *Invocation) error {
	outcome, err := f(ctx, i.Caller, i.Call)
	if err == nil {
		i.End(outcome)
	}
	return err
}

// CoreSource is the Source of what the core itself invokes.
const CoreSource = "the core"

// Invocation is a call on its way.
type Invocation struct {
	// ID is a UUID.
	ID string
	// Caller is the worker that called, zero for the core itself.
	Caller Worker
	// Source is what the call counts as, and what logs name as its invoker: the
	// ARN of the caller's function, or where a message came from.
	Source string
	Call
	end func(Outcome)
}

// NewEvent makes an invocation of which nobody awaits the outcome, for a message
// that came from source.
func NewEvent(source string, call Call) *Invocation {
	call.Type = Event
	return &Invocation{ID: uuid.NewString(), Source: source, Call: call}
}

// End hands over how the invocation ended.
func (i *Invocation) End(o Outcome) {
	if i.end != nil {
		i.end(o)
	}
}

// Options bound what a Registry keeps. A zero member means the default given
// with it.
type Options struct {
	// MaxResults bounds the bytes of outcomes that wait for their callers; 64 MiB.
	MaxResults int64
	// KeepResult is how long an outcome waits for its caller; 60 s.
	KeepResult time.Duration
}

// Registry finds what is called and keeps how it ended. Make one with
// NewRegistry.
type Registry struct {
	results *results

	mu      sync.RWMutex
	targets map[string]Target
}

// NewRegistry makes a registry in which nothing can be called yet.
func NewRegistry(o Options) *Registry {
	return &Registry{
		results: newResults(cmp.Or(o.MaxResults, 64<<20), cmp.Or(o.KeepResult, time.Minute)),
		targets: make(map[string]Target),
	}
}

// Register makes a target callable by an ARN, that of a system function with and
// without its qualifier. It takes the place of one that was there.
func (r *Registry) Register(arn string, t Target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.targets[canonical(arn)] = t
}

// Unregister takes a target away. What it took goes on.
func (r *Registry) Unregister(arn string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.targets, canonical(arn))
}

// canonical is one ARN for each target.
func canonical(arn string) string {
	if name, ok := fescue.SystemFunctionOf(arn); ok {
		return name.ARN()
	}
	return arn
}

func (r *Registry) target(arn string) (Target, error) {
	r.mu.RLock()
	t := r.targets[canonical(arn)]
	r.mu.RUnlock()
	if t != nil {
		return t, nil
	}
	name, system := fescue.SystemFunctionOf(arn)
	switch {
	case system && name.Facts().Callable:
		return nil, fmt.Errorf("%w: this core does not offer %s", ErrNotFound, name)
	case system:
		return nil, fmt.Errorf("%w: functions cannot invoke %s", ErrForbidden, arn)
	}
	return nil, fmt.Errorf("%w: no function %s in this group; name it with the version that is deployed", ErrNotFound, arn)
}

// Invoke passes a call on and returns the invocation's id.
func (r *Registry) Invoke(ctx context.Context, caller Worker, call Call) (id string, err error) {
	t, err := r.target(call.ARN)
	if err != nil {
		return "", err
	}
	i := &Invocation{ID: uuid.NewString(), Caller: caller, Source: cmp.Or(caller.FunctionARN, CoreSource), Call: call}
	if call.Type == RequestResponse {
		id := i.ID
		r.results.expect(i)
		i.end = func(o Outcome) { r.results.put(id, o) }
	}
	if err := t.Invoke(ctx, i); err != nil {
		r.results.drop(i.ID)
		return "", err
	}
	return i.ID, nil
}

// Result waits for a call of a worker to end and hands its outcome to take, once.
// What take gets is counted until it returns.
func (r *Registry) Result(ctx context.Context, caller Worker, arn, id string, take func(Outcome)) error {
	outcome, found, err := r.results.wait(ctx, caller, canonical(arn), id)
	switch {
	case err != nil:
		return fmt.Errorf("wait for invocation %s: %w", id, err)
	case !found:
		return fmt.Errorf("%w: no invocation %s of %s by this worker waits to be fetched; it is kept for a while, and while there is room",
			ErrNotFound, strings.ToValidUTF8(id, "?"), arn)
	}
	defer r.results.drop(id)
	take(outcome)
	return nil
}

// Forget drops what a worker, now gone, will not fetch.
func (r *Registry) Forget(worker string) { r.results.forget(worker) }
