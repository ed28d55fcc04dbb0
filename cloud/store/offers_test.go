package store_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func testOffers(t *testing.T, open opener) {
	t.Parallel()
	t.Run("raises the core's epoch", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		if epoch := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); epoch != 0 {
			t.Errorf("epoch %d before any offer", epoch)
		}
		for want := int64(1); want <= 3; want++ {
			r := deploying(t, s, "g").offer("core")
			if r.Epoch != want || r.CoreThing != "core" || r.Status != fescue.InProgress || r.Phase != fescue.Offered {
				t.Errorf("%+v", r.Deployment)
			}
			r.stored()
			if epoch := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); epoch != want {
				t.Errorf("epoch %d, want %d", epoch, want)
			}
		}
		// Other cores, and the core of that name elsewhere, count for themselves.
		if r := deploying(t, s, "g2").offer("core2"); r.Epoch != 1 {
			t.Errorf("epoch %d", r.Epoch)
		}
		for _, p := range elsewhere {
			if r := deployingIn(t, s, p, "g").offer("core"); r.Epoch != 1 || len(r.replaced) != 0 {
				t.Errorf("epoch %d, replaced %v", r.Epoch, r.replaced)
			}
		}
	})
	t.Run("supersedes what is not claimed", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		first := deploying(t, s, "g").offer("core")
		second := deploying(t, s, "g").offer("core")
		if len(second.replaced) != 1 || second.replaced[0].ID != first.ID {
			t.Fatalf("replaced %+v", second.replaced)
		}
		old := &run{t: t, s: s, Deployment: second.replaced[0]}
		old.stored()
		if old.Status != fescue.Failure || old.ErrorMessage != superseding.Message || !gocmp.Equal(old.ErrorDetails, superseding.Details) {
			t.Errorf("%+v", old.Deployment)
		}
		second.step(fescue.EventClaimed)
		if third := deploying(t, s, "g").offer("core"); len(third.replaced) != 0 {
			t.Errorf("a claimed deployment is superseded: %+v", third.replaced)
		}
	})
	t.Run("of another group takes an unclaimed core", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		first := deploying(t, s, "g").offer("core")
		if second := deploying(t, s, "g2").offer("core"); len(second.replaced) != 1 || second.replaced[0].ID != first.ID {
			t.Errorf("replaced %+v", second.replaced)
		}
	})
	t.Run("to another core supersedes what the group's former core has not claimed", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		for _, p := range elsewhere {
			deployingIn(t, s, p, "g").offer("former")
		}
		first := deploying(t, s, "g").offer("former")
		second := deploying(t, s, "g").offer("core")
		if len(second.replaced) != 1 || second.replaced[0].ID != first.ID {
			t.Errorf("replaced %+v", second.replaced)
		}
		_, _, err := s.Offers().Waiting(ctx, homePartition, "former", 0)
		refused(t, "what waits for the former core", err, fescue.ErrNotFound)
		for _, p := range elsewhere {
			if _, _, err := s.Offers().Waiting(ctx, p, "former", 0); err != nil {
				t.Errorf("elsewhere: %v", err)
			}
		}
	})
	t.Run("to another core lets the former one finish, and frees it", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		owner := func(thing, want string) {
			t.Helper()
			got, err := s.Cores().CoreOwner(ctx, homePartition, thing)
			if got != want || err != nil {
				t.Errorf("core %s belongs to %q, %v; want %q", thing, got, err, want)
			}
		}
		first := deploying(t, s, "g").offer("former").step(fescue.EventClaimed)
		deploying(t, s, "g2").offer("bystander").step(fescue.EventClaimed)
		second := deploying(t, s, "g").offer("core")
		if len(second.replaced) != 0 {
			t.Errorf("replaced %+v", second.replaced)
		}
		owner("former", "g")
		second.step(fescue.EventClaimed)
		owner("former", "")
		owner("core", "g")
		owner("bystander", "g2")
		first.step(fescue.EventSucceeded)
		owner("former", "")
		deploying(t, s, "g3").offer("former").step(fescue.EventClaimed)
		owner("former", "g3")
		owner("core", "g")
	})
	t.Run("leaves a core free that runs nothing of its group", func(t *testing.T) {
		t.Parallel()
		for _, event := range []fescue.DeploymentEvent{fescue.EventFailed, fescue.EventTimedOut, fescue.EventForcedAway} {
			s, ctx := open(t), t.Context()
			owner := func(thing, want string) {
				t.Helper()
				got, err := s.Cores().CoreOwner(ctx, homePartition, thing)
				if got != want || err != nil {
					t.Errorf("after %s the core %s belongs to %q, %v; want %q", event, thing, got, err, want)
				}
			}
			first := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
			owner("core", "g")
			first.step(event)
			owner("core", "")
			deploying(t, s, "g2").offer("core").step(fescue.EventClaimed).step(fescue.EventSucceeded)
			owner("core", "g2")
			deploying(t, s, "g2").offer("core").step(fescue.EventClaimed).step(event)
			owner("core", "g2") // which still runs what succeeded

			// The other core runs nothing of the group, the former one still does.
			deploying(t, s, "g2").offer("next").step(fescue.EventClaimed).step(event)
			owner("next", "")
			owner("core", "g2")
			next := deploying(t, s, "g2").offer("next").step(fescue.EventClaimed)
			deploying(t, s, "g3").offer("core").step(fescue.EventClaimed).step(fescue.EventSucceeded)
			next.step(event)
			owner("next", "")
			owner("core", "g3")
		}
	})
	t.Run("stays the core's when nobody knows how it ended there", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		deploying(t, s, "g").offer("core").step(fescue.EventClaimed).step(fescue.EventOutdated)
		if owner := must(s.Cores().CoreOwner(t.Context(), homePartition, "core"))(t); owner != "g" {
			t.Errorf("the core belongs to %q", owner)
		}
	})
	t.Run("is refused for another group's core", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		owner := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
		other := deploying(t, s, "g2")
		offer := func() error {
			_, _, err := s.Offers().Offer(ctx, other.Deployment, "core", madeAt, superseding, signed)
			return err
		}
		refused(t, "while it is under way", offer(), fescue.ErrInUse)
		owner.step(fescue.EventSucceeded)
		refused(t, "after it succeeded", offer(), fescue.ErrInUse)
		other.stored()
		if epoch := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); epoch != 1 {
			t.Errorf("a refused offer raised the epoch to %d", epoch)
		}
		deploying(t, s, "g").offer("core").step(fescue.EventClaimed).step(fescue.EventFailed)
		refused(t, "after another one failed", offer(), fescue.ErrInUse)
	})
	t.Run("that cannot be signed changes nothing", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		waiting := deploying(t, s, "g").offer("core")
		next := deploying(t, s, "g")
		broken := errors.New("no key")
		_, _, err := s.Offers().Offer(ctx, next.Deployment, "core", madeAt, superseding, func(epoch int64) (fescue.Offering, error) {
			if epoch != 2 {
				t.Errorf("signing epoch %d", epoch)
			}
			return fescue.Offering{}, broken
		})
		refused(t, "offer", err, broken)
		next.stored()
		waiting.stored()
		if epoch := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); epoch != 1 {
			t.Errorf("epoch %d", epoch)
		}
	})
	t.Run("of an old revision changes nothing", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		built := deploying(t, s, "g")
		failed := built.step(fescue.EventBuildFailed)
		_, _, err := s.Offers().Offer(ctx, built.Deployment, "core", madeAt, superseding, signed)
		refused(t, "offer", err, fescue.ErrConflict)
		failed.stored()
		if epoch := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); epoch != 0 {
			t.Errorf("epoch %d", epoch)
		}
	})
	t.Run("of the same deployment by eight servers, one wins", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		built := deploying(t, s, "g")
		wins := eightTimes(func(int) error {
			_, _, err := s.Offers().Offer(ctx, built.Deployment, "core", madeAt, superseding, signed)
			return err
		}, fescue.ErrConflict, t)
		if epoch := must(s.Offers().Epoch(ctx, homePartition, "core"))(t); wins != 1 || epoch != 1 {
			t.Errorf("%d offers, epoch %d", wins, epoch)
		}
	})
	t.Run("of eight groups to one core, one stays", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		var mu sync.Mutex
		var epochs []int64
		runs := make([]*run, 8)
		for i := range runs {
			runs[i] = deploying(t, s, string(rune('a'+i)))
		}
		wins := eightTimes(func(i int) error {
			d, _, err := s.Offers().Offer(ctx, runs[i].Deployment, "core", madeAt, superseding, signed)
			mu.Lock()
			defer mu.Unlock()
			epochs = append(epochs, d.Epoch)
			return err
		}, nil, t)
		slices.Sort(epochs)
		if wins != 8 || !slices.Equal(epochs, []int64{1, 2, 3, 4, 5, 6, 7, 8}) {
			t.Errorf("%d offers, epochs %v", wins, epochs)
		}
		open := 0
		for _, r := range runs {
			if must(s.Deployments().Deployment(ctx, homePartition, r.GroupID, r.ID))(t).Status == fescue.InProgress {
				open++
			}
		}
		if open != 1 {
			t.Errorf("%d deployments wait for one core", open)
		}
	})
	t.Run("wait in the order of their epochs", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		waits := func(after int64, want *run) {
			t.Helper()
			d, envelope, err := s.Offers().Waiting(ctx, homePartition, "core", after)
			if want == nil {
				refused(t, "Waiting", err, fescue.ErrNotFound)
				return
			}
			if err != nil || !gocmp.Equal(d, want.Deployment) {
				t.Errorf("after %d: %v, %s", after, err, gocmp.Diff(want.Deployment, d))
			}
			offering, _ := signed(want.Epoch)
			if string(envelope) != string(offering.Envelope) {
				t.Errorf("envelope %s", envelope)
			}
		}
		waits(0, nil)
		claimed := deploying(t, s, "g").offer("core").step(fescue.EventClaimed)
		building := deploying(t, s, "g")
		waits(0, claimed)
		waits(1, nil)
		next := building.offer("core")
		waits(0, claimed)
		waits(1, next)
		waits(2, nil)
		claimed.step(fescue.EventSucceeded)
		waits(0, next)
		next.step(fescue.EventClaimed).step(fescue.EventFailed)
		waits(0, nil)
		for _, p := range elsewhere {
			deployingIn(t, s, p, "g").offer("core")
		}
		deploying(t, s, "g2").offer("core2")
		waits(0, nil)
	})
	t.Run("keep the group document until they end", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		document := []byte(`{"Name": "mäß"}`)
		sum := sha256.Sum256(document)
		hash := hex.EncodeToString(sum[:])
		kept := func(want bool) {
			t.Helper()
			got, err := s.Offers().Document(ctx, hash)
			if !want {
				refused(t, "Document", err, fescue.ErrNotFound)
			} else if err != nil || string(got) != string(document) {
				t.Errorf("document %q, %v", got, err)
			}
		}
		offer := func(group, core string) *run {
			r := deploying(t, s, group)
			next, _, err := s.Offers().Offer(ctx, r.Deployment, core, r.CreatedAt, superseding, func(int64) (fescue.Offering, error) {
				return fescue.Offering{Envelope: []byte("{}"), Artifacts: []string{hash}, Document: document}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return &run{t: t, s: s, Deployment: next}
		}
		kept(false)
		first, second := offer("g1", "core1"), offer("g2", "core2") // of the same content
		kept(true)
		first.step(fescue.EventClaimed).step(fescue.EventStaged).step(fescue.EventSwitched).step(fescue.EventSucceeded)
		kept(true)
		second.step(fescue.EventClaimed).step(fescue.EventFailed)
		kept(false)
		deploying(t, s, "g3").offer("core3")
		_, err := s.Offers().Document(ctx, "")
		refused(t, "without a hash", err, fescue.ErrNotFound)
	})
	t.Run("name the artifacts that may be fetched", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		r := deploying(t, s, "g")
		_, err := s.Offers().OfferedArtifacts(ctx, r.Deployment)
		refused(t, "while it is built", err, fescue.ErrNotFound)
		r = r.offer("core")
		offering, _ := signed(r.Epoch)
		for _, event := range []fescue.DeploymentEvent{"", fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched} {
			if event != "" {
				r = r.step(event)
			}
			if got := must(s.Offers().OfferedArtifacts(ctx, r.Deployment))(t); !slices.Equal(got, offering.Artifacts) {
				t.Errorf("after %q: %v", event, got)
			}
		}
		_, err = s.Offers().OfferedArtifacts(ctx, moved(r.Deployment, elsewhere[0]))
		refused(t, "another's partition", err, fescue.ErrNotFound)
		r = r.step(fescue.EventSucceeded)
		_, err = s.Offers().OfferedArtifacts(ctx, r.Deployment)
		refused(t, "when it has ended", err, fescue.ErrNotFound)
	})
}

// TestNamedArtifacts: a backup looks for no document among the artifacts that it has with the
// database, also in a file that an earlier version wrote last.
func TestNamedArtifacts(t *testing.T) {
	t.Parallel()
	path := storetest.SQLite(t)
	s := storetest.OpenOn(t, path)
	document, artifact := []byte("{}"), strings.Repeat("a", 64)
	sum := sha256.Sum256(document)
	hash := hex.EncodeToString(sum[:])
	d := deploying(t, s, "g").Deployment
	_, _, err := s.Offers().Offer(t.Context(), d, "core", d.CreatedAt, superseding, func(int64) (fescue.Offering, error) {
		return fescue.Offering{Envelope: []byte("{}"), Artifacts: []string{hash, artifact}, Document: document}, nil
	})
	mustDo(t, err, s.Close())
	named := func(want ...string) {
		t.Helper()
		if got := must(store.NamedArtifacts(t.Context(), path))(t); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	named(artifact)
	db := must(sql.Open("sqlite", path))(t)
	_, err = db.Exec(`DROP INDEX manifest_document; ALTER TABLE manifest DROP COLUMN document_hash; ALTER TABLE manifest DROP COLUMN document`)
	mustDo(t, err, db.Close())
	named(hash, artifact)
}
