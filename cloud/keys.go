package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/signing"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/pki"
)

// AccessKey is an access key with its secret.
type AccessKey struct {
	ID     string `json:"accessKeyId"`
	Secret string `json:"secretAccessKey"`
}

// AccessKeyFile is where the key that the first start makes is kept.
func (s *Server) AccessKeyFile() string { return s.path(accessKeyName) }

// seedKey keeps the operator's access key, or makes one when there is none.
func (s *Server) seedKey(ctx context.Context) error {
	if s.o.AccessKeyID != "" {
		return s.keys.Put(ctx, s.o.AccessKeyID, s.o.SecretAccessKey, s.o.Account, "admin", identity.Grant{Access: identity.Admin})
	}
	all, err := s.keys.List(ctx)
	if err != nil || len(all) > 0 {
		return err
	}
	id, secret, err := s.keys.Create(ctx, s.o.Account, "admin", identity.Grant{Access: identity.Admin})
	if err != nil {
		return err
	}
	s.MadeKey = AccessKey{id, secret}
	return writeJSON(s.AccessKeyFile(), s.MadeKey)
}

// AdminKey is the key that the operator gave, or the one that the first start
// made, if it is still good.
func (s *Server) AdminKey(ctx context.Context) (AccessKey, error) {
	key := AccessKey{s.o.AccessKeyID, s.o.SecretAccessKey}
	if key.ID == "" {
		data, err := os.ReadFile(s.AccessKeyFile())
		if errors.Is(err, os.ErrNotExist) {
			return key, fmt.Errorf("%s is gone: make a key with fescue keys create and set FESCUE_ACCESS_KEY_ID and FESCUE_SECRET_ACCESS_KEY", s.AccessKeyFile())
		}
		if err == nil {
			err = json.Unmarshal(data, &key)
		}
		if err != nil {
			return key, fmt.Errorf("read access key: %w", err)
		}
	}
	if _, err := s.keys.Signer(ctx, key.ID); err != nil {
		return key, fmt.Errorf("access key %s: %w", key.ID, err)
	}
	return key, nil
}

func accessKeys(db *store.DB, master *pki.MasterKey, now func() time.Time) *identity.Keys {
	return identity.NewKeys(db.AccessKeys(), db.Certificates(), identity.NewRoles(db.IAM(), now), master, now)
}

// OpenKeys opens the access keys, whether or not servers run.
func OpenKeys(ctx context.Context, state State, logger *slog.Logger) (*identity.Keys, func() error, error) {
	master, db, err := state.open(ctx, logger)
	if err != nil {
		return nil, nil, err
	}
	return accessKeys(db, master, time.Now), db.Close, nil
}

// OpenSigningKeys opens the signing keys, whether or not servers run.
func OpenSigningKeys(ctx context.Context, state State, logger *slog.Logger) (*signing.Keys, func() error, error) {
	master, db, err := state.open(ctx, logger)
	if err != nil {
		return nil, nil, err
	}
	return signing.New(db.ServerKeys(), master, time.Now), db.Close, nil
}
