package edge_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
)

func request(t *testing.T) []byte {
	t.Helper()
	key, err := pki.GenerateKey(pki.RSA)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"bank.example.com"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// wantRefusal asserts that the control plane refused with a status and a text.
func wantRefusal(t *testing.T, what string, err error, status int, text string) {
	t.Helper()
	refused, ok := corelink.Refused(err)
	if !ok || refused.HTTPStatus != status || !strings.Contains(refused.Message, text) {
		t.Errorf("%s: %v, want %d with %q", what, err, status, text)
	}
}

// TestSites: a core is told what its MQTT server for client devices needs, and gets its
// certificate from the group's authority.
func TestSites(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	core, lamp, fan := s.core(t, home, "gate", allowAll), s.core(t, home, "lamp"), s.core(t, home, "fan")
	told := func() *corelink.Site {
		t.Helper()
		offer, err := core.GetDeployment(ctx, "gate", corelink.Poll{After: 100})
		if err != nil {
			t.Fatal(err)
		}
		return offer.Site
	}
	_, err := core.CreateCertificate(ctx, "gate", request(t))
	wantRefusal(t, "before any group", err, http.StatusNotFound, "no group that was deployed has this core")
	if site := told(); site != nil {
		t.Errorf("a core without a group is told %+v", site)
	}
	d := s.deployed(t, core, "gate", lamp.as("l", "lamp"), fan.as("f", "fan"))
	_, err = core.CreateCertificate(ctx, "gate", request(t))
	wantRefusal(t, "without connectivity information", err, http.StatusNotFound, "We do not have connectivity information for this GGC.")

	places := []corelink.CorePlace{{ID: "a", HostAddress: "10.0.0.1", PortNumber: 8883}, {ID: "b", HostAddress: "gate.example.com", PortNumber: 443, Metadata: "m"}}
	if err := core.UpdateConnectivity(ctx, "gate", places); err != nil {
		t.Fatal(err)
	}
	if got, err := s.cores.Connectivity(ctx, home, "gate"); err != nil || len(got.Info) != 2 || got.Info[1] != (cores.ConnectivityInfo{ID: "b", HostAddress: "gate.example.com", PortNumber: 443, Metadata: "m"}) {
		t.Errorf("%+v, %v", got, err)
	}
	err = core.UpdateConnectivity(ctx, "gate", make([]corelink.CorePlace, 11))
	wantRefusal(t, "eleven places", err, http.StatusBadRequest, "Too many items in the Connectivity Information list.")

	made, err := core.CreateCertificate(ctx, "gate", request(t))
	if err != nil {
		t.Fatal(err)
	}
	authorities, err := s.authorities.Authorities(ctx, home, d.GroupID)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"10.0.0.1", "gate.example.com", "localhost", "127.0.0.1", "::1"}
	block, rest := pem.Decode([]byte(made.Chain))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(authorities[0].PEM))
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if string(rest) != authorities[0].PEM || !slices.Equal(made.Hosts, names) || made.Authority != authorities[0].ID || leaf.VerifyHostname("bank.example.com") == nil {
		t.Errorf("%+v for %v", made.Identity, leaf.DNSNames)
	}
	fan.setStatus(fescue.CertificateInactive)
	if site := told(); site == nil || !slices.Equal(site.Hosts, names) || site.Authority != made.Authority || !slices.Equal(site.Ports, []int{8883, 443}) ||
		!slices.Equal(site.Revoked, []string{fan.id}) {
		t.Errorf("told %+v", site)
	}

	for what, csr := range map[string]string{
		"nothing": "", "no PEM": "x", "another block": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
		"a broken signature": strings.Replace(string(request(t)), "=\n-----END", "A\n-----END", 1) + "x",
	} {
		_, err := core.CreateCertificate(ctx, "gate", []byte(csr))
		wantRefusal(t, what, err, http.StatusBadRequest, "certificate signing request")
	}
	stranger, powerless := s.core(t, home, "stranger", allowAll), s.core(t, home, "powerless")
	_, err = stranger.CreateCertificate(ctx, "gate", request(t))
	wantRefusal(t, "another core's", err, http.StatusForbidden, "not attached to the thing")
	_, err = powerless.CreateCertificate(ctx, "powerless", request(t))
	wantRefusal(t, "without the right", err, http.StatusForbidden, "greengrass:CreateCertificate")
	wantRefusal(t, "another core's places", stranger.UpdateConnectivity(ctx, "gate", places), http.StatusForbidden, "not attached to the thing")
	wantRefusal(t, "places without the right", powerless.UpdateConnectivity(ctx, "powerless", places), http.StatusForbidden, "greengrass:UpdateConnectivityInfo")
	helper := s.core(t, home, "helper", statement("Allow", "greengrass:UpdateConnectivityInfo", home.ThingARN("helper-*")))
	if err := helper.UpdateConnectivity(ctx, "helper", places); err != nil {
		t.Errorf("with the right that the original's guide gave: %v", err)
	}
}
