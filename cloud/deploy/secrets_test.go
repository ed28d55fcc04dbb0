package deploy_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"path"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/secrets"
	"github.com/fescue-edge/fescue/pki"
)

// TestSealSecrets: a core gets the secrets of the deployment that it has under way,
// with the labels that the group asks for, and nobody else gets them.
func TestSealSecrets(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)
	kept := s.secret("kept", "AWSCURRENT", "blue", "green")
	s.secret("another", "AWSCURRENT")
	g := s.mill("sealing").functions(reader+":1").set(fescue.ResourceKind, fescue.ResourceDefinitionVersion{Resources: []fescue.Resource{
		{Id: "s", ResourceDataContainer: fescue.ResourceDataContainer{SecretsManagerSecretResourceData: &fescue.SecretsManagerSecretResourceData{
			ARN: kept, AdditionalStagingLabelsToDownload: []string{"blue"},
		}}},
	}})
	id, version := s.create(g)
	d := s.offered(id, version)
	other := s.offered(s.create(s.mill("other").functions(stats + ":1")))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seal := func() ([]byte, error) {
		return s.SealSecrets(t.Context(), home, "sealing", id, d.ID, d.Epoch, key.Public())
	}
	public := s.key.Public().(ed25519.PublicKey)
	read := func(t *testing.T) map[string]string {
		t.Helper()
		envelope, err := seal()
		if err != nil {
			t.Fatal(err)
		}
		of := bundle.SecretsOf{CoreThingArn: home.ThingARN("sealing"), GroupID: id, DeploymentID: d.ID, Epoch: d.Epoch}
		sealed, err := bundle.NewKeyring(map[string]ed25519.PublicKey{bundle.KeyID(public): public}).OpenSecrets(envelope, of)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := sealed.Unwrap(key)
		if err != nil {
			t.Fatal(err)
		}
		values := make(map[string]string)
		for _, secret := range opened.Secrets {
			for _, v := range secret.Versions {
				value, err := opened.Value(secret, v)
				if err != nil || len(v.Stages) != 1 {
					t.Errorf("%+v, %v", v, err)
				}
				values[secret.ARN+" "+v.Stages[0]] = string(value)
			}
		}
		return values
	}
	if got := read(t); len(got) != 2 || got[kept+" AWSCURRENT"] != "kept AWSCURRENT" || got[kept+" blue"] != "kept blue" {
		t.Errorf("%v", got)
	}
	if _, _, err := s.secrets.Put(t.Context(), home, "kept", secrets.Value{Text: ptr("rotated")}, "", nil); err != nil {
		t.Fatal(err)
	}
	if got := read(t); got[kept+" AWSCURRENT"] != "rotated" {
		t.Errorf("after a rotation: %v", got)
	}
	for _, tc := range []struct {
		name, thing, group, deployment string
		epoch                          int64
		partition                      fescue.Partition
		want                           error
	}{
		{"for another core", "other", id, d.ID, d.Epoch, home, fescue.ErrNotFound},
		{"another core's deployment", "sealing", other.GroupID, other.ID, other.Epoch, home, fescue.ErrNotFound},
		{"another group", "sealing", other.GroupID, d.ID, d.Epoch, home, fescue.ErrNotFound},
		{"an unknown deployment", "sealing", id, fescue.NewID(), d.Epoch, home, fescue.ErrNotFound},
		{"from another Region", "sealing", id, d.ID, d.Epoch, elsewhere, fescue.ErrNotFound},
		{"another epoch", "sealing", id, d.ID, d.Epoch + 1, home, fescue.ErrWrongEpoch},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if envelope, err := s.SealSecrets(t.Context(), tc.partition, tc.thing, tc.group, tc.deployment, tc.epoch, key.Public()); !errors.Is(err, tc.want) || envelope != nil {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
	t.Run("a key that nothing is sealed for", func(t *testing.T) {
		if _, err := s.SealSecrets(t.Context(), home, "sealing", id, d.ID, d.Epoch, public); !errors.Is(err, pki.ErrWrapping) {
			t.Error(err)
		}
	})
	t.Run("a secret that went meanwhile", func(t *testing.T) {
		if _, _, err := s.secrets.Delete(t.Context(), home, "kept", nil, false); err != nil {
			t.Fatal(err)
		}
		if _, err := seal(); !errors.Is(err, fescue.ErrNotFound) {
			t.Error(err)
		}
		if _, err := s.secrets.Restore(t.Context(), home, "kept"); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("nothing once it has ended", func(t *testing.T) {
		s := s.with(t)
		s.reports(d, fescue.EventClaimed)
		if _, err := seal(); err != nil {
			t.Errorf("claimed: %v", err)
		}
		s.reports(d, fescue.EventSucceeded)
		if _, err := seal(); !errors.Is(err, fescue.ErrEnded) {
			t.Errorf("ended: %v", err)
		}
	})
}

// TestCarriedSecrets: a bundle has the secrets only while the certificate for which they
// are sealed is the core's.
func TestCarriedSecrets(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	s.run(s.Engine)
	g := s.mill("carrying").functions(reader+":1").set(fescue.ResourceKind, fescue.ResourceDefinitionVersion{Resources: []fescue.Resource{
		{Id: "s", ResourceDataContainer: fescue.ResourceDataContainer{SecretsManagerSecretResourceData: &fescue.SecretsManagerSecretResourceData{
			ARN: s.secret("carried", "AWSCURRENT"),
		}}},
	}})
	d := s.offered(s.create(g))
	bare := s.offered(s.create(s.mill("bare").functions(stats + ":1")))
	carry := func(d fescue.Deployment) (deploy.Carriage, error) { return s.Carry(ctx, home, d.GroupID, d.ID, "test") }
	sealed := func(t *testing.T) {
		t.Helper()
		if c, err := carry(d); err != nil || c.Secrets == nil {
			t.Errorf("%v, %d bytes", err, len(c.Secrets))
		}
	}
	id := path.Base(g.bodies[fescue.CoreKind.Segment].(fescue.CoreDefinitionVersion).Cores[0].CertificateArn)
	sealed(t)
	for name, change := range map[string]struct{ spoil, mend func() error }{
		"deactivated": {
			func() error { return s.registry.SetCertificateStatus(ctx, home, id, fescue.CertificateInactive) },
			func() error { return s.registry.SetCertificateStatus(ctx, home, id, fescue.CertificateActive) },
		},
		"detached": {
			func() error { return s.registry.DetachThing(ctx, home, "carrying", id) },
			func() error { return s.registry.AttachThing(ctx, home, "carrying", id) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := change.spoil(); err != nil {
				t.Fatal(err)
			}
			if c, err := carry(d); !errors.Is(err, deploy.ErrCoreCertificate) || c.Secrets != nil {
				t.Errorf("%v, %d bytes", err, len(c.Secrets))
			}
			if err := change.mend(); err != nil {
				t.Fatal(err)
			}
			sealed(t)
		})
	}
	if c, err := carry(bare); err != nil || c.Secrets != nil {
		t.Errorf("a group without secrets: %v", err)
	}
}
