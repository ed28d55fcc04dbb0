package bundle_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/bundle"
)

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func id(key ed25519.PrivateKey) string { return bundle.KeyID(public(key)) }

// vouch is a statement for a key by another.
func vouch(t testing.TB, by, key ed25519.PrivateKey, revokes ...ed25519.PrivateKey) []byte {
	t.Helper()
	s := bundle.KeyStatement{PublicKey: public(key), CreatedAt: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)}
	for _, k := range revokes {
		s.Revokes = append(s.Revokes, id(k))
	}
	envelope, err := bundle.SignKey(s, by)
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

func TestKeyring(t *testing.T) {
	t.Parallel()
	one, two, three, unknown := signer(1), signer(2), signer(3), signer(9)
	chain := [][]byte{vouch(t, one, two), vouch(t, two, three)}
	forged := unwrap(t, chain[0])
	forged.Payload = append(slices.Clone(forged.Payload[:len(forged.Payload)-1]), []byte(`,"revokes":[]}`)...)
	asManifest := unwrap(t, sign(t, manifest(), one))
	asManifest.PayloadType = bundle.KeyPayloadType

	for _, tc := range []struct {
		name string
		// statements are taken in this order; all but the last must be good.
		statements [][]byte
		err        error // of the last
		trusted    []ed25519.PrivateKey
		known      []ed25519.PrivateKey // besides those
	}{
		{"nothing", nil, nil, []ed25519.PrivateKey{one}, nil},
		{"the next key", chain[:1], nil, []ed25519.PrivateKey{one, two}, nil},
		{"over two steps", chain, nil, []ed25519.PrivateKey{one, two, three}, nil},
		{"a step is missing", chain[1:], bundle.ErrUnknownKey, []ed25519.PrivateKey{one}, nil},
		{"by an unknown key", [][]byte{vouch(t, unknown, two)}, bundle.ErrUnknownKey, []ed25519.PrivateKey{one}, nil},
		{"a changed payload", [][]byte{wrap(t, forged)}, bundle.ErrSignature, []ed25519.PrivateKey{one}, nil},
		{"a manifest dressed up", [][]byte{wrap(t, asManifest)}, bundle.ErrSignature, []ed25519.PrivateKey{one}, nil},
		{"a manifest", [][]byte{sign(t, manifest(), one)}, bundle.ErrStatement, []ed25519.PrivateKey{one}, nil},
		{"no envelope", [][]byte{[]byte("[]")}, bundle.ErrStatement, []ed25519.PrivateKey{one}, nil},
		{"the first is revoked", [][]byte{chain[0], vouch(t, two, three, one)}, nil, []ed25519.PrivateKey{two, three}, []ed25519.PrivateKey{one}},
		{
			"a revoked key vouches for nobody",
			[][]byte{vouch(t, one, two, one), vouch(t, one, unknown)},
			bundle.ErrKeyRevoked,
			[]ed25519.PrivateKey{two},
			[]ed25519.PrivateKey{one},
		},
		{
			"a revoked key revokes nobody",
			[][]byte{vouch(t, one, two, one), vouch(t, one, unknown, two)},
			bundle.ErrKeyRevoked,
			[]ed25519.PrivateKey{two},
			[]ed25519.PrivateKey{one},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ring := bundle.NewKeyring(trust(one))
			for i, s := range tc.statements {
				_, added, err := ring.Add(s)
				if last := i == len(tc.statements)-1; last && tc.err != nil {
					if !errors.Is(err, tc.err) || !errors.Is(err, bundle.ErrStatement) || added {
						t.Errorf("error %v, added %t; want %v", err, added, tc.err)
					}
				} else if err != nil || !added {
					t.Errorf("statement %d: added %t, %v", i, added, err)
				}
			}
			var want []string
			for _, k := range tc.trusted {
				want = append(want, id(k))
			}
			slices.Sort(want)
			if got := ring.IDs(); !slices.Equal(got, want) {
				t.Errorf("trusted %q, want %q", got, want)
			}
			for _, k := range tc.trusted {
				if _, err := ring.Open(sign(t, manifest(), k)); err != nil {
					t.Errorf("a manifest by %s: %v", id(k), err)
				}
			}
			for _, k := range tc.known {
				if _, err := ring.Open(sign(t, manifest(), k)); !errors.Is(err, bundle.ErrKeyRevoked) || !errors.Is(err, bundle.ErrManifest) {
					t.Errorf("an offered manifest by the revoked %s: %v", id(k), err)
				}
				if _, err := ring.OpenAccepted(sign(t, manifest(), k)); err != nil {
					t.Errorf("an accepted manifest by the revoked %s: %v", id(k), err)
				}
			}
			if _, err := ring.Open(sign(t, manifest(), unknown)); !errors.Is(err, bundle.ErrUnknownKey) {
				t.Errorf("a manifest by an unknown key: %v", err)
			}
		})
	}
	t.Run("what is known adds nothing", func(t *testing.T) {
		t.Parallel()
		ring := bundle.NewKeyring(trust(one))
		for _, s := range chain {
			if _, added, err := ring.Add(s); err != nil || !added {
				t.Fatal(added, err)
			}
		}
		for _, s := range chain {
			if _, added, err := ring.Add(s); err != nil || added {
				t.Errorf("again: added %t, %v", added, err)
			}
		}
	})
	t.Run("what cannot be said is not signed", func(t *testing.T) {
		t.Parallel()
		for name, s := range map[string]bundle.KeyStatement{
			"no key":        {},
			"half a key":    {PublicKey: public(two)[:16]},
			"itself":        {PublicKey: public(two), Revokes: []string{id(two)}},
			"no key id":     {PublicKey: public(two), Revokes: []string{"two"}},
			"a great many":  {PublicKey: public(two), Revokes: make([]string, 2000)},
			"an upper case": {PublicKey: public(two), Revokes: []string{"A" + id(one)[1:]}},
		} {
			if _, err := bundle.SignKey(s, one); !errors.Is(err, bundle.ErrStatement) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// FuzzKeyring: whatever anybody sends, only what a trusted key signed is
// taken.
func FuzzKeyring(f *testing.F) {
	one, two := signer(1), signer(2)
	f.Add(vouch(f, one, two))
	f.Add(vouch(f, two, one))
	f.Add([]byte(`{"payloadType":"application/vnd.fescue.signing-key+json","payload":"e30=","signatures":[{"keyid":"a","sig":""}]}`))
	f.Fuzz(func(t *testing.T, envelope []byte) {
		ring := bundle.NewKeyring(trust(one))
		key, added, err := ring.Add(envelope)
		if err != nil || !added {
			if len(ring.IDs()) != 1 {
				t.Fatalf("trusted %q after %v", ring.IDs(), err)
			}
			return
		}
		var env bundle.Envelope
		if json.Unmarshal(envelope, &env) != nil || !ring.Knows(key) || key != id(two) {
			t.Fatalf("the key %s was taken from %q", key, envelope)
		}
	})
}
