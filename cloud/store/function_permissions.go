package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
)

// AddFunctionPermission writes a statement of a function or, with a qualifier, of
// a version or alias. A taken id is fescue.ErrExists, an unknown function
// fescue.ErrNotFound.
func (s Functions) AddFunctionPermission(ctx context.Context, p fescue.Partition, function, qualifier, id, statement string, at time.Time) error {
	return s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			INSERT INTO lambda_permission (partition, function, qualifier, id, statement_json, created_at)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (partition, function, qualifier, id) DO NOTHING`,
			p.Key(), function, qualifier, id, statement, millis(at))
		switch {
		case isForeignKey(err):
			return fmt.Errorf("function %s %w", function, fescue.ErrNotFound)
		case errors.Is(err, fescue.ErrNotFound):
			return fmt.Errorf("statement %s %w", id, fescue.ErrExists)
		}
		return err
	})
}

// FunctionPermissions lists the statements by id.
func (s Functions) FunctionPermissions(ctx context.Context, p fescue.Partition, function, qualifier string) ([]string, error) {
	return all(ctx, s.db.read, column[string], `
		SELECT statement_json FROM lambda_permission
		WHERE partition = $1 AND function = $2 AND qualifier = $3 ORDER BY id`, p.Key(), function, qualifier)
}

// RemoveFunctionPermission removes a statement.
func (s Functions) RemoveFunctionPermission(ctx context.Context, p fescue.Partition, function, qualifier, id string) error {
	return s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			DELETE FROM lambda_permission WHERE partition = $1 AND function = $2 AND qualifier = $3 AND id = $4`,
			p.Key(), function, qualifier, id)
		if err != nil {
			return fmt.Errorf("statement %s of function %s %w", id, function, err)
		}
		return nil
	})
}
