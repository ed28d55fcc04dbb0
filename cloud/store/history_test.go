package store_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/history"
	"github.com/fescue-edge/fescue/cloud/retention"
	"github.com/fescue-edge/fescue/cloud/store"
)

var _ history.Store = store.History{}

func testFleetHistory(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	first := madeAt.Truncate(history.Bucket)
	at := func(bucket int) time.Time { return first.Add(time.Duration(bucket) * history.Bucket) }
	samples := func(t *testing.T, p fescue.Partition, from time.Time, want ...history.Sample) {
		t.Helper()
		if diff := cmp.Diff(want, must(s.History().Samples(ctx, p, from))(t)); diff != "" {
			t.Error(diff)
		}
	}
	mustDo(t, s.History().Sample(ctx, at(0), madeAt))
	samples(t, homePartition, at(0))

	for thing, seen := range map[string]cores.LastSeen{"a": {SeenAt: madeAt}, "b": {SeenAt: madeAt}, "gone": {SeenAt: madeAt, GoneAt: madeAt.Add(time.Second)}} {
		mustDo(t, s.Cores().See(ctx, []cores.Seen{{Partition: homePartition, Thing: thing, Core: true, LastSeen: seen}}))
	}
	mustDo(t, s.Cores().See(ctx, []cores.Seen{{Partition: elsewhere[0], Thing: "a", Core: true, LastSeen: cores.LastSeen{SeenAt: madeAt}}}))
	ends := func(group string) *run { return deploying(t, s, group).offer("c").step(fescue.EventClaimed) } // at(0)
	ends("g").step(fescue.EventSucceeded)
	ends("g").step(fescue.EventFailed)
	cancelled := deploying(t, s, "h")
	must(s.Deployments().ApplyStep(ctx, cancelled.Deployment, fescue.CloudActor, fescue.DeploymentStep{
		Event: fescue.EventCancelled, At: at(1), Message: "m", Details: []fescue.ErrorDetail{fescue.DeploymentCancelled.Detail("x")},
	}))(t)
	deploying(t, s, "i") // goes on
	deployingIn(t, s, elsewhere[1], "g").step(fescue.EventBuildFailed)

	zero := history.Sample{At: at(0), Ends: history.Ends{Succeeded: 1, Failed: 1}}
	one := history.Sample{At: at(1), Ends: history.Ends{Cancelled: 1}}
	t.Run("what ended, before there is a sample", func(t *testing.T) {
		if diff := cmp.Diff([]history.Sample{zero, one}, must(s.History().Ends(ctx, homePartition, at(0)))(t)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]history.Sample{one}, must(s.History().Ends(ctx, homePartition, at(1)))(t)); diff != "" {
			t.Error(diff)
		}
		if got := must(s.History().Ends(ctx, elsewhere[0], at(0)))(t); len(got) > 0 {
			t.Errorf("elsewhere %+v", got)
		}
	})
	t.Run("cores are counted once in a bucket, and what ended in all that have no sample", func(t *testing.T) {
		mustDo(t, s.History().Sample(ctx, at(2), madeAt))
		two := history.Sample{At: at(2), Counted: true, Cores: 4, Connected: 2} // what was deployed to is a core, too
		samples(t, homePartition, at(0), zero, one, two)
		samples(t, homePartition, at(1), one, two)
		samples(t, elsewhere[0], at(0), history.Sample{At: at(2), Counted: true, Cores: 1, Connected: 1})
		samples(t, elsewhere[1], at(0), history.Sample{At: at(0), Ends: history.Ends{Failed: 1}})
		ends("g").step(fescue.EventSucceeded) // late
		mustDo(t, s.History().Sample(ctx, at(2), madeAt.Add(cores.OnlineWindow)))
		zero.Succeeded++
		samples(t, homePartition, at(0), zero, one, two)
	})
	t.Run("cores that nobody hears of are not connected", func(t *testing.T) {
		mustDo(t, s.History().Sample(ctx, at(3), madeAt.Add(cores.OnlineWindow)))
		samples(t, homePartition, at(3), history.Sample{At: at(3), Counted: true, Cores: 4})
	})
	t.Run("after a while without a server", func(t *testing.T) {
		mustDo(t, s.History().Sample(ctx, at(100), at(100)))
		samples(t, homePartition, at(4), history.Sample{At: at(100), Counted: true, Cores: 4})
	})
	t.Run("a sample of the future hides nothing", func(t *testing.T) {
		s := open(t)
		mustDo(t, s.Cores().See(ctx, []cores.Seen{{Partition: homePartition, Thing: "a", Core: true, LastSeen: cores.LastSeen{SeenAt: madeAt}}}))
		mustDo(t, s.History().Sample(ctx, at(10_000), madeAt))
		deploying(t, s, "g").step(fescue.EventBuildFailed)
		mustDo(t, s.History().Sample(ctx, at(1), madeAt))
		got := must(s.History().Samples(ctx, homePartition, at(0)))(t)
		if len(got) != 3 || got[0].Failed != 1 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("is removed for its age", func(t *testing.T) {
		if n := expire(t, s, retention.FleetHistory, at(3)); n != 5 {
			t.Errorf("%d samples went", n)
		}
		samples(t, homePartition, at(0), history.Sample{At: at(3), Counted: true, Cores: 4}, history.Sample{At: at(100), Counted: true, Cores: 4})
	})
}

func testRequestHistory(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	at := madeAt.Truncate(history.Bucket)
	add := func(at time.Time, took history.Latencies) {
		t.Helper()
		mustDo(t, s.History().AddRequests(ctx, at, took))
	}
	add(at, history.Latencies{1, 2, 3, 4, 5, 6, 7, 8, 9})
	add(at, history.Latencies{1, 1, 1, 1, 1, 1, 1, 1, 1}) // of another server
	add(at.Add(history.Bucket), history.Latencies{})
	want := []history.RequestSample{{At: at, Took: history.Latencies{2, 3, 4, 5, 6, 7, 8, 9, 10}}, {At: at.Add(history.Bucket)}}
	for from, want := range map[time.Time][]history.RequestSample{at: want, at.Add(1): want[1:], at.Add(time.Hour): nil} {
		// A time of the database has milliseconds.
		if diff := cmp.Diff(want, must(s.History().Requests(ctx, from.Add(time.Millisecond-1).Truncate(time.Millisecond)))(t)); diff != "" {
			t.Errorf("from %s: %s", from, diff)
		}
	}
	if n := expire(t, s, retention.RequestHistory, at.Add(1)); n != 0 {
		t.Errorf("%d samples went before their time", n)
	}
	if n := expire(t, s, retention.RequestHistory, at.Add(time.Hour)); n != 2 {
		t.Errorf("%d samples went", n)
	}
}

// BenchmarkHistory is what the plots ask, and what a sample costs; and counting the ends of
// a week from the deployments instead, two for each core.
func BenchmarkHistory(b *testing.B) {
	onFleets(b, func(b *testing.B, s *store.DB, many int) {
		now := madeAt.Truncate(history.Bucket)
		service := history.New(history.Options{Store: s.History(), Leases: s.Leases(), Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
		for _, over := range history.Periods {
			b.Run(over.Name, func(b *testing.B) {
				for b.Loop() {
					if points, err := service.Fleet(b.Context(), homePartition, over); err != nil || points[1].Cores != many {
						b.Fatal(points, err)
					}
				}
			})
		}
		b.Run("counted from deployments", func(b *testing.B) {
			for b.Loop() {
				if list, err := s.History().Ends(b.Context(), homePartition, now.Add(-7*24*time.Hour)); err != nil || len(list) != 2016 {
					b.Fatal(len(list), err)
				}
			}
		})
		b.Run("a sample", func(b *testing.B) {
			for b.Loop() {
				if err := s.History().Sample(b.Context(), now, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}
