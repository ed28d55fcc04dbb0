package edge_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
)

// TestSealSecrets: who may ask, and what is no request. What is sealed is the engine's
// to test.
func TestSealSecrets(t *testing.T) {
	t.Parallel()
	key, err := pki.GenerateKey(pki.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := base64.StdEncoding.EncodeToString(der)
	s := open(t)
	d := s.core(t, home, "mill", allowAll)
	made := s.deployment(t, d, "mill")
	path := statusPath(made, home.ThingARN("mill")) + "/secrets"
	good := fmt.Sprintf(`{"epoch":%d,"publicKey":%q}`, made.Epoch, public)

	envelope, err := d.SealSecrets(t.Context(), made.GroupID, made.ID, home.ThingARN("mill"), corelink.SecretsRequest{Epoch: made.Epoch, PublicKey: der})
	if err != nil || !bytes.Contains(envelope, []byte(bundle.SecretsPayloadType)) {
		t.Errorf("%s, %v", envelope, err)
	}
	other := s.core(t, home, "other", allowAll)
	foreign := s.core(t, elsewhere, "mill", allowAll)
	noFetch := s.core(t, home, "mill", allowAll, statement("Deny", "greengrass:GetDeploymentArtifacts", "*"))
	noReport := s.core(t, home, "mill", allowAll, statement("Deny", "greengrass:UpdateCoreDeploymentStatus", "*"))
	for _, tc := range []struct {
		name   string
		by     *device
		body   string
		status int
	}{
		{"another core", other, good, http.StatusForbidden},
		{"the core of another Region with the name", foreign, good, http.StatusNotFound},
		{"one that may fetch nothing", noFetch, good, http.StatusForbidden},
		{"one that may report nothing", noReport, good, http.StatusForbidden},
		{"another epoch", d, fmt.Sprintf(`{"epoch":9,"publicKey":%q}`, public), http.StatusConflict},
		{"no key", d, `{"epoch":1}`, http.StatusBadRequest},
		{"no key's bytes", d, `{"epoch":1,"publicKey":"AAAA"}`, http.StatusBadRequest},
		{"no JSON", d, `hello`, http.StatusBadRequest},
		{"nothing", d, ``, http.StatusBadRequest},
	} {
		if got := tc.by.send(t, "POST", path, "", tc.body); got.status != tc.status {
			t.Errorf("%s: %d %s, want %d", tc.name, got.status, got.body, tc.status)
		}
	}
}
