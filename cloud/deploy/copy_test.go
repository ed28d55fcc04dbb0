package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/testkit"
)

// slowShelf has one model that is there, and others that are copied when they are let
// go, for as long as their copies are wanted.
type slowShelf struct {
	shelf
	mu       sync.Mutex
	copies   int
	ended    int
	released chan struct{}
	failure  error
}

func (s *slowShelf) Model(_ context.Context, _ fescue.Partition, uri string) (deploy.Model, error) {
	m := deploy.Model{Size: 100, Packing: bundle.TarGz}
	if uri == "s3://b/there" {
		m.SHA256 = strings.Repeat("e", 64)
	}
	return m, nil
}

func (s *slowShelf) Copy(ctx context.Context, p fescue.Partition, uri string, copied func(int64)) (deploy.Model, error) {
	s.mu.Lock()
	s.copies++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.ended++
		s.mu.Unlock()
	}()
	copied(40)
	select {
	case <-ctx.Done():
		return deploy.Model{}, ctx.Err()
	case <-s.released:
	}
	m, _ := s.Model(ctx, p, uri)
	m.SHA256 = strings.Repeat("d", 64)
	return m, s.failure
}

// lostAnswer renews leases, and loses the answer to the second renewal.
type lostAnswer struct {
	deploy.DeploymentStore
	renewals, renewed atomic.Int64
}

func (l *lostAnswer) KeepBuilding(ctx context.Context, d fescue.Deployment, held, until time.Time, progress fescue.Progress) error {
	n := l.renewals.Add(1)
	err := l.DeploymentStore.KeepBuilding(ctx, d, held, until, progress)
	if err == nil && n == 2 {
		return errors.New("the connection was lost")
	}
	if err == nil {
		l.renewed.Add(1)
	}
	return err
}

// sayWaits calls before, once, before a deployment says that it waits for a place.
type sayWaits struct {
	deploy.DeploymentStore
	once   sync.Once
	before func()
}

func (w *sayWaits) KeepBuilding(ctx context.Context, d fescue.Deployment, held, until time.Time, progress fescue.Progress) error {
	if strings.HasPrefix(progress.Activity, "waiting for the models of other deployments") {
		w.once.Do(w.before)
	}
	return w.DeploymentStore.KeepBuilding(ctx, d, held, until, progress)
}

func (s *slowShelf) count() (copies, ended int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copies, s.ended
}

// modelled is a group whose function is given models.
func (s *site) modelled(thing string, uris ...string) (group, version string) {
	g := s.mill(thing).functions(reader + ":1")
	var resources fescue.ResourceDefinitionVersion
	var policies []fescue.ResourceAccessPolicy
	for i, uri := range uris {
		id := string(rune('a' + i))
		resources.Resources = append(resources.Resources, fescue.Resource{Id: id, Name: id, ResourceDataContainer: fescue.ResourceDataContainer{
			S3MachineLearningModelResourceData: &fescue.S3ModelResourceData{S3Uri: uri, DestinationPath: "/ml/" + id},
		}})
		policies = append(policies, fescue.ResourceAccessPolicy{ResourceId: id, Permission: "ro"})
	}
	f := g.bodies[fescue.FunctionKind.Segment].(fescue.FunctionDefinitionVersion)
	f.Functions[0].FunctionConfiguration.Environment = &fescue.FunctionEnvironment{ResourceAccessPolicies: policies}
	return s.create(g.set(fescue.FunctionKind, f).set(fescue.ResourceKind, resources))
}

func TestCopying(t *testing.T) {
	t.Parallel()
	slow := func(t *testing.T) (*site, *slowShelf) {
		s, models := open(t), &slowShelf{released: make(chan struct{})}
		s.options.Models = models
		s.Engine = s.another(nil)
		return s, models
	}
	copying := func(s *site, d fescue.Deployment) {
		s.t.Helper()
		testkit.Until(s.t, "the timeline says how far the copy is", func() bool {
			timeline, err := s.Timeline(s.t.Context(), home, d.GroupID, d.ID)
			if err != nil {
				s.t.Fatal(err)
			}
			return timeline.Progress.Activity == "copying the model of resource b from s3://b/slow" && timeline.Progress.Fetched == 40 && timeline.Progress.ToFetch == 100
		})
	}
	t.Run("others are built meanwhile", func(t *testing.T) {
		t.Parallel()
		s, models := slow(t)
		s.run(s.Engine)
		d := s.accept(s.modelled("slow", "s3://b/there", "s3://b/slow"))
		copying(s, d)
		s.offered(s.modelled("quick", "s3://b/there"))
		s.offered(s.create(s.mill("plain").functions(stats + ":1")))
		if d = s.read(d); d.Status != fescue.Building {
			t.Fatalf("deployment is %s before its model is there", d.Status)
		}
		// Another server leaves it alone.
		if list, err := s.store.Deployments().LeaseBuilding(t.Context(), "aws", s.options.Now(), 9); err != nil || len(list) > 0 {
			t.Errorf("a deployment whose models are copied was handed out: %+v, %v", list, err)
		}
		close(models.released)
		if d = s.built(d); d.Phase != fescue.Offered {
			t.Fatalf("%s %s", d.Status, d.ErrorMessage)
		}
		var sums []string
		for _, a := range s.manifest(s.poll("slow", 0)).Artifacts {
			sums = append(sums, a.SHA256[:2])
		}
		if got := strings.Join(sums, " "); !strings.HasSuffix(got, "ee dd") {
			t.Errorf("artifacts %s", got)
		}
		timeline, err := s.Timeline(t.Context(), home, d.GroupID, d.ID)
		if copies, _ := models.count(); err != nil || timeline.Progress != (fescue.Progress{}) || copies != 1 {
			t.Errorf("%+v, %v, after %d copies", timeline.Progress, err, copies)
		}
	})
	t.Run("a cancelled one ends its copy", func(t *testing.T) {
		t.Parallel()
		s, models := slow(t)
		s.run(s.Engine)
		d := s.accept(s.modelled("cancelled", "s3://b/there", "s3://b/slow"))
		copying(s, d)
		if _, err := s.Cancel(t.Context(), home, d.GroupID, d.ID, false, "a test"); err != nil {
			t.Fatal(err)
		}
		testkit.Until(t, "the copy ends", func() bool { _, ended := models.count(); return ended == 1 })
		s.wantFailure(s.read(d), problem{fescue.DeploymentCancelled, "a test"})
	})
	t.Run("the next server takes it up at once", func(t *testing.T) {
		t.Parallel()
		s, models := slow(t)
		stop := s.run(s.Engine)
		d := s.accept(s.modelled("moved", "s3://b/there", "s3://b/slow"))
		copying(s, d)
		stop()
		close(models.released)
		s.run(s.another(nil))
		if d = s.built(d); d.Phase != fescue.Offered {
			t.Fatalf("%s %s", d.Status, d.ErrorMessage)
		}
		if copies, ended := models.count(); copies != 2 || ended != 2 {
			t.Errorf("%d copies, %d ended", copies, ended)
		}
	})
	t.Run("what is found of a model only when it is copied", func(t *testing.T) {
		t.Parallel()
		s, models := slow(t)
		models.failure = fescue.Refuse(deploy.ErrModel, "it grew")
		close(models.released)
		s.run(s.Engine)
		s.wantFailure(s.deploy(s.modelled("refused", "s3://b/slow")), problem{fescue.ModelArchive, "it grew"})
	})
	t.Run("a dry run copies nothing", func(t *testing.T) {
		t.Parallel()
		s, models := slow(t)
		group, version := s.modelled("dry", "s3://b/slow")
		check, err := s.Check(t.Context(), home, group, version, 0)
		if copies, _ := models.count(); err != nil || len(check.Building) > 0 || copies > 0 {
			t.Errorf("%+v, %v, after %d copies", check, err, copies)
		}
	})
	t.Run("a renewal that was written in spite of its error", func(t *testing.T) {
		t.Parallel()
		s, models := slow(t)
		lost := &lostAnswer{DeploymentStore: s.options.Stores.Deployments}
		s.run(s.another(func(o *deploy.Options) { o.Stores.Deployments = lost }))
		d := s.accept(s.modelled("renewed", "s3://b/slow"))
		testkit.Until(t, "the lease is renewed again", func() bool { return lost.renewed.Load() > 4 })
		if copies, ended := models.count(); copies != 1 || ended != 0 {
			t.Errorf("%d copies, %d ended", copies, ended)
		}
		close(models.released)
		if d = s.built(d); d.Phase != fescue.Offered {
			t.Fatalf("%s %s", d.Status, d.ErrorMessage)
		}
	})
	t.Run("more than there are places for", func(t *testing.T) {
		t.Parallel()
		s, models := slow(t)
		s.options.Now = func() time.Time { return time.Now().Add(10 * time.Minute) }
		s.Engine = s.another(nil)
		s.run(s.Engine)
		var list []fescue.Deployment
		for i := range 17 {
			list = append(list, s.accept(s.modelled("crowd"+string(rune('a'+i)), "s3://b/slow")))
		}
		s.offered(s.create(s.mill("beside").functions(stats + ":1")))
		testkit.Until(t, "one says that it waits", func() bool {
			for _, d := range list {
				p, err := s.store.Deployments().Progress(t.Context(), home, d.ID)
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(p.Activity, "waiting for the models of other deployments") {
					return true
				}
			}
			return false
		})
		if copies, _ := models.count(); copies != 16 {
			t.Errorf("%d copies at once", copies)
		}
		// The leases are far from their end.
		close(models.released)
		for _, d := range list {
			if d = s.built(d); d.Phase != fescue.Offered {
				t.Errorf("%s %s", d.Status, d.ErrorMessage)
			}
		}
		if copies, _ := models.count(); copies != 17 {
			t.Errorf("%d copies", copies)
		}
	})
	t.Run("all copies end before one has said that it waits", func(t *testing.T) {
		t.Parallel()
		s, models := slow(t)
		s.options.Now = func() time.Time { return time.Now().Add(10 * time.Minute) }
		var list []fescue.Deployment
		// It is called by the engine, so that it may not end the test.
		endFirst := func() {
			if err := testkit.Within(t.Context(), testkit.Patience, func() error {
				if copies, ended := models.count(); copies != 16 {
					return fmt.Errorf("%d copies, of which %d have ended", copies, ended)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			close(models.released)
			if err := testkit.Within(t.Context(), testkit.Patience, func() error {
				waiting := 0
				for _, d := range list {
					d, err := s.store.Deployments().Deployment(t.Context(), home, d.GroupID, d.ID)
					if err != nil {
						return err
					}
					if d.Status == fescue.Building {
						waiting++
					}
				}
				if waiting != 1 {
					return fmt.Errorf("%d deployments are not built yet", waiting)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
		waits := &sayWaits{DeploymentStore: s.options.Stores.Deployments, before: endFirst}
		for i := range 17 {
			list = append(list, s.accept(s.modelled("gone"+string(rune('a'+i)), "s3://b/slow")))
		}
		s.run(s.another(func(o *deploy.Options) { o.Stores.Deployments = waits }))
		for _, d := range list {
			if d = s.built(d); d.Phase != fescue.Offered {
				t.Errorf("%s %s", d.Status, d.ErrorMessage)
			}
		}
		if copies, _ := models.count(); copies != 17 {
			t.Errorf("%d copies", copies)
		}
	})
}
