package cloudlink

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// Sessions keep on the disk what the persistent sessions in the cloud may be subscribed
// to, by client id: the cloud cannot be asked, and goes on keeping messages for filters
// of which nobody remembers that they are there. store.Sessions does it.
type Sessions interface {
	Filters(ctx context.Context) (map[string][]string, error)
	Add(ctx context.Context, clientID string, filters []string) error
	Remove(ctx context.Context, clientID string, filters []string) error
}

// SubscribeLasting adds a Handler whose messages the cloud keeps while the core is away
// (AWS IoT Greengrass V1 developer guide, "MQTT quality of service"): they come with QoS 1
// over persistent sessions, each at least once. A message that is covered by several
// filters may come as often. What earlier starts have left in the cloud stays there until
// SetFilters says what is wanted now.
func (l *Link) SubscribeLasting(h Handler) *Subscription { return l.add(h, true) }

// loadSessions reads what earlier starts have left in the cloud. Nothing has connected
// yet.
func (l *Link) loadSessions(ctx context.Context) {
	if l.options.Sessions == nil {
		return
	}
	all, err := l.options.Sessions.Filters(ctx)
	if err != nil {
		l.unrecorded(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range maxConnections {
		if filters := all[l.extraID(n)]; len(filters) > 0 {
			l.lasting = append(l.lasting, newLasting(l, n, filters))
		}
	}
	l.arrange()
}

func (l *Link) unrecorded(err error) {
	l.options.Logger.Error("What the core is subscribed to in the cloud cannot be kept on the disk; subscriptions that a later deployment removes may stay in the cloud until its session expires.",
		slog.String("errorString", err.Error()))
}

// newLasting makes the connection of a persistent session, which may have filters.
func newLasting(l *Link, number int, recorded []string) *connection {
	c := newConnection(l, l.extraID(number))
	c.lasting, c.number, c.recorded = true, number, make(map[string]bool)
	for _, f := range recorded {
		c.recorded[f] = true
	}
	return c
}

// arrangeLasting has each filter in a persistent session, in the one that has it if there
// is one: what waits there would be lost with it. mu is held. It returns the filters that
// are left out.
func (l *Link) arrangeLasting(wanted []string) (left []string) {
	now := time.Now()
	want, placed := make(map[string]bool, len(wanted)), make(map[string]bool)
	var covers wildcards
	for _, f := range wanted {
		want[f] = true
		covers.add(f)
	}
	for _, c := range l.lasting {
		c.wanted = nil
		for _, f := range slices.Sorted(maps.Keys(c.recorded)) {
			if want[f] && !placed[f] && !l.lapses(c, f, want, now) {
				c.wanted, placed[f] = append(c.wanted, f), true
			}
		}
	}
	next := 0
	for _, f := range wanted {
		if placed[f] || now.Before(l.suspects[f].until) || covers.covered(f, l.suspects) {
			continue
		}
		i := slices.IndexFunc(l.lasting, func(c *connection) bool { return len(c.wanted) < maxOnConnection })
		if i < 0 {
			for slices.ContainsFunc(l.lasting, func(c *connection) bool { return c.number == next }) {
				next++
			}
			if next >= maxConnections-1 {
				left = append(left, f)
				continue
			}
			i = len(l.lasting)
			l.lasting = append(l.lasting, newLasting(l, next, nil))
		}
		l.lasting[i].wanted = append(l.lasting[i].wanted, f)
	}
	l.lasting = slices.DeleteFunc(l.lasting, func(c *connection) bool { return len(c.wanted) == 0 && len(c.recorded) == 0 })
	slices.SortFunc(l.lasting, func(a, b *connection) int { return a.number - b.number })
	return left
}

// lapses reports whether a filter that a session has is to leave it: the cloud refuses it,
// or another one brings the same, and what was kept for it has come by now. mu is held.
func (l *Link) lapses(c *connection, f string, wanted map[string]bool, now time.Time) (lapses bool) {
	if now.Before(l.suspects[f].until) {
		return true
	}
	if !c.up || now.Sub(c.since) < suspicionLasts {
		return false
	}
	l.servedLasting.Match(f, func(h *holders) {
		lapses = lapses || h.filter != f && wanted[h.filter] && h.up()
	})
	return lapses
}

// record notes filters before the cloud is asked for them, forget those that it has let go
// of. A disk that fails keeps no message away.
func (c *connection) record(ctx context.Context, filters []string) {
	c.link.mu.Lock()
	for _, f := range filters {
		c.recorded[f] = true
	}
	c.link.mu.Unlock()
	if s := c.link.options.Sessions; s != nil {
		if err := s.Add(ctx, c.clientID, filters); err != nil && ctx.Err() == nil {
			c.link.unrecorded(err)
		}
	}
}

func (c *connection) forget(ctx context.Context, filters []string) {
	if len(filters) == 0 {
		return
	}
	if s := c.link.options.Sessions; s != nil {
		if err := s.Remove(ctx, c.clientID, filters); err != nil && ctx.Err() == nil {
			c.link.unrecorded(err)
		}
	}
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	for _, f := range filters {
		delete(c.recorded, f)
	}
	c.link.arrange() // a session without filters needs no connection
}

// discard ends a session that is not wanted any more: whoever connects with a clean one
// throws it away.
func (s *session) discard(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.client.Disconnect(250)
	s.link.mu.Lock()
	all := slices.Sorted(maps.Keys(s.recorded))
	s.link.mu.Unlock()
	s.forget(ctx, all)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("%w: its session is not wanted any more", errEnded)
}
