package topic

import "strings"

// Tree keeps a value for each of many filters and finds those that match a name by
// walking the name's levels, so that the number of filters does not matter. It
// matches as Match does, for filters that pass ValidFilter. The zero Tree is empty
// and ready. It may be read from several goroutines while nobody changes it.
type Tree[T any] struct {
	root node[T]
	size int
}

// node is what filters have in common up to a level.
type node[T any] struct {
	// levels are the next levels that are names; plus is the next level +, hash
	// the value of the filter that goes on with #.
	levels map[string]*node[T]
	plus   *node[T]
	hash   *T
	// here is the value of the filter that ends here.
	here *T
}

// Len is the number of filters.
func (t *Tree[T]) Len() int { return t.size }

// Get returns the value of a filter.
func (t *Tree[T]) Get(filter string) (value T, ok bool) {
	if slot := t.root.find(filter, false); slot != nil && *slot != nil {
		return **slot, true
	}
	return value, false
}

// Set keeps a value for a filter in place of the one that it had.
func (t *Tree[T]) Set(filter string, value T) {
	slot := t.root.find(filter, true)
	if *slot == nil {
		t.size++
	}
	*slot = &value
}

// Delete forgets a filter, and reports whether it was there.
func (t *Tree[T]) Delete(filter string) bool {
	slot := t.root.find(filter, false)
	if slot == nil || *slot == nil {
		return false
	}
	*slot = nil
	t.size--
	t.root.prune(filter)
	return true
}

// Match calls visit with the value of each filter that matches a name, in no
// particular order. For a filter in place of a name it is each that covers it, as Covers
// says; so does the same filter.
func (t *Tree[T]) Match(name string, visit func(T)) {
	if dollar(name) {
		// A wildcard at the first level does not match.
		level, rest, more := strings.Cut(name, "/")
		if next := t.root.levels[level]; next != nil {
			next.match(rest, more, visit)
		}
		return
	}
	t.root.match(name, true, visit)
}

// match visits what matches the levels of rest; without more, there are none left.
func (n *node[T]) match(rest string, more bool, visit func(T)) {
	if !more {
		if n.here != nil {
			visit(*n.here)
		}
		return
	}
	if n.hash != nil {
		visit(*n.hash)
	}
	level, rest, more := strings.Cut(rest, "/")
	if level == "#" {
		return // nothing but a # covers it
	}
	if next := n.levels[level]; next != nil {
		next.match(rest, more, visit)
	}
	if n.plus != nil {
		n.plus.match(rest, more, visit)
	}
}

// find is where the value of a filter lies; nil where it is not made and not there.
func (n *node[T]) find(filter string, make bool) **T {
	for level, rest, more := "", filter, true; more; {
		level, rest, more = strings.Cut(rest, "/")
		if level == "#" && !more {
			return &n.hash
		}
		next := n.next(level)
		if next == nil {
			if !make {
				return nil
			}
			next = n.add(level)
		}
		n = next
	}
	return &n.here
}

func (n *node[T]) next(level string) *node[T] {
	if level == "+" {
		return n.plus
	}
	return n.levels[level]
}

func (n *node[T]) add(level string) *node[T] {
	next := new(node[T])
	if level == "+" {
		n.plus = next
		return next
	}
	if n.levels == nil {
		n.levels = make(map[string]*node[T], 1)
	}
	// The level is a part of a longer text, which is not to stay for it.
	n.levels[strings.Clone(level)] = next
	return next
}

// prune removes the nodes of a filter that hold nothing any more, and reports
// whether n is one.
func (n *node[T]) prune(filter string) bool {
	level, rest, more := strings.Cut(filter, "/")
	if next := n.next(level); next != nil && (!more && next.empty() || more && next.prune(rest)) {
		if level == "+" {
			n.plus = nil
		} else if delete(n.levels, level); len(n.levels) == 0 {
			n.levels = nil
		}
	}
	return n.empty()
}

func (n *node[T]) empty() bool {
	return len(n.levels) == 0 && n.plus == nil && n.hash == nil && n.here == nil
}
