package cloud

import (
	"context"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue/cloud/signing"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/pki"
)

// Purposes of the server's own keys.
const (
	listenerAuthority = "listener-authority"
	deviceAuthority   = "device-authority"
)

// keyring opens the server's own authorities, and makes them on an empty database.
type keyring struct {
	keys   store.ServerKeys
	master *pki.MasterKey
	now    func() time.Time
}

// authority opens a certificate authority.
func (k keyring) authority(ctx context.Context, purpose, name string, alg pki.Algorithm) (*pki.Authority, error) {
	keys, err := k.keys.ServerKeys(ctx, purpose)
	if err == nil && len(keys) == 0 {
		if err := k.make(ctx, purpose, name, alg); err != nil {
			return nil, fmt.Errorf("make the key %s: %w", purpose, err)
		}
		keys, err = k.keys.ServerKeys(ctx, purpose)
	}
	if err != nil {
		return nil, err
	}
	private, err := k.master.Open(keys[0].Sealed, keys[0].ID)
	if err != nil {
		return nil, err
	}
	return pki.ParseAuthority(private)
}

func (k keyring) make(ctx context.Context, purpose, name string, alg pki.Algorithm) error {
	a, err := pki.NewAuthority(name, alg, k.now())
	if err != nil {
		return err
	}
	private, err := a.Encode()
	if err != nil {
		return err
	}
	id := purpose + "/1"
	sealed, err := k.master.Seal(private, id)
	if err != nil {
		return err
	}
	// Another server that starts on the same empty database may be faster.
	_, err = k.keys.AddServerKey(ctx, signing.ServerKey{
		ID: id, Purpose: purpose, Number: 1, PublicPEM: string(a.PEM()), Sealed: sealed, CreatedAt: k.now(),
	})
	return err
}
