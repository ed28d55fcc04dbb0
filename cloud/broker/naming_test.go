package broker

import (
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/topic"
)

var home = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-west-2"}

// natsMatch is matching of subjects by nats-server, where a.> does not match a.
func natsMatch(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range f {
		switch {
		case i >= len(s):
			return false
		case token == ">":
			return true
		case token != "*" && token != s[i]:
			return false
		}
	}
	return len(f) == len(s)
}

func TestBrokerNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a":           "123456789012:us-west-2.n.a",
		"a/b c/d":     "123456789012:us-west-2.n.a.b~20c.d",
		"/":           "123456789012:us-west-2.n.~.~",
		"$aws/things": "123456789012:us-west-2.s.$aws.things",
	} {
		if got := spaceOf(home).subject(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
	if got, want := Key(home, "a/b.c *"), "123456789012:us-west-2:a~2fb~2ec~20~2a"; got != want {
		t.Errorf("client is %q, want %q", got, want)
	}
	if got, want := Space(Key(home, "a:b")), string(spaceOf(home)); got != want {
		t.Errorf("a key is in %q, want %q", got, want)
	}
	for _, foreign := range []string{
		"", "n.a", "123456789012:us-west-2.", "123456789012:us-west-2.n", "123456789012:us-west-2.x.a", "123456789012:us-west-2.n.",
		"123456789012:us-west-2.n.a..b", "123456789012:us-west-2.n.~2", "123456789012:us-west-2.n.~zz", "123456789012:us-west-2.s.a",
		"123456789012:us-west-2.n.$a", "123456789012:us-west-2.x.$a",
	} {
		if _, got, ok := original(foreign); ok {
			t.Errorf("%q was taken for the topic %q", foreign, got)
		}
	}
}

// FuzzBrokerNames checks that every topic survives the way to the broker and
// back, that subjects match as topics do on AWS IoT, and that nothing
// leaves its partition or disturbs NATS.
func FuzzBrokerNames(f *testing.F) {
	for _, seed := range [][2]string{
		{"a/b", "a/+"}, {"a", "a/#"}, {"a/b", "a/+/#"}, {"a/b/c", "+/+/#"}, {"$aws/x", "#"}, {"$aws/x", "$aws/#"}, {"//", "+/+/+"},
		{"a b/.", "a b/."}, {"m/e", "+/e"}, {"~", "~"}, {"é", "+"}, {"*", "*"}, {">", ">"}, {"\x7f", "#"},
	} {
		f.Add(seed[0], seed[1])
	}
	other := fescue.Partition{AWS: "aws", Account: "999999999999", Region: "us-west-2"}
	f.Fuzz(func(t *testing.T, name, filter string) {
		if topic.ValidName(name) != nil {
			return
		}
		encoded := spaceOf(home).subject(name)
		if in, got, ok := original(encoded); !ok || got != name || in != spaceOf(home) {
			t.Fatalf("%q went out as %q and came back as %q", name, encoded, got)
		}
		if strings.ContainsAny(encoded, " \t\r\n\f\x00\x7f*>+#") || strings.Contains(encoded, "..") || strings.HasSuffix(encoded, ".") {
			t.Fatalf("%q is not for NATS", encoded)
		}
		if topic.ValidFilter(filter) != nil {
			return
		}
		f := spaceOf(home).subject(filter)
		if _, got, ok := original(f); !ok || got != filter {
			t.Fatalf("the filter %q went out as %q and came back as %q", filter, f, got)
		}
		if got, want := natsMatch(f, encoded), topic.Match(filter, name); got != want {
			t.Fatalf("%q matches %q: %v at the broker, %v at AWS", filter, name, got, want)
		}
		if natsMatch(f, spaceOf(other).subject(name)) {
			t.Fatalf("%q reaches another partition", filter)
		}
	})
}
