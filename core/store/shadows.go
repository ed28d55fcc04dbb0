package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/fescue-edge/fescue/core/shadows"
	"github.com/fescue-edge/fescue/shadow"
)

// Shadows keep the shadows of things; it is a shadows.Store.
type Shadows struct{ db *DB }

// Shadows is that part of the file.
func (db *DB) Shadows() Shadows { return Shadows{db} }

// Shadow implements shadows.Store.
func (s Shadows) Shadow(ctx context.Context, id shadow.ID) (r shadows.Record, err error) {
	err = s.db.view(ctx, func(tx *sql.Tx) error {
		r, err = findShadow(ctx, tx, id)
		return err
	})
	return r, err
}

func findShadow(ctx context.Context, tx *sql.Tx, id shadow.ID) (shadows.Record, error) {
	k, err := scanShadow(tx.QueryRowContext(ctx, selectShadow+`thing = $1 AND name = $2`, id.Thing, id.Name))
	if errors.Is(err, sql.ErrNoRows) {
		return shadows.Record{}, nil
	}
	return k.Record, err
}

const selectShadow = `SELECT thing, name, document, version, deleted, synced FROM shadow WHERE `

// scanShadow reads a row. With an error that is of what stands in it, it has its id.
func scanShadow(row interface{ Scan(...any) error }) (k shadows.Kept, err error) {
	var document string
	var synced sql.NullString
	var version, deleted int64
	if err = row.Scan(&k.ID.Thing, &k.ID.Name, &document, &version, &deleted, &synced); err != nil {
		return k, err
	}
	if k.Record.Document, err = shadow.Decode([]byte(document)); err != nil {
		return k, err
	}
	k.Record.Document.Version, k.Record.Document.Deleted = version, fromMillis(deleted)
	if synced.Valid {
		k.Record.Synced, err = shadow.DecodeSynced([]byte(synced.String))
	}
	return k, err
}

// PutShadows implements shadows.Store.
func (s Shadows) PutShadows(ctx context.Context, list []shadows.Kept, most shadows.Bounds) (refused []error, err error) {
	err = s.db.update(ctx, func(tx *sql.Tx, _ uint64) error {
		refused = make([]error, len(list))
		for i, k := range list {
			err := putShadow(ctx, tx, k.ID, k.Record, most)
			if errors.Is(err, shadows.ErrTooMany) || errors.Is(err, shadows.ErrTooManyNamed) {
				refused[i], err = err, nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return refused, err
}

// putShadow writes a record. When it is refused nothing is written.
func putShadow(ctx context.Context, tx *sql.Tx, id shadow.ID, r shadows.Record, most shadows.Bounds) error {
	if r.Zero() {
		_, err := tx.ExecContext(ctx, `DELETE FROM shadow WHERE thing = $1 AND name = $2`, id.Thing, id.Name)
		return err
	}
	synced := sql.NullString{String: string(r.Synced.Encode()), Valid: !r.Synced.Zero()}
	counts := r.Document.Exists() || synced.Valid
	if counts {
		if err := roomForShadow(ctx, tx, id, most); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `
		INSERT OR REPLACE INTO shadow (thing, name, document, version, deleted, synced) VALUES ($1, $2, $3, $4, $5, $6)`,
		id.Thing, id.Name, string(r.Document.Encode()), r.Document.Version, millis(r.Document.Deleted), synced)
	if err != nil || counts {
		return err
	}
	return forgetMostDeleted(ctx, tx, id.Thing, most)
}

// counted are the shadows that are there, or that the cloud has yet to be asked to delete.
const counted = `(deleted = 0 OR synced IS NOT NULL)`

// roomForShadow refuses one that would be one too many.
func roomForShadow(ctx context.Context, tx *sql.Tx, id shadow.ID, most shadows.Bounds) error {
	var there bool
	var named, all int
	err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM shadow WHERE thing = $1 AND name = $2 AND `+counted+`)`, id.Thing, id.Name).Scan(&there)
	if err != nil || there {
		return err
	}
	err = tx.QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM shadow WHERE thing = $1 AND name != '' AND `+counted+`), (SELECT count(*) FROM shadow WHERE `+counted+`)`, id.Thing).
		Scan(&named, &all)
	switch {
	case err != nil:
		return err
	case id.Name != "" && named >= most.Named:
		return shadows.ErrTooManyNamed
	case all >= most.All:
		return shadows.ErrTooMany
	}
	return nil
}

// forgetMostDeleted bounds what is left of deleted shadows: the last of a thing, and of
// all, are kept.
func forgetMostDeleted(ctx context.Context, tx *sql.Tx, thing string, most shadows.Bounds) error {
	const forget = `DELETE FROM shadow WHERE rowid IN (SELECT rowid FROM shadow WHERE deleted > 0 AND synced IS NULL `
	_, err := tx.ExecContext(ctx, forget+`AND thing = $1 ORDER BY deleted DESC LIMIT -1 OFFSET $2)`, thing, most.Named)
	if err == nil {
		_, err = tx.ExecContext(ctx, forget+`ORDER BY deleted DESC LIMIT -1 OFFSET $1)`, most.All)
	}
	return err
}

// SyncedShadows implements shadows.Store.
func (s Shadows) SyncedShadows(ctx context.Context, things []string, each func(shadow.ID, shadows.Record, error)) error {
	if there, err := s.db.Exists(); err != nil || !there {
		return err
	}
	of, err := json.Marshal(append([]string{}, things...))
	if err != nil {
		return err
	}
	return s.db.view(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, selectShadow+`thing IN (SELECT value FROM json_each($1)) AND `+counted, string(of))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			k, err := scanShadow(rows)
			if k.ID.Thing == "" {
				return err
			}
			each(k.ID, k.Record, err)
		}
		return rows.Err()
	})
}

// UnsyncShadows implements shadows.Store.
func (s Shadows) UnsyncShadows(ctx context.Context, but []string) error {
	things, err := json.Marshal(append([]string{}, but...))
	if err != nil {
		return err
	}
	return s.exec(ctx, `UPDATE shadow SET synced = NULL WHERE synced IS NOT NULL AND thing NOT IN (SELECT value FROM json_each($1))`, string(things))
}

// ForgetShadows implements shadows.Store.
func (s Shadows) ForgetShadows(ctx context.Context, before time.Time) error {
	return s.exec(ctx, `DELETE FROM shadow WHERE deleted > 0 AND deleted < $1 AND synced IS NULL`, millis(before))
}

// ClearShadows implements shadows.Store.
func (s Shadows) ClearShadows(ctx context.Context) error { return s.exec(ctx, `DELETE FROM shadow`) }

// exec runs a statement that has nothing to do where there is no file yet.
func (s Shadows) exec(ctx context.Context, statement string, args ...any) error {
	if there, err := s.db.Exists(); err != nil || !there {
		return err
	}
	return s.db.update(ctx, func(tx *sql.Tx, _ uint64) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	})
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}
