package cloudlink

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/topic"
)

// Handler takes a message. It must not wait for the Link. nil acknowledges the
// message; one that failed is not acknowledged, so that a broker that keeps messages
// for the core sends it again.
type Handler func(m Message) error

// Subscription is what one Handler wants. It gets each message that any of its
// filters matches, once; those of one topic in the order in which the broker sends
// them. Messages of different topics may come at the same time.
type Subscription struct {
	link    *Link
	handler Handler

	// Guarded by link.mu: all filters, and the same apart.
	filters []string
	exact   map[string]bool
	wild    []string
}

// Subscribe adds a Handler, for no filters yet.
func (l *Link) Subscribe(h Handler) *Subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &Subscription{link: l, handler: h}
	l.subscriptions = append(l.subscriptions, s)
	return s
}

// SetFilters makes these the filters: new ones are added, others removed, now if
// connected, else at the next connection. Filters that the cloud has refused are
// tried again.
func (s *Subscription) SetFilters(filters ...string) {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	s.filters, s.exact, s.wild = slices.Clone(filters), make(map[string]bool), nil
	for _, f := range filters {
		if isWild(f) {
			s.wild = append(s.wild, f)
		} else {
			s.exact[f] = true
		}
	}
	clear(l.suspects)
	l.arrange()
}

// Active reports whether all filters are subscribed to at this moment.
func (s *Subscription) Active() bool {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range s.filters {
		if !slices.ContainsFunc(l.connections, func(c *connection) bool { return c.serves(f) }) {
			return false
		}
	}
	return true
}

// wants reports whether a topic matches a filter. link.mu is held.
func (s *Subscription) wants(name string) bool {
	return s.exact[name] || slices.ContainsFunc(s.wild, func(f string) bool { return topic.Match(f, name) })
}

// deliver hands a message that came over c to who wants it. It is false when a
// handler failed.
func (l *Link) deliver(c *connection, m Message) bool {
	var handlers []Handler
	l.mu.Lock()
	if l.brings(c, m.Topic) {
		for _, s := range l.subscriptions {
			if s.wants(m.Topic) {
				handlers = append(handlers, s.handler)
			}
		}
	}
	l.mu.Unlock()
	taken := true
	for _, h := range handlers {
		if err := h(m); err != nil {
			taken = false
			l.options.Logger.Warn("A message from the cloud was dropped.", slog.String("topic", m.Topic), slog.String("errorString", err.Error()))
		}
	}
	return taken
}

// brings reports whether c is the first connection that brings messages of a topic.
// mu is held.
func (l *Link) brings(c *connection, name string) bool {
	for _, each := range l.connections {
		if each == c {
			return true
		}
		for f := range each.subscribed {
			if topic.Match(f, name) {
				return false
			}
		}
	}
	return false // it is about to end
}

const (
	// maxOnConnection is how many filters one connection may have, maxConnections
	// how many connections a core (AWS IoT Greengrass V1 developer guide, "Client IDs
	// for MQTT connections with AWS IoT").
	maxOnConnection = 50
	maxConnections  = 250
)

// arrange distributes the filters that are wanted over connections. mu is held.
func (l *Link) arrange() {
	var wanted []string
	for _, s := range l.subscriptions {
		wanted = append(wanted, s.filters...)
	}
	slices.Sort(wanted)
	sets, left := distribute(slices.Compact(wanted), l.suspects)
	if len(left) > 0 {
		l.options.Logger.Error("The core has too many subscriptions in the cloud; some are left out.",
			slog.Int("leftOut", len(left)), slog.String("first", left[0]), slog.Int("connections", maxConnections))
	}
	for len(l.connections) < len(sets) {
		l.connections = append(l.connections, newConnection(l, len(l.connections)))
	}
	l.connections = l.connections[:max(len(sets), 1)]
	for i, c := range l.connections {
		c.wanted = nil
		if i < len(sets) {
			c.wanted = sets[i]
		}
		signal(c.refilter)
	}
	signal(l.arranged)
}

// distribute makes sets of filters that do not overlap within a set. A filter that
// another one covers is in none, unless the other may have ended a connection;
// filters that are left out for now are in none either.
func distribute(wanted []string, suspects map[string]suspicion) (sets [][]string, left []string) {
	now := time.Now()
	var wild []string // that cover and overlap others
	var usable []string
	for _, f := range wanted {
		if now.Before(suspects[f].until) {
			continue
		}
		usable = append(usable, f)
		if isWild(f) {
			wild = append(wild, f)
		}
	}
	type set struct{ all, wild []string }
	var made []*set
	for _, f := range usable {
		if slices.ContainsFunc(wild, func(w string) bool { return w != f && suspects[w].closes == 0 && topic.Covers(w, f) }) {
			continue
		}
		fits := func(s *set) bool {
			// Two filters without wildcards never overlap.
			others := s.wild
			if isWild(f) {
				others = s.all
			}
			return len(s.all) < maxOnConnection && !slices.ContainsFunc(others, func(o string) bool { return topic.Overlap(o, f) })
		}
		i := slices.IndexFunc(made, fits)
		if i < 0 {
			if len(made) == maxConnections {
				left = append(left, f)
				continue
			}
			made = append(made, &set{})
			i = len(made) - 1
		}
		made[i].all = append(made[i].all, f)
		if isWild(f) {
			made[i].wild = append(made[i].wild, f)
		}
	}
	for _, s := range made {
		sets = append(sets, s.all)
	}
	return sets, left
}

// isWild reports whether a filter matches more than one topic.
func isWild(filter string) bool { return strings.ContainsAny(filter, "+#") }
