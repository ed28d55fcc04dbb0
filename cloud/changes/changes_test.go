package changes_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/cloud/changes"
)

// table is a changes.Store whose looks find what the test says.
type table struct {
	own, hints chan struct{}

	mu     sync.Mutex
	told   int
	takes  time.Duration
	page   changes.Page
	err    error
	froms  []changes.Cursor
	pruned int
}

func (s *table) set(page changes.Page, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page, s.err = page, err
}

func (s *table) Since(_ context.Context, from changes.Cursor) (changes.Page, error) {
	s.mu.Lock()
	takes := s.takes
	s.mu.Unlock()
	time.Sleep(takes)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.froms = append(s.froms, from)
	return s.page, s.err
}

func (s *table) Prune(context.Context, time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pruned++
	return s.err
}

func (s *table) Await(ctx context.Context) (own, told bool) {
	select {
	case <-s.own:
		return true, false
	case <-s.hints:
		return false, true
	case <-ctx.Done():
		return false, false
	}
}

func (s *table) Tell(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told++
	return nil
}

func of(seq int64, kind changes.Kind, subject string) changes.Change {
	return changes.Change{Seq: seq, Kind: kind, Subject: subject}
}

func TestFeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var log bytes.Buffer
		s := &table{page: changes.Page{Next: changes.Cursor{At: 7}}}
		feed, err := changes.New(ctx, changes.Options{Store: s, Now: time.Now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		feed.Follow(changes.Core, func(_ context.Context, list []changes.Change) {
			for _, c := range list {
				told = append(told, c.Subject)
			}
		}, func(context.Context) { told = append(told, "all") })
		if feed.Current() {
			t.Error("changes are told before there was a look")
		}
		var running sync.WaitGroup
		running.Go(func() { feed.Run(ctx) })
		time.Sleep(250 * time.Millisecond) // of the bubble: what follows is between looks
		tells := func(what string, current bool, want ...string) {
			t.Helper()
			time.Sleep(time.Second) // two looks
			synctest.Wait()
			if diff := cmp.Diff(want, told); diff != "" || feed.Current() != current {
				t.Errorf("%s: current %v, %s", what, feed.Current(), diff)
			}
			told = nil
		}

		tells("nothing", true)
		first := []changes.Change{of(1, changes.Core, "a"), of(2, changes.Certificate, "x"), of(3, changes.Core, "b")}
		s.set(changes.Page{Changes: first, Next: changes.Cursor{At: 8}}, nil)
		tells("changes of two kinds, found again by the next look", true, "a", "b")
		s.set(changes.Page{Changes: append(first[1:], of(4, changes.Core, "a")), Next: changes.Cursor{At: 9}}, nil)
		tells("one more", true, "a")
		s.set(changes.Page{Next: changes.Cursor{At: 10}, Lost: true}, nil)
		time.Sleep(500 * time.Millisecond)
		s.set(changes.Page{Next: changes.Cursor{At: 10}}, nil)
		tells("changes that were removed", true, "all")

		s.set(changes.Page{}, errors.New("no connection"))
		tells("a look that failed a moment ago", true)
		time.Sleep(3 * time.Second)
		tells("looks that fail", false)
		s.set(changes.Page{Changes: []changes.Change{of(5, changes.Core, "late")}, Next: changes.Cursor{At: 11}}, nil)
		tells("what came meanwhile", true, "late")
		stop()
		running.Wait()

		if s.froms[0] != changes.Start || s.froms[1].At != 7 || s.froms[len(s.froms)-1].At != 11 {
			t.Errorf("looks from %v", s.froms)
		}
		if n := strings.Count(log.String(), "cannot be read"); n != 1 {
			t.Errorf("%d warnings: %s", n, log.String())
		}
		if s.pruned == 0 {
			t.Error("nothing old is removed")
		}
	})
}

// TestHints: a look follows a change of this server and a hint of another one at once, but not
// more often than every 20 ms; and only who finds something by himself tells the others.
func TestHints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s := &table{own: make(chan struct{}, 1), hints: make(chan struct{}, 1)}
		feed, err := changes.New(ctx, changes.Options{Store: s, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		var told int
		feed.Follow(changes.Core, func(_ context.Context, list []changes.Change) { told += len(list) }, func(context.Context) {})
		var running sync.WaitGroup
		running.Go(func() { feed.Run(ctx) })
		var seq int64
		within := func(what string, why chan struct{}, tells int) {
			t.Helper()
			s.mu.Lock()
			seq++
			s.page.Changes, s.told = []changes.Change{of(seq, changes.Core, "a")}, 0
			s.mu.Unlock()
			told = 0
			if why != nil {
				why <- struct{}{}
			}
			time.Sleep(20 * time.Millisecond)
			synctest.Wait()
			if told != 1 || s.told != tells {
				t.Errorf("%s: followers learned of %d changes, other servers %d times", what, told, s.told)
			}
		}
		time.Sleep(100 * time.Millisecond)
		within("a change of this server", s.own, 1)
		within("a hint", s.hints, 0)
		// looks counts those while something changes each millisecond for so long.
		looks := func(during time.Duration) int {
			s.mu.Lock()
			before := len(s.froms)
			s.mu.Unlock()
			for range during / time.Millisecond {
				select {
				case s.own <- struct{}{}:
				default:
				}
				time.Sleep(time.Millisecond) // of the bubble
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.froms) - before
		}
		if n := looks(time.Second); n < 45 || n > 51 {
			t.Errorf("%d looks in a second of changes", n)
		}
		s.mu.Lock()
		s.page.Lost = true
		s.mu.Unlock()
		looks(time.Second)
		if n := looks(5 * time.Second); n < 9 || n > 11 {
			t.Errorf("%d looks in five seconds in which each is lost", n)
		}
		s.mu.Lock()
		s.page.Lost, s.takes = false, 50*time.Millisecond
		s.mu.Unlock()
		looks(time.Second)
		if n := looks(5 * time.Second); n < 19 || n > 21 {
			t.Errorf("%d looks in five seconds in which each takes long", n)
		}
		stop()
		running.Wait()
	})
}

func TestNewFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("no connection")
	if _, err := changes.New(t.Context(), changes.Options{Store: &table{err: broken}}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
