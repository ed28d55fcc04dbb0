package bundle_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/testkit/mutate"
)

// signer makes a signing key out of a seed.
func signer(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{seed}, ed25519.SeedSize))
}

func trust(keys ...ed25519.PrivateKey) map[string]ed25519.PublicKey {
	trusted := make(map[string]ed25519.PublicKey)
	for _, k := range keys {
		public := k.Public().(ed25519.PublicKey)
		trusted[bundle.KeyID(public)] = public
	}
	return trusted
}

func sign(t testing.TB, m bundle.Manifest, key ed25519.PrivateKey) []byte {
	t.Helper()
	data, err := bundle.Sign(m, key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func unwrap(t testing.TB, envelope []byte) bundle.Envelope {
	t.Helper()
	var env bundle.Envelope
	if err := json.Unmarshal(envelope, &env); err != nil {
		t.Fatal(err)
	}
	return env
}

func wrap(t testing.TB, env bundle.Envelope) []byte {
	t.Helper()
	data, err := json.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOpen(t *testing.T) {
	t.Parallel()
	envelope := sign(t, manifest(), signer(1))
	t.Run("what was signed", func(t *testing.T) {
		t.Parallel()
		got, err := bundle.Open(envelope, trust(signer(2), signer(1)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(manifest(), got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("DSSE", func(t *testing.T) {
		t.Parallel()
		// The bytes that are signed, as the DSSE specification spells them.
		env := unwrap(t, envelope)
		pae := fmt.Sprintf("DSSEv1 %d %s %d %s", len(bundle.PayloadType), bundle.PayloadType, len(env.Payload), env.Payload)
		if !ed25519.Verify(signer(1).Public().(ed25519.PublicKey), []byte(pae), env.Signatures[0].Sig) {
			t.Error("the signature is not over DSSE's pre-authentication encoding")
		}
	})
	t.Run("one of several signatures", func(t *testing.T) {
		t.Parallel()
		env, other := unwrap(t, envelope), unwrap(t, sign(t, manifest(), signer(2)))
		env.Signatures = append(other.Signatures, env.Signatures...)
		for _, key := range []ed25519.PrivateKey{signer(1), signer(2)} {
			if _, err := bundle.Open(wrap(t, env), trust(key)); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("a broken signature beside a good one of the same key", func(t *testing.T) {
		t.Parallel()
		env := unwrap(t, envelope)
		env.Signatures = append([]bundle.Signature{{KeyID: env.Signatures[0].KeyID, Sig: []byte("x")}}, env.Signatures...)
		if _, err := bundle.Open(wrap(t, env), trust(signer(1))); err != nil {
			t.Error(err)
		}
	})
	t.Run("an invalid manifest is not signed", func(t *testing.T) {
		t.Parallel()
		m := manifest()
		m.Epoch = 0
		if data, err := bundle.Sign(m, signer(1)); !errors.Is(err, bundle.ErrManifest) {
			t.Errorf("%s, %v", data, err)
		}
	})
}

// TestFormats: what is written for readers of several formats, and what they read.
func TestFormats(t *testing.T) {
	t.Parallel()
	key, trusted := signer(1), trust(signer(1))
	signed := func(t *testing.T, formats ...int) bundle.Envelope {
		t.Helper()
		envelope, err := bundle.Sign(manifest(), key, formats...)
		if err != nil {
			t.Fatal(err)
		}
		return unwrap(t, envelope)
	}
	format := func(t *testing.T, env bundle.Envelope) int {
		t.Helper()
		var head struct{ Format int }
		if err := json.Unmarshal(env.Payload, &head); err != nil {
			t.Fatal(err)
		}
		return head.Format
	}
	for _, c := range []struct {
		name    string
		formats []int
		payload int
		newer   int // 0 for none
	}{
		{"a reader that does not say", nil, 1, 0},
		{"the first readers", []int{1}, 1, 0},
		{"readers of the newest only", []int{2}, 2, 0},
		{"readers of both", []int{1, 2}, 1, 2},
		{"readers of later ones, too", []int{7, 2, 1, 3}, 1, 2},
		{"readers that gave the first up", []int{2, 3}, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := signed(t, c.formats...)
			newer := 0
			if env.Newer != nil {
				newer = format(t, *env.Newer)
			}
			if got := format(t, env); got != c.payload || newer != c.newer {
				t.Errorf("formats %d and %d", got, newer)
			}
			got, err := bundle.Open(wrap(t, env), trusted)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(manifest(), got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("no reader in common", func(t *testing.T) {
		t.Parallel()
		for _, formats := range [][]int{{3}, {0}, {-1, 9}} {
			if data, err := bundle.Sign(manifest(), key, formats...); !errors.Is(err, bundle.ErrFormat) {
				t.Errorf("%v: %s, %v", formats, data, err)
			}
		}
	})
	t.Run("a newer format that this version does not read", func(t *testing.T) {
		t.Parallel()
		env := signed(t, 1)
		payload := []byte(`{"format":3,"all":"different"}`)
		env.Newer = &bundle.Envelope{PayloadType: bundle.PayloadType, Payload: payload, Signatures: sealed(key, payload)}
		if got, err := bundle.Open(wrap(t, env), trusted); err != nil || !cmp.Equal(got, manifest()) {
			t.Errorf("%+v, %v", got, err)
		}
	})
	later := manifest()
	later.Epoch++
	for name, change := range map[string]func(t *testing.T, env *bundle.Envelope){
		"an unknown key's newer format":        func(t *testing.T, env *bundle.Envelope) { env.Newer.Signatures = sealed(signer(2), env.Newer.Payload) },
		"a newer format without signature":     func(t *testing.T, env *bundle.Envelope) { env.Newer.Signatures = nil },
		"a newer format of another type":       func(t *testing.T, env *bundle.Envelope) { env.Newer.PayloadType = "application/json" },
		"a payload that an unknown key signed": func(t *testing.T, env *bundle.Envelope) { env.Signatures = sealed(signer(2), env.Payload) },
		"formats of two deployments": func(t *testing.T, env *bundle.Envelope) {
			other := unwrap(t, sign(t, later, key))
			env.Payload, env.Signatures = other.Payload, other.Signatures
		},
		"a newer format that is no manifest": func(t *testing.T, env *bundle.Envelope) {
			env.Newer.Payload = []byte(`{"format":2}`)
			env.Newer.Signatures = sealed(key, env.Newer.Payload)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := signed(t, 1, 2)
			change(t, &env)
			if m, err := bundle.Open(wrap(t, env), trusted); !errors.Is(err, bundle.ErrManifest) || m.Epoch != 0 {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
}

// sealed signs a payload as the DSSE specification says.
func sealed(key ed25519.PrivateKey, payload []byte) []bundle.Signature {
	pae := fmt.Sprintf("DSSEv1 %d %s %d %s", len(bundle.PayloadType), bundle.PayloadType, len(payload), payload)
	return []bundle.Signature{{KeyID: bundle.KeyID(key.Public().(ed25519.PublicKey)), Sig: ed25519.Sign(key, []byte(pae))}}
}

func TestCurrent(t *testing.T) {
	t.Parallel()
	key, other := signer(1), signer(2)
	model := manifest()
	model.Artifacts = append(model.Artifacts, bundle.ModelArtifact("model", strings.Repeat("e", 64), 99, bundle.TarGz))
	sign := func(m bundle.Manifest, key ed25519.PrivateKey, formats ...int) []byte {
		t.Helper()
		envelope, err := bundle.Sign(m, key, formats...)
		if err != nil {
			t.Fatal(err)
		}
		return envelope
	}
	mixed := unwrap(t, sign(manifest(), key, 1, 2))
	mixed.Newer = unwrap(t, sign(manifest(), other, 1, 2)).Newer
	id := bundle.KeyID(key.Public().(ed25519.PublicKey))
	for _, test := range []struct {
		name     string
		envelope []byte
		read     []int
		want     bool
	}{
		{"read in all formats", sign(manifest(), key, 1, 2), []int{1, 2}, true},
		{"and in later ones", sign(manifest(), key, 1, 2), []int{1, 2, 3}, true},
		{"what the oldest format cannot say", sign(model, key, 1, 2), []int{1, 2}, true},
		{"read in the oldest format", sign(manifest(), key, 1, 2), nil, false},
		{"read in one", sign(manifest(), key, 1, 2), []int{2}, false},
		{"written in the oldest format", sign(manifest(), key, 1), []int{1, 2}, false},
		{"signed with another key", sign(manifest(), other, 1, 2), []int{1, 2}, false},
		{"its newer format signed with another key", wrap(t, mixed), []int{1, 2}, false},
		{"nothing", nil, []int{1, 2}, false},
		{"no JSON", []byte("{"), []int{1, 2}, false},
		{"no payload", []byte("{}"), []int{1, 2}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := bundle.Current(test.envelope, id, test.read...); got != test.want {
				t.Errorf("%t, want %t", got, test.want)
			}
			if !test.want {
				return
			}
			m, err := bundle.Open(test.envelope, trust(key))
			if err != nil {
				t.Fatal(err)
			}
			if again := sign(m, key, test.read...); string(again) != string(test.envelope) {
				t.Errorf("signed again it is %s, was %s", again, test.envelope)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	key := signer(1)
	good := unwrap(t, sign(t, manifest(), key))
	// signed is an envelope over any payload, with a good signature.
	signed := func(payloadType string, payload []byte) bundle.Envelope {
		pae := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
		return bundle.Envelope{PayloadType: payloadType, Payload: payload, Signatures: []bundle.Signature{
			{KeyID: good.Signatures[0].KeyID, Sig: ed25519.Sign(key, pae)},
		}}
	}
	change := func(f func(e *bundle.Envelope)) []byte {
		env := good
		env.Payload = slices.Clone(good.Payload)
		env.Signatures = slices.Clone(good.Signatures)
		f(&env)
		return wrap(t, env)
	}
	huge := wrap(t, good)
	huge = append(huge, strings.Repeat(" ", 4<<20)...)
	for _, c := range []struct {
		name     string
		envelope []byte
		trusted  map[string]ed25519.PublicKey
		err      error
	}{
		{"unknown key", wrap(t, good), trust(signer(2)), bundle.ErrUnknownKey},
		{"no trusted key", wrap(t, good), nil, bundle.ErrUnknownKey},
		{"no signature", change(func(e *bundle.Envelope) { e.Signatures = nil }), trust(key), bundle.ErrUnknownKey},
		{"another key's id", change(func(e *bundle.Envelope) { e.Signatures[0].KeyID = "" }), trust(key), bundle.ErrUnknownKey},
		{"another key under the id", wrap(t, good), map[string]ed25519.PublicKey{good.Signatures[0].KeyID: signer(2).Public().(ed25519.PublicKey)}, bundle.ErrSignature},
		{"a short key under the id", wrap(t, good), map[string]ed25519.PublicKey{good.Signatures[0].KeyID: make([]byte, 31)}, bundle.ErrUnknownKey},
		{"no key under the id", wrap(t, good), map[string]ed25519.PublicKey{good.Signatures[0].KeyID: nil}, bundle.ErrUnknownKey},
		{"empty signature", change(func(e *bundle.Envelope) { e.Signatures[0].Sig = nil }), trust(key), bundle.ErrSignature},
		{"long signature", change(func(e *bundle.Envelope) { e.Signatures[0].Sig = append(slices.Clone(e.Signatures[0].Sig), 0) }), trust(key), bundle.ErrSignature},
		{"empty payload", change(func(e *bundle.Envelope) { e.Payload = nil }), trust(key), bundle.ErrSignature},
		{"payload grown", change(func(e *bundle.Envelope) { e.Payload = append(e.Payload, ' ') }), trust(key), bundle.ErrSignature},
		{"wrong payload type", change(func(e *bundle.Envelope) { e.PayloadType = "application/json" }), trust(key), bundle.ErrManifest},
		{"wrong payload type, signed", wrap(t, signed("application/vnd.fescue.key+json", good.Payload)), trust(key), bundle.ErrManifest},
		{"signed, but no manifest", wrap(t, signed(bundle.PayloadType, []byte(`{}`))), trust(key), bundle.ErrManifest},
		{"signed, but no JSON", wrap(t, signed(bundle.PayloadType, nil)), trust(key), bundle.ErrManifest},
		{"oversize", huge, trust(key), bundle.ErrManifest},
		{"nothing", nil, trust(key), bundle.ErrManifest},
		{"a list", []byte(`[]`), trust(key), bundle.ErrManifest},
		{"null", []byte(`null`), trust(key), bundle.ErrManifest},
		{"no base64", []byte(`{"payloadType":"` + bundle.PayloadType + `","payload":"*","signatures":[]}`), trust(key), bundle.ErrManifest},
		{"more after it", append(wrap(t, good), `{}`...), trust(key), bundle.ErrManifest},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, err := bundle.Open(c.envelope, c.trusted)
			if !errors.Is(err, c.err) || !errors.Is(err, bundle.ErrManifest) || m.Epoch != 0 {
				t.Errorf("%+v, %v; want %v", m, err, c.err)
			}
		})
	}
}

// Every byte that is signed, and of the signature: one bit of it, and all.
func TestOpenEveryByte(t *testing.T) {
	t.Parallel()
	env, trusted := unwrap(t, sign(t, manifest(), signer(1))), trust(signer(1))
	for name, bytes := range map[string][]byte{"payload": env.Payload, "signature": env.Signatures[0].Sig} {
		for i := range bytes {
			for _, mask := range []byte{1 << (i % 8), 0xff} {
				bytes[i] ^= mask
				if _, err := bundle.Open(wrap(t, env), trusted); !errors.Is(err, bundle.ErrSignature) {
					t.Fatalf("%s with byte %d changed by %#x: %v", name, i, mask, err)
				}
				bytes[i] ^= mask
			}
		}
	}
	if _, err := bundle.Open(wrap(t, env), trusted); err != nil {
		t.Fatal(err)
	}
}

// Several changes at once, of the signed bytes: none is accepted.
func TestOpenMutations(t *testing.T) {
	t.Parallel()
	good, trusted := unwrap(t, sign(t, manifest(), signer(1))), trust(signer(1))
	random := rand.New(rand.NewPCG(1, 2))
	original := string(good.Payload) + "\x00" + string(good.Signatures[0].Sig)
	for i := range mutate.Count(t, 20_000) {
		env := good
		env.Signatures = slices.Clone(good.Signatures)
		for range 1 + random.IntN(2) {
			target := &env.Payload
			if random.IntN(4) == 0 {
				target = &env.Signatures[0].Sig
			}
			*target = mutate.Bytes(random, *target)
		}
		if string(env.Payload)+"\x00"+string(env.Signatures[0].Sig) == original {
			continue
		}
		if m, err := bundle.Open(wrap(t, env), trusted); err == nil {
			t.Fatalf("mutation %d is accepted: %+v", i, m)
		}
	}
}

// Changes of the envelope's own text: it is refused, or still means the very
// same manifest (white space, case of a member's name, unused bits of base64).
func TestOpenEnvelopeMutations(t *testing.T) {
	t.Parallel()
	good, trusted := sign(t, manifest(), signer(1)), trust(signer(1))
	random := rand.New(rand.NewPCG(3, 4))
	for i := range mutate.Count(t, 5_000) {
		text := mutate.Bytes(random, good)
		if m, err := bundle.Open(text, trusted); err == nil && !cmp.Equal(m, manifest()) {
			t.Fatalf("mutation %d becomes %+v: %s", i, m, text)
		}
	}
}

func TestKeyID(t *testing.T) {
	t.Parallel()
	a, b := signer(1).Public().(ed25519.PublicKey), signer(2).Public().(ed25519.PublicKey)
	if len(bundle.KeyID(a)) != 64 || bundle.KeyID(a) == bundle.KeyID(b) || bundle.KeyID(a) != strings.ToLower(bundle.KeyID(a)) {
		t.Errorf("%s, %s", bundle.KeyID(a), bundle.KeyID(b))
	}
}

func FuzzOpen(f *testing.F) {
	good := sign(f, manifest(), signer(1))
	f.Add(good)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"payloadType":"` + bundle.PayloadType + `","payload":"` + base64.StdEncoding.EncodeToString([]byte(`{}`)) + `","signatures":[{"keyid":"","sig":""}]}`))
	trusted := trust(signer(1))
	f.Fuzz(func(t *testing.T, envelope []byte) {
		m, err := bundle.Open(envelope, trusted)
		switch {
		case err == nil && !cmp.Equal(m, manifest()):
			t.Errorf("accepted %+v", m)
		case err != nil && (!errors.Is(err, bundle.ErrManifest) || m.Epoch != 0):
			t.Errorf("%+v, %v", m, err)
		}
	})
}
