package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// sessionTables are where temporary keys are: those of access keys, and those that
// cores asked for.
const (
	sessionTable     = "session_key"
	coreSessionTable = "core_session"
)

// AddSessionKey writes a temporary key, and removes those that ended a day before
// it began. One whose id is there already is fescue.ErrConflict; one that is made with a
// key that has ended, or ends meanwhile, is fescue.ErrNotFound.
func (s AccessKeys) AddSessionKey(ctx context.Context, k identity.SessionKey) error {
	table := sessionTable
	if k.OfCore() {
		table = coreSessionTable
	}
	return s.db.update(ctx, func(tx transaction) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE expires_at < $1`, millis(k.CreatedAt.AddDate(0, 0, -1))); err != nil {
			return err
		}
		if k.SignIn != "" {
			// Written, it stays as it is until this is done.
			if err := changed(ctx, tx, `UPDATE `+sessionTable+` SET mac = mac WHERE id = $1 AND mac <> ''`, k.SignIn); err != nil {
				return fmt.Errorf("session key %s: %w", k.SignIn, err)
			}
		}
		err := changed(ctx, tx, `
			INSERT INTO `+table+` (id, parent, identity, role, person, sign_in, created_at, expires_at, mac) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (id) DO NOTHING`,
			k.ID, k.Parent, k.Identity, k.Role, k.Person, k.SignIn, millis(k.CreatedAt), millis(k.ExpiresAt), k.MAC)
		if errors.Is(err, fescue.ErrNotFound) {
			err = fmt.Errorf("session key %s: %w", k.ID, fescue.ErrConflict)
		}
		return err
	})
}

// SessionKey reads a temporary key, also one that has ended a moment ago.
func (s AccessKeys) SessionKey(ctx context.Context, id string) (identity.SessionKey, error) {
	const columns = `SELECT parent, identity, role, person, sign_in, created_at, expires_at, mac FROM `
	k := identity.SessionKey{ID: id}
	var created, expires int64
	err := one(s.db.read.QueryRowContext(ctx, columns+sessionTable+` WHERE id = $1 UNION ALL `+columns+coreSessionTable+` WHERE id = $1`, id),
		&k.Parent, &k.Identity, &k.Role, &k.Person, &k.SignIn, &created, &expires, &k.MAC)
	if err != nil {
		return identity.SessionKey{}, fmt.Errorf("session key %s: %w", id, err)
	}
	k.CreatedAt, k.ExpiresAt = fromMillis(created), fromMillis(expires)
	return k, nil
}

// RemoveSessionKey removes a temporary key of an access key.
func (s AccessKeys) RemoveSessionKey(ctx context.Context, id string) error {
	return s.db.update(ctx, func(tx transaction) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM `+sessionTable+` WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fmt.Errorf("session key %s: %w", id, fescue.ErrNotFound))
		}
		return nil
	})
}

// EndSessionKey ends a temporary key of an access key, and those that were made with it.
// What authenticated their rows is gone, and the rows stay until their time: an id is not
// given out again.
func (s AccessKeys) EndSessionKey(ctx context.Context, id string) error {
	return s.db.update(ctx, func(tx transaction) error {
		if err := changed(ctx, tx, `UPDATE `+sessionTable+` SET mac = '' WHERE id = $1 AND mac <> ''`, id); err != nil {
			return fmt.Errorf("session key %s: %w", id, err)
		}
		_, err := tx.ExecContext(ctx, `UPDATE `+sessionTable+` SET mac = '' WHERE sign_in = $1 AND sign_in <> '' AND mac <> ''`, id)
		return err
	})
}
