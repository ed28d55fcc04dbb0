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
	mu     sync.Mutex
	page   changes.Page
	err    error
	froms  []int64
	pruned int
}

func (s *table) set(page changes.Page, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page, s.err = page, err
}

func (s *table) Since(_ context.Context, from int64) (changes.Page, error) {
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

func of(seq int64, kind changes.Kind, subject string) changes.Change {
	return changes.Change{Seq: seq, Kind: kind, Subject: subject}
}

func TestFeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var log bytes.Buffer
		s := &table{page: changes.Page{Next: 7}}
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
		s.set(changes.Page{Changes: first, Next: 8}, nil)
		tells("changes of two kinds, found again by the next look", true, "a", "b")
		s.set(changes.Page{Changes: append(first[1:], of(4, changes.Core, "a")), Next: 9}, nil)
		tells("one more", true, "a")
		s.set(changes.Page{Next: 10, Lost: true}, nil)
		time.Sleep(500 * time.Millisecond)
		s.set(changes.Page{Next: 10}, nil)
		tells("changes that were removed", true, "all")

		s.set(changes.Page{}, errors.New("no connection"))
		tells("a look that failed a moment ago", true)
		time.Sleep(3 * time.Second)
		tells("looks that fail", false)
		s.set(changes.Page{Changes: []changes.Change{of(5, changes.Core, "late")}, Next: 11}, nil)
		tells("what came meanwhile", true, "late")
		stop()
		running.Wait()

		if s.froms[0] != changes.Start || s.froms[1] != 7 || s.froms[len(s.froms)-1] != 11 {
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

func TestNewFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("no connection")
	if _, err := changes.New(t.Context(), changes.Options{Store: &table{err: broken}}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
