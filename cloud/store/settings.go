package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
)

// Settings are values of all servers on the database, and in which partitions
// there is anything.
type Settings struct{ db *DB }

// Settings is that part of the database.
func (db *DB) Settings() Settings { return Settings{db} }

// Kept is a server-wide value, empty when none was kept.
func (s Settings) Kept(ctx context.Context, name string) (kept string, err error) {
	err = one(s.db.read.QueryRowContext(ctx, `SELECT value FROM server_setting WHERE name = $1`, name), &kept)
	if errors.Is(err, fescue.ErrNotFound) {
		return "", nil
	}
	return kept, err
}

// Keep keeps a server-wide value the first time and returns what is kept.
func (s Settings) Keep(ctx context.Context, name, value string) (kept string, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO server_setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, name, value); err != nil {
			return err
		}
		return one(tx.QueryRowContext(ctx, `SELECT value FROM server_setting WHERE name = $1`, name), &kept)
	})
	return kept, err
}

// Put keeps a server-wide value in place of the one before.
func (s Settings) Put(ctx context.Context, name, value string) error {
	return s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO server_setting (name, value) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
		return err
	})
}

// Partitions lists the partitions of an account that have groups, things or
// functions, the one with the oldest first.
func (s Settings) Partitions(ctx context.Context, aws, account string) ([]fescue.Partition, error) {
	scan := func(rows *sql.Rows) (p fescue.Partition, err error) {
		var key string
		var oldest int64
		err = rows.Scan(&key, &oldest)
		return partitionOf(aws, key), err
	}
	list, err := all(ctx, s.db.read, scan, `
		SELECT partition, min(created_at) AS oldest FROM (
			SELECT partition, created_at FROM definition
			UNION ALL SELECT partition, created_at FROM thing
			UNION ALL SELECT partition, created_at FROM lambda_function
		) AS made WHERE partition LIKE $1 GROUP BY partition ORDER BY oldest, partition`, account+"/%")
	if err != nil {
		return nil, fmt.Errorf("partitions of account %s: %w", account, err)
	}
	return list, nil
}
