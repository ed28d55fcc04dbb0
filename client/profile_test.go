package client_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/client"
)

// TestProfiles: what is no profile is not kept, whatever is in it.
func TestProfiles(t *testing.T) {
	good := client.Profile{Endpoint: "http://127.0.0.1:1", Region: "us-east-1", KeyID: keyID, Secret: secret}
	with := func(change func(*client.Profile)) client.Profile {
		p := good
		change(&p)
		return p
	}
	for _, tc := range []struct {
		name    string
		profile client.Profile
		wrong   string
	}{
		{"default", good, ""},
		{"a.b-c_9", good, ""},
		{"", good, "is no name"},
		{"..", good, "is no name"},
		{"a/b", good, "is no name"},
		{"a]\n[default", good, "is no name"},
		{"a.pem", good, "is no name"},
		{strings.Repeat("a", 65), good, "is no name"},
		{"x", with(func(p *client.Profile) { p.Secret = "" }), "aws_secret_access_key"},
		{"x", with(func(p *client.Profile) { p.Secret = "s\ncredential_process = /bin/false" }), "aws_secret_access_key"},
		{"x", with(func(p *client.Profile) { p.Endpoint = "http://a b" }), "endpoint_url"},
		{"x", with(func(p *client.Profile) { p.Region = "us east" }), "region"},
	} {
		kept := client.Profiles{Folder: filepath.Join(t.TempDir(), "profiles")}
		err := kept.Keep(tc.name, tc.profile)
		if tc.wrong == "" {
			api, errNew := client.New(t.Context(), client.Options{Profile: tc.name, Profiles: &kept})
			if err != nil || errNew != nil || api.Endpoint() != good.Endpoint {
				t.Errorf("%s: %v, %v, %+v", tc.name, err, errNew, api)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.wrong) {
			t.Errorf("%q: %v, want %q", tc.name, err, tc.wrong)
		}
		if left, _ := os.ReadDir(kept.Folder); len(left) > 0 {
			t.Errorf("%q: %v is kept", tc.name, left)
		}
	}
	kept := client.Profiles{Folder: t.TempDir()}
	if there, err := kept.Forget("../x"); there || err != nil {
		t.Errorf("%v %v", there, err)
	}
	if _, err := client.New(t.Context(), client.Options{Profile: "none", Profiles: &kept}); err == nil || !strings.Contains(err.Error(), "fescue login URL --profile none") {
		t.Error(err)
	}
}
