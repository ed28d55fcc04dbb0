package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// IAM keeps roles and policies as the service iam has them.
type IAM struct{ db *DB }

// IAM is that part of the database.
func (db *DB) IAM() IAM { return IAM{db} }

// CreateIAMRole writes a role. A name that is taken is fescue.ErrExists.
func (s IAM) CreateIAMRole(ctx context.Context, account string, r identity.IAMRole) error {
	return s.db.insertUnique(ctx, "role "+r.Name, `
		INSERT INTO iam_role (account, name, id, path, description, trust, max_session, tags_json, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (account, name) DO NOTHING`,
		account, r.Name, r.ID, r.Path, r.Description, r.Trust, int64(r.MaxSession/time.Second), toJSON(r.Tags), millis(r.CreatedAt))
}

const selectIAMRole = `
	SELECT name, id, path, description, trust, max_session, tags_json, created_at FROM iam_role WHERE account = $1`

func scanIAMRole(rows *sql.Rows) (identity.IAMRole, error) {
	var r identity.IAMRole
	var tags string
	var seconds, created int64
	if err := rows.Scan(&r.Name, &r.ID, &r.Path, &r.Description, &r.Trust, &seconds, &tags, &created); err != nil {
		return r, err
	}
	r.MaxSession, r.CreatedAt = time.Duration(seconds)*time.Second, fromMillis(created)
	err := fromJSON(tags, &r.Tags)
	return r, err
}

// IAMRole reads a role.
func (s IAM) IAMRole(ctx context.Context, account, name string) (identity.IAMRole, error) {
	list, err := all(ctx, s.db.read, scanIAMRole, selectIAMRole+` AND name = $2`, account, name)
	if err == nil && len(list) == 0 {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return identity.IAMRole{}, err
	}
	return list[0], nil
}

// IAMRoles lists the roles of an account by name.
func (s IAM) IAMRoles(ctx context.Context, account string, page fescue.Page) ([]identity.IAMRole, error) {
	return all(ctx, s.db.read, scanIAMRole, selectIAMRole+` AND name > $2 ORDER BY name LIMIT $3`, account, page.After, page.Limit)
}

// SetIAMRoleTrust writes who may assume a role.
func (s IAM) SetIAMRoleTrust(ctx context.Context, account, name, trust string) error {
	return s.db.alter(ctx, `UPDATE iam_role SET trust = $1 WHERE account = $2 AND name = $3`, trust, account, name)
}

// DeleteIAMRole removes a role; one with policies is fescue.ErrInUse.
func (s IAM) DeleteIAMRole(ctx context.Context, account, name string) error {
	err := s.db.alter(ctx, `DELETE FROM iam_role WHERE account = $1 AND name = $2`, account, name)
	if isForeignKey(err) {
		return fescue.ErrInUse
	}
	return err
}

// PutIAMRolePolicy writes a policy inside a role; an unknown role is
// fescue.ErrNotFound.
func (s IAM) PutIAMRolePolicy(ctx context.Context, account, role, name, document string) error {
	err := s.db.alter(ctx, `
		INSERT INTO iam_role_policy (account, role, name, document) VALUES ($1, $2, $3, $4)
		ON CONFLICT (account, role, name) DO UPDATE SET document = excluded.document`, account, role, name, document)
	if isForeignKey(err) {
		return fescue.ErrNotFound
	}
	return err
}

// IAMRolePolicies reads the policies inside a role, by name.
func (s IAM) IAMRolePolicies(ctx context.Context, account, role string) (map[string]string, error) {
	list, err := all(ctx, s.db.read, columns(func(p *[2]string) []any { return []any{&p[0], &p[1]} }), `
		SELECT name, document FROM iam_role_policy WHERE account = $1 AND role = $2`, account, role)
	policies := make(map[string]string, len(list))
	for _, p := range list {
		policies[p[0]] = p[1]
	}
	return policies, err
}

// DeleteIAMRolePolicy removes a policy inside a role.
func (s IAM) DeleteIAMRolePolicy(ctx context.Context, account, role, name string) error {
	return s.db.alter(ctx, `DELETE FROM iam_role_policy WHERE account = $1 AND role = $2 AND name = $3`, account, role, name)
}

// AttachIAMPolicy attaches a managed policy to a role, also again; an unknown
// role is fescue.ErrNotFound.
func (s IAM) AttachIAMPolicy(ctx context.Context, account, role, policyARN string) error {
	err := s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO iam_role_attachment (account, role, policy_arn) VALUES ($1, $2, $3)
			ON CONFLICT (account, role, policy_arn) DO NOTHING`, account, role, policyARN)
		return err
	})
	if isForeignKey(err) {
		return fescue.ErrNotFound
	}
	return err
}

// DetachIAMPolicy takes a managed policy from a role.
func (s IAM) DetachIAMPolicy(ctx context.Context, account, role, policyARN string) error {
	return s.db.alter(ctx, `DELETE FROM iam_role_attachment WHERE account = $1 AND role = $2 AND policy_arn = $3`, account, role, policyARN)
}

// AttachedIAMPolicies lists the ARNs of a role's managed policies.
func (s IAM) AttachedIAMPolicies(ctx context.Context, account, role string) ([]string, error) {
	return all(ctx, s.db.read, column[string], `
		SELECT policy_arn FROM iam_role_attachment WHERE account = $1 AND role = $2 ORDER BY policy_arn`, account, role)
}

// CreateIAMPolicy writes a managed policy. A name that is taken is
// fescue.ErrExists.
func (s IAM) CreateIAMPolicy(ctx context.Context, account string, p identity.IAMPolicy) error {
	return s.db.insertUnique(ctx, "policy "+p.Name, `
		INSERT INTO iam_policy (account, name, id, path, description, document, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account, name) DO NOTHING`,
		account, p.Name, p.ID, p.Path, p.Description, p.Document, millis(p.CreatedAt))
}

const selectIAMPolicy = `SELECT name, id, path, description, document, created_at FROM iam_policy WHERE account = $1`

func scanIAMPolicy(rows *sql.Rows) (identity.IAMPolicy, error) {
	var p identity.IAMPolicy
	var created int64
	err := rows.Scan(&p.Name, &p.ID, &p.Path, &p.Description, &p.Document, &created)
	p.CreatedAt = fromMillis(created)
	return p, err
}

// IAMPolicy reads a managed policy.
func (s IAM) IAMPolicy(ctx context.Context, account, name string) (identity.IAMPolicy, error) {
	list, err := all(ctx, s.db.read, scanIAMPolicy, selectIAMPolicy+` AND name = $2`, account, name)
	if err == nil && len(list) == 0 {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return identity.IAMPolicy{}, err
	}
	return list[0], nil
}

// IAMPolicies lists the managed policies of an account by name.
func (s IAM) IAMPolicies(ctx context.Context, account string, page fescue.Page) ([]identity.IAMPolicy, error) {
	return all(ctx, s.db.read, scanIAMPolicy, selectIAMPolicy+` AND name > $2 ORDER BY name LIMIT $3`, account, page.After, page.Limit)
}

// DeleteIAMPolicy removes a managed policy; one that is attached to a role under
// the ARN is fescue.ErrInUse.
func (s IAM) DeleteIAMPolicy(ctx context.Context, account, name, arn string) error {
	err := s.db.alter(ctx, `
		DELETE FROM iam_policy WHERE account = $1 AND name = $2
		AND NOT EXISTS (SELECT 1 FROM iam_role_attachment WHERE account = $1 AND policy_arn = $3)`, account, name, arn)
	if errors.Is(err, fescue.ErrNotFound) {
		if _, err := s.IAMPolicy(ctx, account, name); err == nil {
			return fescue.ErrInUse
		}
	}
	return err
}
