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

// ThingTypes keep the registry's thing types.
type ThingTypes struct{ db *DB }

// ThingTypes is that part of the database.
func (db *DB) ThingTypes() ThingTypes { return ThingTypes{db} }

// CreateThingType writes a thing type. When the name is taken the error wraps
// fescue.ErrExists and the type returned is the one that is there.
func (s ThingTypes) CreateThingType(ctx context.Context, p fescue.Partition, t registry.ThingType) (made registry.ThingType, err error) {
	taken := false
	err = s.db.update(ctx, func(tx transaction) error {
		made, taken = t, false
		err := changed(ctx, tx, `
			INSERT INTO thing_type (partition, name, id, description, attributes_json, created_at, deprecated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (partition, name) DO NOTHING`,
			p.Key(), t.Name, t.ID, t.Description, toJSON(t.SearchableAttributes), millis(t.CreatedAt), millis(t.DeprecatedAt))
		if errors.Is(err, fescue.ErrNotFound) {
			taken = true
			made, err = findThingType(ctx, tx, p, t.Name)
		}
		return err
	})
	if err == nil && taken {
		err = fmt.Errorf("thing type %s %w", t.Name, fescue.ErrExists)
	}
	return made, err
}

const selectThingType = `SELECT name, id, description, attributes_json, created_at, deprecated_at FROM thing_type`

func scanThingType(rows *sql.Rows) (t registry.ThingType, err error) {
	var attributes string
	var created, deprecated int64
	if err := rows.Scan(&t.Name, &t.ID, &t.Description, &attributes, &created, &deprecated); err != nil {
		return t, err
	}
	t.CreatedAt, t.DeprecatedAt = fromMillis(created), fromMillis(deprecated)
	err = fromJSON(attributes, &t.SearchableAttributes)
	return t, err
}

func findThingType(ctx context.Context, q querier, p fescue.Partition, name string) (registry.ThingType, error) {
	list, err := all(ctx, q, scanThingType, selectThingType+` WHERE partition = $1 AND name = $2`, p.Key(), name)
	if err == nil && len(list) == 0 {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return registry.ThingType{}, fmt.Errorf("thing type %s %w", name, err)
	}
	return list[0], nil
}

// ThingType reads a thing type.
func (s ThingTypes) ThingType(ctx context.Context, p fescue.Partition, name string) (registry.ThingType, error) {
	return findThingType(ctx, s.db.read, p, name)
}

// ThingTypes lists thing types in ascending order of their names.
func (s ThingTypes) ThingTypes(ctx context.Context, p fescue.Partition, page fescue.Page) ([]registry.ThingType, error) {
	return all(ctx, s.db.read, scanThingType, selectThingType+`
		WHERE partition = $1 AND name > $2 ORDER BY name LIMIT $3`, p.Key(), page.After, page.Limit)
}

// UpdateThingType replaces what a thing type says of itself.
func (s ThingTypes) UpdateThingType(ctx context.Context, p fescue.Partition, name, description string, searchable []string) error {
	return s.thingType(ctx, name, `
		UPDATE thing_type SET description = $1, attributes_json = $2 WHERE partition = $3 AND name = $4`,
		description, toJSON(searchable), p.Key(), name)
}

// DeprecateThingType keeps new things from being of a type, or with the zero time
// lets them again.
func (s ThingTypes) DeprecateThingType(ctx context.Context, p fescue.Partition, name string, at time.Time) error {
	return s.thingType(ctx, name, `
		UPDATE thing_type SET deprecated_at = $1 WHERE partition = $2 AND name = $3`, millis(at), p.Key(), name)
}

// thingType runs a statement that changes one thing type.
func (s ThingTypes) thingType(ctx context.Context, name, query string, args ...any) error {
	return s.db.update(ctx, func(tx transaction) error {
		if err := changed(ctx, tx, query, args...); err != nil {
			return fmt.Errorf("thing type %s %w", name, err)
		}
		return nil
	})
}

// DeleteThingType removes a thing type. One that is not deprecated is
// fescue.ErrPrecondition, one that things are of fescue.ErrInUse.
func (s ThingTypes) DeleteThingType(ctx context.Context, p fescue.Partition, name string) error {
	return s.db.update(ctx, func(tx transaction) error {
		t, err := lockThingType(ctx, tx, p, name)
		if err != nil {
			return err
		}
		if t.DeprecatedAt.IsZero() {
			return fmt.Errorf("thing type %s, which is not deprecated: %w", name, fescue.ErrPrecondition)
		}
		var thing string
		err = one(tx.QueryRowContext(ctx, `
			SELECT name FROM thing WHERE partition = $1 AND type = $2 AND type <> '' LIMIT 1`, p.Key(), name), &thing)
		if err == nil {
			return fmt.Errorf("thing type %s is %w, by thing %s", name, fescue.ErrInUse, thing)
		}
		if !errors.Is(err, fescue.ErrNotFound) {
			return err
		}
		return changed(ctx, tx, `DELETE FROM thing_type WHERE partition = $1 AND name = $2`, p.Key(), name)
	})
}

// lockThingType reads a thing type and keeps it as it is until the transaction
// ends, as lockCertificate does a certificate.
func lockThingType(ctx context.Context, tx transaction, p fescue.Partition, name string) (registry.ThingType, error) {
	err := changed(ctx, tx, `UPDATE thing_type SET id = id WHERE partition = $1 AND name = $2`, p.Key(), name)
	if err != nil {
		return registry.ThingType{}, fmt.Errorf("thing type %s %w", name, err)
	}
	return findThingType(ctx, tx, p, name)
}

// giveType has a thing be of a type, which must be there, or of none. A deprecated
// type is fescue.ErrPrecondition.
func giveType(ctx context.Context, tx transaction, p fescue.Partition, name string) error {
	if name == "" {
		return nil
	}
	t, err := lockThingType(ctx, tx, p, name)
	if err == nil && !t.DeprecatedAt.IsZero() {
		err = fmt.Errorf("thing type %s, which is deprecated: %w", name, fescue.ErrPrecondition)
	}
	return err
}
