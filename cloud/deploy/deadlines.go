package deploy

import (
	"context"
	"errors"
	"time"

	"github.com/fescue-edge/fescue"
)

// Deadlines bound how long a deployment may stay in a phase. Past them the
// control plane ends it: every deployment ends, whatever becomes of the core.
type Deadlines struct {
	// Offline is how long an offered deployment waits for its core; 0 is for
	// ever, as with the original.
	Offline time.Duration
	// Stage is how long a core may take from the claim until everything is on
	// its disk; default 6 h, which is 250 MB at 12 KB/s.
	Stage time.Duration
	// Switch is how long it may then take to switch; default 10 min.
	Switch time.Duration
	// Health is how long it may then take until the functions are healthy, or
	// the version before runs again; default 30 min.
	Health time.Duration
}

func (l Deadlines) withDefaults() Deadlines {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&l.Stage, 6 * time.Hour}, {&l.Switch, 10 * time.Minute}, {&l.Health, 30 * time.Minute},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	return l
}

// of is the deadline of a phase, 0 for none.
func (l Deadlines) of(phase fescue.DeploymentPhase) time.Duration {
	switch phase {
	case fescue.Offered:
		return l.Offline
	case fescue.Claimed:
		return l.Stage
	case fescue.Staged:
		return l.Switch
	case fescue.Switched:
		return l.Health
	}
	return 0
}

// overdueBatch bounds how many deployments are read at once.
const overdueBatch = 100

// watchDeadlines ends what is past its deadline until ctx ends. Several servers
// may do so at once: each deployment is ended by one.
func (t *tracker) watchDeadlines(ctx context.Context) {
	tick, redate := time.NewTicker(idlePoll), time.NewTicker(redatePause)
	defer tick.Stop()
	defer redate.Stop()
	for {
		if err := t.endOverdue(ctx); err != nil && ctx.Err() == nil {
			t.logger.Error("deployments past their deadline not ended; they are looked at again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-redate.C:
			if err := t.redate(ctx); err != nil && ctx.Err() == nil {
				t.logger.Error("deployments of a wrong clock not dated anew; they are looked at again", "error", err)
			}
		}
	}
}

const (
	// redatePause is how often it is looked for what a clock that was ahead has
	// dated: seldom, as a clock that is behind for a moment makes all else look so.
	redatePause = time.Minute
	// clockTolerance is how far the clocks of servers may be apart.
	clockTolerance = time.Minute
)

// redate has deployments that seem to have come to their phase in the future count
// from now.
func (t *tracker) redate(ctx context.Context) error {
	now := t.now()
	n, err := t.deployments.Redate(ctx, now.Add(clockTolerance), now, overdueBatch)
	if n > 0 {
		t.logger.Warn("The clock was ahead, here or on another server: deployments seemed to have come to their phase in the future, and their deadlines count from now.", "deployments", n)
	}
	return err
}

func (t *tracker) endOverdue(ctx context.Context) error {
	for _, phase := range []fescue.DeploymentPhase{fescue.Offered, fescue.Claimed, fescue.Staged, fescue.Switched} {
		limit := t.deadlines.of(phase)
		if limit <= 0 {
			continue
		}
		list, err := t.deployments.Overdue(ctx, t.aws, phase, t.now().Add(-limit), overdueBatch)
		if err != nil {
			return err
		}
		for _, d := range list {
			if err := t.endLate(ctx, d, limit); err != nil {
				return err
			}
		}
	}
	return nil
}

// endLate ends one deployment in Failure.
func (t *tracker) endLate(ctx context.Context, d fescue.Deployment, limit time.Duration) error {
	event, detail := fescue.EventTimedOut, fescue.DeploymentTimedOut.Detail(d.CoreThing, limit, d.Phase)
	if d.Phase == fescue.Offered {
		event, detail = fescue.EventExpired, fescue.DeploymentExpired.Detail(d.CoreThing, limit, t.lastSeen(ctx, d))
	}
	next, err := t.deployments.ApplyStep(ctx, d, fescue.CloudActor, fescue.DeploymentStep{
		Event: event, At: t.now().UTC(),
		Message: fescue.FailureMessage(d, detail.DetailedErrorMessage), Details: []fescue.ErrorDetail{detail},
	})
	switch {
	case errors.Is(err, fescue.ErrConflict), errors.Is(err, fescue.ErrNoChange), errors.Is(err, fescue.ErrEnded), errors.Is(err, fescue.ErrTransition):
		return nil // it moved meanwhile
	case err != nil:
		return err
	}
	t.logger.Warn("deployment past its deadline ended", "deployment", d.ID, "group", d.GroupID, "core", d.CoreThing, "phase", d.Phase, "deadline", limit)
	t.wake(ctx, next)
	return nil
}

// lastSeen says in words when a deployment's core was last seen.
func (t *tracker) lastSeen(ctx context.Context, d fescue.Deployment) string {
	s, err := t.presence.LastSeen(ctx, d.Partition, d.CoreThing)
	switch {
	case err != nil:
		return "not known"
	case s.SeenAt.IsZero():
		return "never"
	case s.Online(t.now()):
		return "just now"
	}
	return fescue.Timestamp(s.OfflineSince())
}
