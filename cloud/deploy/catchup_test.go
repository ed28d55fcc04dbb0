package deploy_test

import (
	"testing"

	"github.com/fescue-edge/fescue"
)

// A core that has been through more than this server knows of: the server was
// restored from a backup.
func TestRestoredServer(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)

	t.Run("what is offered next lies above what the core has seen", func(t *testing.T) {
		s := s.with(t)
		id, version := s.create(s.mill("beyond"))
		s.reports(s.offered(id, version), fescue.EventClaimed, fescue.EventSucceeded)
		if offer := s.poll("beyond", 9); offer.Epoch != 9 || offer.DeploymentID != "" {
			t.Errorf("told %+v", offer)
		}
		if d := s.offered(id, version); d.Epoch != 10 {
			t.Errorf("epoch %d", d.Epoch)
		}
		if offer := s.poll("beyond", 9); offer.Epoch != 10 {
			t.Errorf("offered %+v", offer)
		}
	})
	t.Run("a core that nobody knows counts on from its own epoch", func(t *testing.T) {
		s := s.with(t)
		if offer := s.poll("unknown", 3); offer.Epoch != 3 {
			t.Errorf("told %+v", offer)
		}
		if d := s.offered(s.create(s.mill("unknown"))); d.Epoch != 4 {
			t.Errorf("epoch %d", d.Epoch)
		}
	})
	for _, events := range [][]fescue.DeploymentEvent{nil, {fescue.EventClaimed}, {fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched}} {
		name := "offered"
		if len(events) > 0 {
			name = string(events[len(events)-1])
		}
		t.Run("what the core is beyond ends in Failure when it is "+name, func(t *testing.T) {
			s := s.with(t)
			d := s.reports(s.offered(s.create(s.mill("outdated-"+name))), events...)
			if offer := s.poll(d.CoreThing, d.Epoch+4); offer.DeploymentID != "" {
				t.Errorf("offered %+v", offer)
			}
			s.wantFailure(s.read(d), problem{fescue.DeploymentOutdated, "restored from a backup"})
		})
		t.Run("what the core was last through is offered again when it is "+name, func(t *testing.T) {
			s := s.with(t)
			d := s.reports(s.offered(s.create(s.mill("again-"+name))), events...)
			for range 2 {
				if offer := s.poll(d.CoreThing, d.Epoch); offer.DeploymentID != d.ID || offer.Epoch != d.Epoch || len(offer.Envelope) == 0 {
					t.Errorf("offered %+v", offer)
				}
			}
			s.reports(d, fescue.EventClaimed, fescue.EventSucceeded)
			if offer := s.poll(d.CoreThing, d.Epoch); offer.DeploymentID != "" {
				t.Errorf("offered %+v after its end", offer)
			}
		})
	}
	t.Run("a forced reset that the core has done is not offered again", func(t *testing.T) {
		s := s.with(t)
		id, version := s.create(s.mill("forced"))
		s.reports(s.offered(id, version), fescue.EventClaimed, fescue.EventSucceeded)
		reset, err := s.Reset(t.Context(), home, id, true, fescue.Token{})
		if err != nil {
			t.Fatal(err)
		}
		reset = s.built(reset)
		if offer := s.poll("forced", reset.Epoch); offer.DeploymentID != "" {
			t.Errorf("offered %+v", offer)
		}
		if offer := s.poll("forced", reset.Epoch+5); offer.DeploymentID != "" || offer.Epoch != reset.Epoch+5 {
			t.Errorf("offered %+v", offer)
		}
	})
}
