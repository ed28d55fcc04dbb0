package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/registry"
)

// Policies keep IoT policies, and which certificates they are attached to.
type Policies struct{ db *DB }

// Policies is that part of the database.
func (db *DB) Policies() Policies { return Policies{db} }

// CreatePolicy writes a policy whose version 1 is the document. A taken name is
// fescue.ErrExists.
func (s Policies) CreatePolicy(ctx context.Context, p fescue.Partition, policy registry.Policy) error {
	return s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			INSERT INTO policy (partition, name, default_version, last_version, created_at, updated_at)
			VALUES ($1, $2, 1, 1, $3, $4) ON CONFLICT (partition, name) DO NOTHING`,
			p.Key(), policy.Name, millis(policy.CreatedAt), millis(policy.UpdatedAt))
		if errors.Is(err, fescue.ErrNotFound) {
			return fmt.Errorf("policy %s %w", policy.Name, fescue.ErrExists)
		}
		if err != nil {
			return err
		}
		return insertPolicyVersion(ctx, tx, p, policy.Name, 1, policy.Document, policy.CreatedAt)
	})
}

func insertPolicyVersion(ctx context.Context, tx transaction, p fescue.Partition, name string, number int64, document string, at time.Time) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO policy_version (partition, policy, number, document, created_at) VALUES ($1, $2, $3, $4, $5)`,
		p.Key(), name, number, document, millis(at))
	return err
}

// Policy reads a policy with the document that acts.
func (s Policies) Policy(ctx context.Context, p fescue.Partition, name string) (registry.Policy, error) {
	policy := registry.Policy{Name: name}
	var number, created, updated int64
	err := one(s.db.read.QueryRowContext(ctx, `
		SELECT p.default_version, v.document, p.created_at, p.updated_at
		FROM policy p
		JOIN policy_version v ON v.partition = p.partition AND v.policy = p.name AND v.number = p.default_version
		WHERE p.partition = $1 AND p.name = $2`, p.Key(), name), &number, &policy.Document, &created, &updated)
	if err != nil {
		return registry.Policy{}, fmt.Errorf("policy %s %w", name, err)
	}
	policy.DefaultVersionID = strconv.FormatInt(number, 10)
	policy.CreatedAt, policy.UpdatedAt = fromMillis(created), fromMillis(updated)
	return policy, nil
}

// Policies lists at most limit policies, without documents, by time of creation,
// then name. The list begins after the policy whose CreatedAt and Name are
// given, or at its start when the name is empty.
func (s Policies) Policies(ctx context.Context, p fescue.Partition, after registry.Policy, ascending bool, limit int) ([]registry.Policy, error) {
	scan := func(rows *sql.Rows) (registry.Policy, error) {
		var policy registry.Policy
		var number, created, updated int64
		err := rows.Scan(&policy.Name, &number, &created, &updated)
		policy.DefaultVersionID = strconv.FormatInt(number, 10)
		policy.CreatedAt, policy.UpdatedAt = fromMillis(created), fromMillis(updated)
		return policy, err
	}
	query, at := byCreation(ascending, "name", after.CreatedAt, after.Name)
	return all(ctx, s.db.read, scan, `SELECT name, default_version, created_at, updated_at FROM policy`+query,
		p.Key(), at, after.Name, limit)
}

// DeletePolicy removes a policy that has one version and is attached to nothing,
// else the error wraps fescue.ErrInUse.
func (s Policies) DeletePolicy(ctx context.Context, p fescue.Partition, name string) error {
	return s.db.update(ctx, func(tx transaction) error {
		if _, err := lockPolicy(ctx, tx, p, name); err != nil {
			return err
		}
		err := changed(ctx, tx, `
			DELETE FROM policy WHERE partition = $1 AND name = $2
			AND (SELECT count(*) FROM policy_version WHERE partition = $1 AND policy = $2) = 1`, p.Key(), name)
		if isForeignKey(err) || errors.Is(err, fescue.ErrNotFound) {
			return fmt.Errorf("policy %s is %w", name, fescue.ErrInUse)
		}
		return err
	})
}

// lockPolicy keeps a policy and the set of its versions as they are until the
// transaction ends, and returns the version that acts.
func lockPolicy(ctx context.Context, tx transaction, p fescue.Partition, name string) (defaultVersion int64, err error) {
	err = one(tx.QueryRowContext(ctx, `
		UPDATE policy SET updated_at = updated_at WHERE partition = $1 AND name = $2
		RETURNING default_version`, p.Key(), name), &defaultVersion)
	if err != nil {
		return 0, fmt.Errorf("policy %s %w", name, err)
	}
	return defaultVersion, nil
}

// AddPolicyVersion writes the next version of a policy, unless there are limit
// versions already: fescue.ErrConflict. It returns the ids of the attached
// certificates.
func (s Policies) AddPolicyVersion(ctx context.Context, p fescue.Partition, name, document string, makeDefault bool, limit int, at time.Time) (v registry.PolicyVersion, certificates []string, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		var number int64
		err := one(tx.QueryRowContext(ctx, `
			UPDATE policy SET last_version = last_version + 1 WHERE partition = $1 AND name = $2
			RETURNING last_version`, p.Key(), name), &number)
		if err != nil {
			return fmt.Errorf("policy %s %w", name, err)
		}
		var held int
		if err := tx.QueryRowContext(ctx, `
			SELECT count(*) FROM policy_version WHERE partition = $1 AND policy = $2`, p.Key(), name).Scan(&held); err != nil {
			return err
		}
		if held >= limit {
			return fmt.Errorf("number of versions of policy %s %w", name, fescue.ErrConflict)
		}
		if err := insertPolicyVersion(ctx, tx, p, name, number, document, at); err != nil {
			return err
		}
		if makeDefault {
			if err := setDefaultVersion(ctx, tx, p, name, number, at); err != nil {
				return err
			}
		}
		v = registry.PolicyVersion{ID: strconv.FormatInt(number, 10), Document: document, CreatedAt: at, Default: makeDefault}
		certificates, err = attachedCertificates(ctx, tx, p, name)
		return err
	})
	return v, certificates, err
}

func setDefaultVersion(ctx context.Context, tx transaction, p fescue.Partition, name string, number int64, at time.Time) error {
	return changed(ctx, tx, `
		UPDATE policy SET default_version = $1, updated_at = $2 WHERE partition = $3 AND name = $4`,
		number, millis(at), p.Key(), name)
}

func attachedCertificates(ctx context.Context, tx transaction, p fescue.Partition, name string) ([]string, error) {
	return all(ctx, tx, column[string], `
		SELECT certificate_id FROM policy_target WHERE partition = $1 AND policy = $2`, p.Key(), name)
}

// PolicyVersion reads a version of a policy.
func (s Policies) PolicyVersion(ctx context.Context, p fescue.Partition, name string, number int64) (registry.PolicyVersion, error) {
	list, err := all(ctx, s.db.read, scanPolicyVersion, selectPolicyVersion+` AND v.number = $3`, p.Key(), name, number)
	if err != nil {
		return registry.PolicyVersion{}, err
	}
	if len(list) == 0 {
		return registry.PolicyVersion{}, fmt.Errorf("version %d of policy %s %w", number, name, fescue.ErrNotFound)
	}
	return list[0], nil
}

// PolicyVersions lists the versions of a policy, newest first.
func (s Policies) PolicyVersions(ctx context.Context, p fescue.Partition, name string) ([]registry.PolicyVersion, error) {
	list, err := all(ctx, s.db.read, scanPolicyVersion, selectPolicyVersion+` ORDER BY v.number DESC`, p.Key(), name)
	if err == nil && len(list) == 0 { // a policy always has a version
		err = fmt.Errorf("policy %s %w", name, fescue.ErrNotFound)
	}
	return list, err
}

const selectPolicyVersion = `
	SELECT v.number, v.document, v.created_at, p.default_version = v.number
	FROM policy p JOIN policy_version v ON v.partition = p.partition AND v.policy = p.name
	WHERE p.partition = $1 AND p.name = $2`

func scanPolicyVersion(rows *sql.Rows) (registry.PolicyVersion, error) {
	var v registry.PolicyVersion
	var number, created int64
	err := rows.Scan(&number, &v.Document, &created, &v.Default)
	v.ID, v.CreatedAt = strconv.FormatInt(number, 10), fromMillis(created)
	return v, err
}

// SetDefaultPolicyVersion makes a version act. It returns the ids of the
// attached certificates.
func (s Policies) SetDefaultPolicyVersion(ctx context.Context, p fescue.Partition, name string, number int64, at time.Time) (certificates []string, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		if _, err := lockPolicy(ctx, tx, p, name); err != nil {
			return err
		}
		var there int
		err := one(tx.QueryRowContext(ctx, `
			SELECT 1 FROM policy_version WHERE partition = $1 AND policy = $2 AND number = $3`, p.Key(), name, number), &there)
		if err != nil {
			return fmt.Errorf("version %d of policy %s %w", number, name, err)
		}
		if err := setDefaultVersion(ctx, tx, p, name, number, at); err != nil {
			return err
		}
		certificates, err = attachedCertificates(ctx, tx, p, name)
		return err
	})
	return certificates, err
}

// DeletePolicyVersion removes a version of a policy; the default one is
// fescue.ErrConflict.
func (s Policies) DeletePolicyVersion(ctx context.Context, p fescue.Partition, name string, number int64) error {
	return s.db.update(ctx, func(tx transaction) error {
		acting, err := lockPolicy(ctx, tx, p, name)
		if err != nil {
			return err
		}
		if number == acting {
			return fmt.Errorf("the default version of policy %s %w", name, fescue.ErrConflict)
		}
		err = changed(ctx, tx, `
			DELETE FROM policy_version WHERE partition = $1 AND policy = $2 AND number = $3`, p.Key(), name, number)
		if errors.Is(err, fescue.ErrNotFound) {
			return fmt.Errorf("version %d of policy %s %w", number, name, err)
		}
		return err
	})
}

// AttachPolicy attaches a policy to a certificate, also when it is already. An
// unknown policy or certificate is fescue.ErrNotFound; a certificate that has
// limit policies already, fescue.ErrConflict.
func (s Policies) AttachPolicy(ctx context.Context, p fescue.Partition, name, certificateID string, limit int) error {
	return s.db.update(ctx, func(tx transaction) error {
		// The lock on the certificate lets one attachment at a time count.
		if err := lockPolicyAndCertificate(ctx, tx, p, name, certificateID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO policy_target (partition, policy, certificate_id) VALUES ($1, $2, $3)
			ON CONFLICT (partition, policy, certificate_id) DO NOTHING`, p.Key(), name, certificateID); err != nil {
			return err
		}
		var held int
		if err := tx.QueryRowContext(ctx, `
			SELECT count(*) FROM policy_target WHERE certificate_id = $1`, certificateID).Scan(&held); err != nil {
			return err
		}
		if held > limit {
			return fmt.Errorf("number of policies of certificate %s %w", certificateID, fescue.ErrConflict)
		}
		return nil
	})
}

// DetachPolicy undoes AttachPolicy, also when there is nothing to undo.
func (s Policies) DetachPolicy(ctx context.Context, p fescue.Partition, name, certificateID string) error {
	return s.db.update(ctx, func(tx transaction) error {
		if err := lockPolicyAndCertificate(ctx, tx, p, name, certificateID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			DELETE FROM policy_target WHERE partition = $1 AND policy = $2 AND certificate_id = $3`,
			p.Key(), name, certificateID)
		return err
	})
}

func lockPolicyAndCertificate(ctx context.Context, tx transaction, p fescue.Partition, name, certificateID string) error {
	if _, err := lockPolicy(ctx, tx, p, name); err != nil {
		return err
	}
	return lockCertificate(ctx, tx, p, certificateID)
}

// CertificatePolicies lists the names of the policies attached to a certificate.
func (s Policies) CertificatePolicies(ctx context.Context, p fescue.Partition, certificateID string, page fescue.Page) ([]string, error) {
	return all(ctx, s.db.read, column[string], `
		SELECT policy FROM policy_target
		WHERE partition = $1 AND certificate_id = $2 AND policy > $3 ORDER BY policy LIMIT $4`,
		p.Key(), certificateID, page.After, page.Limit)
}

// PolicyCertificates lists the ids of the certificates a policy is attached to.
func (s Policies) PolicyCertificates(ctx context.Context, p fescue.Partition, name string, page fescue.Page) ([]string, error) {
	return all(ctx, s.db.read, column[string], `
		SELECT certificate_id FROM policy_target
		WHERE partition = $1 AND policy = $2 AND certificate_id > $3 ORDER BY certificate_id LIMIT $4`,
		p.Key(), name, page.After, page.Limit)
}
