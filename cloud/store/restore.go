package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/fescue-edge/fescue"
)

// RestoreVersion writes a version, and its container where that is missing,
// under the ids that they have. It reports whether it wrote the version; one that
// is there with another body is fescue.ErrExists.
func (s Definitions) RestoreVersion(ctx context.Context, p fescue.Partition, d fescue.Definition, v fescue.DefinitionVersion) (made bool, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		if d.Tags == nil {
			d.Tags = map[string]string{}
		}
		if _, err := inserted(ctx, tx, `
			INSERT INTO definition (partition, kind, id, name, latest_version, tags_json, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
			p.Key(), d.Kind.Segment, d.ID, d.Name, v.ID, toJSON(d.Tags), millis(d.CreatedAt), millis(d.UpdatedAt)); err != nil {
			return err
		}
		// The container's row is what writers wait for, so that numbers do not
		// collide.
		if err := changed(ctx, tx, `
			UPDATE definition SET latest_version = latest_version WHERE partition = $1 AND kind = $2 AND id = $3`,
			p.Key(), d.Kind.Segment, d.ID); err != nil {
			return err
		}
		if made, err = inserted(ctx, tx, insertVersionQuery+` ON CONFLICT DO NOTHING`,
			p.Key(), v.Kind.Segment, v.DefinitionID, v.ID, string(v.Body), millis(v.CreatedAt)); err != nil {
			return err
		}
		if made {
			return changed(ctx, tx, `
				UPDATE definition SET latest_version = $1 WHERE partition = $2 AND kind = $3 AND id = $4`,
				v.ID, p.Key(), v.Kind.Segment, v.DefinitionID)
		}
		present, err := findVersion(ctx, tx, p, v.Kind, v.DefinitionID, v.ID)
		if err == nil && string(present.Body) != string(v.Body) {
			err = fescue.ErrExists
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("restore version %s of %s %s: %w", v.ID, v.Kind.Name, v.DefinitionID, err)
	}
	return made, nil
}

// RestoreFunctionVersion writes a published version under the number that it
// has. Where the function is missing it is made, with latest as its $LATEST. It
// returns whether it wrote the version; one that is there and differs is
// fescue.ErrExists.
func (s Functions) RestoreFunctionVersion(ctx context.Context, p fescue.Partition, latest, v fescue.FunctionVersion) (made bool, err error) {
	number, err := versionNumber(v.Version)
	if err == nil && number == 0 {
		err = fescue.ErrNotFound // $LATEST has no number
	}
	if err != nil {
		return false, aboutFunction("restore version "+v.Version+" of", v.Name, err)
	}
	err = s.db.update(ctx, func(tx transaction) error {
		fresh, err := inserted(ctx, tx, `
			INSERT INTO lambda_function (partition, name, last_version, unpublished, tags_json, created_at)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
			p.Key(), v.Name, number, false, tagsJSON(nil), millis(v.UpdatedAt))
		if err != nil {
			return err
		}
		if fresh {
			err = insertFunctionVersion(ctx, tx, p, latest, 0)
		} else {
			// $LATEST is not what the new highest version is: the next publication
			// makes a version of it.
			err = changed(ctx, tx, `
				UPDATE lambda_function SET
					unpublished = (unpublished OR last_version < $1),
					last_version = CASE WHEN last_version < $1 THEN $1 ELSE last_version END
				WHERE partition = $2 AND name = $3`, number, p.Key(), v.Name)
		}
		if err != nil {
			return err
		}
		if made, err = inserted(ctx, tx, insertFunctionVersionQuery+` ON CONFLICT DO NOTHING`,
			p.Key(), v.Name, number, v.RevisionID, v.CodeHash, toJSON(v), millis(v.UpdatedAt)); err != nil || made {
			return err
		}
		present, err := findFunctionVersion(ctx, tx, p, v.Name, number)
		if err == nil && !sameFunction(present, v) {
			err = fescue.ErrExists
		}
		return err
	})
	return made && err == nil, aboutFunction("restore version "+v.Version+" of", v.Name, err)
}

// sameFunction reports whether two versions differ in nothing that a core or a
// caller would notice.
func sameFunction(a, b fescue.FunctionVersion) bool {
	return a.CodeHash == b.CodeHash && a.Runtime == b.Runtime && a.Handler == b.Handler && a.Role == b.Role &&
		a.Description == b.Description && a.Timeout == b.Timeout && a.MemorySize == b.MemorySize &&
		maps.Equal(a.Environment, b.Environment) && slices.Equal(a.Architectures, b.Architectures)
}

// inserted runs an insert that does nothing where the row is there already, and
// returns which it was.
func inserted(ctx context.Context, q querier, query string, args ...any) (bool, error) {
	res, err := q.ExecContext(ctx, query, args...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
