package cloudlink_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/core/cloudlink"
	"github.com/fescue-edge/fescue/testkit"
)

// sessions are kept in memory, as if on a disk that outlives links.
type sessions struct {
	mu  testkit.Monitor
	all map[string][]string
	err error
}

func (s *sessions) Filters(context.Context) (map[string][]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.all), s.err
}

func (s *sessions) Add(_ context.Context, clientID string, filters []string) error {
	s.mu.Change(func() {
		s.all[clientID] = slices.Compact(slices.Sorted(slices.Values(slices.Concat(s.all[clientID], filters))))
	})
	return s.err
}

func (s *sessions) Remove(_ context.Context, clientID string, filters []string) error {
	s.mu.Change(func() {
		s.all[clientID] = slices.DeleteFunc(slices.Clone(s.all[clientID]), func(f string) bool { return slices.Contains(filters, f) })
		if len(s.all[clientID]) == 0 {
			delete(s.all, clientID)
		}
	})
	return s.err
}

// TestLasting looks at what persistent sessions in the cloud hold.
func TestLasting(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T) (*broker, *sessions, func() (*cloudlink.Link, *cloudlink.Subscription, func())) {
		b, kept := newBroker(t), &sessions{all: map[string][]string{}}
		return b, kept, func() (*cloudlink.Link, *cloudlink.Subscription, func()) {
			l, stop := b.link(func(o *cloudlink.Options) { o.Sessions = kept })
			return l, l.SubscribeLasting(ignore), stop
		}
	}
	// holds waits until the sessions in the cloud, and the disk's idea of them, are these.
	holds := func(t *testing.T, b *broker, kept *sessions, want map[string][]string) {
		t.Helper()
		inCloud := func() map[string][]string {
			got := map[string][]string{}
			for id, filters := range b.stored {
				got[id] = slices.Sorted(maps.Keys(filters))
			}
			return got
		}
		b.mu.Await(t, "the sessions", func() bool { return cmp.Equal(want, inCloud()) }, func() string { return cmp.Diff(want, inCloud()) })
		kept.mu.Await(t, "the disk", func() bool { return cmp.Equal(want, kept.all) }, func() string { return cmp.Diff(want, kept.all) })
	}
	t.Run("follow the deployment", func(t *testing.T) {
		t.Parallel()
		b, kept, start := begin(t)
		_, sub, _ := start()
		sub.SetFilters("a", "b/#", "b/c") // covered by another
		holds(t, b, kept, map[string][]string{"Mill_Core-c00": {"a", "b/#"}})
		sub.SetFilters("b/#", "d")
		holds(t, b, kept, map[string][]string{"Mill_Core-c00": {"b/#", "d"}})
		b.mu.Lock()
		qos := b.stored["Mill_Core-c00"]["d"]
		b.mu.Unlock()
		if qos != 1 {
			t.Errorf("granted %d", qos)
		}
		sub.SetFilters()
		holds(t, b, kept, map[string][]string{})
	})
	t.Run("follow one that came while the link was away", func(t *testing.T) {
		t.Parallel()
		b, kept, start := begin(t)
		_, sub, stop := start()
		many := numbered(70)
		sub.SetFilters(many...)
		holds(t, b, kept, map[string][]string{"Mill_Core-c00": many[:50], "Mill_Core-c01": many[50:]})
		stop()
		holds(t, b, kept, map[string][]string{"Mill_Core-c00": many[:50], "Mill_Core-c01": many[50:]})
		_, sub, stop = start()
		sub.SetFilters(append(many[40:60:60], "0 sorts first")...)
		holds(t, b, kept, map[string][]string{"Mill_Core-c00": append([]string{"0 sorts first"}, many[40:50]...), "Mill_Core-c01": many[50:60]})
		stop()
		_, sub, stop = start()
		sub.SetFilters(many[55:60]...) // the first session is thrown away
		holds(t, b, kept, map[string][]string{"Mill_Core-c01": many[55:60]})
		stop()
		l, sub, _ := start()
		sub.SetFilters()
		l.Subscribe(ignore).SetFilters(numbered(60)...) // for which a further connection is needed
		holds(t, b, kept, map[string][]string{})
		b.await("the connections", func() bool { return len(b.clients) == 2 && b.clients["Mill_Core-c00"] != nil })
	})
	t.Run("are left alone until the deployment is known", func(t *testing.T) {
		t.Parallel()
		b, kept, start := begin(t)
		_, sub, stop := start()
		sub.SetFilters("a")
		holds(t, b, kept, map[string][]string{"Mill_Core-c00": {"a"}})
		stop()
		l, sub, _ := start()
		clean := l.Subscribe(ignore)
		clean.SetFilters("b")
		b.await("what is not kept", clean.Active)
		sub.SetFilters("a")
		b.await("what is", sub.Active)
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, c := range b.connects {
			if c.ClientID == "Mill_Core-c00" && c.CleanSession {
				t.Error("the session was thrown away")
			}
		}
	})
	t.Run("stay where they are when another filter comes to cover them", func(t *testing.T) {
		t.Parallel()
		b, kept, start := begin(t)
		_, sub, _ := start()
		sub.SetFilters("a/b")
		holds(t, b, kept, map[string][]string{"Mill_Core-c00": {"a/b"}})
		sub.SetFilters("a/#", "a/b")
		holds(t, b, kept, map[string][]string{"Mill_Core-c00": {"a/#", "a/b"}})
	})
	t.Run("begin anew when the cloud has lost them", func(t *testing.T) {
		t.Parallel()
		b, kept, start := begin(t)
		_, sub, _ := start()
		sub.SetFilters("a")
		holds(t, b, kept, map[string][]string{"Mill_Core-c00": {"a"}})
		b.mu.Change(func() {
			clear(b.stored)
			b.clients["Mill_Core-c00"].s.Close(errClosed)
		})
		holds(t, b, kept, map[string][]string{"Mill_Core-c00": {"a"}})
	})
	t.Run("are no record of what is refused", func(t *testing.T) {
		t.Parallel()
		b, kept, start := begin(t)
		b.denied["no"] = true
		_, sub, _ := start()
		sub.SetFilters("a", "no")
		holds(t, b, kept, map[string][]string{"Mill_Core-c00": {"a"}})
	})
	t.Run("go on with a disk that fails", func(t *testing.T) {
		t.Parallel()
		b, kept, start := begin(t)
		kept.err = fmt.Errorf("the disk is away")
		_, sub, _ := start()
		sub.SetFilters("a")
		holds(t, b, kept, map[string][]string{"Mill_Core-c00": {"a"}})
	})
	t.Run("acknowledge what was taken, and only that", func(t *testing.T) {
		t.Parallel()
		b, _, start := begin(t)
		l, _, _ := start()
		full := true
		var mu testkit.Monitor
		var got []string
		sub := l.SubscribeLasting(func(m cloudlink.Message) (err error) {
			mu.Change(func() {
				if got = append(got, string(m.Payload)); full {
					err = fmt.Errorf("the queue is full")
				}
			})
			return err
		})
		sub.SetFilters("a")
		b.await("to be active", sub.Active)
		b.sendKept("Mill_Core-c00", "a", "1", 1)
		mu.Await(t, "the message", func() bool { return len(got) == 1 }, func() string { return fmt.Sprint(got) })
		mu.Change(func() { full = false })
		b.sendKept("Mill_Core-c00", "a", "2", 2)
		b.await("one acknowledgement", func() bool { return slices.Equal(b.taken, []uint16{2}) })
	})
}
