package bundle_test

import (
	"crypto/ed25519"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/testkit/mutate"
)

// TestMutatedManifests spoils signed manifests at random and on purpose. A core
// that trusts the signer must never read anything out of them but what was signed.
// FESCUE_MUTATIONS says how many are tried.
func TestMutatedManifests(t *testing.T) {
	t.Parallel()
	owner, other, unknown := signer(1), signer(2), signer(3)
	trusted := trust(owner, other)
	valid := manifest()
	envelope, err := bundle.Sign(valid, owner, bundle.Formats()...)
	if err != nil {
		t.Fatal(err)
	}
	older := valid
	older.Epoch, older.DeploymentID = valid.Epoch-1, fescue.NewID()
	old := unwrap(t, sign(t, older, other))

	// lie changes what the manifest says.
	lies := []func(r *rand.Rand, m *bundle.Manifest){
		func(r *rand.Rand, m *bundle.Manifest) { m.Epoch += 1 + r.Int64N(1<<40) },
		func(r *rand.Rand, m *bundle.Manifest) { m.CoreThingArn += "2" },
		func(r *rand.Rand, m *bundle.Manifest) { m.DeploymentID = fescue.NewID() },
		func(r *rand.Rand, m *bundle.Manifest) { m.GroupID = fescue.NewID() },
		func(r *rand.Rand, m *bundle.Manifest) { m.Account = "999999999999" },
		func(r *rand.Rand, m *bundle.Manifest) {
			m.DeploymentType, m.Artifacts = fescue.ResetDeployment, nil
		},
		func(r *rand.Rand, m *bundle.Manifest) {
			m.CreatedAt = m.CreatedAt.Add(time.Duration(1+r.IntN(1e6)) * time.Second)
		},
		func(r *rand.Rand, m *bundle.Manifest) { m.Artifacts[0].Size++ },
		func(r *rand.Rand, m *bundle.Manifest) { m.Artifacts = m.Artifacts[:2] },
	}
	lie := func(r *rand.Rand) []byte {
		m := valid
		m.Artifacts = slices.Clone(valid.Artifacts)
		lies[r.IntN(len(lies))](r, &m)
		return spelled(t, m)
	}
	resign := func(key ed25519.PrivateKey, payload []byte, as string) bundle.Envelope {
		env := bundle.Envelope{PayloadType: bundle.PayloadType, Payload: payload}
		signed := unwrap(t, sign(t, valid, key))
		env.Signatures = []bundle.Signature{{KeyID: as, Sig: signed.Signatures[0].Sig}}
		return env
	}
	keyID := func(key ed25519.PrivateKey) string { return bundle.KeyID(key.Public().(ed25519.PublicKey)) }

	for _, way := range []struct {
		name string
		do   func(r *rand.Rand, env bundle.Envelope) []byte
	}{
		{"the envelope's bytes", func(r *rand.Rand, _ bundle.Envelope) []byte { return mutate.Bytes(r, envelope) }},
		{"the payload's bytes", func(r *rand.Rand, env bundle.Envelope) []byte {
			env.Payload = mutate.Bytes(r, env.Payload)
			return wrap(t, env)
		}},
		{"the signature's bytes", func(r *rand.Rand, env bundle.Envelope) []byte {
			env.Payload = lie(r)
			env.Signatures[0].Sig = mutate.Bytes(r, env.Signatures[0].Sig)
			return wrap(t, env)
		}},
		{"another core, epoch, deployment, type, time or content", func(r *rand.Rand, env bundle.Envelope) []byte {
			env.Payload = lie(r)
			return wrap(t, env)
		}},
		{"the signature of another manifest", func(r *rand.Rand, env bundle.Envelope) []byte {
			env.Payload = lie(r)
			env.Signatures = append(env.Signatures, old.Signatures...)
			r.Shuffle(len(env.Signatures), func(i, j int) {
				env.Signatures[i], env.Signatures[j] = env.Signatures[j], env.Signatures[i]
			})
			return wrap(t, env)
		}},
		{"an unknown key's signature under a trusted name", func(r *rand.Rand, _ bundle.Envelope) []byte {
			return wrap(t, resign(unknown, lie(r), keyID(owner)))
		}},
		{"a trusted key's signature under the name of another", func(r *rand.Rand, _ bundle.Envelope) []byte {
			return wrap(t, resign(owner, lie(r), keyID(other)))
		}},
		{"what an unknown key signed well", func(r *rand.Rand, _ bundle.Envelope) []byte {
			m := valid
			m.Epoch += 1 + r.Int64N(1<<40)
			return sign(t, m, unknown)
		}},
		{"another type of payload", func(r *rand.Rand, env bundle.Envelope) []byte {
			env.PayloadType = string(mutate.Bytes(r, []byte(env.PayloadType)))
			env.Payload = lie(r)
			return wrap(t, env)
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, uint64(len(way.name))))
			count, same := mutate.Count(t, 18_000)/9, 0
			for range count {
				spoiled := way.do(r, unwrap(t, envelope))
				got, err := bundle.Open(spoiled, trusted)
				if err != nil {
					continue
				}
				// Only bytes that mean nothing were changed.
				if diff := cmp.Diff(valid, got); diff != "" {
					t.Fatalf("accepted %s\n%s", spoiled, diff)
				}
				same++
			}
			t.Logf("%d mutations, of which %d left the signed manifest as it was; no other was accepted", count, same)
		})
	}
}
