package recovery_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// signer is one of the keys that the tests distinguish.
func signer(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// TestEpoch: what a folder tells of the deployments that its core has been through.
func TestEpoch(t *testing.T) {
	t.Parallel()
	const (
		state    = "ggc/deployment/state.json"
		manifest = "ggc/deployment/manifest.dsse"
		keys     = "certs/fescue-signing.pub"
		chain    = "certs/fescue-signing.pub.chain"
	)
	holds := func(file, text string) func(fstest.MapFS) {
		return func(f fstest.MapFS) { f[file] = &fstest.MapFile{Data: []byte(text), Mode: 0o600} }
	}
	trusts := func(signers ...byte) func(fstest.MapFS) {
		var text strings.Builder
		for _, n := range signers {
			der, err := x509.MarshalPKIXPublicKey(public(signer(n)))
			if err != nil {
				t.Fatal(err)
			}
			text.Write(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		}
		return holds(keys, text.String())
	}
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	runs := func(core string, epoch int64, by byte) func(fstest.MapFS) {
		hash := strings.Repeat("ab", 32)
		envelope, err := bundle.Sign(bundle.Manifest{
			AWS: "aws", Account: "111122223333", Region: "eu-west-1", GroupID: millGroup, GroupVersionID: millVersion,
			DeploymentID: "c3d7a910-44e2-4f0e-b6a3-51b0c9d8e003", DeploymentType: fescue.NewDeployment,
			CoreThingArn: "arn:aws:iot:" + millPrefix + "thing/" + core, Epoch: epoch, CreatedAt: at, Artifacts: []bundle.Artifact{bundle.GroupArtifact(hash, 1234)},
		}, signer(by))
		if err != nil {
			t.Fatal(err)
		}
		return holds(manifest, string(envelope))
	}
	statement, err := bundle.SignKey(bundle.KeyStatement{PublicKey: public(signer(2)), CreatedAt: at}, signer(1))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		folder []func(fstest.MapFS)
		want   int64
		warns  string
	}{
		"a core of the original's":              {nil, 0, ""},
		"a core of Fescue's":                    {[]func(fstest.MapFS){trusts(1), runs("Mill_Core", 7, 1), holds(state, `{"epoch":7,"accepted":7}`)}, 7, ""},
		"the last deployment failed":            {[]func(fstest.MapFS){trusts(1), runs("Mill_Core", 7, 1), holds(state, `{"epoch":9,"accepted":7}`)}, 9, ""},
		"within a deployment":                   {[]func(fstest.MapFS){trusts(1), runs("Mill_Core", 8, 1), holds(state, `{"epoch":7,"accepted":7}`)}, 8, ""},
		"no state":                              {[]func(fstest.MapFS){trusts(1), runs("Mill_Core", 8, 1)}, 8, ""},
		"two keys":                              {[]func(fstest.MapFS){trusts(3, 1), runs("Mill_Core", 8, 1)}, 8, ""},
		"a key that follows":                    {[]func(fstest.MapFS){trusts(1), holds(chain, string(statement)+"\n"), runs("Mill_Core", 8, 2)}, 8, ""},
		"a key that follows from none":          {[]func(fstest.MapFS){trusts(3), holds(chain, string(statement)+"\nx\n"), runs("Mill_Core", 8, 2), holds(state, `{"epoch":7}`)}, 7, "manifest.dsse"},
		"a state that does not parse":           {[]func(fstest.MapFS){trusts(1), runs("Mill_Core", 8, 1), holds(state, `{"epo`)}, 8, "state.json"},
		"a state that does not parse, no more":  {[]func(fstest.MapFS){holds(state, `{"epoch":"7"}`)}, 0, "state.json"},
		"an epoch below 0":                      {[]func(fstest.MapFS){holds(state, `{"epoch":-7}`)}, 0, "state.json"},
		"a state that is too large":             {[]func(fstest.MapFS){holds(state, `{"epoch":7}`+strings.Repeat(" ", 4<<20))}, 0, "state.json"},
		"a manifest of nobody who is trusted":   {[]func(fstest.MapFS){trusts(1), runs("Mill_Core", 8, 2), holds(state, `{"epoch":7}`)}, 7, "manifest.dsse"},
		"a manifest for another core":           {[]func(fstest.MapFS){trusts(1), runs("Saw_Core", 8, 1), holds(state, `{"epoch":7}`)}, 7, "manifest.dsse"},
		"a manifest, and nobody who is trusted": {[]func(fstest.MapFS){runs("Mill_Core", 8, 1), holds(state, `{"epoch":7}`)}, 7, "manifest.dsse"},
		"keys that are none":                    {[]func(fstest.MapFS){holds(keys, "x"), runs("Mill_Core", 8, 1), holds(state, `{"epoch":7}`)}, 7, "manifest.dsse"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, r := read(t, fixture(t, "mill", tc.folder...), operator)
			same(t, tc.want, g.Things[0].Epoch)
			for _, device := range g.Things[1:] {
				same(t, int64(0), device.Epoch)
			}
			var warned []string
			for _, n := range r.Warnings {
				if n.About == "manifest.dsse" || n.About == "state.json" {
					warned = append(warned, n.About)
				}
			}
			if got := fmt.Sprint(warned); got != fmt.Sprint(strings.Fields(tc.warns)) {
				t.Errorf("warnings %+v, want %s", r.Warnings, tc.warns)
			}
			text, err := g.Encode()
			if err != nil || strings.Contains(string(text), "Epoch") {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}
