package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/shadows"
	"github.com/fescue-edge/fescue/shadow"
)

// Shadows keep the shadows of things.
type Shadows struct{ db *DB }

// Shadows is that part of the database.
func (db *DB) Shadows() Shadows { return Shadows{db} }

// shadowsAtOnce is how many documents one query reads.
const shadowsAtOnce = 50

// selectShadow reads one document, selectShadows so many.
const selectShadow = `
	SELECT thing, name, document_json, version, revision, deleted_at FROM shadow
	WHERE partition = $1 AND thing = $2 AND name = $3`

var selectShadows = `
	WITH wanted (thing, name) AS (VALUES ` + shadowPairs() + `)
	SELECT s.thing, s.name, s.document_json, s.version, s.revision, s.deleted_at
	FROM wanted w JOIN shadow s ON s.partition = $1 AND s.thing = w.thing AND s.name = w.name`

func shadowPairs() string {
	pairs := make([]string, shadowsAtOnce)
	for i := range pairs {
		pairs[i] = fmt.Sprintf("($%d, $%d)", 2*i+2, 2*i+3)
	}
	return strings.Join(pairs, ", ")
}

// Shadows reads documents with their revisions, in the order of their ids. One that never
// was is the zero document with revision 0.
func (s Shadows) Shadows(ctx context.Context, p fescue.Partition, ids []shadow.ID) ([]shadows.Kept, error) {
	found := make(map[shadow.ID]shadows.Kept, len(ids))
	for some := range slices.Chunk(ids, shadowsAtOnce) {
		query, most := selectShadow, 1
		if len(some) > 1 {
			query, most = selectShadows, shadowsAtOnce
		}
		args := []any{p.Key()}
		for i := range most {
			id := some[min(i, len(some)-1)] // one more than once is read once
			args = append(args, id.Thing, id.Name)
		}
		list, err := all(ctx, s.db.read, scanShadow, query, args...)
		if err != nil {
			return nil, err
		}
		for _, k := range list {
			found[k.ID] = k
		}
	}
	kept := make([]shadows.Kept, len(ids))
	for i, id := range ids {
		kept[i] = found[id]
		kept[i].ID = id
	}
	return kept, nil
}

func scanShadow(rows *sql.Rows) (k shadows.Kept, err error) {
	var text string
	var version, deleted int64
	if err = rows.Scan(&k.ID.Thing, &k.ID.Name, &text, &version, &k.Revision, &deleted); err != nil {
		return k, err
	}
	k.Document, err = shadow.Decode([]byte(text))
	k.Document.Version, k.Document.Deleted = version, fromMillis(deleted)
	return k, err
}

// PutShadows writes documents in one transaction, each over the revision that it was read
// with, 0 standing for none. Of one for which that is not the present one nothing is
// written; its error, in the order of the documents, wraps fescue.ErrConflict.
func (s Shadows) PutShadows(ctx context.Context, p fescue.Partition, list []shadows.Kept) (moved []error, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		moved = make([]error, len(list))
		for i, k := range list {
			err := putShadow(ctx, tx, p, k)
			if errors.Is(err, fescue.ErrNotFound) {
				moved[i], err = fmt.Errorf("revision %d of the shadow %w", k.Revision, fescue.ErrConflict), nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return moved, err
}

func putShadow(ctx context.Context, tx transaction, p fescue.Partition, k shadows.Kept) error {
	query := `
		UPDATE shadow SET document_json = $4, version = $5, deleted_at = $6, revision = revision + 1
		WHERE partition = $1 AND thing = $2 AND name = $3 AND revision = $7`
	args := []any{p.Key(), k.ID.Thing, k.ID.Name, string(k.Document.Encode()), k.Document.Version, millis(k.Document.Deleted), k.Revision}
	if k.Revision == 0 {
		query = `
			INSERT INTO shadow (partition, thing, name, document_json, version, deleted_at, revision)
			VALUES ($1, $2, $3, $4, $5, $6, 1) ON CONFLICT (partition, thing, name) DO NOTHING`
		args = args[:6]
	}
	return changed(ctx, tx, query, args...)
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
