// Package events delivers notifications of deployments' changes of status to
// webhooks and to MQTT. What has to be delivered stands in an outbox, written in
// the transaction of the change itself; it leaves the outbox when its destination
// has taken it. So every change is delivered at least once, those of one deployment in
// order, whatever dies in between. Telemetry of cores becomes events on MQTT alone, and
// is not kept.
package events

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/cloud/lease"
)

// Store is the outbox.
type Store interface {
	// SetEventDestinations names those for which notifications are written from
	// now on.
	SetEventDestinations(ctx context.Context, names []string) error
	DueNotifications(ctx context.Context, aws, destination string, limit int) ([]Notification, error)
	FinishNotifications(ctx context.Context, destination string, delivered []string, failed map[string]time.Time) error
	DropNotifications(ctx context.Context, before time.Time) (map[string]int64, error)
	NotificationBacklog(ctx context.Context) ([]NotificationBacklog, error)
}

// Destination takes notifications.
type Destination interface {
	// Name distinguishes it from others and stays the same across starts. It stands in
	// the database, in logs and in metrics, so it has no secrets.
	Name() string
	// Deliver returns nil once the destination has the notification.
	Deliver(ctx context.Context, n Notification) error
}

// Options is what a Service is made of.
type Options struct {
	Store Store
	// Leases have one server deliver at a time.
	Leases       lease.Store
	Destinations []Destination
	// AWS is the first part of every ARN.
	AWS string
	// Retention is how long what cannot be delivered is kept.
	Retention time.Duration
	// FirstRetry is the wait after the first failure; it doubles with each
	// further one up to LastRetry. Zero means a second and five minutes.
	FirstRetry, LastRetry time.Duration
	Now                   func() time.Time
	Logger                *slog.Logger
}

// Service delivers. On several servers that share a database one does at a time.
type Service struct {
	o       Options
	senders []*sender
}

// New makes a service and has notifications be written for its destinations.
func New(ctx context.Context, o Options) (*Service, error) {
	if o.FirstRetry == 0 {
		o.FirstRetry = time.Second
	}
	if o.LastRetry == 0 {
		o.LastRetry = 5 * time.Minute
	}
	s := &Service{o: o}
	var names []string
	for _, d := range o.Destinations {
		if slices.Contains(names, d.Name()) {
			return nil, fmt.Errorf("destination %s of events is named twice", d.Name())
		}
		names = append(names, d.Name())
		s.senders = append(s.senders, &sender{o: &s.o, to: d})
	}
	return s, o.Store.SetEventDestinations(ctx, names)
}

// expiry is how often what is too old is looked for.
const expiry = time.Minute

// Run delivers until ctx ends.
func (s *Service) Run(ctx context.Context) {
	l := lease.Lease{Store: s.o.Leases, Name: "events", Now: s.o.Now, Logger: s.o.Logger}
	l.Run(ctx, func(ctx context.Context) {
		var sending sync.WaitGroup
		defer sending.Wait()
		for _, sender := range s.senders {
			sending.Go(func() { sender.run(ctx) })
		}
		s.expire(ctx)
	})
}

// expire drops what is older than the retention.
func (s *Service) expire(ctx context.Context) {
	tick := time.NewTicker(expiry)
	defer tick.Stop()
	for {
		dropped, err := s.o.Store.DropNotifications(ctx, s.o.Now().Add(-s.o.Retention))
		if err != nil && ctx.Err() == nil {
			s.o.Logger.Error("old events not dropped; it is tried again", "error", err)
		}
		for name, n := range dropped {
			s.o.Logger.Error("EVENTS LOST: they could not be delivered for as long as they are kept",
				"destination", name, "events", n, "kept", s.o.Retention)
			for _, sender := range s.senders {
				if sender.to.Name() == name {
					sender.count(func(c *Status) { c.Dropped += n })
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Status is how a destination does. The counts are of this server since its
// start; the backlog is that of all.
type Status struct {
	Destination string `json:"destination"`
	// Configured is false for a destination of an earlier start for which
	// something still waits.
	Configured bool `json:"configured"`
	// Pending notifications wait, the oldest since Oldest.
	Pending int64     `json:"pending"`
	Oldest  time.Time `json:"oldest,omitzero"`
	// Delivered and Failed count attempts, Dropped what grew too old.
	Delivered int64 `json:"delivered"`
	Failed    int64 `json:"failed"`
	Dropped   int64 `json:"dropped"`
	// LastError is why the newest failed attempt failed.
	LastError string `json:"lastError,omitempty"`
}

// Status reports how every destination does.
func (s *Service) Status(ctx context.Context) ([]Status, error) {
	backlog, err := s.o.Store.NotificationBacklog(ctx)
	if err != nil {
		return nil, fmt.Errorf("read backlog of events: %w", err)
	}
	var list []Status
	for _, sender := range s.senders {
		list = append(list, sender.status())
	}
	for _, b := range backlog {
		i := slices.IndexFunc(list, func(st Status) bool { return st.Destination == b.Destination })
		if i < 0 {
			i = len(list)
			list = append(list, Status{Destination: b.Destination})
		}
		list[i].Pending, list[i].Oldest = b.Pending, b.Oldest
	}
	return list, nil
}
