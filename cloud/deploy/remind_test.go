package deploy_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
)

// wakes are how many wakes a core was sent.
func (r *recordedMQTT) wakes(thing string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.messages {
		if m.partition == home && m.topic == corelink.WakeTopic(thing) {
			n++
		}
	}
	return n
}

// TestReminders: a core that is connected is woken until it asks, and no other one is.
func TestReminders(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.Engine = s.another(func(o *deploy.Options) { o.Remind = 20 * time.Millisecond })
	s.run(s.Engine)
	here := func(thing string) { s.presence.Connected(home, thing, "10.0.0.1") }
	ask := func(thing string) corelink.Offer {
		t.Helper()
		offer, err := s.Await(t.Context(), home, thing, corelink.Poll{}, anybody)
		if err != nil {
			t.Fatal(err)
		}
		return offer
	}
	wakes := s.mqtt.wakes
	more := func(what, thing string) {
		t.Helper()
		before := wakes(thing)
		testkit.Until(t, what, func() bool { return wakes(thing) >= before+3 })
	}
	// pass has some time pass, in which another core is woken three times.
	clocks := 0
	pass := func(what string) {
		t.Helper()
		clocks++
		clock := fmt.Sprint("clock ", clocks)
		here(clock)
		s.SiteChanged(t.Context(), home, clock)
		more(what, clock)
	}
	none := func(what string, things ...string) {
		t.Helper()
		pass("what was under way") // reminders whose cores were read before
		before := make(map[string]int)
		for _, thing := range things {
			before[thing] = wakes(thing)
		}
		pass(what)
		for _, thing := range things {
			if n := wakes(thing) - before[thing]; n > 0 {
				t.Errorf("%s: %s was woken %d times", what, thing, n)
			}
		}
	}
	for _, thing := range []string{"mill", "saw", "gone", "asked"} {
		here(thing)
	}
	for _, thing := range []string{"mill", "saw", "gone", "away"} {
		s.offered(s.create(s.mill(thing)))
		testkit.Until(t, "the first wake", func() bool { return wakes(thing) == 1 })
	}
	none("nobody said that anything changed", "mill", "saw", "gone", "away")

	s.mqtt.mu.Lock()
	s.mqtt.failure = errors.New("the broker is away")
	s.mqtt.mu.Unlock()
	for _, thing := range []string{"mill", "saw", "gone", "away", "nothing"} {
		s.Changed(home, thing)
	}
	more("wakes, also while they cannot be sent", "mill")
	s.mqtt.mu.Lock()
	s.mqtt.failure = nil
	s.mqtt.mu.Unlock()
	more("wakes of another", "saw")
	if offer := ask("mill"); offer.DeploymentID == "" {
		t.Fatalf("%+v", offer)
	}
	s.presence.Gone(home, "gone")
	none("it has asked, is not connected any more, never was", "mill", "gone", "away", "nothing")

	offer := ask("saw")
	d, err := s.Report(t.Context(), home, "saw", offer.GroupID, offer.DeploymentID, corelink.StatusReport{Event: fescue.EventClaimed, Epoch: offer.Epoch})
	if err != nil {
		t.Fatal(err)
	}
	s.Changed(home, "saw")
	none("it has claimed what waited", "saw")
	s.reports(d, fescue.EventSucceeded)
	s.Changed(home, "saw")
	none("it has ended what waited", "saw")

	if err := s.store.Checks().AskCheck(t.Context(), home, "asked", fescue.NewID(), []byte(`{}`), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	s.Changed(home, "asked")
	more("wakes for a check", "asked")
	ask("asked")

	t.Run("a forced reset, and what is deployed after it", func(t *testing.T) {
		here("reset")
		group, version := s.create(s.mill("reset"))
		s.reports(s.offered(group, version), fescue.EventClaimed, fescue.EventSucceeded)
		d, err := s.reset(group, true, fescue.Token{})
		if err != nil {
			t.Fatal(err)
		}
		s.built(d)
		s.Changed(home, "reset")
		more("wakes for a forced reset", "reset")
		ask("reset")
		none("it has asked", "reset")
		next := s.offered(group, version)
		s.Changed(home, "reset")
		more("wakes for a deployment after it", "reset")
		ask("reset")
		s.reports(next, fescue.EventClaimed, fescue.EventSucceeded)
		if d, err = s.reset(group, true, fescue.Token{}); err != nil {
			t.Fatal(err)
		}
		s.built(d)
		before := wakes("reset")
		s.Changed(home, "reset")
		testkit.Until(t, "wakes of a core that asks another server", func() bool { return wakes("reset") >= before+5 })
		before = wakes("reset")
		for range 8 { // beyond the next pause
			pass("a while")
		}
		if n := wakes("reset") - before; n > 0 {
			t.Errorf("it was woken %d times more", n)
		}
		next = s.offered(group, version)
		ask("reset")
		s.reports(next, fescue.EventClaimed, fescue.EventSucceeded)
		s.Changed(home, "reset")
		none("it has ended that", "reset")
	})
	t.Run("when nobody knows for whom something changed", func(t *testing.T) {
		pass("what was under way")
		before := map[string]int{"mill": wakes("mill"), "saw": wakes("saw"), "gone": wakes("gone")}
		s.AllChanged()
		testkit.Until(t, "all that are connected are woken", func() bool { return wakes("mill") > before["mill"] && wakes("saw") > before["saw"] })
		if n := wakes("gone") - before["gone"]; n > 0 {
			t.Errorf("one that is not was woken %d times", n)
		}
	})
	t.Run("what leaves no trace", func(t *testing.T) {
		here("site")
		s.SiteChanged(t.Context(), home, "site")
		if n := wakes("site"); n < 1 { // a reminder may be due already
			t.Error("not woken at once")
		}
		testkit.Until(t, "all reminders", func() bool { return wakes("site") == 6 })
		none("it has been reminded often enough", "site")
	})
}

// telling is the Changes of an engine that is told or not.
type telling bool

func (b telling) Current() bool { return bool(b) }

// TestRest: only who is told of all that changes lets cores be.
func TestRest(t *testing.T) {
	t.Parallel()
	s := open(t)
	for told, want := range map[bool]int64{true: 1800, false: 0} {
		s.Engine = s.another(func(o *deploy.Options) { o.Changes = telling(told) })
		if offer := s.poll("mill", 0); offer.Rest != want {
			t.Errorf("told: %v, rest for %d s", told, offer.Rest)
		}
	}
}
