package identity

import (
	"context"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue/cloud/audit"
)

// ErrAdopted means that the keys of a database are to be adopted again, which no
// server needs: somebody who can write to the database wants them to be.
var ErrAdopted = errors.New("access keys are adopted once")

// Adopt seals the keys of an early version, which were sealed without what they may
// do, with what their rows say: this once, when a version that seals so first opens
// the database. It returns the keys that it adopted. A database in which some are
// sealed so already was adopted before, whatever it says: ErrAdopted.
func (k *Keys) Adopt(ctx context.Context) (adopted []AccessKey, err error) {
	list, err := k.store.AdoptAccessKeys(ctx, func(row AccessKey) ([]byte, error) {
		if _, err := k.open(row); err == nil {
			return nil, fmt.Errorf("access key %s: %w", row.ID, ErrAdopted)
		}
		secret, err := k.master.Open(row.Sealed, earlyLabel(row.ID))
		if err != nil {
			return row.Sealed, nil // it opened to nobody before, and does not now
		}
		return k.master.Seal(secret, label(row))
	}, func(row AccessKey) audit.Record { return k.record("AdoptAccessKey", row.Account, row.ID) })
	return list, err
}
