package deploy_test

import (
	"context"
	"io"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/testkit"
)

// unsearched has nothing that is to be built be found in the database, and tells of each search.
type unsearched struct {
	deploy.DeploymentStore
	searched chan struct{}
}

func (u unsearched) LeaseBuilding(context.Context, string, time.Time, int) ([]fescue.Deployment, error) {
	select {
	case u.searched <- struct{}{}:
	default:
	}
	return nil, nil
}

// parting has its engine's builder stop between a batch being accepted and its being handed over.
type parting struct {
	deploy.DeploymentStore
	stop func()
}

func (p *parting) CreateDeployments(ctx context.Context, list []deploy.Request) ([]deploy.Answer, error) {
	answers, err := p.DeploymentStore.CreateDeployments(ctx, list)
	p.stop()
	return answers, err
}

// stuck are artifacts that are not put before the context ends.
type stuck struct{ putting chan struct{} }

func (a stuck) Put(ctx context.Context, _ string, _ io.Reader) error {
	a.putting <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// requests are deployments of groups with a core each.
func (s *site) requests(n int) (list []deploy.Request) {
	s.t.Helper()
	for i := range n {
		group, version := s.create(s.mill("Mill" + strconv.Itoa(i)))
		list = append(list, deploy.Request{Deployment: fescue.Deployment{GroupID: group, GroupVersionID: version}})
	}
	return list
}

// acceptAll has an engine accept deployments, and returns them.
func (s *site) acceptAll(e *deploy.Engine, requests []deploy.Request) (list []fescue.Deployment) {
	s.t.Helper()
	for i, a := range e.CreateAll(s.t.Context(), home, requests) {
		if a.Err != nil {
			s.t.Fatalf("%d: %v", i, a.Err)
		}
		list = append(list, a.Deployment)
	}
	return list
}

// leasable are the ids of what a builder would find now.
func (s *site) leasable() (ids []string) {
	s.t.Helper()
	list, err := s.store.Deployments().LeaseBuilding(s.t.Context(), "aws", time.Now().Add(time.Minute), 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	slices.Sort(ids)
	return ids
}

func ids(list []fescue.Deployment) (ids []string) {
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	slices.Sort(ids)
	return ids
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	t.Run("a builder has what its server accepted without looking for it", func(t *testing.T) {
		t.Parallel()
		s, searched := open(t), make(chan struct{}, 1)
		e := s.another(func(o *deploy.Options) { o.Stores.Deployments = unsearched{s.store.Deployments(), searched} })
		s.run(e)
		testkit.Receive(t, "a first search", searched) // the builder runs
		requests := s.requests(20)
		for _, d := range s.acceptAll(e, requests) {
			if d := s.built(d); d.Status != fescue.InProgress {
				t.Errorf("%s %s", d.Status, d.ErrorMessage)
			}
		}
		// What an earlier call made is not handed over once more.
		token := fescue.Token{Operation: "o", Value: "v", RequestHash: "h"}
		for i := range requests {
			requests[i].Token = token
		}
		first := s.acceptAll(e, requests[:1])
		s.built(first[0])
		if again := s.acceptAll(e, requests[:1]); again[0].ID != first[0].ID {
			t.Errorf("again: %s, want %s", again[0].ID, first[0].ID)
		}
	})
	t.Run("others find what was accepted while the builder stopped, and its room is free", func(t *testing.T) {
		t.Parallel()
		s, searched, putting := open(t), make(chan struct{}, 1), make(chan struct{})
		p := &parting{DeploymentStore: unsearched{s.store.Deployments(), searched}}
		e := s.another(func(o *deploy.Options) { o.Stores.Deployments, o.Artifacts = p, stuck{putting} })
		p.stop = s.run(e)
		testkit.Receive(t, "a first search", searched)
		requests := s.requests(170)
		list := s.acceptAll(e, requests[:20])
		if got := s.leasable(); !slices.Equal(got, ids(list)) {
			t.Errorf("found %v, want %v", got, ids(list))
		}
		p.stop = func() {}
		select { // of the builder that stopped
		case <-searched:
		default:
		}
		s.run(e)
		testkit.Receive(t, "a search", searched)
		s.acceptAll(e, requests[20:])
		for range 32 {
			testkit.Receive(t, "a deployment under way", putting)
		}
		if left := len(s.leasable()); left != 150-128 {
			t.Errorf("%d for others at once", left)
		}
	})
	t.Run("a server that has the database to itself builds at once what it had when it was killed", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		requests := s.requests(3)
		var list []fescue.Deployment
		for i, until := range []time.Time{time.Now().Add(100 * time.Second), time.Now().Add(-time.Minute), {}} {
			d := requests[i].Deployment
			d.Partition, d.ID, d.Type, d.Status, d.CreatedAt, d.UpdatedAt = home, fescue.NewTimedID(), fescue.NewDeployment, fescue.Building, time.Now(), time.Now()
			made, err := s.store.Deployments().CreateDeployments(t.Context(), []deploy.Request{{Deployment: d, LeasedUntil: until}})
			if err != nil || made[0].Err != nil {
				t.Fatal(err, made)
			}
			list = append(list, made[0].Deployment)
		}
		s.run(s.another(func(o *deploy.Options) { o.Alone = true }))
		for _, d := range list {
			if d := s.built(d); d.Status != fescue.InProgress {
				t.Errorf("%s %s", d.Status, d.ErrorMessage)
			}
		}
	})
	t.Run("where nobody builds, whoever does finds it", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		list := s.acceptAll(s.Engine, s.requests(3))
		if got := s.leasable(); !slices.Equal(got, ids(list)) {
			t.Errorf("found %v, want %v", got, ids(list))
		}
	})
	t.Run("more than there is room for, and what was not built when the server stops, others find", func(t *testing.T) {
		t.Parallel()
		s, searched, putting := open(t), make(chan struct{}, 1), make(chan struct{})
		e := s.another(func(o *deploy.Options) {
			o.Stores.Deployments, o.Artifacts = unsearched{s.store.Deployments(), searched}, stuck{putting}
		})
		stop := s.run(e)
		testkit.Receive(t, "a first search", searched)
		list := s.acceptAll(e, s.requests(200))
		for range 32 {
			testkit.Receive(t, "a deployment under way", putting)
		}
		left := s.leasable()
		if len(left) != 200-128 {
			t.Errorf("%d for others at once", len(left))
		}
		stop()
		if got := slices.Sorted(slices.Values(append(left, s.leasable()...))); !slices.Equal(got, ids(list)) {
			t.Errorf("%d found, want %d", len(got), len(list))
		}
	})
}
