package deploy_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/corelink"
)

func (s *site) reset(group string, force bool, token fescue.Token) (fescue.Deployment, error) {
	s.t.Helper()
	return s.Reset(s.t.Context(), home, group, force, token)
}

func TestReset(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)

	t.Run("another reset was faster", func(t *testing.T) {
		s := s.with(t)
		id, _ := s.create(s.mill("raced"))
		// What Create leaves when the group still had its core at that instant.
		d, err := s.store.Deployments().CreateDeployment(t.Context(), fescue.Deployment{
			Partition: home, ID: fescue.NewID(), GroupID: id, Type: fescue.ResetDeployment,
			Status: fescue.Building, CreatedAt: time.Now(), UpdatedAt: time.Now(),
		}, fescue.Token{})
		if err != nil {
			t.Fatal(err)
		}
		s.wantFailure(s.built(d), problem{fescue.NothingToReset, "Group id: " + id + " has not been deployed or has already been reset"})
	})
	t.Run("it waits for the core and gives it free", func(t *testing.T) {
		s := s.with(t)
		id, version := s.create(s.mill("reset"))
		s.reports(s.offered(id, version), fescue.EventClaimed, fescue.EventSucceeded)
		d, err := s.reset(id, false, fescue.Token{})
		if err != nil {
			t.Fatal(err)
		}
		d = s.built(d)
		if d.Status != fescue.InProgress || d.Phase != fescue.Offered {
			t.Fatalf("%s %s: want it offered", d.Status, d.Phase)
		}
		m := s.manifest(s.poll("reset", 1))
		if m.DeploymentID != d.ID || m.DeploymentType != fescue.ResetDeployment || len(m.Artifacts) != 0 {
			t.Errorf("manifest %+v", m)
		}
		s.reports(d, fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched, fescue.EventSucceeded)
		if _, err := s.reset(id, false, fescue.Token{}); !errors.Is(err, deploy.ErrNotDeployed) {
			t.Errorf("a second reset: %v", err)
		}
	})
	t.Run("it is refused while a deployment is under way", func(t *testing.T) {
		s := s.with(t)
		id, version := s.create(s.mill("busy"))
		s.offered(id, version)
		if _, err := s.reset(id, false, fescue.Token{}); !errors.Is(err, deploy.ErrUnfinished) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("asked again with its token it is the same reset", func(t *testing.T) {
		s := s.with(t)
		id, version := s.create(s.mill("repeated"))
		s.reports(s.offered(id, version), fescue.EventClaimed, fescue.EventSucceeded)
		token := fescue.Token{Operation: "ResetDeployments", Value: "once", RequestHash: "a"}
		first, err := s.reset(id, false, token)
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.reset(id, false, token)
		if err != nil || again.ID != first.ID {
			t.Errorf("while it is under way: %s, %v: want %s", again.ID, err, first.ID)
		}
		s.reports(s.built(first), fescue.EventClaimed, fescue.EventSucceeded)
		again, err = s.reset(id, false, token)
		if err != nil || again.ID != first.ID || again.Status != fescue.Success {
			t.Errorf("after its end: %+v, %v", again, err)
		}
		token.RequestHash = "b"
		if _, err := s.reset(id, false, token); !errors.Is(err, fescue.ErrTokenReused) {
			t.Errorf("with another request: %v", err)
		}
	})
	t.Run("forced, it ends what was claimed and raises the epoch", func(t *testing.T) {
		s := s.with(t)
		id, version := s.create(s.mill("lost"))
		claimed := s.reports(s.offered(id, version), fescue.EventClaimed)
		d, err := s.reset(id, true, fescue.Token{})
		if err != nil {
			t.Fatal(err)
		}
		if d = s.built(d); d.Status != fescue.Success {
			t.Errorf("status %s", d.Status)
		}
		s.wantFailure(s.read(claimed), problem{fescue.DeploymentForcedAway, d.ID})
		if _, err := s.report(claimed, fescue.EventSucceeded); !errors.Is(err, fescue.ErrEnded) {
			t.Errorf("the core's late report: %v", err)
		}
		// The core finds the reset when it comes, and its reports are taken.
		if offer := s.poll("lost", claimed.Epoch); offer.DeploymentID != d.ID || offer.Epoch <= claimed.Epoch {
			t.Errorf("offer %+v", offer)
		}
		s.reports(d, fescue.EventClaimed)
		if _, err := s.Progress(t.Context(), home, "lost", d.GroupID, d.ID, corelink.ProgressReport{Epoch: d.Epoch, Activity: "clearing"}); err != nil {
			t.Errorf("its core says what it does: %v", err)
		}
		s.reports(d, fescue.EventSucceeded)
	})
	t.Run("forced, it succeeds without a core", func(t *testing.T) {
		s := s.with(t)
		id, _ := s.create(s.mill("never"))
		d, err := s.reset(id, true, fescue.Token{})
		if err != nil {
			t.Fatal(err)
		}
		if d = s.built(d); d.Status != fescue.Success || d.CoreThing != "" {
			t.Errorf("%+v", d)
		}
	})
	t.Run("an unknown group is refused", func(t *testing.T) {
		for _, id := range []string{fescue.NewID(), "../x", ""} {
			if _, err := s.with(t).reset(id, true, fescue.Token{}); !errors.Is(err, deploy.ErrUnknownGroup) {
				t.Errorf("group %q: %v", id, err)
			}
		}
	})
}
