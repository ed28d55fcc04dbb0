package cloudlink

import (
	"slices"

	"github.com/fescue-edge/fescue/topic"
)

// served are the filters that connections have subscribed to, each with those. It is
// asked for each message, and there may be 10,000.
type served struct{ topic.Tree[*holders] }

// holders have subscribed to a filter.
type holders struct {
	filter string
	by     []*connection
}

// up reports whether what the filter finds comes. link.mu is held.
func (h *holders) up() bool {
	return slices.ContainsFunc(h.by, func(c *connection) bool { return c.up })
}

func (s *served) add(filter string, c *connection) {
	h, ok := s.Get(filter)
	if !ok {
		h = &holders{filter: filter}
		s.Set(filter, h)
	}
	h.by = append(h.by, c)
}

func (s *served) remove(filter string, c *connection) {
	h, ok := s.Get(filter)
	if !ok {
		return
	}
	if h.by = slices.DeleteFunc(h.by, func(other *connection) bool { return other == c }); len(h.by) == 0 {
		s.Delete(filter)
	}
}

// wildcards are filters that may cover others.
type wildcards struct{ tree topic.Tree[string] }

// add adds a filter, if it has wildcards.
func (w *wildcards) add(filter string) {
	if isWild(filter) {
		w.tree.Set(filter, filter)
	}
}

// covered reports whether another filter brings what this one does. One that may have
// ended a connection is not counted on.
func (w *wildcards) covered(filter string, suspects map[string]suspicion) (covered bool) {
	w.tree.Match(filter, func(other string) {
		covered = covered || other != filter && suspects[other].closes == 0
	})
	return covered
}
