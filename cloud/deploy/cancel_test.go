package deploy_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
)

func TestCancel(t *testing.T) {
	t.Parallel()
	s := open(t)
	stop := s.run(s.Engine)
	const by = "access key AKIAEXAMPLE"
	cancel := func(d fescue.Deployment, force bool) fescue.Deployment {
		t.Helper()
		got, err := s.Cancel(t.Context(), home, d.GroupID, d.ID, force, by)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	asked := func(d fescue.Deployment) (bool, error) {
		return s.Progress(t.Context(), home, d.CoreThing, d.GroupID, d.ID, corelink.ProgressReport{Epoch: d.Epoch, Activity: "unpacking"})
	}

	t.Run("what waits for its core ends at once", func(t *testing.T) {
		s := s.with(t)
		d := s.offered(s.create(s.mill("waiting")))
		s.wantFailure(cancel(d, false), problem{fescue.DeploymentCancelled, by})
		if offer := s.poll("waiting", 0); offer.DeploymentID != "" {
			t.Errorf("still offered: %+v", offer)
		}
		if _, err := s.report(d, fescue.EventClaimed); !errors.Is(err, fescue.ErrEnded) {
			t.Errorf("a claim after the cancel: %v", err)
		}
		if epoch, err := s.store.Offers().Epoch(t.Context(), home, "waiting"); err != nil || epoch != d.Epoch {
			t.Errorf("epoch %d, %v: no core worked on it", epoch, err)
		}
	})
	t.Run("a core that works on it is asked, and may come too late", func(t *testing.T) {
		s := s.with(t)
		d := s.reports(s.offered(s.create(s.mill("working"))), fescue.EventClaimed)
		if stop, err := asked(d); err != nil || stop {
			t.Errorf("before the cancel: %v, %v", stop, err)
		}
		if got := cancel(d, false); got.Status != fescue.InProgress || got.CancelRequestedAt.IsZero() {
			t.Errorf("%+v", got)
		}
		cancel(d, false)
		if stop, err := asked(d); err != nil || !stop {
			t.Errorf("after the cancel: %v, %v", stop, err)
		}
		if got := s.reports(d, fescue.EventSucceeded); got.Status != fescue.Success {
			t.Errorf("%+v", got)
		}
		_, err := s.Cancel(t.Context(), home, d.GroupID, d.ID, true, by)
		if !errors.Is(err, fescue.ErrEnded) || !strings.Contains(err.Error(), "ended in Success") {
			t.Errorf("after its end: %v", err)
		}
	})
	t.Run("force does not wait for the core", func(t *testing.T) {
		s := s.with(t)
		d := s.reports(s.offered(s.create(s.mill("lost"))), fescue.EventClaimed, fescue.EventStaged)
		s.wantFailure(cancel(d, true), problem{fescue.DeploymentForcedAway, "A forced cancel by " + by})
		if epoch, err := s.store.Offers().Epoch(t.Context(), home, "lost"); err != nil || epoch != d.Epoch+1 {
			t.Errorf("epoch %d, %v, want one above %d", epoch, err, d.Epoch)
		}
		if _, err := asked(d); !errors.Is(err, fescue.ErrEnded) {
			t.Errorf("the core's progress: %v", err)
		}
		if got, err := s.report(d, fescue.EventSucceeded); !errors.Is(err, fescue.ErrEnded) {
			t.Errorf("the core's success: %+v, %v", got, err)
		}
		if got := s.reports(d, fescue.EventWentBack); got.Status != fescue.Failure {
			t.Errorf("%+v", got)
		}
		timeline, err := s.Timeline(t.Context(), home, d.GroupID, d.ID)
		if err != nil {
			t.Fatal(err)
		}
		var events []fescue.DeploymentEvent
		for _, step := range timeline.Steps {
			events = append(events, step.Event)
		}
		want := []fescue.DeploymentEvent{"Created", fescue.EventBuilt, fescue.EventClaimed, fescue.EventStaged, fescue.EventForcedAway, fescue.EventWentBack}
		if !slices.Equal(events, want) {
			t.Errorf("timeline %v, want %v", events, want)
		}
	})
	t.Run("what is not there", func(t *testing.T) {
		s := s.with(t)
		d := s.offered(s.create(s.mill("elsewhere")))
		for name, call := range map[string]func() (fescue.Deployment, error){
			"another group":     func() (fescue.Deployment, error) { return s.Cancel(t.Context(), home, fescue.NewID(), d.ID, false, by) },
			"another partition": func() (fescue.Deployment, error) { return s.Cancel(t.Context(), elsewhere, d.GroupID, d.ID, false, by) },
			"an unknown id": func() (fescue.Deployment, error) {
				return s.Cancel(t.Context(), home, d.GroupID, fescue.NewID(), false, by)
			},
		} {
			if _, err := call(); !errors.Is(err, fescue.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("what is being built ends at once and is not offered", func(t *testing.T) {
		s := s.with(t)
		stop() // nobody builds
		group, version := s.create(s.mill("building"))
		d := s.accept(group, version)
		s.wantFailure(cancel(d, false), problem{fescue.DeploymentCancelled, by})
		s.run(s.another(nil))
		next := s.offered(group, version)
		if offer := s.poll("building", 0); offer.DeploymentID != next.ID {
			t.Errorf("offered %+v", offer)
		}
	})
}

func TestProgressRefusals(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)
	d := s.reports(s.offered(s.create(s.mill("core"))), fescue.EventClaimed)
	for name, row := range map[string]struct {
		thing string
		r     corelink.ProgressReport
		want  error
	}{
		"another core":    {"other", corelink.ProgressReport{Epoch: d.Epoch}, fescue.ErrNotFound},
		"an old epoch":    {"core", corelink.ProgressReport{Epoch: d.Epoch + 1}, fescue.ErrWrongEpoch},
		"no epoch":        {"core", corelink.ProgressReport{}, deploy.ErrReport},
		"negative bytes":  {"core", corelink.ProgressReport{Epoch: d.Epoch, Fetched: -1}, deploy.ErrReport},
		"a long activity": {"core", corelink.ProgressReport{Epoch: d.Epoch, Activity: strings.Repeat("x", 9<<10)}, deploy.ErrReport},
	} {
		if _, err := s.Progress(t.Context(), home, row.thing, d.GroupID, d.ID, row.r); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
	if _, err := s.Progress(t.Context(), home, "core", d.GroupID, d.ID, corelink.ProgressReport{Epoch: d.Epoch, Activity: "a\x00b", Fetched: 2, ToFetch: 4}); err != nil {
		t.Fatal(err)
	}
	timeline, err := s.Timeline(t.Context(), home, d.GroupID, d.ID)
	if p := timeline.Progress; err != nil || p.Activity != "a\uFFFDb" || p.Fetched != 2 || p.ToFetch != 4 || p.At.IsZero() {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	s := open(t)
	stop := s.run(s.Engine)
	group, version := s.create(s.mill("waiting"))
	waiting := s.offered(group, version)
	claimed := s.reports(s.offered(s.create(s.mill("claimed"))), fescue.EventClaimed)
	staged := s.reports(s.offered(s.create(s.mill("staged"))), fescue.EventClaimed, fescue.EventStaged)
	switched := s.reports(s.offered(s.create(s.mill("switched"))), fescue.EventClaimed, fescue.EventSwitched)
	stop()
	s.presence.Saw(home, "waiting")
	s.presence.Connected(home, "waiting", "10.0.0.7")
	s.presence.Gone(home, "waiting")

	// An hour later the deadlines of switching and of health have passed.
	after := func(d time.Duration, limits deploy.Deadlines) *deploy.Engine {
		return s.another(func(o *deploy.Options) {
			o.Now, o.Deadlines = func() time.Time { return time.Now().Add(d) }, limits
		})
	}
	hourLater := after(time.Hour, deploy.Deadlines{})
	stop = s.run(hourLater)
	testkit.Until(s.t, "the staged and the switched one end", func() bool {
		return s.read(staged).Status.Final() && s.read(switched).Status.Final()
	})
	s.wantFailure(s.read(staged), problem{fescue.DeploymentTimedOut, "The core staged claimed this deployment"})
	s.wantFailure(s.read(switched), problem{fescue.DeploymentTimedOut, "longer than 30m0s in the phase Switched"})
	for _, d := range []fescue.Deployment{waiting, claimed} {
		if got := s.read(d); got.Status != fescue.InProgress {
			t.Errorf("%s ended: %s", got.CoreThing, got.ErrorMessage)
		}
	}
	timeline, err := hourLater.Timeline(t.Context(), home, claimed.GroupID, claimed.ID)
	if want := s.read(claimed).UpdatedAt.Add(6 * time.Hour); err != nil || !timeline.Deadline.Equal(want) {
		t.Errorf("deadline %v, %v, want %v", timeline.Deadline, err, want)
	}
	stop()

	// A week later the download has, and the wait for the core only where a
	// deadline was set.
	stop = s.run(after(7*24*time.Hour, deploy.Deadlines{}))
	testkit.Until(s.t, "the claimed one ends", func() bool { return s.read(claimed).Status.Final() })
	if got := s.read(waiting); got.Status != fescue.InProgress {
		t.Errorf("%s ended without a deadline: %s", got.CoreThing, got.ErrorMessage)
	}
	stop()
	stop = s.run(after(7*24*time.Hour, deploy.Deadlines{Offline: 72 * time.Hour}))
	testkit.Until(s.t, "the waiting one ends", func() bool { return s.read(waiting).Status.Final() })
	s.wantFailure(s.read(waiting), problem{fescue.DeploymentExpired, "within 72h0m0s; it was last seen: 20"})
	stop()

	// What timed out has raised its core's epoch; what no core had claimed has not.
	for _, row := range []struct {
		fescue.Deployment
		above int64
	}{{waiting, 0}, {claimed, 1}, {staged, 1}, {switched, 1}} {
		if epoch, err := s.store.Offers().Epoch(t.Context(), home, row.CoreThing); err != nil || epoch != row.Epoch+row.above {
			t.Errorf("%s: epoch %d, %v; the deployment had %d", row.CoreThing, epoch, err, row.Epoch)
		}
	}
	s.run(s.another(nil))
	if next := s.offered(group, version); next.Epoch != waiting.Epoch+1 {
		t.Errorf("the next epoch is %d", next.Epoch)
	}
}
