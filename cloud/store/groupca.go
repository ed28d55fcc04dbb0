package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	err := s.db.update(ctx, func(tx transaction) error {
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
// their private keys and stay until the certificates that they signed have ended, but
// for those that signed for a core which is not the group's any more: they go at once.
// With a token that was used before it changes nothing and returns the id that
// was made then.
func (s GroupAuthorities) RotateGroupAuthority(ctx context.Context, p fescue.Partition, a groupca.Authority, token fescue.Token) (id string, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
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
		if err := dropStrayed(ctx, tx, p, a); err != nil {
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
func lockGroup(ctx context.Context, tx transaction, p fescue.Partition, groupID string) error {
	return changed(ctx, tx, `
		UPDATE definition SET updated_at = updated_at WHERE partition = $1 AND kind = $2 AND id = $3`,
		p.Key(), fescue.GroupKind.Segment, groupID)
}

// dropStrayed removes the authorities of a group, in whose place next comes, that signed
// for a core which the group does not have any more: its newest version does not name
// the core, or the certificate with which the core asked is not ACTIVE or not the
// core's.
func dropStrayed(ctx context.Context, tx transaction, p fescue.Partition, next groupca.Authority) error {
	named, err := newestCores(ctx, tx, p, next.GroupID)
	if err != nil {
		return err
	}
	type holder struct {
		groupca.Holder
		authority string
	}
	scan := columns(func(h *holder) []any { return []any{&h.authority, &h.Thing, &h.CertificateID} })
	list, err := all(ctx, tx, scan, `
		SELECT authority_id, thing, certificate_id FROM group_authority_holder
		WHERE partition = $1 AND group_id = $2 AND ends_at > $3`, p.Key(), next.GroupID, millis(next.CreatedAt))
	if err != nil {
		return err
	}
	for _, h := range list {
		err := notStrayed(ctx, tx, p, named, h.Holder)
		if err == nil {
			continue
		}
		if !errors.Is(err, groupca.ErrStrayed) {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			DELETE FROM group_authority WHERE partition = $1 AND group_id = $2 AND id = $3`, p.Key(), next.GroupID, h.authority); err != nil {
			return err
		}
	}
	return nil
}

// notStrayed is groupca.ErrStrayed for a core that is none of those that a group's newest
// version names, and for one whose certificate is not ACTIVE or not attached to it.
func notStrayed(ctx context.Context, q querier, p fescue.Partition, named []string, h groupca.Holder) error {
	if !slices.Contains(named, p.ThingARN(h.Thing)) {
		return groupca.ErrStrayed
	}
	var attached int
	err := one(q.QueryRowContext(ctx, `
		SELECT count(*) FROM thing_certificate t JOIN certificate c ON c.id = t.certificate_id
		WHERE t.partition = $1 AND t.thing = $2 AND t.certificate_id = $3 AND c.partition = $1 AND c.status = $4`,
		p.Key(), h.Thing, h.CertificateID, fescue.CertificateActive), &attached)
	if err == nil && attached == 0 {
		err = groupca.ErrStrayed
	}
	return err
}

// CheckHolder is groupca.ErrStrayed for a core for which a group's authorities do not
// sign, as RecordHolder says.
func (s GroupAuthorities) CheckHolder(ctx context.Context, p fescue.Partition, groupID string, h groupca.Holder) error {
	named, err := newestCores(ctx, s.db.read, p, groupID)
	if err == nil {
		err = notStrayed(ctx, s.db.read, p, named, h)
	}
	return aboutGroup("check core of", groupID, err)
}

// newestCores are the ARNs of the cores that a group's newest version names.
func newestCores(ctx context.Context, q querier, p fescue.Partition, groupID string) (things []string, err error) {
	group, err := findDefinition(ctx, q, p, fescue.GroupKind, groupID)
	if err != nil || group.LatestVersion == "" {
		return nil, err
	}
	var version fescue.GroupVersion
	if err := readVersion(ctx, q, p, fescue.GroupKind, groupID, group.LatestVersion, &version); err != nil {
		return nil, err
	}
	id, number, err := p.ParseVersionARN(fescue.CoreKind, version.CoreDefinitionVersionArn)
	if err != nil {
		return nil, nil // it names none
	}
	var cores fescue.CoreDefinitionVersion
	if err := readVersion(ctx, q, p, fescue.CoreKind, id, number, &cores); err != nil && !errors.Is(err, fescue.ErrNotFound) {
		return nil, err
	}
	for _, core := range cores.Cores {
		things = append(things, core.ThingArn)
	}
	return things, nil
}

func readVersion(ctx context.Context, q querier, p fescue.Partition, k fescue.Kind, id, version string, body any) error {
	found, err := findVersion(ctx, q, p, k, id, version)
	if err != nil {
		return err
	}
	return json.Unmarshal(found.Body, body)
}

// RecordHolder keeps that an authority signed for a core. It is groupca.ErrStrayed, and
// nothing is kept, for a core that the group's newest version does not name, and for one
// whose certificate is not ACTIVE or not attached to it: no rotation comes between that
// look and the record, so that a rotation finds whoever was signed for, and whoever it has
// dropped is not signed for again.
func (s GroupAuthorities) RecordHolder(ctx context.Context, p fescue.Partition, groupID, authorityID string, h groupca.Holder) error {
	err := s.db.update(ctx, func(tx transaction) error {
		if err := lockGroup(ctx, tx, p, groupID); err != nil {
			return err
		}
		named, err := newestCores(ctx, tx, p, groupID)
		if err != nil {
			return err
		}
		if err := notStrayed(ctx, tx, p, named, h); err != nil {
			return err
		}
		err = changed(ctx, tx, `
			UPDATE group_authority SET leaves_until = CASE WHEN leaves_until > $1 THEN leaves_until ELSE $1 END
			WHERE partition = $2 AND group_id = $3 AND id = $4`, millis(h.Until), p.Key(), groupID, authorityID)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO group_authority_holder (partition, group_id, authority_id, thing, certificate_id, ends_at)
			VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (partition, group_id, authority_id, thing, certificate_id) DO UPDATE
			SET ends_at = CASE WHEN group_authority_holder.ends_at > excluded.ends_at THEN group_authority_holder.ends_at ELSE excluded.ends_at END`,
			p.Key(), groupID, authorityID, h.Thing, h.CertificateID, millis(h.Until))
		return err
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
	err := s.db.update(ctx, func(tx transaction) error {
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
