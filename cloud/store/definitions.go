package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/definitions"
)

// Definitions keep groups and the six kinds of definitions with their versions.
type Definitions struct{ tokens }

// Definitions is that part of the database.
func (db *DB) Definitions() Definitions { return Definitions{tokens{db}} }

// CreateDefinition writes a container and, when first is not nil, its first
// version. With a token that was used before for the same request it returns
// what was made then, unless that was deleted since; for another request,
// fescue.ErrTokenReused.
func (s Definitions) CreateDefinition(ctx context.Context, p fescue.Partition, d fescue.Definition, first *fescue.DefinitionVersion, token fescue.Token) (fescue.Definition, error) {
	made := d
	err := s.db.update(ctx, func(tx transaction) error {
		id, replayed, err := claimToken(ctx, tx, p, token, d.ID, millis(d.CreatedAt))
		if err != nil {
			return err
		}
		if replayed {
			made, err = findDefinition(ctx, tx, p, d.Kind, id)
			if !errors.Is(err, fescue.ErrNotFound) {
				return err
			}
			if err := moveToken(ctx, tx, p, token, id, d.ID); err != nil {
				return err
			}
		}
		made = d
		if first != nil {
			made.LatestVersion = first.ID
		}
		if made.Tags == nil {
			made.Tags = map[string]string{}
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO definition (partition, kind, id, name, latest_version, tags_json, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			p.Key(), d.Kind.Segment, d.ID, d.Name, made.LatestVersion, toJSON(made.Tags), millis(d.CreatedAt), millis(d.UpdatedAt))
		if err != nil {
			return err
		}
		if first != nil {
			return insertVersion(ctx, tx, p, *first)
		}
		return nil
	})
	if err != nil {
		return fescue.Definition{}, fmt.Errorf("create %s %s: %w", d.Kind.Name, d.ID, err)
	}
	return made, nil
}

// CreateVersion writes a version of a container and makes it the latest. Tokens
// are as for CreateDefinition.
func (s Definitions) CreateVersion(ctx context.Context, p fescue.Partition, v fescue.DefinitionVersion, token fescue.Token) (fescue.DefinitionVersion, error) {
	made := v
	err := s.db.update(ctx, func(tx transaction) error {
		id, replayed, err := claimToken(ctx, tx, p, token, v.ID, millis(v.CreatedAt))
		if err != nil {
			return err
		}
		if replayed {
			made, err = findVersion(ctx, tx, p, v.Kind, v.DefinitionID, id)
			return err
		}
		if err := changed(ctx, tx, `
			UPDATE definition SET latest_version = $1 WHERE partition = $2 AND kind = $3 AND id = $4`,
			v.ID, p.Key(), v.Kind.Segment, v.DefinitionID); err != nil {
			return err
		}
		return insertVersion(ctx, tx, p, v)
	})
	if err != nil {
		return fescue.DefinitionVersion{}, fmt.Errorf("create version of %s %s: %w", v.Kind.Name, v.DefinitionID, err)
	}
	return made, nil
}

// insertVersionQuery gives the version the container's next number.
const insertVersionQuery = `
	INSERT INTO definition_version (partition, kind, definition_id, id, number, body_json, created_at)
	SELECT $1, $2, $3, $4, coalesce(max(number), 0) + 1, $5, $6 FROM definition_version
	WHERE partition = $1 AND kind = $2 AND definition_id = $3`

func insertVersion(ctx context.Context, tx transaction, p fescue.Partition, v fescue.DefinitionVersion) error {
	_, err := tx.ExecContext(ctx, insertVersionQuery,
		p.Key(), v.Kind.Segment, v.DefinitionID, v.ID, string(v.Body), millis(v.CreatedAt))
	return err
}

// RenameDefinition changes a container's name.
func (s Definitions) RenameDefinition(ctx context.Context, p fescue.Partition, k fescue.Kind, id, name string) error {
	return s.db.update(ctx, func(tx transaction) error {
		return changed(ctx, tx, `
			UPDATE definition SET name = $1, updated_at = $2 WHERE partition = $3 AND kind = $4 AND id = $5`,
			name, millis(s.db.now()), p.Key(), k.Segment, id)
	})
}

// DeleteDefinition removes a container with all its versions. A group that is
// deployed, or whose deployment has not ended, is fescue.ErrInUse.
func (s Definitions) DeleteDefinition(ctx context.Context, p fescue.Partition, k fescue.Kind, id string) error {
	return s.db.update(ctx, func(tx transaction) error {
		if err := changed(ctx, tx, `
			DELETE FROM definition WHERE partition = $1 AND kind = $2 AND id = $3`, p.Key(), k.Segment, id); err != nil {
			return err
		}
		if k != fescue.GroupKind {
			return nil
		}
		var held int
		if err := tx.QueryRowContext(ctx, `
			SELECT (SELECT count(*) FROM core WHERE partition = $1 AND group_id = $2)
			     + (SELECT count(*) FROM deployment WHERE partition = $1 AND group_id = $2 AND status IN ('Building', 'InProgress'))`,
			p.Key(), id).Scan(&held); err != nil {
			return err
		}
		if held > 0 {
			return fescue.ErrInUse
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM greengrass_role WHERE partition = $1 AND group_id = $2`, p.Key(), id)
		return err
	})
}

// Definition reads a container.
func (s Definitions) Definition(ctx context.Context, p fescue.Partition, k fescue.Kind, id string) (fescue.Definition, error) {
	return findDefinition(ctx, s.db.read, p, k, id)
}

// Definitions lists containers in ascending order of their ids.
func (s Definitions) Definitions(ctx context.Context, p fescue.Partition, k fescue.Kind, page fescue.Page) ([]fescue.Definition, error) {
	return all(ctx, s.db.read, scanDefinition(k), selectDefinition+`
		WHERE partition = $1 AND kind = $2 AND id > $3 ORDER BY id LIMIT $4`,
		p.Key(), k.Segment, page.After, page.Limit)
}

// Groups lists the groups that a filter lets through, by their ids.
func (s Definitions) Groups(ctx context.Context, p fescue.Partition, f definitions.GroupFilter, page fescue.Page) ([]fescue.Definition, error) {
	tag := tagPair(f.Tag, f.Value)
	find := func(query string, args ...any) ([]fescue.Definition, error) {
		return all(ctx, s.db.read, scanDefinition(fescue.GroupKind), query, append([]any{p.Key(), page.After, tag, page.Limit}, args...)...)
	}
	if f.Text == "" {
		query := groupsWithTag
		if tag != "" && s.db.engine.gin {
			var tagged int
			if err := one(s.db.read.QueryRowContext(ctx, groupsTagged, p.Key(), oneByOne, tag), &tagged); err != nil {
				return nil, err
			}
			if tagged < oneByOne { // else enough of them lie on the way
				query = groupsWithIndexedTag
			}
		}
		return find(query)
	}
	edge, err := nearby(ctx, s.db.read, `SELECT id FROM definition WHERE partition = $1 AND kind = 'groups' AND id > $2 ORDER BY id LIMIT 1 OFFSET $3`, p, page)
	if err != nil {
		return nil, err
	}
	list, err := find(selectDefinition+` WHERE partition = $1 AND kind = 'groups' AND id > $2 AND id < $7
		AND (lower(substr(name, 1, 256)) LIKE $5 ESCAPE '!' OR id = $6)`+hasTag, pattern(f.Text), f.Text, edge)
	if err != nil || len(list) == page.Limit || edge == end {
		return list, err
	}
	query := groupsWithText
	if s.db.engine.gin && long(f.Text) {
		query = groupsWithIndexedText
	}
	return find(query, pattern(f.Text), f.Text, lower(f.Text))
}

const (
	// hasTag lets through what has a tag, $3; an empty one all.
	hasTag = ` AND (CAST($3 AS TEXT) = '' OR replace(tags_json, $3, '') <> tags_json) ORDER BY id LIMIT $4`

	groupsWithTag        = selectDefinition + ` WHERE partition = $1 AND kind = 'groups' AND id > $2` + hasTag
	groupsWithIndexedTag = selectDefinition + ` WHERE partition = $1 AND kind = 'groups' AND id > $2 AND tag_pairs(tags_json) @> ARRAY[CAST($3 AS TEXT)]` + hasTag

	// groupsNamed are the group with an id, $6, and those that have a text, $7, in their names.
	groupsNamed = selectDefinition + ` WHERE partition = $1 AND kind = 'groups' AND id IN (
		SELECT id FROM (SELECT id FROM definition WHERE partition = $1 AND kind = 'groups' AND id > $2 AND id = $6` + hasTag + `) found
		UNION SELECT id FROM (SELECT id FROM definition WHERE partition = $1 AND kind = 'groups' AND id > $2 AND $7 <> '' AND lower(substr(name, 1, 256)) LIKE $5 ESCAPE '!'`
	groupsInOrder         = hasTag + `) found) ORDER BY id LIMIT $4`
	groupsWithText        = groupsNamed + groupsInOrder
	groupsWithIndexedText = groupsNamed + ` AND text_grams(lower(substr(name, 1, 256))) @> text_grams($7)` + groupsInOrder
)

const selectDefinition = `
	SELECT id, name, latest_version, tags_json, created_at, updated_at FROM definition`

func findDefinition(ctx context.Context, q querier, p fescue.Partition, k fescue.Kind, id string) (fescue.Definition, error) {
	list, err := all(ctx, q, scanDefinition(k), selectDefinition+`
		WHERE partition = $1 AND kind = $2 AND id = $3`, p.Key(), k.Segment, id)
	if err == nil && len(list) == 0 {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return fescue.Definition{}, fmt.Errorf("%s %s: %w", k.Name, id, err)
	}
	return list[0], nil
}

func scanDefinition(k fescue.Kind) func(*sql.Rows) (fescue.Definition, error) {
	return func(rows *sql.Rows) (fescue.Definition, error) {
		d := fescue.Definition{Kind: k}
		var tags string
		var created, updated int64
		if err := rows.Scan(&d.ID, &d.Name, &d.LatestVersion, &tags, &created, &updated); err != nil {
			return d, err
		}
		d.CreatedAt, d.UpdatedAt = fromMillis(created), fromMillis(updated)
		err := fromJSON(tags, &d.Tags)
		return d, err
	}
}

// Version reads a version of a container. When the container itself is unknown
// the error wraps fescue.ErrNotFound of the container's kind: callers that need
// to distinguish the two ask Definition.
func (s Definitions) Version(ctx context.Context, p fescue.Partition, k fescue.Kind, definitionID, id string) (fescue.DefinitionVersion, error) {
	return findVersion(ctx, s.db.read, p, k, definitionID, id)
}

func findVersion(ctx context.Context, q querier, p fescue.Partition, k fescue.Kind, definitionID, id string) (fescue.DefinitionVersion, error) {
	v := fescue.DefinitionVersion{Kind: k, DefinitionID: definitionID, ID: id}
	var body string
	var created int64
	err := one(q.QueryRowContext(ctx, `
		SELECT body_json, created_at FROM definition_version
		WHERE partition = $1 AND kind = $2 AND definition_id = $3 AND id = $4`,
		p.Key(), k.Segment, definitionID, id), &body, &created)
	if err != nil {
		return v, fmt.Errorf("version %s of %s %s: %w", id, k.Name, definitionID, err)
	}
	v.Body, v.CreatedAt = json.RawMessage(body), fromMillis(created)
	return v, nil
}

// Versions lists the versions of a container without their bodies, newest
// first. The page's key is a version id.
func (s Definitions) Versions(ctx context.Context, p fescue.Partition, k fescue.Kind, definitionID string, page fescue.Page) ([]fescue.DefinitionVersion, error) {
	if _, err := findDefinition(ctx, s.db.read, p, k, definitionID); err != nil {
		return nil, err
	}
	before, err := pageStart(ctx, s.db.read, page, `
		SELECT number FROM definition_version WHERE partition = $1 AND kind = $2 AND definition_id = $3 AND id = $4`,
		p.Key(), k.Segment, definitionID, page.After)
	if err != nil {
		return nil, err
	}
	scan := func(rows *sql.Rows) (fescue.DefinitionVersion, error) {
		v := fescue.DefinitionVersion{Kind: k, DefinitionID: definitionID}
		var created int64
		err := rows.Scan(&v.ID, &created)
		v.CreatedAt = fromMillis(created)
		return v, err
	}
	return all(ctx, s.db.read, scan, `
		SELECT id, created_at FROM definition_version
		WHERE partition = $1 AND kind = $2 AND definition_id = $3 AND number < $4
		ORDER BY number DESC LIMIT $5`,
		p.Key(), k.Segment, definitionID, before, page.Limit)
}
