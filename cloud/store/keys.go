package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/audit"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// AccessKeys keep callers' access keys, and the keys of sessions, sealed.
type AccessKeys struct{ db *DB }

// AccessKeys is that part of the database.
func (db *DB) AccessKeys() AccessKeys { return AccessKeys{db} }

// PutAccessKey writes a key, or its new account and secret when the id exists and
// is not revoked; a revoked id is fescue.ErrConflict. What is recorded of it is
// written with it.
func (s AccessKeys) PutAccessKey(ctx context.Context, k identity.AccessKey, records ...audit.Record) error {
	return s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			INSERT INTO access_key (id, account, name, sealed, role, group_tag, limit_json, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (id) DO UPDATE SET account = excluded.account, sealed = excluded.sealed
			WHERE access_key.revoked_at IS NULL`,
			k.ID, k.Account, k.Name, base64.StdEncoding.EncodeToString(k.Sealed), k.Access, k.Limit.GroupTag, toJSON(k.Limit), millis(k.CreatedAt))
		if errors.Is(err, fescue.ErrNotFound) {
			return fmt.Errorf("access key %s was revoked: %w", k.ID, fescue.ErrConflict)
		}
		if err != nil {
			return err
		}
		return addAuditRecords(ctx, tx, records)
	})
}

// AccessKey reads a key, revoked or not.
func (s AccessKeys) AccessKey(ctx context.Context, id string) (identity.AccessKey, error) {
	list, err := all(ctx, s.db.read, scanAccessKey, selectAccessKey+` WHERE id = $1`, id)
	if err != nil {
		return identity.AccessKey{}, err
	}
	if len(list) == 0 {
		return identity.AccessKey{}, fmt.Errorf("access key %s: %w", id, fescue.ErrNotFound)
	}
	return list[0], nil
}

// AccessKeys lists all keys, oldest first.
func (s AccessKeys) AccessKeys(ctx context.Context) ([]identity.AccessKey, error) {
	return all(ctx, s.db.read, scanAccessKey, selectAccessKey+` ORDER BY created_at, id`)
}

// RevokeAccessKey ends a key for good: its secret is forgotten. What is recorded of
// it is written with it.
func (s AccessKeys) RevokeAccessKey(ctx context.Context, id string, records ...audit.Record) error {
	err := s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			UPDATE access_key SET revoked_at = $1, sealed = '' WHERE id = $2 AND revoked_at IS NULL`, millis(s.db.now()), id)
		if err != nil {
			return err
		}
		return addAuditRecords(ctx, tx, records)
	})
	if err != nil {
		return fmt.Errorf("access key %s: %w", id, err)
	}
	return nil
}

// adoption is the setting of a database whose keys are sealed with what they may do.
const adoption = "access-keys-adopted"

// AccessKeysAdopted reports whether the keys of the database are sealed with what
// they may do.
func (s AccessKeys) AccessKeysAdopted(ctx context.Context) (bool, error) {
	kept, err := s.db.Settings().Kept(ctx, adoption)
	return kept != "", err
}

// AdoptAccessKeys replaces the sealed secret of every key by what seal makes of it,
// once; a database in which that was done stays as it is. The secrets of revoked
// keys are forgotten. It returns the keys that are good, and writes a record of each.
func (s AccessKeys) AdoptAccessKeys(ctx context.Context, seal func(identity.AccessKey) ([]byte, error), record func(identity.AccessKey) audit.Record) (adopted []identity.AccessKey, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		adopted = nil
		inserted, err := tx.ExecContext(ctx, `
			INSERT INTO server_setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, adoption, "yes")
		if err != nil {
			return err
		}
		if n, err := inserted.RowsAffected(); err != nil || n == 0 {
			return err
		}
		list, err := all(ctx, tx, scanAccessKey, selectAccessKey+` ORDER BY created_at, id`)
		if err != nil {
			return err
		}
		for _, k := range list {
			var sealed []byte
			if k.RevokedAt.IsZero() {
				if sealed, err = seal(k); err != nil {
					return err
				}
				if err := addAuditRecords(ctx, tx, []audit.Record{record(k)}); err != nil {
					return err
				}
				adopted = append(adopted, k)
			}
			if err := changed(ctx, tx, `UPDATE access_key SET sealed = $1 WHERE id = $2`, base64.StdEncoding.EncodeToString(sealed), k.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("adopt access keys: %w", err)
	}
	return adopted, nil
}

const selectAccessKey = `SELECT id, account, name, sealed, role, group_tag, limit_json, created_at, coalesce(revoked_at, 0) FROM access_key`

func scanAccessKey(rows *sql.Rows) (identity.AccessKey, error) {
	var k identity.AccessKey
	var sealed, groupTag, limit string
	var created, revoked int64
	err := rows.Scan(&k.ID, &k.Account, &k.Name, &sealed, &k.Access, &groupTag, &limit, &created, &revoked)
	if err != nil {
		return k, err
	}
	// What early versions wrote has only the tag.
	if k.Limit.GroupTag = groupTag; limit != "" {
		k.Limit = identity.Limit{}
		if err := fromJSON(limit, &k.Limit); err != nil {
			return k, err
		}
	}
	k.CreatedAt, k.RevokedAt = fromMillis(created), fromMillis(revoked)
	k.Sealed, err = base64.StdEncoding.DecodeString(sealed)
	return k, err
}
