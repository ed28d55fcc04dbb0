package deploy_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/corelink"
)

func TestWrongClock(t *testing.T) {
	t.Parallel()
	whole := []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched, fescue.EventSucceeded}
	t.Run("a builder died whose clock was a year ahead", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		group, version := s.create(s.mill("mill"))
		d := s.accept(group, version)
		if list, err := s.store.Deployments().LeaseBuilding(t.Context(), "aws", time.Now().AddDate(1, 0, 0), 1); err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		s.run(s.another(nil))
		offer, err := s.Await(t.Context(), home, "mill", corelink.Poll{Wait: patience}, anybody)
		if err != nil || offer.DeploymentID != d.ID {
			t.Errorf("offered %+v, %v, want %s", offer, err, d.ID)
		}
	})
	t.Run("the clock goes back a day each time", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		var days atomic.Int64
		e := s.another(func(o *deploy.Options) {
			o.Now = func() time.Time { return time.Now().AddDate(0, 0, -int(days.Add(1))) }
		})
		s.Engine = e
		s.run(e)
		for range 3 {
			if got := s.reports(s.offered(s.create(s.mill("mill"+fescue.NewID()))), whole...); got.Status != fescue.Success {
				t.Errorf("%+v", got)
			}
		}
	})
}
