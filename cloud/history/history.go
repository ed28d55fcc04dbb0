// Package history keeps how the fleet and the servers did over the last week, in buckets
// of five minutes: how many cores were connected, how deployments ended, how long requests
// took. It is for plots: what is to be known exactly, deployments and metrics say.
package history

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/lease"
	"github.com/fescue-edge/fescue/periodic"
)

// Bucket is how much time a sample is of. A bucket begins at a multiple of it.
const Bucket = 5 * time.Minute

// Kept is how far back a sample looks for what no sample has yet; retention keeps them for
// as long.
const Kept = 8 * 24 * time.Hour

// Sample is what is known of a partition in one bucket.
type Sample struct {
	At time.Time // when the bucket begins
	// Counted reports that a server counted the cores; Cores is how many were known
	// then, and Connected how many of them were connected.
	Counted          bool
	Cores, Connected int
	Ends
}

// Ends are deployments that ended. Those that were cancelled are not among the Failed.
type Ends struct{ Succeeded, Failed, Cancelled int }

func (e *Ends) add(other Ends) {
	e.Succeeded += other.Succeeded
	e.Failed += other.Failed
	e.Cancelled += other.Cancelled
}

// RequestSample is how many requests took how long in one bucket.
type RequestSample struct {
	At   time.Time
	Took Latencies
}

// Store keeps samples.
type Store interface {
	// Sample counts what is so now into the bucket that begins at a time: the cores of
	// every partition, unless they were counted for that bucket, and the deployments that
	// ended in it and in those that no sample covers yet.
	Sample(ctx context.Context, at, now time.Time) error
	// Samples are those of a partition that begin at a time or later, in order.
	Samples(ctx context.Context, p fescue.Partition, from time.Time) ([]Sample, error)
	// Ends are the deployments of a partition that ended at a time or later, by bucket;
	// samples may not have them yet.
	Ends(ctx context.Context, p fescue.Partition, from time.Time) ([]Sample, error)
	// AddRequests adds to the bucket that begins at a time.
	AddRequests(ctx context.Context, at time.Time, took Latencies) error
	// Requests are the samples that begin at a time or later, in order.
	Requests(ctx context.Context, from time.Time) ([]RequestSample, error)
}

// Options are what a Service is made of. All are needed.
type Options struct {
	Store Store
	// Leases have one server count cores and deployments at a time.
	Leases lease.Store
	Now    func() time.Time
	Logger *slog.Logger
}

// Service takes samples and reads them.
type Service struct {
	Options
	took [len(bounds) + 1]atomic.Int64 // since they were last written
}

// New makes a Service.
func New(o Options) *Service { return &Service{Options: o} }

// Pace.
const (
	// settle is how long after its start a server counts first: cores that lost their
	// connection with the server before need a moment to come back.
	settle = time.Minute
	// write is how often requests are added to their bucket, and last how long that may
	// take at the end.
	write = time.Minute
	last  = time.Second
)

// Run takes samples until ctx ends.
func (s *Service) Run(ctx context.Context) {
	var counting sync.WaitGroup
	defer counting.Wait()
	counting.Go(func() {
		l := lease.Lease{Store: s.Leases, Name: "history", Now: s.Now, Logger: s.Logger}
		l.Run(ctx, s.count)
	})
	periodic.Every(ctx, write, func() { s.writeRequests(ctx) })
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), last)
	defer cancel()
	s.writeRequests(ending)
}

// count takes a sample soon, and then in the middle of each bucket.
func (s *Service) count(ctx context.Context) {
	for pause := settle; periodic.Sleep(ctx, pause); {
		now := s.Now()
		at := now.Truncate(Bucket)
		if err := s.Store.Sample(ctx, at, now); err != nil && ctx.Err() == nil {
			s.Logger.Warn("cores and deployments not counted; the console's plots have a gap", "error", err)
		}
		pause = at.Add(Bucket + Bucket/2).Sub(now)
	}
}

// Observe takes note that a request was answered.
func (s *Service) Observe(took time.Duration) { s.took[indexOf(took)].Add(1) }

func (s *Service) writeRequests(ctx context.Context) {
	var took Latencies
	for i := range s.took {
		took[i] = s.took[i].Swap(0)
	}
	if err := s.Store.AddRequests(ctx, s.Now().Truncate(Bucket), took); err != nil {
		for i, n := range took {
			s.took[i].Add(n) // for the next time
		}
		if ctx.Err() == nil {
			s.Logger.Warn("requests not added to their history; it is tried again", "error", err)
		}
	}
}

// Fleet is how a partition's fleet did over a period, up to now.
func (s *Service) Fleet(ctx context.Context, p fescue.Partition, over Period) ([]FleetPoint, error) {
	now := s.Now()
	from := over.from(now)
	list, err := s.Store.Samples(ctx, p, from)
	if err != nil {
		return nil, err
	}
	// What ended in this bucket and the one before, no sample may have yet.
	fresh := now.Truncate(Bucket).Add(-Bucket)
	recent, err := s.Store.Ends(ctx, p, fresh)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if !list[i].At.Before(fresh) {
			list[i].Ends = Ends{}
		}
	}
	return fleetPoints(append(list, recent...), from, over), nil
}

// Requests is how long the servers' requests took over a period, up to now.
func (s *Service) Requests(ctx context.Context, over Period) ([]RequestPoint, error) {
	now := s.Now()
	list, err := s.Store.Requests(ctx, over.from(now))
	if err != nil {
		return nil, err
	}
	return requestPoints(list, over.from(now), now, over), nil
}
