package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/shadow"
)

// Shadows keep the shadows of things.
type Shadows struct{ db *DB }

// Shadows is that part of the database.
func (db *DB) Shadows() Shadows { return Shadows{db} }

// Shadow reads a document with its revision. One that never was is the zero
// document with revision 0.
func (s Shadows) Shadow(ctx context.Context, p fescue.Partition, id shadow.ID) (shadow.Document, int64, error) {
	var text string
	var version, revision, deleted int64
	err := one(s.db.read.QueryRowContext(ctx, `
		SELECT document_json, version, revision, deleted_at FROM shadow
		WHERE partition = $1 AND thing = $2 AND name = $3`, p.Key(), id.Thing, id.Name),
		&text, &version, &revision, &deleted)
	if errors.Is(err, fescue.ErrNotFound) {
		return shadow.Document{}, 0, nil
	}
	if err != nil {
		return shadow.Document{}, 0, err
	}
	d, err := shadow.Decode([]byte(text))
	d.Version, d.Deleted = version, fromMillis(deleted)
	return d, revision, err
}

// PutShadow writes a document over a revision, 0 standing for none; when that is
// not the present one the error wraps fescue.ErrConflict.
func (s Shadows) PutShadow(ctx context.Context, p fescue.Partition, id shadow.ID, d shadow.Document, over int64) error {
	return s.db.update(ctx, func(tx transaction) error {
		query := `
			UPDATE shadow SET document_json = $4, version = $5, deleted_at = $6, revision = revision + 1
			WHERE partition = $1 AND thing = $2 AND name = $3 AND revision = $7`
		args := []any{p.Key(), id.Thing, id.Name, string(d.Encode()), d.Version, millis(d.Deleted), over}
		if over == 0 {
			query = `
				INSERT INTO shadow (partition, thing, name, document_json, version, deleted_at, revision)
				VALUES ($1, $2, $3, $4, $5, $6, 1) ON CONFLICT (partition, thing, name) DO NOTHING`
			args = args[:6]
		}
		err := changed(ctx, tx, query, args...)
		if errors.Is(err, fescue.ErrNotFound) {
			return fmt.Errorf("revision %d of the shadow %w", over, fescue.ErrConflict)
		}
		return err
	})
}

// ShadowNames lists the names of a thing's named shadows that exist.
func (s Shadows) ShadowNames(ctx context.Context, p fescue.Partition, thing string, page fescue.Page) ([]string, error) {
	return all(ctx, s.db.read, column[string], `
		SELECT name FROM shadow
		WHERE partition = $1 AND thing = $2 AND name > $3 AND deleted_at = 0 ORDER BY name LIMIT $4`,
		p.Key(), thing, page.After, page.Limit)
}

// ShadowsOf reads the documents of a thing that exist, by name.
func (s Shadows) ShadowsOf(ctx context.Context, p fescue.Partition, thing string) (map[string]shadow.Document, error) {
	type named struct {
		name     string
		document shadow.Document
	}
	list, err := all(ctx, s.db.read, func(rows *sql.Rows) (n named, err error) {
		var text string
		var version int64
		if err = rows.Scan(&n.name, &text, &version); err != nil {
			return n, err
		}
		n.document, err = shadow.Decode([]byte(text))
		n.document.Version = version
		return n, err
	}, `
		SELECT name, document_json, version FROM shadow
		WHERE partition = $1 AND thing = $2 AND deleted_at = 0`, p.Key(), thing)
	found := make(map[string]shadow.Document, len(list))
	for _, n := range list {
		found[n.name] = n.document
	}
	return found, err
}

// ForgetShadows removes what is left of documents that were deleted before a
// time.
func (s Shadows) ForgetShadows(ctx context.Context, before time.Time) error {
	return s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM shadow WHERE deleted_at > 0 AND deleted_at < $1`, millis(before))
		return err
	})
}
