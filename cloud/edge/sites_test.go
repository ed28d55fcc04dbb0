package edge_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/sites"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
)

func request(t *testing.T) corelink.CertificateRequest {
	t.Helper()
	return corelink.CertificateRequest{CSR: string(csr(t)), IntermediateCSR: string(csr(t))}
}

func csr(t *testing.T) []byte {
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

// TestSites: a core is sent what its MQTT server for client devices needs, and gets its
// certificate from the group's authority.
func TestSites(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	core, lamp, fan := s.core(t, home, "gate", allowAll), s.core(t, home, "lamp"), s.core(t, home, "fan")
	sent := func() *corelink.Site {
		t.Helper()
		offer, err := core.GetDeployment(ctx, "gate", corelink.Poll{After: 100})
		if err != nil {
			t.Fatal(err)
		}
		return offer.Site
	}
	_, err := core.CreateCertificate(ctx, "gate", request(t))
	wantRefusal(t, "before any group", err, http.StatusNotFound, "no group that was deployed has this core")
	if site := sent(); site != nil {
		t.Errorf("a core without a group is sent %+v", site)
	}
	d := s.deployed(t, core, "gate", lamp.as("l", "lamp"), fan.as("f", "fan"))
	_, err = core.CreateCertificate(ctx, "gate", request(t))
	wantRefusal(t, "without connectivity information", err, http.StatusNotFound, "We do not have connectivity information for this GGC.")

	places := []fescue.ConnectivityInfo{{ID: "a", HostAddress: "10.0.0.1", PortNumber: 8883}, {ID: "b", HostAddress: "gate.example.com", PortNumber: 443, Metadata: "m"}}
	if err := core.UpdateConnectivity(ctx, "gate", places); err != nil {
		t.Fatal(err)
	}
	if got, err := s.cores.Connectivity(ctx, home, "gate"); err != nil || len(got.Info) != 2 || got.Info[1] != (fescue.ConnectivityInfo{ID: "b", HostAddress: "gate.example.com", PortNumber: 443, Metadata: "m"}) {
		t.Errorf("%+v, %v", got, err)
	}
	err = core.UpdateConnectivity(ctx, "gate", make([]fescue.ConnectivityInfo, 11))
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
	above, err := pki.ParseCertificate([]byte(made.IntermediateCertificate))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := above.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil || !above.IsCA || !above.MaxPathLenZero || made.Intermediate != int64(sites.DefaultOffline.Seconds()) ||
		time.Until(above.NotAfter) > sites.DefaultOffline || time.Until(above.NotAfter) < sites.DefaultOffline-time.Hour {
		t.Errorf("the intermediate: %v, %+v, until %v", err, made.Identity, above.NotAfter)
	}
	if alone, err := core.CreateCertificate(ctx, "gate", corelink.CertificateRequest{CSR: string(csr(t))}); err != nil || alone.IntermediateCertificate != "" {
		t.Errorf("a core that asks for no intermediate: %v, %s", err, alone.IntermediateCertificate)
	}
	if string(rest) != authorities[0].PEM || !slices.Equal(made.Hosts, names) || made.Authority != authorities[0].ID || leaf.VerifyHostname("bank.example.com") == nil {
		t.Errorf("%+v for %v", made.Identity, leaf.DNSNames)
	}
	fan.setStatus(fescue.CertificateInactive)
	if site := sent(); site == nil || !slices.Equal(site.Hosts, names) || site.Authority != made.Authority || !slices.Equal(site.Ports, []int{8883, 443}) ||
		!slices.Equal(site.Revoked, []string{fan.id}) {
		t.Errorf("sent %+v", site)
	}

	t.Run("a core whose place another has taken", func(t *testing.T) {
		gate2 := s.core(t, home, "gate2", allowAll)
		name := func(thing string, gate *device) {
			coreID, coreVersion := s.definition(t, fescue.CoreKind, fescue.CoreDefinitionVersion{Cores: []fescue.Core{
				{Id: "c", ThingArn: home.ThingARN(thing), CertificateArn: home.CertificateARN(gate.id)},
			}})
			body, err := json.Marshal(fescue.GroupVersion{CoreDefinitionVersionArn: home.VersionARN(fescue.CoreKind, coreID, coreVersion)})
			if err != nil {
				t.Fatal(err)
			}
			v := fescue.DefinitionVersion{Kind: fescue.GroupKind, DefinitionID: d.GroupID, ID: fescue.NewID(), CreatedAt: time.Now(), Body: body}
			if _, err := s.store.Definitions().CreateVersion(t.Context(), home, v, fescue.Token{}); err != nil {
				t.Fatal(err)
			}
		}
		name("gate2", gate2)
		if _, err := s.authorities.Create(ctx, home, d.GroupID, fescue.Token{}); err != nil {
			t.Fatal(err)
		}
		_, err := core.CreateCertificate(ctx, "gate", request(t))
		wantRefusal(t, "its certificate", err, http.StatusNotFound, "newest version does not name this core")
		if site := sent(); site != nil {
			t.Errorf("it is sent %+v", site)
		}
		name("gate", core)
		if _, err := core.CreateCertificate(ctx, "gate", request(t)); err != nil {
			t.Errorf("named again: %v", err)
		}
		if site := sent(); site == nil {
			t.Error("named again it is sent nothing")
		}
	})

	for what, text := range map[string]string{
		"nothing": "", "no PEM": "x", "another block": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
		"a broken signature": strings.Replace(string(csr(t)), "=\n-----END", "A\n-----END", 1) + "x",
	} {
		_, err := core.CreateCertificate(ctx, "gate", corelink.CertificateRequest{CSR: text})
		wantRefusal(t, what, err, http.StatusBadRequest, "certificate signing request")
		if text == "" {
			continue // no intermediate is asked for
		}
		_, err = core.CreateCertificate(ctx, "gate", corelink.CertificateRequest{CSR: string(csr(t)), IntermediateCSR: text})
		wantRefusal(t, what+" for the intermediate", err, http.StatusBadRequest, "certificate signing request")
	}
	outsider, powerless := s.core(t, home, "outsider", allowAll), s.core(t, home, "powerless")
	_, err = outsider.CreateCertificate(ctx, "gate", request(t))
	wantRefusal(t, "another core's", err, http.StatusForbidden, "not attached to the thing")
	_, err = powerless.CreateCertificate(ctx, "powerless", request(t))
	wantRefusal(t, "without the right", err, http.StatusForbidden, "greengrass:CreateCertificate")
	wantRefusal(t, "another core's places", outsider.UpdateConnectivity(ctx, "gate", places), http.StatusForbidden, "not attached to the thing")
	wantRefusal(t, "places without the right", powerless.UpdateConnectivity(ctx, "powerless", places), http.StatusForbidden, "greengrass:UpdateConnectivityInfo")
	helper := s.core(t, home, "helper", statement("Allow", "greengrass:UpdateConnectivityInfo", home.ThingARN("helper-*")))
	if err := helper.UpdateConnectivity(ctx, "helper", places); err != nil {
		t.Errorf("with the right that the original's guide gave: %v", err)
	}
}

// TestTelemetry: a core learns whether it is to send telemetry, and what it reports that
// it does is what the API shows.
func TestTelemetry(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	gates := map[string]*device{"gate": s.core(t, home, "gate", allowAll), "gate2": s.core(t, home, "gate2", allowAll)}
	poll := func(thing string, says fescue.Telemetry, wait time.Duration) fescue.Telemetry {
		t.Helper()
		offer, err := gates[thing].GetDeployment(ctx, thing, corelink.Poll{After: 100, Wait: wait, Telemetry: says})
		if err != nil {
			t.Fatal(err)
		}
		return offer.Telemetry
	}
	is := func(thing string, want cores.RuntimeConfiguration) {
		t.Helper()
		if got, err := s.cores.RuntimeConfiguration(ctx, home, thing); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", thing, got, err, want)
		}
	}
	if got := poll("gate", "", 0); got != "" {
		t.Errorf("a core that does not know of it gets %q", got)
	}
	is("gate", cores.RuntimeConfiguration{Telemetry: fescue.TelemetryOn})
	if got := poll("gate", fescue.TelemetryOn, 0); got != fescue.TelemetryOn {
		t.Errorf("it gets %q", got)
	}
	poll("gate2", fescue.TelemetryOn, 0)
	is("gate", cores.RuntimeConfiguration{Telemetry: fescue.TelemetryOn, InSync: true})
	if err := s.cores.UpdateTelemetry(ctx, home, "gate", fescue.TelemetryOff); err != nil {
		t.Fatal(err)
	}
	is("gate", cores.RuntimeConfiguration{Telemetry: fescue.TelemetryOff})
	// A poll that would wait longer than the test is answered at once.
	if got := poll("gate", fescue.TelemetryOn, time.Minute); got != fescue.TelemetryOff {
		t.Errorf("it gets %q", got)
	}
	is("gate", cores.RuntimeConfiguration{Telemetry: fescue.TelemetryOff})
	poll("gate", fescue.TelemetryOff, 0)
	is("gate", cores.RuntimeConfiguration{Telemetry: fescue.TelemetryOff, InSync: true})
	is("gate2", cores.RuntimeConfiguration{Telemetry: fescue.TelemetryOn, InSync: true})
	if _, err := gates["gate"].GetDeployment(ctx, "gate2", corelink.Poll{After: 100, Telemetry: fescue.TelemetryOff}); err == nil {
		t.Error("another core's switch was reported")
	}
	is("gate2", cores.RuntimeConfiguration{Telemetry: fescue.TelemetryOn, InSync: true})
}
