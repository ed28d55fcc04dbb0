package deploy_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
)

// forgetful is a store that can lose its deployments, as retention removes them, counts
// how often it is asked for one, and says of its state what the test has it say.
type forgetful struct {
	deploy.DeploymentStore
	gone  bool
	asked int
	state uint64
	known bool
}

func (f *forgetful) State() (number uint64, known bool) { return f.state, f.known }

func (f *forgetful) DeploymentStatus(ctx context.Context, p fescue.Partition, groupID, id string) (fescue.CurrentStatus, error) {
	if f.asked++; f.gone {
		return fescue.CurrentStatus{}, fescue.ErrNotFound
	}
	return f.DeploymentStore.DeploymentStatus(ctx, p, groupID, id)
}

func TestStatusesAreRemembered(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)
	d := s.offered(s.create(s.mill("Mill")))
	now := time.Now()
	f := &forgetful{DeploymentStore: s.store.Deployments(), known: true}
	e := s.another(func(o *deploy.Options) { o.Stores.Deployments, o.Now = f, func() time.Time { return now } })
	status := func(want fescue.DeploymentStatus, asked int) {
		t.Helper()
		got, err := e.Status(t.Context(), home, d.GroupID, d.ID)
		if err != nil || got.Status != want || f.asked != asked {
			t.Fatalf("%s, asked %d times, %v; want %s, asked %d times", got.Status, f.asked, err, want, asked)
		}
	}
	status(fescue.InProgress, 1)
	status(fescue.InProgress, 1) // nothing was written
	f.state++
	status(fescue.InProgress, 2)
	now = now.Add(time.Second) // another program may have written
	status(fescue.InProgress, 3)
	f.known = false // somebody is writing
	status(fescue.InProgress, 4)
	status(fescue.InProgress, 5)
	s.reports(d, fescue.EventClaimed, fescue.EventSucceeded)
	status(fescue.Success, 6)
	status(fescue.Success, 6)

	for _, other := range []struct {
		p         fescue.Partition
		group, id string
	}{{home, fescue.NewID(), d.ID}, {home, d.GroupID, fescue.NewID()}, {fescue.Partition{AWS: "aws", Account: "1", Region: "r"}, d.GroupID, d.ID}} {
		if _, err := e.Status(t.Context(), other.p, other.group, other.id); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("%+v: %v", other, err)
		}
	}
	f.asked, f.gone = 6, true
	now = now.Add(4 * time.Second)
	status(fescue.Success, 6)
	now = now.Add(2 * time.Second)
	if _, err := e.Status(t.Context(), home, d.GroupID, d.ID); !errors.Is(err, fescue.ErrNotFound) {
		t.Errorf("what was removed is remembered for ever: %v", err)
	}
}

// TestStatusesAreTrue asks for deployments over and over while they and others go on: what
// a core was told before the question is in the answer, and in each later one.
func TestStatusesAreTrue(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)
	const deployments, askers, later = 8, 3, 100
	var work sync.WaitGroup
	for i := range deployments {
		d := s.offered(s.create(s.mill("Mill" + strconv.Itoa(i))))
		var succeeded atomic.Bool
		for range askers {
			work.Go(func() {
				for seen := 0; seen < later; {
					must := seen > 0 || succeeded.Load()
					got, err := s.Status(t.Context(), home, d.GroupID, d.ID)
					if err != nil || must && got.Status != fescue.Success {
						t.Errorf("%s after success, %v", got.Status, err)
						return
					}
					if got.Status == fescue.Success {
						seen++
					}
				}
			})
		}
		work.Go(func() {
			if _, err := s.report(d, fescue.EventClaimed); err != nil {
				t.Error(err)
			}
			if _, err := s.report(d, fescue.EventSucceeded); err != nil {
				t.Error(err)
			}
			succeeded.Store(true)
		})
	}
	work.Wait()
}
