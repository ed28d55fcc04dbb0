package mqttfront_test

import (
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/topic"
)

// standardMatch is matching by MQTT 3.1.1, where a/# matches a.
func standardMatch(filter, name string) bool {
	f, n := strings.Split(filter, "/"), strings.Split(name, "/")
	for i, level := range f {
		switch {
		case level == "#":
			return true
		case i >= len(n) || level != "+" && level != n[i]:
			return false
		case i == len(f)-1:
			return len(n) == len(f)
		case i == len(n)-1:
			return len(f) == len(n)+1 && f[i+1] == "#"
		}
	}
	return false
}

func TestBrokerNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a":           "123456789012:us-west-2:n/e/a",
		"a/b c/d":     "123456789012:us-west-2:n/m/a/m/b~20c/e/d",
		"/":           "123456789012:us-west-2:n/m/~/e/~",
		"$aws/things": "123456789012:us-west-2:s/m/$aws/e/things",
	} {
		if got := mqttfront.BrokerTopic(home, name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
	if got, want := mqttfront.BrokerClient(home, "a/b.c *"), "123456789012:us-west-2:a~2fb~2ec~20~2a"; got != want {
		t.Errorf("client is %q, want %q", got, want)
	}
	for _, foreign := range []string{
		"", "n/e/a", "123456789012:us-west-2:", "123456789012:us-west-2:n", "123456789012:us-west-2:n/a",
		"123456789012:us-west-2:x/e/a", "123456789012:us-west-2:n/e/", "123456789012:us-west-2:n/e/a/e/b",
		"123456789012:us-west-2:n/m/a", "123456789012:us-west-2:n/e/~2", "123456789012:us-west-2:n/e/~zz",
		"123456789012:us-west-2:s/e/a", "123456789012:us-west-2:n/e/$a", "123456789012:us-west-1:n/e/a",
		"123456789012:us-west-2:x/e/$a",
	} {
		if got, ok := mqttfront.OriginalTopic(home, foreign); ok {
			t.Errorf("%q was taken for the topic %q", foreign, got)
		}
	}
}

// FuzzBrokerNames checks that every topic survives the way to the broker and
// back, that a broker which follows MQTT matches as AWS IoT does, and that nothing
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
		encoded := mqttfront.BrokerTopic(home, name)
		if got, ok := mqttfront.OriginalTopic(home, encoded); !ok || got != name {
			t.Fatalf("%q went out as %q and came back as %q", name, encoded, got)
		}
		if strings.ContainsAny(encoded, " \t\r\n\f\x00\x7f.*>+#") || strings.Contains(encoded, "//") {
			t.Fatalf("%q is not for NATS", encoded)
		}
		if topic.ValidFilter(filter) != nil {
			return
		}
		f := mqttfront.BrokerFilter(home, filter)
		if got, want := standardMatch(f, encoded), topic.Match(filter, name); got != want {
			t.Fatalf("%q matches %q: %v at the broker, %v at AWS", filter, name, got, want)
		}
		if standardMatch(f, mqttfront.BrokerTopic(other, name)) {
			t.Fatalf("%q reaches another partition", filter)
		}
	})
}
