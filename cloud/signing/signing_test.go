package signing_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/signing"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/pki"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

// open makes a database, and two servers' services on it.
func open(t *testing.T) (first, second *signing.Keys) {
	t.Helper()
	s := storetest.Open(t)
	master, err := pki.NewMasterKey(slices.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return signing.New(s.ServerKeys(), master, time.Now), signing.New(s.ServerKeys(), master, time.Now)
}

func manifest() bundle.Manifest {
	return bundle.Manifest{
		AWS: "aws", Account: "123456789012", Region: "us-east-1",
		GroupID: fescue.NewID(), DeploymentID: fescue.NewID(), DeploymentType: fescue.ResetDeployment,
		CoreThingArn: "arn:aws:iot:us-east-1:123456789012:thing/Mill_Core", Epoch: 1, CreatedAt: time.Now().UTC(),
	}
}

// core is a core's keyring after its first contact.
func core(t *testing.T, k *signing.Keys) *bundle.Keyring {
	t.Helper()
	keys, err := k.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	roots := map[string]ed25519.PublicKey{}
	for _, key := range keys {
		if !key.Revoked {
			roots[key.ID] = key.Public
		}
	}
	return bundle.NewKeyring(roots)
}

func follow(t *testing.T, ring *bundle.Keyring, k *signing.Keys) {
	t.Helper()
	public, err := k.Public(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range public.Chain {
		// A core that came later does not know the first keys.
		if _, _, err := ring.Add(s); err != nil && !errors.Is(err, bundle.ErrUnknownKey) {
			t.Fatal(err)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	first, second := open(t)
	ctx := t.Context()
	if _, err := first.List(ctx); err == nil {
		t.Error("keys in an empty database")
	}
	var wg sync.WaitGroup
	for _, k := range []*signing.Keys{first, second} {
		wg.Go(func() {
			if err := k.Prepare(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ring := core(t, first)
	old, err := second.Sign(ctx, manifest())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Open(old); err != nil {
		t.Fatalf("the other server's manifest: %v", err)
	}

	for range 3 {
		rotate(ctx, t, first, false)
	}
	t.Run("the other server signs with the newest key at once", func(t *testing.T) {
		envelope, err := second.Sign(ctx, manifest())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ring.Open(envelope); !errors.Is(err, bundle.ErrUnknownKey) {
			t.Errorf("before the core knows the key: %v", err)
		}
		follow(t, ring, second)
		if _, err := ring.Open(envelope); err != nil {
			t.Errorf("after: %v", err)
		}
	})
	t.Run("what was signed before is signed again", func(t *testing.T) {
		renewed, id, err := second.Renew(ctx, old)
		if err != nil {
			t.Fatal(err)
		}
		var env bundle.Envelope
		if err := json.Unmarshal(renewed, &env); err != nil || len(env.Signatures) != 1 || env.Signatures[0].KeyID != id {
			t.Errorf("signed by %v, %v: want %s", env.Signatures, err, id)
		}
		if again, _, err := first.Renew(ctx, renewed); err != nil || string(again) != string(renewed) {
			t.Errorf("renewed twice: %v", err)
		}
		if none, same, err := first.Renew(ctx, nil); err != nil || none != nil || same != id {
			t.Errorf("nothing renewed: %q, %s, %v", none, same, err)
		}
		all, err := second.Sign(ctx, manifest(), bundle.Formats()...)
		if err != nil {
			t.Fatal(err)
		}
		if same, by, err := first.Renew(ctx, all, bundle.Formats()...); err != nil || string(same) != string(all) || by != id {
			t.Errorf("what the newest key signed has become %s by %s, %v", same, by, err)
		}
		_, unknown, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		foreign, err := bundle.Sign(manifest(), unknown)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := first.Renew(ctx, foreign, bundle.Formats()...); !errors.Is(err, bundle.ErrUnknownKey) {
			t.Errorf("an unknown key's manifest was signed again: %v", err)
		}
	})
	t.Run("all earlier keys are revoked together", func(t *testing.T) {
		key := rotate(ctx, t, second, true)
		list, err := first.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i, k := range list {
			if k.Signs != (i == 0) || k.Revoked != (i > 0) || i == 0 && k.ID != key.ID {
				t.Errorf("key %d of %d: %+v", i, len(list), k)
			}
		}
		public, err := first.Public(ctx)
		if err != nil || len(public.Keys) != 1 || public.Keys[0].KeyID != key.ID || len(public.Chain) != 4 {
			t.Errorf("published %+v, %v", public, err)
		}
		follow(t, ring, first)
		if _, err := ring.Open(old); !errors.Is(err, bundle.ErrKeyRevoked) {
			t.Errorf("a revoked key's manifest: %v", err)
		}
		if ids := ring.IDs(); !slices.Equal(ids, []string{key.ID}) {
			t.Errorf("the core trusts %q", ids)
		}
		fresh := core(t, first)
		follow(t, fresh, first)
		if ids := fresh.IDs(); !slices.Equal(ids, []string{key.ID}) {
			t.Errorf("a new core trusts %q", ids)
		}
	})
	t.Run("two rotations at once are one after the other, or one", func(t *testing.T) {
		before, err := first.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		made := 0
		for range 4 {
			for _, k := range []*signing.Keys{first, second} {
				wg.Go(func() {
					_, err := k.Rotate(ctx, false)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						made++
					} else if !errors.Is(err, signing.ErrRotated) {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		after, err := first.List(ctx)
		if err != nil || len(after) != len(before)+made || made == 0 {
			t.Errorf("%d keys, %d before, %d rotations: %v", len(after), len(before), made, err)
		}
	})
}

func rotate(ctx context.Context, t *testing.T, k *signing.Keys, revoke bool) signing.Key {
	t.Helper()
	key, err := k.Rotate(ctx, revoke)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
