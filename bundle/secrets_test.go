package bundle_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/pki"
)

// sealing is a control plane and a core that share secrets.
type sealing struct {
	t     *testing.T
	core  *ecdsa.PrivateKey
	cloud ed25519.PrivateKey
	of    bundle.SecretsOf
	list  []bundle.Secret
}

func newSealing(t *testing.T) *sealing {
	core, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, cloud, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 1, 2, 3, 4, 5e6, time.UTC)
	return &sealing{t, core, cloud,
		bundle.SecretsOf{CoreThingArn: "arn:aws:iot:us-east-1:123456789012:thing/mill", GroupID: "g", DeploymentID: "d", Epoch: 3},
		[]bundle.Secret{
			{ARN: "arn:aws:secretsmanager:us-east-1:123456789012:secret:a-abcdef", Name: "a", Versions: []bundle.SecretVersion{
				{ID: "1", Stages: []string{"AWSCURRENT", "blue"}, CreatedAt: at, Value: []byte("a, the first")},
				{ID: "2", Stages: []string{"green"}, CreatedAt: at, Value: []byte{0, 1, 2}, Binary: true},
			}},
			{ARN: "arn:aws:secretsmanager:us-east-1:123456789012:secret:b-abcdef", Name: "b", Versions: []bundle.SecretVersion{
				{ID: "1", Stages: []string{"AWSCURRENT"}, CreatedAt: at, Value: []byte("b, the first")},
			}},
		}}
}

func (s *sealing) seal() []byte {
	s.t.Helper()
	envelope, err := bundle.SealSecrets(s.of, s.list, s.core.Public(), s.cloud)
	if err != nil {
		s.t.Fatal(err)
	}
	return envelope
}

func (s *sealing) ring() *bundle.Keyring {
	public := s.cloud.Public().(ed25519.PublicKey)
	return bundle.NewKeyring(map[string]ed25519.PublicKey{bundle.KeyID(public): public})
}

// signed is an envelope that the cloud signed around anything.
func (s *sealing) signed(payloadType string, payload []byte) []byte {
	s.t.Helper()
	message := slices.Concat([]byte("DSSEv1 "), num(len(payloadType)), []byte(payloadType+" "), num(len(payload)), payload)
	envelope, err := json.Marshal(bundle.Envelope{PayloadType: payloadType, Payload: payload, Signatures: []bundle.Signature{{
		KeyID: bundle.KeyID(s.cloud.Public().(ed25519.PublicKey)), Sig: ed25519.Sign(s.cloud, message),
	}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return envelope
}

func num(n int) []byte { data, _ := json.Marshal(n); return append(data, ' ') }

func TestSecrets(t *testing.T) {
	t.Parallel()
	s := newSealing(t)
	envelope := s.seal()
	var parsed bundle.Envelope
	if err := json.Unmarshal(envelope, &parsed); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"the first", "dGhlIGZpcnN0"} {
		if bytes.Contains(parsed.Payload, []byte(value)) {
			t.Errorf("%q stands in what is sealed", value)
		}
	}
	sealed, err := s.ring().OpenSecrets(envelope, s.of)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := sealed.Unwrap(s.core)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]bundle.Secret, len(opened.Secrets))
	for i, secret := range opened.Secrets {
		got[i] = secret
		got[i].Versions = slices.Clone(secret.Versions)
		for j, v := range secret.Versions {
			if got[i].Versions[j].Value, err = opened.Value(secret, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(s.list, got); diff != "" {
		t.Error(diff)
	}
	again, err := s.ring().OpenAcceptedSecrets(s.seal(), s.of)
	if err != nil || bytes.Equal(again.Key, sealed.Key) || bytes.Equal(again.Secrets[0].Versions[0].Value, sealed.Secrets[0].Versions[0].Value) {
		t.Errorf("sealed twice alike, %v", err)
	}

	t.Run("another core's key opens nothing", func(t *testing.T) {
		t.Parallel()
		if _, err := sealed.Unwrap(newSealing(t).core); !errors.Is(err, bundle.ErrSecrets) || !errors.Is(err, pki.ErrWrapped) {
			t.Error(err)
		}
	})
	t.Run("for another core, deployment or epoch they do not unwrap, whoever signs it", func(t *testing.T) {
		t.Parallel()
		for name, change := range map[string]func(*bundle.SecretsOf){
			"core": func(o *bundle.SecretsOf) { o.CoreThingArn += "x" }, "group": func(o *bundle.SecretsOf) { o.GroupID = "h" },
			"deployment": func(o *bundle.SecretsOf) { o.DeploymentID = "e" }, "epoch": func(o *bundle.SecretsOf) { o.Epoch++ },
		} {
			moved := sealed
			change(&moved.SecretsOf)
			if _, err := s.ring().OpenSecrets(envelope, moved.SecretsOf); !errors.Is(err, bundle.ErrSecrets) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := moved.Unwrap(s.core); !errors.Is(err, bundle.ErrSecrets) {
				t.Errorf("%s, signed: %v", name, err)
			}
		}
	})
	t.Run("a value is what it says that it is, or does not decrypt", func(t *testing.T) {
		t.Parallel()
		a, b := opened.Secrets[0], opened.Secrets[1]
		for name, change := range map[string]func(*bundle.Secret, *bundle.SecretVersion){
			"another secret's value":  func(_ *bundle.Secret, v *bundle.SecretVersion) { v.Value = b.Versions[0].Value },
			"another version's value": func(_ *bundle.Secret, v *bundle.SecretVersion) { v.Value = a.Versions[1].Value },
			"another ARN":             func(s *bundle.Secret, _ *bundle.SecretVersion) { s.ARN = b.ARN },
			"another version":         func(_ *bundle.Secret, v *bundle.SecretVersion) { v.ID = "0" },
			"another label":           func(_ *bundle.Secret, v *bundle.SecretVersion) { v.Stages = []string{"AWSCURRENT"} },
			"labels run together":     func(_ *bundle.Secret, v *bundle.SecretVersion) { v.Stages = []string{"AWSCURRENT\",\"blue"} },
			"another date":            func(_ *bundle.Secret, v *bundle.SecretVersion) { v.CreatedAt = v.CreatedAt.Add(time.Hour) },
			"binary":                  func(_ *bundle.Secret, v *bundle.SecretVersion) { v.Binary = true },
			"a value that is cut":     func(_ *bundle.Secret, v *bundle.SecretVersion) { v.Value = v.Value[:5] },
			"none":                    func(_ *bundle.Secret, v *bundle.SecretVersion) { v.Value = nil },
		} {
			secret, v := a, a.Versions[0]
			change(&secret, &v)
			if value, err := opened.Value(secret, v); !errors.Is(err, bundle.ErrSecrets) {
				t.Errorf("%s: %q, %v", name, value, err)
			}
		}
	})
	t.Run("what is not taken", func(t *testing.T) {
		t.Parallel()
		edited := func(edit func(*bundle.SealedSecrets)) []byte {
			document := sealed
			document.Secrets = slices.Clone(sealed.Secrets)
			edit(&document)
			payload, err := json.Marshal(document)
			if err != nil {
				t.Fatal(err)
			}
			return s.signed(bundle.SecretsPayloadType, payload)
		}
		for name, tc := range map[string]struct {
			envelope []byte
			text     string
		}{
			"nothing":                  {nil, "does not parse"},
			"no envelope":              {[]byte(`[]`), "does not parse"},
			"too much":                 {bytes.Repeat([]byte(" "), bundle.MaxSealedSecrets+1), "bytes"},
			"an unknown key's":         {newSealing(t).seal(), "signed by no trusted key"},
			"one with another payload": {bytes.Replace(envelope, []byte(`"payload":"`), []byte(`"payload":"AAAA`), 1), "does not verify"},
			"a manifest":               {s.signed(bundle.PayloadType, parsed.Payload), "payload type"},
			"text":                     {s.signed(bundle.SecretsPayloadType, []byte("hello")), "does not parse"},
			"two documents":            {s.signed(bundle.SecretsPayloadType, append(slices.Clone(parsed.Payload), '1')), "after the document"},
			"another format":           {edited(func(d *bundle.SealedSecrets) { d.Format = 2 }), "format 2"},
			"a secret that is none":    {edited(func(d *bundle.SealedSecrets) { d.Secrets[0].ARN = "arn:aws:s3:::b" }), "not the ARN of a secret"},
			"a secret twice":           {edited(func(d *bundle.SealedSecrets) { d.Secrets[0] = d.Secrets[1] }), "stands there twice"},
			"one without a name":       {edited(func(d *bundle.SealedSecrets) { d.Secrets[0].Name = "" }), "not the ARN of a secret"},
			"a label twice": {edited(func(d *bundle.SealedSecrets) {
				d.Secrets[0].Versions = append(d.Secrets[0].Versions, d.Secrets[0].Versions[0])
			}), "two versions"},
			"one without the right one": {edited(func(d *bundle.SealedSecrets) { d.Secrets[0].Versions = d.Secrets[0].Versions[1:] }), "label AWSCURRENT"},
		} {
			if _, err := s.ring().OpenSecrets(tc.envelope, s.of); !errors.Is(err, bundle.ErrSecrets) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%s: %v, want %q", name, err, tc.text)
			}
		}
		if _, err := s.ring().OpenSecrets(edited(func(*bundle.SealedSecrets) {}), s.of); err != nil {
			t.Error(err)
		}
	})
	t.Run("a revoked key counts only for what was taken before", func(t *testing.T) {
		t.Parallel()
		ring := s.ring()
		next, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		statement, err := bundle.SignKey(bundle.KeyStatement{PublicKey: next, Revokes: ring.IDs()}, s.cloud)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ring.Add(statement); err != nil {
			t.Fatal(err)
		}
		if _, err := ring.OpenSecrets(envelope, s.of); !errors.Is(err, bundle.ErrKeyRevoked) {
			t.Error(err)
		}
		if _, err := ring.OpenAcceptedSecrets(envelope, s.of); err != nil {
			t.Error(err)
		}
	})
}

func TestSecretsThatAreNotSealed(t *testing.T) {
	t.Parallel()
	s := newSealing(t)
	if _, err := bundle.SealSecrets(s.of, s.list, crypto.PublicKey(s.cloud.Public()), s.cloud); !errors.Is(err, pki.ErrWrapping) {
		t.Error(err)
	}
	s.list[0].Versions[0].Value = make([]byte, bundle.MaxSecrets)
	if _, err := bundle.SealSecrets(s.of, s.list, s.core.Public(), s.cloud); !errors.Is(err, bundle.ErrSecrets) {
		t.Error(err)
	}
	s.list[0].Versions[0].Value = make([]byte, bundle.MaxSecrets-100)
	if envelope := s.seal(); len(envelope) > bundle.MaxSealedSecrets {
		t.Errorf("%d bytes", len(envelope))
	}
}
