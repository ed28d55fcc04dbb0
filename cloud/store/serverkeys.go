package store

import (
	"context"
	"database/sql"
	"encoding/base64"

	"github.com/fescue-edge/fescue/cloud/signing"
)

// ServerKeys keep the servers' own keys, sealed.
type ServerKeys struct{ db *DB }

// ServerKeys is that part of the database.
func (db *DB) ServerKeys() ServerKeys { return ServerKeys{db} }

// AddServerKey writes a key, and reports whether it did: of two servers that add
// a key of the same purpose and number the first wins, and ServerKeys then shows
// both the same.
func (s ServerKeys) AddServerKey(ctx context.Context, k signing.ServerKey) (added bool, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		res, err := tx.ExecContext(ctx, `
			INSERT INTO server_key (id, purpose, number, public_pem, sealed, statement, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
			k.ID, k.Purpose, k.Number, k.PublicPEM, base64.StdEncoding.EncodeToString(k.Sealed), string(k.Statement), millis(k.CreatedAt))
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		added = n > 0
		return err
	})
	return added, err
}

// ServerKeys lists the keys of a purpose, newest first.
func (s ServerKeys) ServerKeys(ctx context.Context, purpose string) ([]signing.ServerKey, error) {
	scan := func(rows *sql.Rows) (signing.ServerKey, error) {
		k := signing.ServerKey{Purpose: purpose}
		var sealed, statement string
		var created int64
		err := rows.Scan(&k.ID, &k.Number, &k.PublicPEM, &sealed, &statement, &created)
		if err != nil {
			return k, err
		}
		k.CreatedAt = fromMillis(created)
		if statement != "" {
			k.Statement = []byte(statement)
		}
		k.Sealed, err = base64.StdEncoding.DecodeString(sealed)
		return k, err
	}
	return all(ctx, s.db.read, scan, `
		SELECT id, number, public_pem, sealed, statement, created_at FROM server_key WHERE purpose = $1 ORDER BY number DESC`, purpose)
}
