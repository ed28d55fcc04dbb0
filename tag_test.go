package fescue_test

import (
	"testing"

	"github.com/fescue-edge/fescue"
)

func TestTags(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		`site=north`: {"site", "north"}, `site=`: {"site", ""}, `site=a=b`: {"site", "a=b"}, `site="a"`: {"site", `"a"`}, `a"b=c`: {`a"b`, "c"},
		`"a=b"=c`: {"a=b", "c"}, `"=="==`: {"==", "="}, `"\"a\\"=b`: {`"a\`, "b"}, `"ü=ß"=`: {"ü=ß", ""},
	} {
		if key, value, ok := fescue.ParseTag(text); !ok || key != want[0] || value != want[1] {
			t.Errorf("%s: %q, %q, %v", text, key, value, ok)
		}
		if got := fescue.FormatTag(want[0], want[1]); got != text {
			t.Errorf("%q: %s, want %s", want, got, text)
		}
	}
	for _, key := range []string{"a\x00=\u2028", "=", `\=`, `"`, "x\"=\xff"} {
		if got, value, ok := fescue.ParseTag(fescue.FormatTag(key, `=v"`)); !ok || got != key || value != `=v"` {
			t.Errorf("%q: %q, %q, %v", key, got, value, ok)
		}
	}
	for _, text := range []string{"", "site", "=north", `"site=north`, `"site"`, `"site"north`, `""=north`, `"\q=a"=b`} {
		if key, value, ok := fescue.ParseTag(text); ok {
			t.Errorf("%s is taken as %q and %q", text, key, value)
		}
	}
}
