package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/fescue-edge/fescue"
)

// SnapshotSQLite writes the SQLite database at path, as it is at one instant, to
// the file into, which must not exist. Others may write to the database all the
// while. The schema is left as it is.
func SnapshotSQLite(ctx context.Context, path, into string) error {
	db, err := openPlain(path, "mode=rw")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO $1`, into)
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("copy database %s: %w", path, err)
	}
	return nil
}

// CheckSQLite reads a whole SQLite file that nobody else has open, changes
// nothing, and reports what is wrong with it. It returns a setting of the server,
// empty when there is none.
func CheckSQLite(ctx context.Context, path, setting string) (value string, err error) {
	db, err := openPlain(path, "mode=ro&immutable=1")
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, db.Close()); err != nil {
			err = fmt.Errorf("check database %s: %w", path, err)
		}
	}()
	var answer string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&answer); err != nil {
		return "", err
	}
	if answer != "ok" {
		return "", errors.New(answer)
	}
	err = one(db.QueryRowContext(ctx, `SELECT value FROM server_setting WHERE name = $1`, setting), &value)
	if errors.Is(err, fescue.ErrNotFound) {
		err = nil
	}
	return value, err
}

// NamedArtifacts lists the hashes of the artifacts that a SQLite file, which
// nobody else has open, needs: the code of functions, and what unfinished
// deployments offer.
func NamedArtifacts(ctx context.Context, path string) (hashes []string, err error) {
	db, err := openPlain(path, "mode=ro&immutable=1")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	text := func(rows *sql.Rows) (s string, err error) {
		err = rows.Scan(&s)
		return s, err
	}
	hashes, err = all(ctx, db, text, `SELECT DISTINCT code_hash FROM lambda_version WHERE code_hash <> ''`)
	if err != nil {
		return nil, err
	}
	offered, err := all(ctx, db, text, `SELECT artifacts_json FROM manifest`)
	if err != nil {
		return nil, err
	}
	for _, list := range offered {
		var more []string
		if err := fromJSON(list, &more); err != nil {
			return nil, err
		}
		hashes = append(hashes, more...)
	}
	kept := make(map[string]bool) // with the manifests, in the file itself
	known, err := all(ctx, db, text, `SELECT name FROM sqlite_master WHERE name = 'manifest_document'`)
	if err == nil && len(known) > 0 { // it has been brought up to date
		var documents []string
		documents, err = all(ctx, db, text, `SELECT document_hash FROM manifest WHERE document_hash <> ''`)
		for _, hash := range documents {
			kept[hash] = true
		}
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(hashes, func(h string) bool { return !fescue.ValidHash(h) || kept[h] }), nil
}

// openPlain opens a SQLite file that exists, without touching its schema.
func openPlain(path, mode string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", fmt.Sprintf("file:%s?%s&_pragma=busy_timeout(%d)", (&url.URL{Path: path}).EscapedPath(), mode, busyTimeout.Milliseconds()))
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}
