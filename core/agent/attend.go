package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/corelink"
)

// errCancelled means that somebody asked the core to stop working on the
// deployment.
var errCancelled = errors.New("the deployment was cancelled")

// work is what the agent does for a deployment, as far as others see it.
type work struct {
	activity         atomic.Pointer[string]
	fetched, toFetch atomic.Int64
	// warnings are for the report that the deployment is staged.
	warnings []fescue.ErrorDetail
	// planned is what was found to be able to run, until it is started.
	planned *planned
}

// planned is a plan without problems of one epoch's manifest.
type planned struct {
	epoch int64
	plan  plan.Plan
}

// Doing implements depot.Progress.
func (w *work) Doing(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.activity.Store(&text)
}

// ToFetch implements depot.Progress.
func (w *work) ToFetch(bytes int64) { w.toFetch.Store(bytes) }

// Fetched implements depot.Progress.
func (w *work) Fetched(bytes int64) { w.fetched.Add(bytes) }

func (w *work) report(epoch int64) corelink.ProgressReport {
	r := corelink.ProgressReport{Epoch: epoch, Fetched: w.fetched.Load(), ToFetch: w.toFetch.Load()}
	if text := w.activity.Load(); text != nil {
		r.Activity = *text
	}
	return r
}

// attend gives a context for work on a deployment. While the work lasts, the
// control plane gets a report every few seconds, and at each wake, of what is done; when
// it answers that the deployment is to stop or has ended, the context ends.
// leave must be called once: it is errCancelled or errAbandoned when the context
// ended for that, else nil. With soon the first report goes out at once, for work
// that was taken up again.
func (a *Agent) attend(ctx context.Context, m bundle.Manifest, soon bool) (_ context.Context, leave func() error) {
	ctx, stop := context.WithCancelCause(ctx)
	left := make(chan struct{})
	var attending sync.WaitGroup
	attending.Go(func() {
		tick := time.NewTicker(a.Times.Progress)
		defer tick.Stop()
		for {
			if soon {
				if err := a.askOn(ctx, m); err != nil {
					stop(err)
					return
				}
			}
			soon = true
			select {
			case <-left:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
			case <-a.wake:
			}
		}
	})
	var once sync.Once
	return ctx, func() error {
		once.Do(func() {
			close(left)
			stop(nil)
			attending.Wait()
		})
		if cause := context.Cause(ctx); errors.Is(cause, errCancelled) || errors.Is(cause, errAbandoned) {
			return cause
		}
		return nil
	}
}

// askOn reports what is done and asks whether to go on. An answer that does not
// come means to go on.
func (a *Agent) askOn(ctx context.Context, m bundle.Manifest) error {
	ctx, cancel := context.WithTimeout(ctx, a.Times.Note)
	defer cancel()
	answer, err := a.Cloud.UpdateProgress(ctx, m.GroupID, m.DeploymentID, a.ThingARN, a.work.report(m.Epoch))
	if err == nil && answer.Cancel {
		return errCancelled
	}
	if over := abandoned(err); !errors.Is(over, errForgotten) {
		return over
	}
	return nil // nobody has said that it is to stop
}

// abandoned is errAbandoned, or errForgotten, when an answer says so.
func abandoned(err error) error {
	if e, ok := corelink.Refused(err); ok {
		switch e.HTTPStatus {
		case http.StatusNotFound:
			return fmt.Errorf("%w: %w", errForgotten, err)
		case http.StatusConflict, http.StatusGone:
			return fmt.Errorf("%w: %w", errAbandoned, err)
		}
	}
	return nil
}

// stopped writes down the end of work that attend's leave, or a report, ended.
func (a *Agent) stopped(m bundle.Manifest, cause error) {
	if errors.Is(cause, errCancelled) {
		a.conclude(m, []failure.Problem{failure.New("", fescue.DeploymentCancelled, "an operator")})
		return
	}
	a.giveUp(m)
}
