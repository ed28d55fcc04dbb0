package edge_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
)

// paths are where a core asks about a deployment.
func pollPath(thing string) string {
	return "/greengrass/cores/" + thing + "/deployment?after=0&wait=0"
}

func artifactPath(d fescue.Deployment, hash string) string {
	return "/greengrass/groups/" + d.GroupID + "/deployments/" + d.ID + "/artifacts/" + hash
}

func statusPath(d fescue.Deployment, coreARN string) string {
	return "/greengrass/groups/" + d.GroupID + "/deployments/" + d.ID + "/cores/" + url.PathEscape(coreARN)
}

const claim = `{"event":"Claimed","epoch":1}`

func statement(effect, action, resource string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Action":%q,"Resource":%q}]}`, effect, action, resource)
}

func conditional(effect, condition string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Action":"greengrass:*","Resource":"*","Condition":{%s}}]}`, effect, condition)
}

// Each of a core's actions is allowed by policy, and by nothing else.
func TestPolicies(t *testing.T) {
	t.Parallel()
	const (
		get     = "greengrass:GetDeployment"
		fetch   = "greengrass:GetDeploymentArtifacts"
		update  = "greengrass:UpdateCoreDeploymentStatus"
		anyGet  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["greengrass:Get*"],"Resource":"*"}}`
		iotOnly = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["iot:*","greengrass:Discover"],"Resource":"*"}}`
	)
	for _, tc := range []struct {
		name     string
		policies []string
		denied   []string
	}{
		{"no policy", nil, []string{get, fetch, update}},
		{"other actions", []string{iotOnly}, []string{get, fetch, update}},
		{"everything", []string{allowAll}, nil},
		{"reading only", []string{anyGet}, []string{update}},
		{"one policy for each", []string{statement("Allow", get, "*"), statement("Allow", fetch, "*"), statement("Allow", update, "*")}, nil},
		{"no GetDeployment", []string{allowAll, statement("Deny", get, "*")}, []string{get}},
		{"no GetDeploymentArtifacts", []string{allowAll, statement("Deny", fetch, "*")}, []string{fetch}},
		{"no UpdateCoreDeploymentStatus", []string{allowAll, statement("Deny", update, "*")}, []string{update}},
		{"deployments of the account", []string{statement("Allow", "greengrass:*", "arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/*")}, nil},
		{"deployments of another account", []string{statement("Allow", "greengrass:*", "arn:aws:greengrass:us-east-1:210987654321:/greengrass/groups/*")}, []string{get, fetch, update}},
		{"its own core only", []string{anyGet, statement("Allow", update, "arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/*/deployments/*/cores/arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Athing%2Fmill")}, nil},
		{"another core only", []string{anyGet, statement("Allow", update, "*thing%2Fother")}, []string{update}},
		{"over TLS only", []string{allowAll, conditional("Deny", `"Bool":{"aws:SecureTransport":"false"}`)}, nil},
		{"not over TLS", []string{conditional("Allow", `"Bool":{"aws:SecureTransport":"false"}`)}, []string{get, fetch, update}},
		{"from here", []string{conditional("Allow", `"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}`)}, nil},
		{"from elsewhere", []string{conditional("Allow", `"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}`)}, []string{get, fetch, update}},
		{"by the certificate's subject", []string{conditional("Allow", `"StringEquals":{"iot:Certificate.Subject.CommonName":"AWS IoT Certificate"}`)}, nil},
		{"by another subject", []string{conditional("Allow", `"StringEquals":{"iot:Certificate.Subject.CommonName":"mill"}`)}, []string{get, fetch, update}},
		{"by an MQTT connection's thing", []string{statement("Allow", "greengrass:*", "*${iot:Connection.Thing.ThingName}*")}, []string{get, fetch, update}},
		{"by the certificate's id", []string{statement("Allow", "greengrass:*", "*${iot:CertificateId}*")}, []string{get, fetch, update}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			d := s.core(t, home, "mill", tc.policies...)
			made := s.deployment(t, d, "mill")
			hashes, err := s.store.Offers().OfferedArtifacts(t.Context(), made)
			if err != nil {
				t.Fatal(err)
			}
			deployment := home.DeploymentARN(made.GroupID, made.ID)
			for _, call := range []struct{ action, method, path, body, resource string }{
				{get, "GET", pollPath("mill"), "", deployment},
				{fetch, "GET", artifactPath(made, hashes[0]), "", deployment},
				{update, "PUT", statusPath(made, home.ThingARN("mill")), claim, deployment + "/cores/" + url.QueryEscape(home.ThingARN("mill"))},
			} {
				got := d.send(t, call.method, call.path, "", call.body)
				if strings.Contains(strings.Join(tc.denied, " ")+" ", call.action+" ") {
					got.refused(http.StatusForbidden, "Forbidden", call.action+" on "+call.resource)
				} else if got.status != http.StatusOK {
					t.Errorf("%s: status %d, %s", call.action, got.status, got.body)
				}
			}
		})
	}
}

// A policy that changes counts for the next request.
func TestPolicyChange(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.core(t, home, "mill")
	s.deployment(t, d, "mill")
	d.send(t, "GET", pollPath("mill"), "", "").refused(http.StatusForbidden, "Forbidden", "GetDeployment")
	if _, err := s.registry.CreatePolicy(t.Context(), home, "late", allowAll); err != nil {
		t.Fatal(err)
	}
	if err := s.registry.AttachPolicy(t.Context(), home, "late", d.id); err != nil {
		t.Fatal(err)
	}
	if got := d.send(t, "GET", pollPath("mill"), "", ""); got.status != http.StatusOK {
		t.Errorf("attached: status %d, %s", got.status, got.body)
	}
	if _, err := s.registry.CreatePolicyVersion(t.Context(), home, "late", statement("Deny", "*", "*"), true); err != nil {
		t.Fatal(err)
	}
	d.send(t, "GET", pollPath("mill"), "", "").refused(http.StatusForbidden, "Forbidden", "GetDeployment")
}

// Whose a deployment is, whatever policies say.
func TestOthers(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.core(t, home, "mill", allowAll)
	made := s.deployment(t, d, "mill")
	hashes, err := s.store.Offers().OfferedArtifacts(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		device *device
		thing  string
		// poll and report are what those calls are refused with; fetching is
		// never found.
		poll, report int
	}{
		{"another core of the partition", s.core(t, home, "other", allowAll), "other", http.StatusOK, http.StatusNotFound},
		{"a certificate of no thing", s.core(t, home, "", allowAll), "mill", http.StatusForbidden, http.StatusForbidden},
		{"a core of the same name in another Region", s.core(t, elsewhere, "mill", allowAll), "mill", http.StatusOK, http.StatusNotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := tc.device
			got := d.send(t, "GET", pollPath(tc.thing), "", "")
			if got.status != tc.poll || strings.Contains(string(got.body), made.ID) {
				t.Errorf("poll: status %d, %s", got.status, got.body)
			}
			d.send(t, "GET", artifactPath(made, hashes[0]), "", "").refused(http.StatusNotFound, "NotFound", "not found")
			p := home
			if tc.device.id != "" && strings.Contains(tc.name, "Region") {
				p = elsewhere
			}
			if got := d.send(t, "PUT", statusPath(made, p.ThingARN(tc.thing)), "", claim); got.status != tc.report {
				t.Errorf("report: status %d, %s", got.status, got.body)
			}
			if got := d.send(t, "PUT", statusPath(made, home.ThingARN("mill")), "", claim); got.status != http.StatusForbidden && got.status != http.StatusNotFound {
				t.Errorf("report as the core itself: status %d, %s", got.status, got.body)
			}
		})
	}
	t.Run("nothing came of it", func(t *testing.T) {
		if got := d.send(t, "GET", pollPath("mill"), "", ""); !strings.Contains(string(got.body), `"phase":"Offered"`) {
			t.Errorf("offered: %s", got.body)
		}
	})
}
