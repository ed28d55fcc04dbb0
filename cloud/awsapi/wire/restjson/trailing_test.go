package restjson_test

import (
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

func TestDecodeRefusesWhatFollows(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{}}`, `{} ]`, `{},`, `{}x`, `{}"`, "{}\x00", `{}null`} {
		var v struct{ Text string }
		if err := restjson.Decode([]byte(body), &v); err == nil || !strings.Contains(err.Error(), "after the JSON document") {
			t.Errorf("%q: %v", body, err)
		}
	}
	var v struct{ Text string }
	if err := restjson.Decode([]byte(" {\"Text\":\"a\"}\r\n\t "), &v); err != nil || v.Text != "a" {
		t.Errorf("%q, %v", v.Text, err)
	}
}

func TestDecodeRefusesNoObject(t *testing.T) {
	t.Parallel()
	for body, kind := range map[string]string{`[]`: "array", `"{}"`: "string", `7`: "number", `true`: "bool"} {
		var v struct{ Text string }
		if err := restjson.Decode([]byte(body), &v); err == nil || !strings.Contains(err.Error(), "must be a JSON object, it is a "+kind) {
			t.Errorf("%s: %v", body, err)
		}
	}
}
