package history

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The points of an hour in quarters, of which the first begins at noon.
var (
	noon    = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	quarter = Period{"Hour", time.Hour, 15 * time.Minute}
)

func after(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

func counted(minutes, cores, connected int) Sample {
	return Sample{At: after(minutes), Counted: true, Cores: cores, Connected: connected}
}

func ended(minutes, succeeded, failed, cancelled int) Sample {
	return Sample{At: after(minutes), Ends: Ends{succeeded, failed, cancelled}}
}

func TestFleetPoints(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		samples []Sample
		want    [4]FleetPoint // without their times
	}{
		"none": {},
		"one":  {[]Sample{counted(20, 7, 5)}, [4]FleetPoint{1: {Counted: true, Cores: 7, Connected: 5}}},
		"the fewest that were connected, of the most": {
			[]Sample{counted(0, 7, 5), counted(5, 8, 2), counted(10, 8, 8)}, [4]FleetPoint{{Counted: true, Cores: 8, Connected: 2}},
		},
		"a server that was off for half of the time": {
			[]Sample{counted(0, 3, 3), counted(55, 3, 0)}, [4]FleetPoint{0: {Counted: true, Cores: 3, Connected: 3}, 3: {Counted: true, Cores: 3}},
		},
		"deployments, also of buckets whose cores nobody counted": {
			[]Sample{ended(15, 1, 2, 3), ended(20, 4, 0, 0), {At: after(25), Counted: true, Cores: 1, Ends: Ends{Failed: 1}}},
			[4]FleetPoint{1: {Counted: true, Cores: 1, Ends: Ends{5, 3, 3}}},
		},
		"before and after": {[]Sample{counted(-5, 1, 1), counted(60, 1, 1), ended(-5, 1, 1, 1), ended(60, 1, 1, 1)}, [4]FleetPoint{}},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range tc.want {
				tc.want[i].At = after(15 * i)
			}
			if diff := cmp.Diff(tc.want[:], fleetPoints(tc.samples, noon, quarter)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRequestPoints(t *testing.T) {
	t.Parallel()
	samples := []RequestSample{{after(0), Latencies{1: 10}}, {after(5), Latencies{}}, {after(30), Latencies{8: 2}}, {after(60), Latencies{9}}}
	want := []RequestPoint{
		{At: after(0), Requests: 10, Ran: 2 * Bucket, Median: 500 * time.Microsecond, P99: 794 * time.Microsecond},
		{At: after(15)},
		{At: after(30), Requests: 2, Ran: 2 * time.Minute, Median: 3276800 * time.Microsecond, P99: 3276800 * time.Microsecond},
		{At: after(45)},
	}
	if diff := cmp.Diff(want, requestPoints(samples, noon, after(32), quarter)); diff != "" {
		t.Error(diff)
	}
}

// TestPeriods: each has whole points, the last of which has now in it.
func TestPeriods(t *testing.T) {
	t.Parallel()
	for _, p := range Periods {
		for _, now := range []time.Time{noon, noon.Add(-1), after(7)} {
			from := p.from(now)
			last := from.Add(p.Length - p.Step)
			if p.Length%p.Step != 0 || p.Step%Bucket != 0 || now.Before(last) || !now.Before(last.Add(p.Step)) {
				t.Errorf("%s at %s: the last point begins at %s", p.Name, now, last)
			}
		}
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		took  Latencies
		share float64
		want  time.Duration
	}{
		{Latencies{}, 0.5, 0},
		{Latencies{1}, 0.5, 100 * time.Microsecond},
		{Latencies{100}, 0.99, 198 * time.Microsecond},
		{Latencies{0, 100}, 0.5, 500 * time.Microsecond},
		{Latencies{50, 0, 0, 50}, 0.5, 200 * time.Microsecond},
		{Latencies{50, 0, 0, 50}, 0.75, 8 * time.Millisecond},
		{Latencies{98, 0, 0, 0, 0, 0, 0, 0, 2}, 0.99, 3276800 * time.Microsecond},
	} {
		if got := tc.took.Quantile(tc.share); got != tc.want {
			t.Errorf("%v of %v: %v, want %v", tc.share, tc.took, got, tc.want)
		}
	}
	for _, tc := range []struct {
		took time.Duration
		want int
	}{{0, 0}, {200 * time.Microsecond, 0}, {201 * time.Microsecond, 1}, {time.Hour, 8}} {
		if got := indexOf(tc.took); got != tc.want {
			t.Errorf("%v is counted as %d, want %d", tc.took, got, tc.want)
		}
	}
}
