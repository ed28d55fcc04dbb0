package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
)

// Things keep the registry's things, and which certificates are attached to them.
type Things struct{ db *DB }

// Things is that part of the database.
func (db *DB) Things() Things { return Things{db} }

// CreateThing writes a thing. When the name is taken the error wraps
// fescue.ErrExists and the thing returned is the one that is there. A type that is
// not there is fescue.ErrNotFound, a deprecated one fescue.ErrPrecondition.
func (s Things) CreateThing(ctx context.Context, p fescue.Partition, t fescue.Thing, at time.Time) (fescue.Thing, error) {
	made, taken := t, false
	err := s.db.update(ctx, func(tx transaction) error {
		there, err := findThing(ctx, tx, p, t.Name)
		if made, taken = there, err == nil; !errors.Is(err, fescue.ErrNotFound) {
			return err
		}
		if err := giveType(ctx, tx, p, t.Type); err != nil {
			return err
		}
		made = t
		err = changed(ctx, tx, `
			INSERT INTO thing (partition, name, id, type, attributes_json, version, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (partition, name) DO NOTHING`,
			p.Key(), t.Name, t.ID, t.Type, toJSON(t.Attributes), t.Version, millis(at))
		if errors.Is(err, fescue.ErrNotFound) {
			err = errAgain // made meanwhile
		}
		return err
	})
	if err == nil && taken {
		err = fmt.Errorf("thing %s %w", t.Name, fescue.ErrExists)
	}
	return made, err
}

// Thing reads a thing.
func (s Things) Thing(ctx context.Context, p fescue.Partition, name string) (fescue.Thing, error) {
	return findThing(ctx, s.db.read, p, name)
}

// ReplaceThing writes t over its version t.Version-1; when that is not the
// present one the error wraps fescue.ErrConflict. Another type than the present one
// is as for CreateThing. It returns the ids of the certificates attached to the
// thing.
func (s Things) ReplaceThing(ctx context.Context, p fescue.Partition, t fescue.Thing) (certificates []string, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		was, err := findThing(ctx, tx, p, t.Name)
		if err == nil && was.Type != t.Type {
			err = giveType(ctx, tx, p, t.Type)
		}
		if err != nil {
			return err
		}
		err = changed(ctx, tx, `
			UPDATE thing SET type = $1, attributes_json = $2, version = $3
			WHERE partition = $4 AND name = $5 AND version = $6`,
			t.Type, toJSON(t.Attributes), t.Version, p.Key(), t.Name, t.Version-1)
		if errors.Is(err, fescue.ErrNotFound) {
			return thingVersionIsOther(ctx, tx, p, t.Name)
		}
		if err != nil {
			return err
		}
		certificates, err = all(ctx, tx, column[string], `
			SELECT certificate_id FROM thing_certificate WHERE partition = $1 AND thing = $2`, p.Key(), t.Name)
		return err
	})
	return certificates, err
}

// DeleteThing removes a thing at a version, 0 standing for any; another one is
// fescue.ErrConflict, an attached certificate fescue.ErrInUse.
func (s Things) DeleteThing(ctx context.Context, p fescue.Partition, name string, version int64) error {
	return s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			DELETE FROM thing WHERE partition = $1 AND name = $2 AND (version = $3 OR $3 = 0)`, p.Key(), name, version)
		switch {
		case isForeignKey(err):
			return fmt.Errorf("thing %s is %w", name, fescue.ErrInUse)
		case errors.Is(err, fescue.ErrNotFound):
			return thingVersionIsOther(ctx, tx, p, name)
		}
		return err
	})
}

// thingVersionIsOther says why a statement that named a thing and its version
// found none: the thing is not there, or at another version.
func thingVersionIsOther(ctx context.Context, tx transaction, p fescue.Partition, name string) error {
	if _, err := findThing(ctx, tx, p, name); err != nil {
		return err
	}
	return fmt.Errorf("the version asked of thing %s %w", name, fescue.ErrConflict)
}

// Things lists the things of a type, all when it is empty, in ascending order of
// their names.
func (s Things) Things(ctx context.Context, p fescue.Partition, thingType string, page fescue.Page) ([]fescue.Thing, error) {
	return all(ctx, s.db.read, scanThing, selectThing+`
		WHERE partition = $1 AND name > $2 AND (type = $3 OR $3 = '') ORDER BY name LIMIT $4`,
		p.Key(), page.After, thingType, page.Limit)
}

const selectThing = `SELECT name, id, type, attributes_json, version FROM thing`

func findThing(ctx context.Context, q querier, p fescue.Partition, name string) (fescue.Thing, error) {
	list, err := all(ctx, q, scanThing, selectThing+` WHERE partition = $1 AND name = $2`, p.Key(), name)
	if err != nil {
		return fescue.Thing{}, fmt.Errorf("read thing %s: %w", name, err)
	}
	if len(list) == 0 {
		return fescue.Thing{}, fmt.Errorf("thing %s %w", name, fescue.ErrNotFound)
	}
	return list[0], nil
}

func scanThing(rows *sql.Rows) (fescue.Thing, error) {
	var t fescue.Thing
	var attributes string
	if err := rows.Scan(&t.Name, &t.ID, &t.Type, &attributes, &t.Version); err != nil {
		return t, err
	}
	err := fromJSON(attributes, &t.Attributes)
	return t, err
}

// AttachThing attaches a certificate to a thing, also when it is already. An
// unknown thing or certificate is fescue.ErrNotFound.
func (s Things) AttachThing(ctx context.Context, p fescue.Partition, thing, certificateID string) error {
	return s.db.update(ctx, func(tx transaction) error {
		if err := thingAndCertificate(ctx, tx, p, thing, certificateID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO thing_certificate (partition, thing, certificate_id) VALUES ($1, $2, $3)
			ON CONFLICT (partition, thing, certificate_id) DO NOTHING`, p.Key(), thing, certificateID)
		if isForeignKey(err) {
			return fmt.Errorf("thing %s %w", thing, fescue.ErrNotFound)
		}
		return err
	})
}

// DetachThing undoes AttachThing, also when there is nothing to undo.
func (s Things) DetachThing(ctx context.Context, p fescue.Partition, thing, certificateID string) error {
	return s.db.update(ctx, func(tx transaction) error {
		if err := thingAndCertificate(ctx, tx, p, thing, certificateID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			DELETE FROM thing_certificate WHERE partition = $1 AND thing = $2 AND certificate_id = $3`,
			p.Key(), thing, certificateID)
		return err
	})
}

// thingAndCertificate says which of the two the partition does not have, and
// keeps the certificate until the transaction ends.
func thingAndCertificate(ctx context.Context, tx transaction, p fescue.Partition, thing, certificateID string) error {
	if _, err := findThing(ctx, tx, p, thing); err != nil {
		return err
	}
	return lockCertificate(ctx, tx, p, certificateID)
}

// ThingCertificates lists the ids of the certificates attached to a thing.
func (s Things) ThingCertificates(ctx context.Context, p fescue.Partition, thing string, page fescue.Page) ([]string, error) {
	return all(ctx, s.db.read, column[string], `
		SELECT certificate_id FROM thing_certificate
		WHERE partition = $1 AND thing = $2 AND certificate_id > $3 ORDER BY certificate_id LIMIT $4`,
		p.Key(), thing, page.After, page.Limit)
}

// CertificateThings lists the names of the things a certificate is attached to.
func (s Things) CertificateThings(ctx context.Context, p fescue.Partition, certificateID string, page fescue.Page) ([]string, error) {
	return all(ctx, s.db.read, column[string], `
		SELECT thing FROM thing_certificate
		WHERE partition = $1 AND certificate_id = $2 AND thing > $3 ORDER BY thing LIMIT $4`,
		p.Key(), certificateID, page.After, page.Limit)
}
