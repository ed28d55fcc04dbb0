package restjson_test

import (
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, want, err string }{
		{``, ``, ``},
		{` `, ``, ``},
		{`{"Text":"a"}`, `a`, ``},
		{`{"Text":"a\\u0000"}`, `a\u0000`, ``},
		{`{"Text":"\\\\u0000"}`, `\\u0000`, ``},
		{`{"Text":"a\u0000"}`, ``, `NUL`},
		{`{"Text":"a\\\u0000"}`, ``, `NUL`},
		{`{"Other":"\\u0000\u0000"}`, ``, `NUL`},
		{`{"Text":7}`, ``, `"Text" must not be a number`},
		{`{"Text":"a"`, ``, `not valid JSON`},
		{`{}{}`, ``, `after the JSON document`},
		{"{\"Text\":\"\xff\"}", ``, `UTF-8`},
	} {
		t.Run(c.body, func(t *testing.T) {
			t.Parallel()
			var v struct{ Text string }
			err := restjson.Decode([]byte(c.body), &v)
			if c.err == "" && (err != nil || v.Text != c.want) {
				t.Errorf("%q, %v; want %q", v.Text, err, c.want)
			}
			if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}
