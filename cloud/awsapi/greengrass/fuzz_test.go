package greengrass_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud/awsapi/greengrass"
)

// FuzzTokens: a NextToken that this API did not give out is refused or begins a
// page behind what it names, and never shows another partition's records.
func FuzzTokens(f *testing.F) {
	a := open(f)
	secret := a.call(there, "POST", "/greengrass/groups", "", `{"Name":"foreign"}`)
	var foreign struct{ Id string }
	if err := json.Unmarshal([]byte(secret.text), &foreign); err != nil || secret.status != http.StatusCreated {
		f.Fatalf("%+v", secret)
	}
	for range 3 {
		a.do("POST", "/greengrass/groups", `{"Name":"ours"}`)
	}
	for _, s := range []string{"", "x", foreign.Id, strings.Repeat("0", 36), "../", "a\x00", "\xff", "1700000000000/" + foreign.Id} {
		f.Add(s, "1")
		f.Add(base64.RawURLEncoding.EncodeToString([]byte(s)), "2")
	}
	var lists []string
	for _, op := range greengrass.Model {
		if strings.HasPrefix(op.Name, "List") {
			lists = append(lists, strings.NewReplacer("{resource-arn}", "x", "{", "", "}", "").Replace(op.Path))
		}
	}
	f.Fuzz(func(t *testing.T, token, most string) {
		a := a.with(t)
		for _, list := range lists {
			got := a.do("GET", list+"?NextToken="+url.QueryEscape(token)+"&MaxResults="+url.QueryEscape(most), "")
			if got.status >= 500 || strings.Contains(got.text, "foreign") || strings.Contains(got.text, foreign.Id) {
				t.Fatalf("%s, %q, %q: %d %s", list, token, most, got.status, got.text)
			}
		}
	})
}
