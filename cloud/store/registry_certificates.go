package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/registry"
)

// Certificates keep the certificates of devices and cores.
type Certificates struct{ db *DB }

// Certificates is that part of the database.
func (db *DB) Certificates() Certificates { return Certificates{db} }

// CreateCertificate writes a certificate. One that the partition has is
// fescue.ErrExists, one that another partition has fescue.ErrConflict.
func (s Certificates) CreateCertificate(ctx context.Context, p fescue.Partition, c fescue.Certificate) error {
	return s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			INSERT INTO certificate (id, partition, pem, status, mode, not_before, not_after, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING`,
			c.ID, p.Key(), c.PEM, c.Status, c.Mode, millis(c.NotBefore), millis(c.NotAfter), millis(c.CreatedAt), millis(c.UpdatedAt))
		if !errors.Is(err, fescue.ErrNotFound) {
			return err
		}
		switch _, err := findCertificate(ctx, tx, p, c.ID); {
		case err == nil:
			return fmt.Errorf("certificate %s %w", c.ID, fescue.ErrExists)
		case errors.Is(err, fescue.ErrNotFound):
			return fmt.Errorf("certificate %s %w", c.ID, fescue.ErrConflict)
		default:
			return err
		}
	})
}

// Certificate reads a certificate.
func (s Certificates) Certificate(ctx context.Context, p fescue.Partition, id string) (fescue.Certificate, error) {
	return findCertificate(ctx, s.db.read, p, id)
}

// Certificates lists at most limit certificates by time of creation, then id.
// The list begins after the certificate whose CreatedAt and ID are given, or at
// its start when the ID is empty.
func (s Certificates) Certificates(ctx context.Context, p fescue.Partition, after fescue.Certificate, ascending bool, limit int) ([]fescue.Certificate, error) {
	query, at := byCreation(ascending, "id", after.CreatedAt, after.ID)
	return all(ctx, s.db.read, scanCertificate, selectCertificate+query, p.Key(), at, after.ID, limit)
}

// Ending lists at most limit ACTIVE certificates that end before a time, by their end,
// then id. The list begins after the certificate whose NotAfter and ID are given, or at
// its start when the ID is empty.
func (s Certificates) Ending(ctx context.Context, p fescue.Partition, before time.Time, after fescue.Certificate, limit int) ([]registry.Ending, error) {
	at := millis(after.NotAfter)
	if after.ID == "" {
		at = math.MinInt64
	}
	scan := func(rows *sql.Rows) (c registry.Ending, err error) {
		var end int64
		err = rows.Scan(&c.ID, &end, &c.Thing)
		c.NotAfter = fromMillis(end)
		return c, err
	}
	return all(ctx, s.db.read, scan, `
		SELECT id, not_after, coalesce((SELECT min(thing) FROM thing_certificate WHERE certificate_id = certificate.id), '') FROM certificate
		WHERE partition = $1 AND status = $2 AND not_after < $3 AND (not_after, id) > ($4, $5)
		ORDER BY not_after, id LIMIT $6`, p.Key(), fescue.CertificateActive, millis(before), at, after.ID, limit)
}

// byCreation is the rest of a query for a page in the order of creation: its
// parameters are the partition, the time returned here, the key and the limit.
// name is the column of the key, after and key are where the page before ended.
func byCreation(ascending bool, name string, after time.Time, key string) (query string, at int64) {
	compare, direction, start := "<", "DESC", int64(1)<<62
	if ascending {
		compare, direction, start = ">", "ASC", -1
	}
	if at = millis(after); key == "" {
		at = start
	}
	return fmt.Sprintf(` WHERE partition = $1 AND (created_at, %[1]s) %[2]s ($2, $3) ORDER BY created_at %[3]s, %[1]s %[3]s LIMIT $4`,
		name, compare, direction), at
}

const selectCertificate = `
	SELECT id, pem, status, mode, not_before, not_after, created_at, updated_at FROM certificate`

func findCertificate(ctx context.Context, q querier, p fescue.Partition, id string) (fescue.Certificate, error) {
	list, err := all(ctx, q, scanCertificate, selectCertificate+` WHERE id = $1 AND partition = $2`, id, p.Key())
	if err != nil {
		return fescue.Certificate{}, fmt.Errorf("read certificate %s: %w", id, err)
	}
	if len(list) == 0 {
		return fescue.Certificate{}, fmt.Errorf("certificate %s %w", id, fescue.ErrNotFound)
	}
	return list[0], nil
}

func scanCertificate(rows *sql.Rows) (fescue.Certificate, error) {
	var c fescue.Certificate
	var notBefore, notAfter, created, updated int64
	err := rows.Scan(&c.ID, &c.PEM, &c.Status, &c.Mode, &notBefore, &notAfter, &created, &updated)
	c.NotBefore, c.NotAfter = fromMillis(notBefore), fromMillis(notAfter)
	c.CreatedAt, c.UpdatedAt = fromMillis(created), fromMillis(updated)
	return c, err
}

// lockCertificate keeps a certificate as it is until the transaction ends: by
// writing it, since SELECT … FOR UPDATE is not SQL that every engine has.
func lockCertificate(ctx context.Context, tx transaction, p fescue.Partition, id string) error {
	err := changed(ctx, tx, `
		UPDATE certificate SET status = status WHERE id = $1 AND partition = $2`, id, p.Key())
	if errors.Is(err, fescue.ErrNotFound) {
		return fmt.Errorf("certificate %s %w", id, err)
	}
	return err
}

// SetCertificateStatus changes the status; leaving REVOKED is
// fescue.ErrConflict.
func (s Certificates) SetCertificateStatus(ctx context.Context, p fescue.Partition, id string, status fescue.CertificateStatus, at time.Time) error {
	return s.db.update(ctx, func(tx transaction) error {
		if err := lockCertificate(ctx, tx, p, id); err != nil {
			return err
		}
		err := changed(ctx, tx, `
			UPDATE certificate SET status = $1, updated_at = $2
			WHERE id = $3 AND (status <> $4 OR status = $1)`, status, millis(at), id, fescue.CertificateRevoked)
		if errors.Is(err, fescue.ErrNotFound) {
			return fmt.Errorf("status of certificate %s %w", id, fescue.ErrConflict)
		}
		return err
	})
}

// DeleteCertificate removes a certificate, with force from its policies too. An
// ACTIVE one is fescue.ErrConflict, an attached one fescue.ErrInUse.
func (s Certificates) DeleteCertificate(ctx context.Context, p fescue.Partition, id string, force bool) error {
	return s.db.update(ctx, func(tx transaction) error {
		if err := lockCertificate(ctx, tx, p, id); err != nil {
			return err
		}
		if force {
			if _, err := tx.ExecContext(ctx, `
				DELETE FROM policy_target WHERE certificate_id = $1`, id); err != nil {
				return err
			}
		}
		err := changed(ctx, tx, `
			DELETE FROM certificate WHERE id = $1 AND status <> $2`, id, fescue.CertificateActive)
		switch {
		case errors.Is(err, fescue.ErrNotFound):
			return fmt.Errorf("status of certificate %s %w", id, fescue.ErrConflict)
		case isForeignKey(err):
			return fmt.Errorf("certificate %s is %w", id, fescue.ErrInUse)
		}
		return err
	})
}

// The kinds of row of selectPrincipals.
const (
	rowCertificate = 0
	rowThing       = 1
	rowDocument    = 2
	rowPolicy      = 3
)

// Principal is Principals for one certificate. Of one that no partition has the error is
// fescue.ErrNotFound.
func (s Certificates) Principal(ctx context.Context, aws, certificateID string) (fescue.Principal, error) {
	found, err := s.Principals(ctx, aws, []string{certificateID})
	p := found[certificateID]
	if err == nil && p.Certificate.ID == "" {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return fescue.Principal{}, fmt.Errorf("certificate %s %w", certificateID, err)
	}
	return p, nil
}

// selectPrincipals is one statement so that it sees all as of one moment. A document comes once,
// however many have it.
const selectPrincipals = `
	SELECT 0, c.id, c.partition, c.pem, c.status, c.mode, c.not_before, c.not_after, c.created_at, c.updated_at
	FROM wanted CROSS JOIN certificate c WHERE c.id = wanted.id
	UNION ALL
	SELECT 1, a.certificate_id, a.partition, a.thing, '', '', 0, 0, 0, 0
	FROM wanted CROSS JOIN thing_certificate a WHERE a.certificate_id = wanted.id
	UNION ALL
	SELECT 2, p.name, p.partition, v.document, '', '', 0, 0, 0, 0
	FROM (SELECT DISTINCT t.partition, t.policy FROM wanted CROSS JOIN policy_target t WHERE t.certificate_id = wanted.id) acting
	JOIN policy p ON p.partition = acting.partition AND p.name = acting.policy
	JOIN policy_version v ON v.partition = p.partition AND v.policy = p.name AND v.number = p.default_version
	UNION ALL
	SELECT 3, t.certificate_id, t.partition, t.policy, '', '', 0, 0, 0, 0
	FROM wanted CROSS JOIN policy_target t WHERE t.certificate_id = wanted.id
	ORDER BY 1, 4`

// Principals reads, as of one moment, certificates of any partition with their things and acting
// documents, by their ids. Those that no partition has are left out. aws is the first part of ARNs.
func (s Certificates) Principals(ctx context.Context, aws string, ids []string) (map[string]fescue.Principal, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	type policy struct{ partition, name string }
	found, documents := make(map[string]fescue.Principal, len(ids)), make(map[policy]string)
	_, err := all(ctx, s.db.read, func(rows *sql.Rows) (_ struct{}, err error) {
		var kind int
		var id, partition, text string
		var c fescue.Certificate
		var notBefore, notAfter, created, updated int64
		if err = rows.Scan(&kind, &id, &partition, &text, &c.Status, &c.Mode, &notBefore, &notAfter, &created, &updated); err != nil {
			return
		}
		if kind == rowDocument {
			documents[policy{partition, id}] = text
			return
		}
		p := found[id]
		switch kind {
		case rowCertificate:
			c.ID, c.PEM = id, text
			c.NotBefore, c.NotAfter = fromMillis(notBefore), fromMillis(notAfter)
			c.CreatedAt, c.UpdatedAt = fromMillis(created), fromMillis(updated)
			p.Partition, p.Certificate = partitionOf(aws, partition), c
		case rowThing:
			p.Things = append(p.Things, text)
		case rowPolicy:
			if document, ok := documents[policy{partition, text}]; ok {
				p.Policies = append(p.Policies, document)
			}
		}
		found[id] = p
		return
	}, `WITH wanted (id) AS (`+s.db.engine.listed+`)`+selectPrincipals, toJSON(ids))
	if err != nil {
		return nil, fmt.Errorf("%d certificates: %w", len(ids), err)
	}
	for _, p := range found {
		slices.Sort(p.Policies)
	}
	return found, nil
}
