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

// watching starts a watch that ends with the test.
func watching(t *testing.T, s *store.DB) <-chan fescue.Deployment {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	noticed, ended := make(chan fescue.Deployment, 100), make(chan struct{})
	go func() {
		defer close(ended)
		s.Offers().WatchOffers(ctx, "aws", func(d fescue.Deployment) { noticed <- d })
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return noticed
}

// notices waits for a deployment; others that come again are passed over.
func notices(t *testing.T, noticed <-chan fescue.Deployment, want fescue.Deployment) time.Duration {
	t.Helper()
	start := time.Now()
	if !noticesWithin(t, noticed, want, 30*time.Second) {
		t.Fatalf("%s is not noticed", want.ID)
	}
	return time.Since(start)
}

// noticesAnew makes something anew until it is noticed: a watch that has just lost its
// connection misses what it cannot look for.
func noticesAnew(t *testing.T, noticed <-chan fescue.Deployment, do func() fescue.Deployment) {
	t.Helper()
	for range 12 {
		if noticesWithin(t, noticed, do(), 5*time.Second) {
			return
		}
	}
	t.Fatal("nothing of it is noticed")
}

func noticesWithin(t *testing.T, noticed <-chan fescue.Deployment, want fescue.Deployment, patience time.Duration) bool {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case d := <-noticed:
			if d.ID != want.ID {
				continue
			}
			if d.Partition != want.Partition || d.CoreThing != want.CoreThing || d.GroupID != want.GroupID || d.Epoch != want.Epoch {
				t.Errorf("got %+v, want %+v", d, want)
			}
			return true
		case <-deadline:
			return false
		}
	}
}

// testOwnOffers: a server is not notified of what it did itself.
func testOwnOffers(t *testing.T, open opener) {
	t.Parallel()
	s := open(t)
	noticed := watching(t, s)
	r := deploying(t, s, "g").offer("core")
	must(s.Deployments().ApplyStep(t.Context(), r.Deployment, fescue.CloudActor, fescue.DeploymentStep{Event: fescue.EventExpired, At: madeAt}))(t)
	select {
	case d := <-noticed:
		t.Errorf("notified of %+v", d)
	case <-time.After(100 * time.Millisecond): // nothing can be waited for
	}
}

func TestServersNotifyEachOther(t *testing.T) {
	t.Parallel()
	url := storetest.Postgres(t)
	mine, theirs := storetest.OpenOn(t, url), storetest.OpenOn(t, url)
	noticed := watching(t, theirs)
	// The first may be made before they listen: then they look for it.
	first := deployingIn(t, mine, elsewhere[1], "g")
	first.CreatedAt = time.Now()
	must(0, offerNow(t, mine, first))(t)
	notices(t, noticed, first.Deployment)

	second := deploying(t, mine, "g")
	must(0, offerNow(t, mine, second))(t)
	if took := notices(t, noticed, second.Deployment); took > time.Second {
		t.Logf("an offer was noticed after %s", took)
	}
	t.Run("of what ends a deployment", func(t *testing.T) {
		noticesAnew(t, noticed, func() fescue.Deployment {
			return deploying(t, mine, "g").offer("core").step(fescue.EventExpired).Deployment
		})
		noticesAnew(t, noticed, func() fescue.Deployment {
			return resetting(t, mine, "g", fescue.ForceResetDeployment).force("core").Deployment
		})
	})
	t.Run("of a check", func(t *testing.T) {
		id := fescue.NewID()
		if err := mine.Checks().AskCheck(t.Context(), homePartition, "asked", id, []byte(`{}`), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		notices(t, noticed, fescue.Deployment{ID: id, Partition: homePartition, CoreThing: "asked"})
	})
	t.Run("of a check that was asked before they listen", func(t *testing.T) {
		id := fescue.NewID()
		if err := mine.Checks().AskCheck(t.Context(), homePartition, "early", id, []byte(`{}`), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		notices(t, watching(t, storetest.OpenOn(t, url)), fescue.Deployment{ID: id, Partition: homePartition, CoreThing: "early"})
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
			notices(t, noticed, r.Deployment)
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
			case d := <-noticed:
				if d.ID == thief.ID {
					t.Errorf("notified of %+v", d)
				}
				if d.ID != last.ID {
					continue
				}
			case <-deadline:
				t.Fatal("what came after it is not noticed")
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
