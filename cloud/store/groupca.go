package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/groupca"
)

// GroupAuthorities keep the certificate authorities of groups.
type GroupAuthorities struct{ db *DB }

// GroupAuthorities is that part of the database.
func (db *DB) GroupAuthorities() GroupAuthorities { return GroupAuthorities{db} }

// GroupAuthorities lists the authorities of a group that count at a time: the
// one that signs first, then those whose certificates have not ended yet, newest
// first. An unknown group is fescue.ErrNotFound.
func (s GroupAuthorities) GroupAuthorities(ctx context.Context, p fescue.Partition, groupID string, at time.Time) ([]groupca.Authority, error) {
	if _, err := findDefinition(ctx, s.db.read, p, fescue.GroupKind, groupID); err != nil {
		return nil, err
	}
	scan := func(rows *sql.Rows) (groupca.Authority, error) {
		a := groupca.Authority{GroupID: groupID}
		var sealed string
		var leaves, created int64
		err := rows.Scan(&a.ID, &a.PEM, &sealed, &leaves, &created)
		if err != nil {
			return a, err
		}
		a.LeavesUntil, a.CreatedAt = fromMillis(leaves), fromMillis(created)
		a.Sealed, err = base64.StdEncoding.DecodeString(sealed)
		return a, err
	}
	list, err := all(ctx, s.db.read, scan, `
		SELECT id, certificate_pem, sealed, leaves_until, created_at FROM group_authority
		WHERE partition = $1 AND group_id = $2 AND (sealed <> '' OR leaves_until > $3)
		ORDER BY number DESC`, p.Key(), groupID, millis(at))
	return list, aboutGroup("authorities of", groupID, err)
}

// AddFirstGroupAuthority gives a group its first authority; a group that has one
// stays as it is.
func (s GroupAuthorities) AddFirstGroupAuthority(ctx context.Context, p fescue.Partition, a groupca.Authority) error {
	err := s.db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO group_authority (partition, kind, group_id, id, number, certificate_pem, sealed, leaves_until, created_at)
			SELECT $1, $2, $3, $4, 1, $5, $6, 0, $7
			WHERE NOT EXISTS (SELECT 1 FROM group_authority WHERE partition = $1 AND group_id = $3)
			ON CONFLICT (partition, group_id, number) DO NOTHING`,
			p.Key(), fescue.GroupKind.Segment, a.GroupID, a.ID, a.PEM, base64.StdEncoding.EncodeToString(a.Sealed), millis(a.CreatedAt))
		return err
	})
	return aboutGroup("add authority of", a.GroupID, err)
}

// RotateGroupAuthority makes a the authority that signs. The ones before lose
// their private keys and stay until the certificates that they signed have ended.
// With a token that was used before it changes nothing and returns the id that
// was made then.
func (s GroupAuthorities) RotateGroupAuthority(ctx context.Context, p fescue.Partition, a groupca.Authority, token fescue.Token) (id string, err error) {
	err = s.db.update(ctx, func(tx *sql.Tx) error {
		var replayed bool
		if id, replayed, err = claimToken(ctx, tx, p, token, a.ID, millis(a.CreatedAt)); err != nil || replayed {
			return err
		}
		if err := lockGroup(ctx, tx, p, a.GroupID); err != nil { // one rotation at a time
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			DELETE FROM group_authority WHERE partition = $1 AND group_id = $2 AND leaves_until <= $3`,
			p.Key(), a.GroupID, millis(a.CreatedAt)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			UPDATE group_authority SET sealed = '' WHERE partition = $1 AND group_id = $2`, p.Key(), a.GroupID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO group_authority (partition, kind, group_id, id, number, certificate_pem, sealed, leaves_until, created_at)
			SELECT $1, $2, $3, $4, coalesce(max(number), 0) + 1, $5, $6, 0, $7 FROM group_authority
			WHERE partition = $1 AND group_id = $3`,
			p.Key(), fescue.GroupKind.Segment, a.GroupID, a.ID, a.PEM, base64.StdEncoding.EncodeToString(a.Sealed), millis(a.CreatedAt))
		return err
	})
	return id, aboutGroup("rotate authority of", a.GroupID, err)
}

// lockGroup keeps a group, and whatever else is written under this lock, as it is
// until the transaction ends.
func lockGroup(ctx context.Context, tx *sql.Tx, p fescue.Partition, groupID string) error {
	return changed(ctx, tx, `
		UPDATE definition SET updated_at = updated_at WHERE partition = $1 AND kind = $2 AND id = $3`,
		p.Key(), fescue.GroupKind.Segment, groupID)
}

// RecordLeaf keeps that an authority signed a certificate that ends at a time.
func (s GroupAuthorities) RecordLeaf(ctx context.Context, p fescue.Partition, groupID, authorityID string, end time.Time) error {
	err := s.db.update(ctx, func(tx *sql.Tx) error {
		return changed(ctx, tx, `
			UPDATE group_authority SET leaves_until = CASE WHEN leaves_until > $1 THEN leaves_until ELSE $1 END
			WHERE partition = $2 AND group_id = $3 AND id = $4`, millis(end), p.Key(), groupID, authorityID)
	})
	return aboutGroup("record certificate of", groupID, err)
}

// CertificateExpiry reads the lifetime of the certificates of a group's core, 0
// when it was never set. An unknown group is fescue.ErrNotFound.
func (s GroupAuthorities) CertificateExpiry(ctx context.Context, p fescue.Partition, groupID string) (time.Duration, error) {
	if _, err := findDefinition(ctx, s.db.read, p, fescue.GroupKind, groupID); err != nil {
		return 0, err
	}
	var ms int64
	err := one(s.db.read.QueryRowContext(ctx, `
		SELECT lifetime FROM group_certificate_expiry WHERE partition = $1 AND group_id = $2`, p.Key(), groupID), &ms)
	if errors.Is(err, fescue.ErrNotFound) {
		return 0, nil
	}
	return time.Duration(ms) * time.Millisecond, aboutGroup("certificate expiry of", groupID, err)
}

// SetCertificateExpiry keeps the lifetime.
func (s GroupAuthorities) SetCertificateExpiry(ctx context.Context, p fescue.Partition, groupID string, lifetime time.Duration) error {
	err := s.db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO group_certificate_expiry (partition, kind, group_id, lifetime) VALUES ($1, $2, $3, $4)
			ON CONFLICT (partition, group_id) DO UPDATE SET lifetime = excluded.lifetime`,
			p.Key(), fescue.GroupKind.Segment, groupID, lifetime.Milliseconds())
		return err
	})
	return aboutGroup("set certificate expiry of", groupID, err)
}

// aboutGroup says what was done to which group. A row that refers to a group
// which is not there is fescue.ErrNotFound.
func aboutGroup(what, groupID string, err error) error {
	if err == nil {
		return nil
	}
	if isForeignKey(err) {
		err = fescue.ErrNotFound
	}
	return fmt.Errorf("%s group %s: %w", what, groupID, err)
}
