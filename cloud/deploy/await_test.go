package deploy_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
)

// waited is how a long poll ended.
type waited struct {
	offer corelink.Offer
	err   error
	at    time.Time
}

// await starts a long poll. waiting is closed when it has looked once and found
// nothing.
func (s *site) await(ctx context.Context, thing string, after int64, wait time.Duration,
	allowed func(context.Context, *fescue.Deployment) error,
) (waiting <-chan struct{}, end <-chan waited) {
	looked, ended := make(chan struct{}), make(chan waited, 1)
	go func() {
		first := true
		offer, err := s.Await(ctx, home, thing, corelink.Poll{After: after, Wait: wait}, func(ctx context.Context, d *fescue.Deployment) error {
			if first {
				first = false
				close(looked)
			}
			return allowed(ctx, d)
		})
		ended <- waited{offer, err, time.Now()}
	}()
	return looked, ended
}

func (s *site) ended(end <-chan waited) waited {
	s.t.Helper()
	select {
	case w := <-end:
		return w
	case <-time.After(patience):
		s.t.Fatal("the long poll does not end")
		return waited{}
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)

	t.Run("wakes when a deployment is offered", func(t *testing.T) {
		s := s.with(t)
		id, version := s.create(s.mill("awaiting"))
		// A poll that only looked once a second would be this quick by luck, three
		// times out of ten rarely.
		const quick = 50 * time.Millisecond
		var took []time.Duration
		hits, epoch := 0, int64(0)
		for len(took) < 10 && hits < 3 {
			waiting, end := s.await(t.Context(), "awaiting", epoch, time.Minute, anybody)
			<-waiting
			d := s.accept(id, version)
			w := s.ended(end)
			if w.err != nil || w.offer.DeploymentID != d.ID || w.offer.Epoch != epoch+1 {
				t.Fatalf("answered %+v, %v; want deployment %s", w.offer, w.err, d.ID)
			}
			epoch = w.offer.Epoch
			s.reports(s.read(d), fescue.EventClaimed, fescue.EventSucceeded)
			testkit.Until(s.t, "the wake message", func() bool { return bytes.Contains(s.mqtt.last().payload, []byte(d.ID)) })
			// The message goes out right after the change is committed.
			took = append(took, w.at.Sub(s.mqtt.last().at))
			if took[len(took)-1] < quick {
				hits++
			}
		}
		t.Logf("answered %v after the wake message", took)
		if hits < 3 {
			t.Errorf("answered %v after the wake message, want under %v", took, quick)
		}
	})
	t.Run("answers at once what waits already", func(t *testing.T) {
		s := s.with(t)
		d := s.offered(s.create(s.mill("late")))
		if offer := s.poll("late", 0); offer.DeploymentID != d.ID || offer.Phase != fescue.Offered || len(offer.Envelope) == 0 {
			t.Errorf("answered %+v", offer)
		}
	})
	t.Run("gives up with the core's epoch", func(t *testing.T) {
		s := s.with(t)
		d := s.reports(s.offered(s.create(s.mill("idle"))), fescue.EventClaimed, fescue.EventSucceeded)
		_, end := s.await(t.Context(), "idle", d.Epoch, 30*time.Millisecond, anybody)
		if w := s.ended(end); w.err != nil || w.offer.Epoch != d.Epoch || w.offer.DeploymentID != "" || w.offer.Envelope != nil {
			t.Errorf("answered %+v, %v", w.offer, w.err)
		}
		if offer := s.poll("unheard of", 0); offer.Epoch != 0 || offer.DeploymentID != "" {
			t.Errorf("an unknown core: %+v", offer)
		}
	})
	t.Run("returns nothing of another Region's core of the same name", func(t *testing.T) {
		s := s.with(t)
		s.offered(s.create(s.mill("twin")))
		offer, err := s.Await(t.Context(), elsewhere, "twin", corelink.Poll{}, anybody)
		if err != nil || offer.Epoch != 0 || offer.DeploymentID != "" {
			t.Errorf("answered %+v, %v", offer, err)
		}
	})
	t.Run("ends when the caller may not have the deployment", func(t *testing.T) {
		s := s.with(t)
		denied := errors.New("denied")
		d := s.offered(s.create(s.mill("denied")))
		offer, err := s.Await(t.Context(), home, "denied", corelink.Poll{Wait: time.Minute}, func(_ context.Context, got *fescue.Deployment) error {
			if got == nil || got.ID != d.ID {
				t.Errorf("asked for %+v", got)
			}
			return denied
		})
		if !errors.Is(err, denied) || len(offer.Envelope) > 0 {
			t.Errorf("answered %+v, %v", offer, err)
		}
	})
	t.Run("ends when the caller may wait no longer", func(t *testing.T) {
		s := s.with(t)
		revoked := errors.New("revoked")
		may := make(chan struct{})
		waiting, end := s.await(t.Context(), "revoked", 0, time.Minute, func(context.Context, *fescue.Deployment) error {
			select {
			case <-may:
				return revoked
			default:
				return nil
			}
		})
		<-waiting
		start := time.Now()
		close(may)
		if w := s.ended(end); !errors.Is(w.err, revoked) {
			t.Errorf("answered %+v, %v", w.offer, w.err)
		} else {
			t.Logf("ended after %v", w.at.Sub(start))
		}
	})
	t.Run("ends with its context", func(t *testing.T) {
		s := s.with(t)
		ctx, cancel := context.WithCancel(t.Context())
		waiting, end := s.await(ctx, "cancelled", 0, time.Minute, anybody)
		<-waiting
		cancel()
		if w := s.ended(end); !errors.Is(w.err, context.Canceled) {
			t.Errorf("answered %+v, %v", w.offer, w.err)
		}
	})
}
