package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/fescue-edge/fescue"
)

// Functions keep Lambda functions: versions, aliases, permissions, tags.
type Functions struct{ db *DB }

// Functions is that part of the database.
func (db *DB) Functions() Functions { return Functions{db} }

// CreateFunction writes a function with its $LATEST and, if first is not nil,
// its version 1. A name that is taken is fescue.ErrExists.
func (s Functions) CreateFunction(ctx context.Context, p fescue.Partition, latest fescue.FunctionVersion, tags map[string]string, first *fescue.FunctionVersion) error {
	last := 0
	if first != nil {
		last = 1
	}
	err := s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO lambda_function (partition, name, last_version, unpublished, tags_json, created_at)
			VALUES ($1, $2, $3, $4, $5, $6)`,
			p.Key(), latest.Name, last, first == nil, tagsJSON(tags), millis(latest.UpdatedAt))
		if isUnique(err) {
			return fescue.ErrExists
		}
		if err != nil {
			return err
		}
		if err := insertFunctionVersion(ctx, tx, p, latest, 0); err != nil || first == nil {
			return err
		}
		return insertFunctionVersion(ctx, tx, p, *first, 1)
	})
	return aboutFunction("create", latest.Name, err)
}

// UpdateFunction replaces $LATEST if its revision still is ifRevision, else
// fescue.ErrConflict; changed says that the next publication makes a new
// version. If publish is not nil it is published in the same transaction and
// returned with its number, else $LATEST is returned.
func (s Functions) UpdateFunction(ctx context.Context, p fescue.Partition, latest fescue.FunctionVersion, ifRevision string, changes bool, publish *fescue.FunctionVersion) (v fescue.FunctionVersion, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		// The function's row first, always: it is what writers wait for.
		if err := changed(ctx, tx, `
			UPDATE lambda_function SET unpublished = (unpublished OR $1) WHERE partition = $2 AND name = $3`,
			changes, p.Key(), latest.Name); err != nil {
			return err
		}
		err := changed(ctx, tx, `
			UPDATE lambda_version SET revision_id = $1, code_hash = $2, config_json = $3, updated_at = $4
			WHERE partition = $5 AND function = $6 AND number = 0 AND revision_id = $7`,
			latest.RevisionID, latest.CodeHash, toJSON(latest), millis(latest.UpdatedAt), p.Key(), latest.Name, ifRevision)
		if errors.Is(err, fescue.ErrNotFound) {
			return fescue.ErrConflict
		}
		if err != nil {
			return err
		}
		if v = latest; publish != nil {
			v, err = publishFunction(ctx, tx, p, *publish, latest.RevisionID)
		}
		return err
	})
	return v, aboutFunction("update", latest.Name, err)
}

// PublishFunction writes a version under the next number if $LATEST still has
// the revision ifRevision, else fescue.ErrConflict. When nothing changed since
// the last publication it returns that one's version.
func (s Functions) PublishFunction(ctx context.Context, p fescue.Partition, version fescue.FunctionVersion, ifRevision string) (v fescue.FunctionVersion, err error) {
	err = s.db.update(ctx, func(tx transaction) (err error) {
		// The function's row first, as in UpdateFunction.
		if err := changed(ctx, tx, `
			UPDATE lambda_function SET last_version = last_version WHERE partition = $1 AND name = $2`, p.Key(), version.Name); err != nil {
			return err
		}
		v, err = publishFunction(ctx, tx, p, version, ifRevision)
		return err
	})
	return v, aboutFunction("publish", version.Name, err)
}

func publishFunction(ctx context.Context, tx transaction, p fescue.Partition, v fescue.FunctionVersion, ifRevision string) (fescue.FunctionVersion, error) {
	var number int64
	// Nothing to publish if $LATEST did not change and its last version is
	// still there.
	err := one(tx.QueryRowContext(ctx, `
		UPDATE lambda_function SET last_version = last_version + 1, unpublished = FALSE
		WHERE partition = $1 AND name = $2 AND (unpublished OR NOT EXISTS (
			SELECT 1 FROM lambda_version v WHERE v.partition = lambda_function.partition
			AND v.function = lambda_function.name AND v.number = lambda_function.last_version))
		RETURNING last_version`, p.Key(), v.Name), &number)
	unchanged := errors.Is(err, fescue.ErrNotFound)
	if err != nil && !unchanged {
		return v, err
	}
	latest, err := findFunctionVersion(ctx, tx, p, v.Name, 0)
	if err != nil {
		return v, err
	}
	if latest.RevisionID != ifRevision {
		return v, fescue.ErrConflict
	}
	if unchanged {
		err := one(tx.QueryRowContext(ctx, `
			SELECT last_version FROM lambda_function WHERE partition = $1 AND name = $2`, p.Key(), v.Name), &number)
		if err != nil {
			return v, err
		}
		return findFunctionVersion(ctx, tx, p, v.Name, number)
	}
	v.Version = strconv.FormatInt(number, 10)
	return v, insertFunctionVersion(ctx, tx, p, v, number)
}

const insertFunctionVersionQuery = `
	INSERT INTO lambda_version (partition, function, number, revision_id, code_hash, config_json, updated_at)
	VALUES ($1, $2, $3, $4, $5, $6, $7)`

func insertFunctionVersion(ctx context.Context, tx transaction, p fescue.Partition, v fescue.FunctionVersion, number int64) error {
	_, err := tx.ExecContext(ctx, insertFunctionVersionQuery,
		p.Key(), v.Name, number, v.RevisionID, v.CodeHash, toJSON(v), millis(v.UpdatedAt))
	return err
}

// DeleteFunction removes a function with all versions and aliases. Its code
// stays: deployments may still name it.
func (s Functions) DeleteFunction(ctx context.Context, p fescue.Partition, name string) error {
	err := s.db.update(ctx, func(tx transaction) error {
		if _, err := tx.ExecContext(ctx, `
			DELETE FROM lambda_alias WHERE partition = $1 AND function = $2`, p.Key(), name); err != nil {
			return err
		}
		err := changed(ctx, tx, `DELETE FROM lambda_function WHERE partition = $1 AND name = $2`, p.Key(), name)
		if isForeignKey(err) {
			return fescue.ErrConflict // an alias was made meanwhile
		}
		return err
	})
	return aboutFunction("delete", name, err)
}

// DeleteFunctionVersion removes a published version; one that an alias points
// to is fescue.ErrInUse.
func (s Functions) DeleteFunctionVersion(ctx context.Context, p fescue.Partition, name, version string) error {
	number, err := versionNumber(version)
	if err == nil && number == 0 {
		err = fescue.ErrInUse // $LATEST goes with its function only
	}
	if err != nil {
		return aboutFunction("delete version "+version+" of", name, err)
	}
	err = s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			DELETE FROM lambda_version WHERE partition = $1 AND function = $2 AND number = $3`, p.Key(), name, number)
		if isForeignKey(err) {
			return fescue.ErrInUse
		}
		return err
	})
	return aboutFunction("delete version "+version+" of", name, err)
}

// FunctionVersion reads one version: "$LATEST" or a number's digits.
func (s Functions) FunctionVersion(ctx context.Context, p fescue.Partition, name, version string) (fescue.FunctionVersion, error) {
	number, err := versionNumber(version)
	if err != nil {
		return fescue.FunctionVersion{}, aboutFunction("read version "+version+" of", name, err)
	}
	v, err := findFunctionVersion(ctx, s.db.read, p, name, number)
	return v, aboutFunction("read version "+version+" of", name, err)
}

// Functions lists the $LATEST of functions by name, after a name.
func (s Functions) Functions(ctx context.Context, p fescue.Partition, after string, limit int) ([]fescue.FunctionVersion, error) {
	return all(ctx, s.db.read, scanFunctionVersion, selectFunctionVersion+`
		WHERE partition = $1 AND function > $2 AND number = 0 ORDER BY function LIMIT $3`, p.Key(), after, limit)
}

// FunctionVersions lists the versions of one function by number, after a number;
// with an empty name those of all functions, by name and number, after both.
func (s Functions) FunctionVersions(ctx context.Context, p fescue.Partition, name, afterName string, afterNumber int64, limit int) ([]fescue.FunctionVersion, error) {
	if name != "" {
		return all(ctx, s.db.read, scanFunctionVersion, selectFunctionVersion+`
			WHERE partition = $1 AND function = $2 AND number > $3 ORDER BY number LIMIT $4`,
			p.Key(), name, afterNumber, limit)
	}
	return all(ctx, s.db.read, scanFunctionVersion, selectFunctionVersion+`
		WHERE partition = $1 AND (function > $2 OR (function = $2 AND number > $3)) ORDER BY function, number LIMIT $4`,
		p.Key(), afterName, afterNumber, limit)
}

// FunctionCodeNamed reports whether a version in the partition has the code.
func (s Functions) FunctionCodeNamed(ctx context.Context, p fescue.Partition, codeHash string) (named bool, err error) {
	err = s.db.read.QueryRowContext(ctx, `
		SELECT EXISTS (SELECT 1 FROM lambda_version WHERE partition = $1 AND code_hash = $2)`, p.Key(), codeHash).Scan(&named)
	return named, err
}

// FunctionTags reads a function's tags.
func (s Functions) FunctionTags(ctx context.Context, p fescue.Partition, name string) (map[string]string, error) {
	var text string
	tags := map[string]string{}
	err := one(s.db.read.QueryRowContext(ctx, `
		SELECT tags_json FROM lambda_function WHERE partition = $1 AND name = $2`, p.Key(), name), &text)
	if err == nil {
		err = fromJSON(text, &tags)
	}
	return tags, aboutFunction("read tags of", name, err)
}

// ReplaceFunctionTags writes tags if they still are old, else
// fescue.ErrConflict.
func (s Functions) ReplaceFunctionTags(ctx context.Context, p fescue.Partition, name string, old, tags map[string]string) error {
	err := s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			UPDATE lambda_function SET tags_json = $1 WHERE partition = $2 AND name = $3 AND tags_json = $4`,
			tagsJSON(tags), p.Key(), name, tagsJSON(old))
		if !errors.Is(err, fescue.ErrNotFound) {
			return err
		}
		if _, err := findFunctionVersion(ctx, tx, p, name, 0); err != nil {
			return err
		}
		return fescue.ErrConflict
	})
	return aboutFunction("tag", name, err)
}

// tagsJSON is the same text for the same tags: keys are sorted.
func tagsJSON(tags map[string]string) string {
	if tags == nil {
		return "{}"
	}
	return toJSON(tags)
}

func findFunctionVersion(ctx context.Context, q querier, p fescue.Partition, name string, number int64) (fescue.FunctionVersion, error) {
	list, err := all(ctx, q, scanFunctionVersion, selectFunctionVersion+`
		WHERE partition = $1 AND function = $2 AND number = $3`, p.Key(), name, number)
	if err == nil && len(list) == 0 {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return fescue.FunctionVersion{}, err
	}
	return list[0], nil
}

const selectFunctionVersion = `SELECT function, number, revision_id, code_hash, config_json, updated_at FROM lambda_version`

func scanFunctionVersion(rows *sql.Rows) (v fescue.FunctionVersion, err error) {
	var name, revision, hash, config string
	var number, updated int64
	if err := rows.Scan(&name, &number, &revision, &hash, &config, &updated); err != nil {
		return v, err
	}
	if err := fromJSON(config, &v); err != nil {
		return v, fmt.Errorf("configuration of %s: %w", name, err)
	}
	v.Name, v.RevisionID, v.CodeHash, v.UpdatedAt = name, revision, hash, fromMillis(updated)
	v.Version = versionText(number)
	return v, nil
}

// versionNumber is a version's number, 0 for $LATEST. What cannot be a version
// is fescue.ErrNotFound.
func versionNumber(version string) (int64, error) {
	if version == fescue.LatestVersion {
		return 0, nil
	}
	number, err := strconv.ParseInt(version, 10, 64)
	if err != nil || number < 1 || strconv.FormatInt(number, 10) != version {
		return 0, fescue.ErrNotFound
	}
	return number, nil
}

func versionText(number int64) string {
	if number == 0 {
		return fescue.LatestVersion
	}
	return strconv.FormatInt(number, 10)
}

func aboutFunction(doing, name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s function %s: %w", doing, name, err)
	}
	return nil
}
