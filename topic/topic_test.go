package topic_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/topic"
)

func TestValid(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", topic.MaxBytes)
	for _, tc := range []struct {
		name, topic        string
		nameErr, filterErr error // what ValidName and ValidFilter have to wrap
	}{
		{"one level", "hello", nil, nil},
		{"several levels", "hello/world/pubsub", nil, nil},
		{"empty levels", "/a//b/", nil, nil},
		{"only a slash", "/", nil, nil},
		{"a space", "hello world/x", nil, nil},
		{"unicode", "küche/温度/🌡", nil, nil},
		{"a dollar", "$aws/events/x", nil, nil},
		{"longest", long, nil, nil},
		{"deepest", "a/b/c/d/e/f/g/h", nil, nil},
		{"shadow", "$aws/things/t/shadow/name/s/update/documents", nil, nil},
		{"things below any depth", "$aws/things/a/b/c/d/e/f/g/h/i/j", nil, nil},
		{"basic ingest, deepest", "$aws/rules/r/a/b/c/d/e/f/g/h", nil, nil},
		{"basic ingest, longest", "$aws/rules/rule/" + long, nil, nil},

		{"plus", "a/+/b", topic.ErrWildcard, nil},
		{"plus alone", "+", topic.ErrWildcard, nil},
		{"hash alone", "#", topic.ErrWildcard, nil},
		{"hash last", "a/b/#", topic.ErrWildcard, nil},
		{"both", "+/+/#", topic.ErrWildcard, nil},
		{"shadow filter", "$aws/things/+/shadow/#", topic.ErrWildcard, nil},

		{"empty", "", topic.ErrEmpty, topic.ErrEmpty},
		{"basic ingest without topic", "$aws/rules/r", topic.ErrEmpty, topic.ErrEmpty},
		{"basic ingest with empty topic", "$aws/rules/r/", topic.ErrEmpty, topic.ErrEmpty},
		{"too long", long + "x", topic.ErrTooLong, topic.ErrTooLong},
		{"too long in bytes only", strings.Repeat("ü", topic.MaxBytes/2) + "x", topic.ErrTooLong, topic.ErrTooLong},
		{"things too long", "$aws/things/" + long, topic.ErrTooLong, topic.ErrTooLong},
		{"basic ingest, too long", "$aws/rules/r/x" + long, topic.ErrTooLong, topic.ErrTooLong},
		{"basic ingest, rule too long", "$aws/rules/" + long + "/x", topic.ErrTooLong, topic.ErrTooLong},
		{"too deep", "a/b/c/d/e/f/g/h/i", topic.ErrTooDeep, topic.ErrTooDeep},
		{"basic ingest, too deep", "$aws/rules/r/a/b/c/d/e/f/g/h/i", topic.ErrTooDeep, topic.ErrTooDeep},
		{"reserved prefix without its slash", "$aws/thingsx/b/c/d/e/f/g/h/i", topic.ErrTooDeep, topic.ErrTooDeep},
		{"NUL", "a\x00b", topic.ErrEncoding, topic.ErrEncoding},
		{"not UTF-8", "a/\xff", topic.ErrEncoding, topic.ErrEncoding},
		{"surrogate", "a/\xed\xa0\x80", topic.ErrEncoding, topic.ErrEncoding},
		{"hash first", "#/a", topic.ErrWildcard, topic.ErrWildcard},
		{"hash before an empty level", "a/#/", topic.ErrWildcard, topic.ErrWildcard},
		{"hash inside a level", "a/b#", topic.ErrWildcard, topic.ErrWildcard},
		{"plus inside a level", "a/b+/c", topic.ErrWildcard, topic.ErrWildcard},
		{"two wildcards in a level", "a/++", topic.ErrWildcard, topic.ErrWildcard},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if err := topic.ValidName(tc.topic); !errors.Is(err, tc.nameErr) {
				t.Errorf("ValidName(%q) = %v, want %v", tc.topic, err, tc.nameErr)
			}
			if err := topic.ValidFilter(tc.topic); !errors.Is(err, tc.filterErr) {
				t.Errorf("ValidFilter(%q) = %v, want %v", tc.topic, err, tc.filterErr)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		filter, name string
		want         bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/B", false},
		{"a/b", "a/b/", false},
		{"a/b", "a", false},
		{"a", "a/b", false},
		{"a/+", "a/b", true},
		{"a/+", "a/", true},
		{"a/+", "a", false},
		{"a/+", "a/b/c", false},
		{"+", "a", true},
		{"+/+", "/a", true},
		{"+", "/a", false},
		{"/+", "/a", true},
		{"+/b/+", "a/b/c", true},
		{"+/b/+", "a/x/c", false},
		{"#", "a", true},
		{"#", "/", true},
		{"#", "a/b/c", true},
		{"a/#", "a", false},
		{"a/#", "a/", true},
		{"a/#", "a/b/c", true},
		{"a/#", "ab/c", false},
		{"a/+/#", "a/b", false},
		{"a/+/#", "a/b/", true},
		{"a//b", "a//b", true},
		{"a//b", "a/b", false},
		{"#", "$aws/things/x", false},
		{"+/things/x", "$aws/things/x", false},
		{"$aws/#", "$aws/things/x", true},
		{"$aws/things/+/shadow/update", "$aws/things/lamp/shadow/update", true},
		{"a/#", "a/$b", true},
		{"温度/+", "温度/küche", true},
		{"", "a", false},
		{"a", "", false},
		// Malformed filters have no wildcards.
		{"a+", "ab", false},
		{"a+", "a+", true},
		{"#/a", "x/a", false},
		{"#/a", "#/a", true},
	} {
		t.Run(tc.filter+" on "+tc.name, func(t *testing.T) {
			t.Parallel()
			if got := topic.Match(tc.filter, tc.name); got != tc.want {
				t.Errorf("Match(%q, %q) = %v, want %v", tc.filter, tc.name, got, tc.want)
			}
		})
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	for _, filter := range []string{"$aws/things/+/shadow/update/#", "$aws/things/lamp/shadow/update/delta", "#"} {
		if n := testing.AllocsPerRun(100, func() {
			topic.Match(filter, "$aws/things/lamp/shadow/update/delta")
		}); n != 0 {
			t.Errorf("Match with %q allocates %v times, want none", filter, n)
		}
	}
}

func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{
		{"a/+/#", "a/b/c"}, {"#", "$aws/x"}, {"+/+", "/a"}, {"a//b", "a//b"}, {"$aws/rules/r/x/#", "$aws/rules/r/x/y"}, {"", ""}, {"/", "\xff"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, filter, name string) {
		got := topic.Match(filter, name)
		if topic.ValidFilter(filter) != nil || topic.ValidName(name) != nil {
			return
		}
		if want := matchLevels(filter, name); got != want {
			t.Errorf("Match(%q, %q) = %v, want %v", filter, name, got, want)
		}
		if topic.ValidFilter(name) != nil {
			t.Errorf("name %q is not a filter", name)
		}
		if !topic.Match(name, name) {
			t.Errorf("name %q does not match itself", name)
		}
	})
}

// matchLevels is the rule written as slowly and plainly as it can be.
func matchLevels(filter, name string) bool {
	fs, ns := strings.Split(filter, "/"), strings.Split(name, "/")
	if strings.HasPrefix(name, "$") && (fs[0] == "+" || fs[0] == "#") {
		return false
	}
	for i, f := range fs {
		switch {
		case i >= len(ns):
			return false
		case f == "#":
			return true
		case f != "+" && f != ns[i]:
			return false
		}
	}
	return len(fs) == len(ns)
}

func BenchmarkMatch(b *testing.B) {
	for _, filter := range []string{"$aws/things/+/shadow/update/#", "$aws/things/lamp/shadow/update/delta", "plant/line/7/#"} {
		b.Run(filter, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				topic.Match(filter, "$aws/things/lamp/shadow/update/delta")
			}
		})
	}
}

func BenchmarkValidFilter(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if err := topic.ValidFilter("$aws/things/+/shadow/update/#"); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAnsweredBy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ topic, want string }{
		{"$aws/things/lamp/shadow/update/accepted", "shadow"},
		{"$aws/things/lamp/shadow/get/rejected", "shadow"},
		{"$aws/things/lamp/shadow/update/delta", "shadow"},
		{"$aws/things/lamp/shadow/name/n/update/documents", "shadow"},
		{"$aws/things/lamp/jobs/notify", "jobs"},
		{"$aws/things/lamp/jobs/notify-next", "jobs"},
		{"$aws/things/lamp/jobs/j/update/accepted", "jobs"},
		{"$aws/things/lamp/jobs/start-next/rejected", "jobs"},

		{"$aws/things/lamp/shadow/update", ""},
		{"$aws/things/lamp/shadow/name/n/update", ""},
		{"$aws/things/lamp/jobs/get", ""},
		{"$aws/things/lamp/jobs/j/notify", ""},
		{"$aws/things/lamp/jobs/j/delta", ""},
		{"$aws/things/lamp/other/accepted", ""},
		{"$aws/things/lamp/accepted", ""},
		{"aws/things/lamp/shadow/update/accepted", ""},
		{"", ""},
	} {
		if got := topic.AnsweredBy(tc.topic); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.topic, got, tc.want)
		}
	}
}
