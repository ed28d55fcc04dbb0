package cloud

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
)

// Purposes of the server's own keys.
const (
	listenerAuthority = "listener-authority"
	deviceAuthority   = "device-authority"
	signingPurpose    = "signing"
)

// keyring opens the server's own keys, and makes them on an empty database.
type keyring struct {
	store  *store.Store
	master *pki.MasterKey
	now    func() time.Time
}

// key reads the newest key of a purpose; made is asked for the first one.
func (k keyring) key(ctx context.Context, purpose string, made func() (public, private []byte, err error)) ([]store.ServerKey, []byte, error) {
	keys, err := k.store.ServerKeys(ctx, purpose)
	if err == nil && len(keys) == 0 {
		if err := k.add(ctx, purpose, made); err != nil {
			return nil, nil, fmt.Errorf("make the key %s: %w", purpose, err)
		}
		keys, err = k.store.ServerKeys(ctx, purpose)
	}
	if err != nil {
		return nil, nil, err
	}
	private, err := k.master.Open(keys[0].Sealed, keys[0].ID)
	return keys, private, err
}

func (k keyring) add(ctx context.Context, purpose string, made func() (public, private []byte, err error)) error {
	public, private, err := made()
	if err != nil {
		return err
	}
	id := purpose + "/1"
	sealed, err := k.master.Seal(private, id)
	if err != nil {
		return err
	}
	return k.store.AddServerKey(ctx, store.ServerKey{
		ID: id, Purpose: purpose, PublicPEM: string(public), Sealed: sealed, CreatedAt: k.now(),
	})
}

// authority opens a certificate authority.
func (k keyring) authority(ctx context.Context, purpose, name string, alg pki.Algorithm) (*pki.Authority, error) {
	_, private, err := k.key(ctx, purpose, func() ([]byte, []byte, error) {
		a, err := pki.NewAuthority(name, alg, k.now())
		if err != nil {
			return nil, nil, err
		}
		private, err := a.Encode()
		return a.PEM(), private, err
	})
	if err != nil {
		return nil, err
	}
	return pki.ParseAuthority(private)
}

// signing opens the key that signs manifests, with all public keys.
func (k keyring) signing(ctx context.Context) (ed25519.PrivateKey, corelink.SigningKeys, error) {
	keys, seed, err := k.key(ctx, signingPurpose, func() ([]byte, []byte, error) {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return nil, nil, err
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), private.Seed(), nil
	})
	if err != nil {
		return nil, corelink.SigningKeys{}, err
	}
	if len(seed) != ed25519.SeedSize {
		return nil, corelink.SigningKeys{}, fmt.Errorf("signing key has %d bytes", len(seed))
	}
	var public corelink.SigningKeys
	for _, row := range keys {
		id, err := signingKeyID(row.PublicPEM)
		if err != nil {
			return nil, corelink.SigningKeys{}, err
		}
		public.Keys = append(public.Keys, corelink.SigningKey{KeyID: id, PEM: row.PublicPEM})
	}
	return ed25519.NewKeyFromSeed(seed), public, nil
}

func signingKeyID(publicPEM string) (string, error) {
	block, _ := pem.Decode([]byte(publicPEM))
	if block == nil {
		return "", fmt.Errorf("signing key is not PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("signing key: %w", err)
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return "", fmt.Errorf("signing key is a %T", key)
	}
	return bundle.KeyID(public), nil
}
