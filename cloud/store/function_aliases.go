package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
)

// CreateFunctionAlias writes an alias. A name that is taken is
// fescue.ErrExists; a version that is not there, fescue.ErrNotFound.
func (s Functions) CreateFunctionAlias(ctx context.Context, p fescue.Partition, function string, a fescue.FunctionAlias) error {
	number, err := versionNumber(a.FunctionVersion)
	if err != nil {
		return aboutAlias("create", function, a.Name, err)
	}
	err = s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO lambda_alias (partition, function, name, number, description, revision_id)
			VALUES ($1, $2, $3, $4, $5, $6)`,
			p.Key(), function, a.Name, number, a.Description, a.RevisionID)
		switch {
		case isUnique(err):
			return fescue.ErrExists
		case isForeignKey(err):
			return fescue.ErrNotFound
		}
		return err
	})
	return aboutAlias("create", function, a.Name, err)
}

// FunctionAlias reads an alias.
func (s Functions) FunctionAlias(ctx context.Context, p fescue.Partition, function, name string) (fescue.FunctionAlias, error) {
	a, err := findFunctionAlias(ctx, s.db.read, p, function, name)
	return a, aboutAlias("read", function, name, err)
}

// UpdateFunctionAlias replaces an alias if its revision still is ifRevision,
// else fescue.ErrConflict. A version that is not there is fescue.ErrNotFound,
// and an alias that is gone is a conflict too.
func (s Functions) UpdateFunctionAlias(ctx context.Context, p fescue.Partition, function string, a fescue.FunctionAlias, ifRevision string) error {
	number, err := versionNumber(a.FunctionVersion)
	if err != nil {
		return aboutAlias("update", function, a.Name, err)
	}
	err = s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			UPDATE lambda_alias SET number = $1, description = $2, revision_id = $3
			WHERE partition = $4 AND function = $5 AND name = $6 AND revision_id = $7`,
			number, a.Description, a.RevisionID, p.Key(), function, a.Name, ifRevision)
		switch {
		case errors.Is(err, fescue.ErrNotFound):
			return fescue.ErrConflict
		case isForeignKey(err):
			return fescue.ErrNotFound
		}
		return err
	})
	return aboutAlias("update", function, a.Name, err)
}

// DeleteFunctionAlias removes an alias.
func (s Functions) DeleteFunctionAlias(ctx context.Context, p fescue.Partition, function, name string) error {
	err := s.db.update(ctx, func(tx transaction) error {
		return changed(ctx, tx, `
			DELETE FROM lambda_alias WHERE partition = $1 AND function = $2 AND name = $3`, p.Key(), function, name)
	})
	return aboutAlias("delete", function, name, err)
}

// FunctionAliases lists aliases by name, after a name; a version that is not
// empty keeps those that point to it.
func (s Functions) FunctionAliases(ctx context.Context, p fescue.Partition, function, version, after string, limit int) ([]fescue.FunctionAlias, error) {
	if version == "" {
		return all(ctx, s.db.read, scanFunctionAlias, selectFunctionAlias+`
			WHERE partition = $1 AND function = $2 AND name > $3 ORDER BY name LIMIT $4`, p.Key(), function, after, limit)
	}
	number, err := versionNumber(version)
	if err != nil {
		return nil, nil // nothing points to what is no version
	}
	return all(ctx, s.db.read, scanFunctionAlias, selectFunctionAlias+`
		WHERE partition = $1 AND function = $2 AND number = $3 AND name > $4 ORDER BY name LIMIT $5`,
		p.Key(), function, number, after, limit)
}

func findFunctionAlias(ctx context.Context, q querier, p fescue.Partition, function, name string) (fescue.FunctionAlias, error) {
	list, err := all(ctx, q, scanFunctionAlias, selectFunctionAlias+`
		WHERE partition = $1 AND function = $2 AND name = $3`, p.Key(), function, name)
	if err == nil && len(list) == 0 {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return fescue.FunctionAlias{}, err
	}
	return list[0], nil
}

const selectFunctionAlias = `SELECT name, number, description, revision_id FROM lambda_alias`

func scanFunctionAlias(rows *sql.Rows) (a fescue.FunctionAlias, err error) {
	var number int64
	err = rows.Scan(&a.Name, &number, &a.Description, &a.RevisionID)
	a.FunctionVersion = versionText(number)
	return a, err
}

func aboutAlias(doing, function, name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s alias %s of function %s: %w", doing, name, function, err)
	}
	return nil
}
