package deploy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/corelink"
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
			t.Errorf("offered %+v", offer)
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
			t.Errorf("offered %+v", offer)
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
	t.Run("no poll uses up a core's epochs", func(t *testing.T) {
		s := s.with(t)
		waiting := s.offered(s.create(s.mill("leaper")))
		for _, after := range []int64{10_002, 1 << 53, 1<<63 - 1} {
			_, err := s.Await(t.Context(), home, "leaper", corelink.Poll{After: after}, anybody)
			if !errors.Is(err, deploy.ErrEpochJump) || !strings.Contains(err.Error(), fmt.Sprintf("fescue reset-epoch --core leaper --epoch %d", after)) {
				t.Errorf("after %d: %v", after, err)
			}
		}
		if offer := s.poll("leaper", 0); offer.DeploymentID != waiting.ID {
			t.Errorf("offered %+v", offer)
		}
		if offer := s.poll("leaper", 10_001); offer.Epoch < 10_001 || offer.DeploymentID != "" {
			t.Errorf("the most that is believed: %+v", offer)
		}
	})
	t.Run("an operator resets the epoch of a core", func(t *testing.T) {
		s := s.with(t)
		reset := func(thing string, to int64, want deploy.EpochReset) {
			t.Helper()
			if got, err := s.ResetEpoch(t.Context(), home, thing, to); err != nil || got != want {
				t.Errorf("reset to %d: %+v, %v", to, got, err)
			}
		}
		group, version := s.create(s.mill("reset"))
		s.reports(s.offered(group, version), fescue.EventClaimed, fescue.EventSucceeded)
		reset("reset", 1<<53, deploy.EpochReset{Before: 1, Now: 1 << 53})
		// What an earlier version let happen heals by itself, too.
		if offer := s.poll("reset", 1<<53+7); offer.Epoch != 1<<53+7 {
			t.Errorf("offered %+v", offer)
		}
		reset("reset", 0, deploy.EpochReset{Before: 1<<53 + 7, Now: 1})
		if d := s.offered(group, version); d.Epoch != 2 {
			t.Errorf("epoch %d", d.Epoch)
		}
		for _, tc := range []struct {
			thing string
			epoch int64
			want  error
		}{{"reset", -1, deploy.ErrEpoch}, {"reset", 1<<62 + 1, deploy.ErrEpoch}, {"nobody", 1, fescue.ErrNotFound}} {
			if _, err := s.ResetEpoch(t.Context(), home, tc.thing, tc.epoch); !errors.Is(err, tc.want) {
				t.Errorf("%s to %d: %v", tc.thing, tc.epoch, err)
			}
		}
	})
	t.Run("a folder's word raises the epoch of a core, as far as the core's own would", func(t *testing.T) {
		s := s.with(t)
		id, version := s.create(s.mill("restored"))
		for _, tc := range []struct {
			epoch int64
			want  deploy.EpochReset
			err   error
		}{
			{10_001, deploy.EpochReset{}, deploy.ErrEpochJump}, {1 << 53, deploy.EpochReset{}, deploy.ErrEpochJump}, {-1, deploy.EpochReset{}, deploy.ErrEpoch},
			{1<<63 - 1, deploy.EpochReset{}, deploy.ErrEpoch}, {4, deploy.EpochReset{Now: 4}, nil}, {3, deploy.EpochReset{Before: 4, Now: 4}, nil},
		} {
			if got, err := s.RestoreEpoch(t.Context(), home, "restored", tc.epoch); !errors.Is(err, tc.err) || got != tc.want {
				t.Errorf("%d: %+v, %v", tc.epoch, got, err)
			}
		}
		d := s.offered(id, version)
		if d.Epoch != 5 {
			t.Errorf("epoch %d", d.Epoch)
		}
		if offer := s.poll("restored", 4); offer.DeploymentID != d.ID {
			t.Errorf("offered %+v", offer)
		}
		if _, err := s.RestoreEpoch(t.Context(), home, "nobody", 1); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("of nobody: %v", err)
		}
	})
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
