package store_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

// hearing starts a watch that ends with the test.
func hearing(t *testing.T, s *store.DB) <-chan fescue.Deployment {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan fescue.Deployment, 100), make(chan struct{})
	go func() {
		defer close(ended)
		s.Offers().WatchOffers(ctx, "aws", func(d fescue.Deployment) { heard <- d })
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return heard
}

// hears waits for a deployment; others that are heard again are passed over.
func hears(t *testing.T, heard <-chan fescue.Deployment, want fescue.Deployment) time.Duration {
	t.Helper()
	start := time.Now()
	if !hearsWithin(t, heard, want, 30*time.Second) {
		t.Fatalf("%s is not heard of", want.ID)
	}
	return time.Since(start)
}

// hearsOf makes something anew until it is heard of: a watch that has just lost its
// connection misses what it cannot look for.
func hearsOf(t *testing.T, heard <-chan fescue.Deployment, do func() fescue.Deployment) {
	t.Helper()
	for range 12 {
		if hearsWithin(t, heard, do(), 5*time.Second) {
			return
		}
	}
	t.Fatal("nothing of it is heard of")
}

func hearsWithin(t *testing.T, heard <-chan fescue.Deployment, want fescue.Deployment, patience time.Duration) bool {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case d := <-heard:
			if d.ID != want.ID {
				continue
			}
			if d.Partition != want.Partition || d.CoreThing != want.CoreThing || d.GroupID != want.GroupID || d.Epoch != want.Epoch {
				t.Errorf("heard %+v, want %+v", d, want)
			}
			return true
		case <-deadline:
			return false
		}
	}
}

// testOwnOffers: a server does not hear of what it did itself.
func testOwnOffers(t *testing.T, open opener) {
	t.Parallel()
	s := open(t)
	heard := hearing(t, s)
	r := deploying(t, s, "g").offer("core")
	must(s.Deployments().ApplyStep(t.Context(), r.Deployment, fescue.CloudActor, fescue.DeploymentStep{Event: fescue.EventExpired, At: madeAt}))(t)
	select {
	case d := <-heard:
		t.Errorf("heard of %+v", d)
	case <-time.After(100 * time.Millisecond): // nothing can be waited for
	}
}

func TestServersHearOfEachOther(t *testing.T) {
	t.Parallel()
	url := storetest.Postgres(t)
	mine, theirs := storetest.OpenOn(t, url), storetest.OpenOn(t, url)
	heard := hearing(t, theirs)
	// The first may be made before they listen: then they look for it.
	first := deployingIn(t, mine, elsewhere[1], "g")
	first.CreatedAt = time.Now()
	must(0, offerNow(t, mine, first))(t)
	hears(t, heard, first.Deployment)

	second := deploying(t, mine, "g")
	must(0, offerNow(t, mine, second))(t)
	if took := hears(t, heard, second.Deployment); took > time.Second {
		t.Logf("an offer was heard of after %s", took)
	}
	t.Run("of what ends a deployment", func(t *testing.T) {
		hearsOf(t, heard, func() fescue.Deployment {
			return deploying(t, mine, "g").offer("core").step(fescue.EventExpired).Deployment
		})
		hearsOf(t, heard, func() fescue.Deployment {
			return resetting(t, mine, "g", fescue.ForceResetDeployment).force("core").Deployment
		})
	})
	t.Run("of a check", func(t *testing.T) {
		id := fescue.NewID()
		if err := mine.Checks().AskCheck(t.Context(), homePartition, "asked", id, []byte(`{}`), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		hears(t, heard, fescue.Deployment{ID: id, Partition: homePartition, CoreThing: "asked"})
	})
	t.Run("of a check that was asked before they listen", func(t *testing.T) {
		id := fescue.NewID()
		if err := mine.Checks().AskCheck(t.Context(), homePartition, "early", id, []byte(`{}`), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		hears(t, hearing(t, storetest.OpenOn(t, url)), fescue.Deployment{ID: id, Partition: homePartition, CoreThing: "early"})
	})
	t.Run("after the connection was lost", func(t *testing.T) {
		db := must(sql.Open("pgx", url))(t)
		defer db.Close()
		for range 3 {
			if _, err := db.ExecContext(t.Context(), `
				SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE query LIKE '%pg_notify%' AND pid <> pg_backend_pid() AND datname = current_database()`); err != nil {
				t.Fatal(err)
			}
			r := deploying(t, mine, fescue.NewID())
			must(0, offerNow(t, mine, r))(t)
			hears(t, heard, r.Deployment)
		}
	})
	t.Run("and not of what is rolled back", func(t *testing.T) {
		owner := deploying(t, mine, "owner").offer("held").step(fescue.EventClaimed)
		thief := deploying(t, mine, "thief")
		_, _, err := mine.Offers().Offer(t.Context(), thief.Deployment, "held", madeAt, fescue.DeploymentStep{Event: fescue.EventSuperseded, At: madeAt}, signed)
		refused(t, "Offer", err, fescue.ErrInUse)
		last := deploying(t, mine, "last")
		must(0, offerNow(t, mine, last))(t)
		for deadline := time.After(30 * time.Second); ; {
			select {
			case d := <-heard:
				if d.ID == thief.ID {
					t.Errorf("heard of %+v", d)
				}
				if d.ID != last.ID {
					continue
				}
			case <-deadline:
				t.Fatal("what came after it is not heard of")
			}
			break
		}
		owner.stored()
	})
}

// offerNow offers at the present time, as servers do.
func offerNow(t *testing.T, s *store.DB, r *run) error {
	t.Helper()
	next, _, err := s.Offers().Offer(t.Context(), r.Deployment, "core of "+r.GroupID, time.Now(),
		fescue.DeploymentStep{Event: fescue.EventSuperseded, At: time.Now()}, signed)
	r.Deployment = next
	return err
}
