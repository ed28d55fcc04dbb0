package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/registry"
)

// RoleAliases keep the registry's role aliases.
type RoleAliases struct{ db *DB }

// RoleAliases is that part of the database.
func (db *DB) RoleAliases() RoleAliases { return RoleAliases{db} }

// CreateRoleAlias writes a role alias; a taken name is fescue.ErrExists.
func (s RoleAliases) CreateRoleAlias(ctx context.Context, p fescue.Partition, r registry.RoleAlias) error {
	return s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			INSERT INTO role_alias (partition, name, role_arn, owner, lifetime, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (partition, name) DO NOTHING`,
			p.Key(), r.Name, r.RoleARN, r.Owner, int64(r.Lifetime/time.Second), millis(r.CreatedAt), millis(r.UpdatedAt))
		if errors.Is(err, fescue.ErrNotFound) {
			return fmt.Errorf("role alias %s %w", r.Name, fescue.ErrExists)
		}
		return err
	})
}

const selectRoleAlias = `SELECT name, role_arn, owner, lifetime, created_at, updated_at FROM role_alias`

func scanRoleAlias(rows *sql.Rows) (registry.RoleAlias, error) {
	var r registry.RoleAlias
	var lifetime, created, updated int64
	err := rows.Scan(&r.Name, &r.RoleARN, &r.Owner, &lifetime, &created, &updated)
	r.Lifetime, r.CreatedAt, r.UpdatedAt = time.Duration(lifetime)*time.Second, fromMillis(created), fromMillis(updated)
	return r, err
}

// RoleAlias reads a role alias.
func (s RoleAliases) RoleAlias(ctx context.Context, p fescue.Partition, name string) (registry.RoleAlias, error) {
	list, err := all(ctx, s.db.read, scanRoleAlias, selectRoleAlias+` WHERE partition = $1 AND name = $2`, p.Key(), name)
	if err == nil && len(list) == 0 {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return registry.RoleAlias{}, fmt.Errorf("role alias %s %w", name, err)
	}
	return list[0], nil
}

// UpdateRoleAlias replaces the role, unless it is empty, and the lifetime, unless it
// is 0.
func (s RoleAliases) UpdateRoleAlias(ctx context.Context, p fescue.Partition, r registry.RoleAlias) error {
	return s.roleAlias(ctx, r.Name, `
		UPDATE role_alias SET updated_at = $1,
			role_arn = CASE WHEN $2 = '' THEN role_arn ELSE $3 END, lifetime = CASE WHEN $4 = 0 THEN lifetime ELSE $5 END
		WHERE partition = $6 AND name = $7`,
		millis(r.UpdatedAt), r.RoleARN, r.RoleARN, int64(r.Lifetime/time.Second), int64(r.Lifetime/time.Second), p.Key(), r.Name)
}

// DeleteRoleAlias removes a role alias.
func (s RoleAliases) DeleteRoleAlias(ctx context.Context, p fescue.Partition, name string) error {
	return s.roleAlias(ctx, name, `DELETE FROM role_alias WHERE partition = $1 AND name = $2`, p.Key(), name)
}

// roleAlias runs a statement that changes one role alias.
func (s RoleAliases) roleAlias(ctx context.Context, name, query string, args ...any) error {
	return s.db.update(ctx, func(tx transaction) error {
		if err := changed(ctx, tx, query, args...); err != nil {
			return fmt.Errorf("role alias %s %w", name, err)
		}
		return nil
	})
}

// RoleAliases lists at most limit role aliases by time of creation, then name. The
// list begins after the one whose CreatedAt and Name are given, or at its start
// when the name is empty.
func (s RoleAliases) RoleAliases(ctx context.Context, p fescue.Partition, after registry.RoleAlias, ascending bool, limit int) ([]registry.RoleAlias, error) {
	query, at := byCreation(ascending, "name", after.CreatedAt, after.Name)
	return all(ctx, s.db.read, scanRoleAlias, selectRoleAlias+query, p.Key(), at, after.Name, limit)
}
