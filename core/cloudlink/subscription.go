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
	// lasting has the cloud keep its messages while the core is away.
	lasting bool

	// Guarded by link.mu: the filters, twice.
	filters []string
	tree    topic.Tree[struct{}]
}

// Subscribe adds a Handler, for no filters yet.
func (l *Link) Subscribe(h Handler) *Subscription { return l.add(h, false) }

func (l *Link) add(h Handler, lasting bool) *Subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &Subscription{link: l, handler: h, lasting: lasting}
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
	s.filters, s.tree = slices.Clone(filters), topic.Tree[struct{}]{}
	for _, f := range filters {
		s.tree.Set(f, struct{}{})
	}
	l.decided = l.decided || s.lasting
	clear(l.suspects)
	l.arrange()
}

// Active reports whether all filters are subscribed to at this moment.
func (s *Subscription) Active() bool {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	among := &l.served
	if s.lasting {
		among = &l.servedLasting
	}
	for _, f := range s.filters {
		active := false
		among.Match(f, func(h *holders) { active = active || h.up() })
		if !active {
			return false
		}
	}
	return true
}

// wants reports whether a topic matches a filter. link.mu is held.
func (s *Subscription) wants(name string) (wants bool) {
	s.tree.Match(name, func(struct{}) { wants = true })
	return wants
}

// deliver hands a message that came over c to who wants it. It is false when a
// handler failed.
func (l *Link) deliver(c *connection, m Message) bool {
	var handlers []Handler
	l.mu.Lock()
	if c.lasting || l.brings(c, m.Topic) {
		for _, s := range l.subscriptions {
			if s.lasting == c.lasting && s.wants(m.Topic) {
				handlers = append(handlers, s.handler)
			}
		}
	}
	l.mu.Unlock()
	taken := true
	for _, h := range handlers {
		if err := h(m); err != nil {
			taken = false
			what := "A message from the cloud was dropped."
			if c.lasting {
				what = "A message from the cloud was not taken, and will come again."
			}
			l.options.Logger.Warn(what, slog.String("topic", m.Topic), slog.String("errorString", err.Error()))
		}
	}
	return taken
}

// brings reports whether c is the first connection that brings messages of a topic. One
// that is about to end is not. mu is held.
func (l *Link) brings(c *connection, name string) bool {
	first := c.order >= 0
	l.served.Match(name, func(h *holders) {
		for _, other := range h.by {
			first = first && other.order >= c.order
		}
	})
	return first
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
	var wanted, lasting []string
	for _, s := range l.subscriptions {
		if s.lasting {
			lasting = append(lasting, s.filters...)
		} else {
			wanted = append(wanted, s.filters...)
		}
	}
	slices.Sort(wanted)
	slices.Sort(lasting)
	left := l.arrangeLasting(slices.Compact(lasting))
	taken := 0 // of the numbers in client ids
	if n := len(l.lasting); n > 0 {
		taken = l.lasting[n-1].number + 1
	}
	sets, more := distribute(slices.Compact(wanted), l.suspects, maxConnections-taken)
	if left = append(left, more...); len(left) > 0 {
		l.options.Logger.Error("The core has too many subscriptions in the cloud; some are left out.",
			slog.Int("leftOut", len(left)), slog.String("first", left[0]), slog.Int("connections", maxConnections))
	}
	before := slices.Clone(l.connections)
	l.connections = l.connections[:min(len(l.connections), max(len(sets), 1))]
	for i := 1; i < len(sets); i++ {
		id := l.extraID(taken + i - 1)
		if i == len(l.connections) {
			l.connections = append(l.connections, nil)
		}
		if c := l.connections[i]; c == nil || c.clientID != id {
			l.connections[i] = newConnection(l, id)
		}
	}
	for _, c := range before {
		if !slices.Contains(l.connections, c) {
			c.retire()
		}
	}
	for i, c := range l.connections {
		c.order, c.wanted = i, nil
		if i < len(sets) {
			c.wanted = sets[i]
		}
		signal(c.refilter)
	}
	for _, c := range l.lasting {
		signal(c.refilter)
	}
	signal(l.arranged)
}

// distribute makes sets of filters that do not overlap within a set. A filter that
// another one covers is in none, unless the other may have ended a connection;
// filters that are left out for now are in none either. There are most sets at most.
func distribute(wanted []string, suspects map[string]suspicion, most int) (sets [][]string, left []string) {
	now := time.Now()
	var wild wildcards
	var usable []string
	for _, f := range wanted {
		if now.Before(suspects[f].until) {
			continue
		}
		usable = append(usable, f)
		wild.add(f)
	}
	type set struct{ all, wild []string }
	var made []*set
	for _, f := range usable {
		if wild.covered(f, suspects) {
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
			if len(made) == most {
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
