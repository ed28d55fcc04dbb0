package history_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/history"
)

// table is a history.Store in memory, and the leases of its servers.
type table struct {
	mu       sync.Mutex
	holder   string
	at       []time.Time // of samples
	samples  []history.Sample
	ends     []history.Sample
	requests map[time.Time]history.Latencies
	err      error
}

func (s *table) Take(_ context.Context, _, holder string, _ time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holder == "" {
		s.holder = holder
	}
	return s.holder == holder, nil
}

func (s *table) Release(_ context.Context, _, holder string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holder == holder {
		s.holder = ""
	}
	return nil
}

func (s *table) Sample(_ context.Context, at, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, at)
	return s.err
}

func (s *table) Samples(context.Context, fescue.Partition, time.Time) ([]history.Sample, error) {
	return s.samples, s.err
}

func (s *table) Ends(context.Context, fescue.Partition, time.Time) ([]history.Sample, error) {
	return s.ends, s.err
}

func (s *table) AddRequests(_ context.Context, at time.Time, took history.Latencies) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	sum := s.requests[at]
	for i, n := range took {
		sum[i] += n
	}
	s.requests[at] = sum
	return nil
}

func (s *table) Requests(context.Context, time.Time) ([]history.RequestSample, error) {
	return nil, s.err
}

func (s *table) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func service(s *table) *history.Service {
	return history.New(history.Options{Store: s, Leases: s, Now: func() time.Time { return time.Now().UTC() }, Logger: slog.New(slog.DiscardHandler)})
}

// TestRun: of two servers one counts, once in each bucket, and goes on after an error;
// when it stops, the other one does. Both write their requests.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &table{requests: make(map[time.Time]history.Latencies)}
		begin := time.Now().UTC() // of the bubble: midnight, where a bucket begins
		first, stop := context.WithCancel(t.Context())
		second, stopSecond := context.WithCancel(t.Context())
		one, other := service(store), service(store)
		var running sync.WaitGroup
		running.Go(func() { one.Run(first) })
		synctest.Wait()
		running.Go(func() { other.Run(second) })
		one.Observe(time.Millisecond)
		other.Observe(time.Millisecond)
		other.Observe(time.Hour)
		time.Sleep(10 * time.Minute)
		store.fail(errors.New("the database is away"))
		one.Observe(time.Millisecond)
		time.Sleep(5 * time.Minute)
		store.fail(nil)
		stop()
		time.Sleep(10 * time.Minute)
		other.Observe(time.Millisecond)
		stopSecond()
		running.Wait()
		var want []time.Time
		for i := range 5 { // at 1, 7.5, 12.5, and by the other one between 16 and 20, and at 22.5
			want = append(want, begin.Add(time.Duration(i)*history.Bucket))
		}
		if diff := cmp.Diff(want, store.at); diff != "" {
			t.Error(diff)
		}
		sums := history.Latencies{}
		for _, took := range store.requests {
			for i, n := range took {
				sums[i] += n
			}
		}
		if want := (history.Latencies{2: 4, 8: 1}); sums != want || store.requests[begin] != (history.Latencies{2: 2, 8: 1}) {
			t.Errorf("%v of requests, in all %v", store.requests, sums)
		}
	})
}

// TestFleet: what ended a moment ago is counted from the deployments, and once.
func TestFleet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now().UTC()
		time.Sleep(12 * time.Minute)
		at := func(bucket int) time.Time { return begin.Add(time.Duration(bucket) * history.Bucket) }
		store := &table{
			samples: []history.Sample{
				{At: at(0), Ends: history.Ends{Succeeded: 1}},
				{At: at(1), Ends: history.Ends{Succeeded: 1}, Counted: true, Cores: 4, Connected: 3},
			},
			ends: []history.Sample{{At: at(1), Ends: history.Ends{Succeeded: 2}}, {At: at(2), Ends: history.Ends{Failed: 1, Cancelled: 1}}},
		}
		points, err := service(store).Fleet(t.Context(), fescue.Partition{}, history.Periods[0])
		if err != nil || len(points) != 96 {
			t.Fatal(len(points), err)
		}
		want := history.FleetPoint{At: begin, Counted: true, Cores: 4, Connected: 3, Ends: history.Ends{Succeeded: 3, Failed: 1, Cancelled: 1}}
		if diff := cmp.Diff(want, points[95]); diff != "" {
			t.Error(diff)
		}
		store.fail(errors.New("the database is away"))
		if _, err := service(store).Fleet(t.Context(), fescue.Partition{}, history.Periods[0]); !errors.Is(err, store.err) {
			t.Error(err)
		}
		if _, err := service(store).Requests(t.Context(), history.Periods[1]); !errors.Is(err, store.err) {
			t.Error(err)
		}
	})
}
