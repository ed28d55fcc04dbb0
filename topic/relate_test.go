package topic_test

import (
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/topic"
)

// Each pair of short filters is held against every short topic. Topics have one more
// level than filters, and one more word, which wildcards alone can match.
func TestRelations(t *testing.T) {
	t.Parallel()
	var filters, names []string
	for _, f := range combinations(3, []string{"a", "b", "", "+", "#"}, []string{"$x"}) {
		if topic.ValidFilter(f) == nil {
			filters = append(filters, f)
		}
	}
	for _, n := range combinations(4, []string{"a", "b", "", "other"}, []string{"$x", "$other"}) {
		if topic.ValidName(n) == nil {
			names = append(names, n)
		}
	}
	matches := make(map[string][]bool)
	for _, f := range filters {
		for _, n := range names {
			matches[f] = append(matches[f], topic.Match(f, n))
		}
	}
	var tree topic.Tree[string]
	for _, f := range filters {
		tree.Set(f, f)
	}
	for _, b := range filters {
		found := make(map[string]int)
		tree.Match(b, func(a string) { found[a]++ })
		for _, a := range filters {
			want := 0
			if topic.Covers(a, b) {
				want = 1
			}
			if found[a] != want {
				t.Errorf("of the filters that cover %q, %q is found %d times, want %d", b, a, found[a], want)
			}
		}
	}
	for _, a := range filters {
		for _, b := range filters {
			covers, overlap := true, false
			for i := range names {
				covers = covers && (matches[a][i] || !matches[b][i])
				overlap = overlap || matches[a][i] && matches[b][i]
			}
			if got := topic.Covers(a, b); got != covers {
				t.Errorf("%q covers %q: %v", a, b, got)
			}
			if got := topic.Overlap(a, b); got != overlap {
				t.Errorf("%q and %q overlap: %v", a, b, got)
			}
		}
	}
}

// combinations are all texts of up to depth levels; some stand only at the beginning.
func combinations(depth int, levels, first []string) (all []string) {
	at := append(append([]string{}, levels...), first...)
	for range depth {
		all = append(all, at...)
		var longer []string
		for _, start := range at {
			for _, level := range levels {
				longer = append(longer, strings.Join([]string{start, level}, "/"))
			}
		}
		at = longer
	}
	return all
}
