package edge_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/corelink"
)

// TestGetCredentials: who may ask. What there is for whom is package identity's.
func TestGetCredentials(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.core(t, home, "mill", allowAll)
	made := s.deployment(t, d, "mill")
	path := func(group, core string) string {
		return "/greengrass/groups/" + group + "/cores/" + url.PathEscape(core) + "/credentials"
	}
	mine := path(made.GroupID, home.ThingARN("mill"))
	wants := func(by *device, path string, status int, text string) {
		t.Helper()
		if got := by.send(t, "GET", path, "", ""); got.status != status || !strings.Contains(string(got.body), text) {
			t.Errorf("%s: %d %s, want %d, %q", path, got.status, got.body, status, text)
		}
	}
	wants(d, mine, http.StatusNotFound, "does not deploy core mill") // not before it takes the deployment
	if got := d.send(t, "PUT", statusPath(made, home.ThingARN("mill")), "", claim); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	wants(d, mine, http.StatusNotFound, "You need to attach an IAM role to this deployment group.")
	if _, err := s.store.GroupRoles().AssociateRole(t.Context(), home, made.GroupID, "arn:aws:iam::123456789012:role/mill"); err != nil {
		t.Fatal(err)
	}
	wants(d, mine, http.StatusForbidden, "does not exist here")
	trust := `{"Statement":{"Effect":"Allow","Principal":{"Service":"greengrass.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	if _, err := s.roles.Create(t.Context(), home.Account, identity.IAMRole{Name: "mill", Trust: trust}); err != nil {
		t.Fatal(err)
	}
	var answer corelink.CredentialsAnswer
	if got := d.send(t, "GET", mine, "", ""); got.status != http.StatusOK || json.Unmarshal(got.body, &answer) != nil || !strings.HasPrefix(answer.Credentials.AccessKeyID, "ASIA") {
		t.Errorf("%d %s", got.status, got.body)
	}
	other := s.core(t, home, "other", allowAll)
	wants(other, mine, http.StatusForbidden, "not attached")
	wants(other, path(made.GroupID, home.ThingARN("other")), http.StatusNotFound, "does not deploy core other")
	wants(s.core(t, elsewhere, "mill", allowAll), mine, http.StatusNotFound, "not in this partition")
	wants(s.core(t, elsewhere, "mill", allowAll), path(made.GroupID, elsewhere.ThingARN("mill")), http.StatusNotFound, "does not deploy")
	wants(s.core(t, home, "mill", allowAll, statement("Deny", "greengrass:AssumeRoleForGroup", "*")), mine, http.StatusForbidden, "greengrass:AssumeRoleForGroup")
	wants(d, path("x", home.ThingARN("mill")), http.StatusBadRequest, "no group")
	wants(d, path(made.GroupID, "mill"), http.StatusBadRequest, "no group")
}
