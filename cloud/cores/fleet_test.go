package cores_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
)

// counter is a cores.FleetStore that says how often it was asked, and takes a while to.
type counter struct {
	cores.FleetStore
	takes time.Duration
	asked int
	err   error
}

func (c *counter) CountFleet(_ context.Context, p fescue.Partition, _ time.Time) (known, online int, err error) {
	if c.err != nil {
		return 0, 0, c.err
	}
	time.Sleep(c.takes)
	c.asked++
	return c.asked, len(p.Region), nil
}

// TestCount: however often it is asked, a partition's cores are counted no more than a fortieth of
// the time, and once in three seconds at the least.
func TestCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := new(counter)
		fleet := cores.NewFleet(store, cores.NewPresence(nil, time.Now, slog.New(slog.DiscardHandler)))
		counts := func(p fescue.Partition, want int) {
			t.Helper()
			if known, online, err := fleet.Count(t.Context(), p); err != nil || known != want || online != len(p.Region) {
				t.Errorf("%d of %d, %v; want the count number %d", online, known, err, want)
			}
		}
		counts(here, 1)
		counts(here, 2) // what took no time is done again
		store.takes = 10 * time.Millisecond
		counts(here, 3)
		counts(here, 3)
		counts(there, 4)
		time.Sleep(389 * time.Millisecond) // of the bubble: the third is good for 400 ms
		counts(here, 3)
		store.takes = time.Minute
		time.Sleep(time.Millisecond)
		counts(here, 5)
		time.Sleep(3 * time.Second)
		store.err = errors.New("the database is away")
		if _, _, err := fleet.Count(t.Context(), here); !errors.Is(err, store.err) {
			t.Error(err)
		}
		store.err = nil
		counts(here, 6)
	})
}
