package topic_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/topic"
)

func matches(tree *topic.Tree[string], name string) []string {
	var found []string
	tree.Match(name, func(filter string) { found = append(found, filter) })
	slices.Sort(found)
	return found
}

func TestTree(t *testing.T) {
	t.Parallel()
	filters := []string{
		"a", "a/b", "a/+", "a/#", "#", "+", "+/+", "+/#", "/", "/+", "a//b", "a/+/b", "a/b/c/#",
		"$aws/things/t/shadow/update", "$aws/#", "$aws/+/t/#", "+/things/#", "a/+/+", "å/#",
	}
	names := []string{
		"a", "a/b", "a/", "a/b/c", "a//b", "b", "/", "//", "/a", "b/c", "$aws", "$aws/things", "$aws/things/t/shadow/update",
		"$aws/things/u/shadow/get", "a/b/c/d/e", "å", "å/x", "A/b", "$", "$x/y",
	}
	var tree topic.Tree[string]
	check := func(t *testing.T, when string, filters []string) {
		t.Helper()
		if tree.Len() != len(filters) {
			t.Errorf("%s: %d filters, want %d", when, tree.Len(), len(filters))
		}
		for _, name := range names {
			var want []string
			for _, filter := range filters {
				if topic.Match(filter, name) {
					want = append(want, filter)
				}
			}
			slices.Sort(want)
			if diff := cmp.Diff(want, matches(&tree, name)); diff != "" {
				t.Errorf("%s: %q: %s", when, name, diff)
			}
		}
	}
	check(t, "empty", nil)
	for i, filter := range filters {
		tree.Set(filter, "before")
		tree.Set(filter, filter)
		check(t, "after "+filter, filters[:i+1])
	}
	for _, filter := range filters {
		if got, ok := tree.Get(filter); !ok || got != filter {
			t.Errorf("%s: %q, %v", filter, got, ok)
		}
	}
	for _, absent := range []string{"", "b", "a/b/c", "a/b/c/d", "$aws", "+/+/+", "a/#/b"} {
		if _, ok := tree.Get(absent); ok || tree.Delete(absent) {
			t.Errorf("%q is there", absent)
		}
	}
	for len(filters) > 0 {
		// From the middle, so that nodes go before and after those below them.
		i := len(filters) / 2
		if !tree.Delete(filters[i]) {
			t.Errorf("%s was not there", filters[i])
		}
		gone := filters[i]
		filters = slices.Delete(filters, i, i+1)
		check(t, "without "+gone, filters)
	}
	if got := fmt.Sprint(tree); got != fmt.Sprint(topic.Tree[string]{}) {
		t.Errorf("an emptied tree keeps something: %s", got)
	}
}

// FuzzTree: what the tree finds for a name is what Match finds, and for a filter what
// Covers finds.
func FuzzTree(f *testing.F) {
	f.Add("a/+/#", "a/b", "a/b/c")
	f.Add("$aws/#", "#", "$aws/x")
	f.Add("+", "/", "")
	f.Add("+", "#", "#")
	f.Add("a/+", "+/#", "a/#")
	f.Add("+/+", "#", "$aws/+")
	f.Fuzz(func(t *testing.T, first, second, name string) {
		found := topic.Match
		if topic.ValidName(name) != nil {
			if topic.ValidFilter(name) != nil {
				return
			}
			found = topic.Covers
		}
		var tree topic.Tree[string]
		var want []string
		for _, filter := range []string{first, second} {
			if topic.ValidFilter(filter) != nil {
				return
			}
			tree.Set(filter, filter)
			if found(filter, name) && !slices.Contains(want, filter) {
				want = append(want, filter)
			}
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, matches(&tree, name)); diff != "" {
			t.Error(diff)
		}
		tree.Delete(first)
		tree.Delete(second)
		if tree.Len() != 0 || len(matches(&tree, name)) != 0 {
			t.Errorf("%q and %q stay", first, second)
		}
	})
}
