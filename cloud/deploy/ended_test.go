package deploy_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
)

// forgetful is a store that can lose its deployments, as retention removes them,
// and counts how often it is asked for one.
type forgetful struct {
	deploy.DeploymentStore
	gone  bool
	asked int
}

func (f *forgetful) DeploymentStatus(ctx context.Context, p fescue.Partition, groupID, id string) (fescue.CurrentStatus, error) {
	if f.asked++; f.gone {
		return fescue.CurrentStatus{}, fescue.ErrNotFound
	}
	return f.DeploymentStore.DeploymentStatus(ctx, p, groupID, id)
}

func TestEndedDeploymentsAreRemembered(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)
	d := s.offered(s.create(s.mill("Mill")))
	now := time.Now()
	f := &forgetful{DeploymentStore: s.store.Deployments()}
	e := s.another(func(o *deploy.Options) { o.Stores.Deployments, o.Now = f, func() time.Time { return now } })
	status := func(want fescue.DeploymentStatus, asked int) {
		t.Helper()
		got, err := e.Status(t.Context(), home, d.GroupID, d.ID)
		if err != nil || got.Status != want || f.asked != asked {
			t.Fatalf("%s, asked %d times, %v; want %s, asked %d times", got.Status, f.asked, err, want, asked)
		}
	}
	status(fescue.InProgress, 1)
	status(fescue.InProgress, 2) // what goes on is always read
	s.reports(d, fescue.EventClaimed, fescue.EventSucceeded)
	status(fescue.Success, 3)
	status(fescue.Success, 3)

	for _, other := range []struct {
		p         fescue.Partition
		group, id string
	}{{home, fescue.NewID(), d.ID}, {home, d.GroupID, fescue.NewID()}, {fescue.Partition{AWS: "aws", Account: "1", Region: "r"}, d.GroupID, d.ID}} {
		if _, err := e.Status(t.Context(), other.p, other.group, other.id); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("%+v: %v", other, err)
		}
	}
	f.asked, f.gone = 3, true
	now = now.Add(4 * time.Second)
	status(fescue.Success, 3)
	now = now.Add(2 * time.Second)
	if _, err := e.Status(t.Context(), home, d.GroupID, d.ID); !errors.Is(err, fescue.ErrNotFound) {
		t.Errorf("what was removed is remembered for ever: %v", err)
	}
}
