package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/secrets"
)

// Secrets keep secrets and their versions, sealed.
type Secrets struct{ db *DB }

// Secrets is that part of the database.
func (db *DB) Secrets() Secrets { return Secrets{db} }

// CreateSecret writes a secret and, if there is one, its first version. A name
// that is taken is fescue.ErrExists.
func (s Secrets) CreateSecret(ctx context.Context, p fescue.Partition, secret secrets.Secret, first *secrets.SecretVersion) error {
	return s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			INSERT INTO secret (partition, name, suffix, description, kms_key, tags_json, created_at, changed_at, deleted_at, purge_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0) ON CONFLICT (partition, name) DO NOTHING`,
			p.Key(), secret.Name, secret.Suffix, secret.Description, secret.KMSKeyID, toJSON(secret.Tags), millis(secret.CreatedAt), millis(secret.ChangedAt))
		if errors.Is(err, fescue.ErrNotFound) {
			return fmt.Errorf("secret %s: %w", secret.Name, fescue.ErrExists)
		}
		if err != nil || first == nil {
			return err
		}
		return addSecretVersion(ctx, tx, p, secret.Name, *first)
	})
}

const selectSecret = `
	SELECT name, suffix, description, kms_key, tags_json, created_at, changed_at, deleted_at, purge_at FROM secret WHERE partition = $1`

func scanSecret(rows *sql.Rows) (secrets.Secret, error) {
	var s secrets.Secret
	var tags string
	var created, changed, deleted, purge int64
	if err := rows.Scan(&s.Name, &s.Suffix, &s.Description, &s.KMSKeyID, &tags, &created, &changed, &deleted, &purge); err != nil {
		return s, err
	}
	s.CreatedAt, s.ChangedAt, s.DeletedAt, s.PurgeAt = fromMillis(created), fromMillis(changed), fromMillis(deleted), fromMillis(purge)
	s.Stages = make(map[string]string)
	err := fromJSON(tags, &s.Tags)
	return s, err
}

// Secret reads a secret with its staging labels, deleted or not.
func (s Secrets) Secret(ctx context.Context, p fescue.Partition, name string) (secrets.Secret, error) {
	list, err := all(ctx, s.db.read, scanSecret, selectSecret+` AND name = $2`, p.Key(), name)
	if err != nil {
		return secrets.Secret{}, err
	}
	if len(list) == 0 {
		return secrets.Secret{}, fmt.Errorf("secret %s: %w", name, fescue.ErrNotFound)
	}
	return list[0], s.stages(ctx, p, list)
}

// Secrets lists secrets by name, deleted ones included.
func (s Secrets) Secrets(ctx context.Context, p fescue.Partition, page fescue.Page) ([]secrets.Secret, error) {
	list, err := all(ctx, s.db.read, scanSecret, selectSecret+` AND name > $2 ORDER BY name LIMIT $3`, p.Key(), page.After, page.Limit)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list, s.stages(ctx, p, list)
}

// stages fills in the labels of secrets that are in the order of their names.
func (s Secrets) stages(ctx context.Context, p fescue.Partition, list []secrets.Secret) error {
	byName := make(map[string]int, len(list))
	for i := range list {
		byName[list[i].Name] = i
	}
	type label struct{ name, stage, version string }
	scan := columns(func(l *label) []any { return []any{&l.name, &l.stage, &l.version} })
	labels, err := all(ctx, s.db.read, scan, `
		SELECT name, stage, version FROM secret_stage WHERE partition = $1 AND name >= $2 AND name <= $3`,
		p.Key(), list[0].Name, list[len(list)-1].Name)
	for _, l := range labels {
		if i, ok := byName[l.name]; ok {
			list[i].Stages[l.stage] = l.version
		}
	}
	return err
}

// ReplaceSecret writes what can change of a secret, if it was not changed since
// before, else fescue.ErrConflict.
func (s Secrets) ReplaceSecret(ctx context.Context, p fescue.Partition, before time.Time, secret secrets.Secret) error {
	err := s.db.update(ctx, func(tx transaction) error {
		return changed(ctx, tx, `
			UPDATE secret SET description = $1, kms_key = $2, tags_json = $3, changed_at = $4, deleted_at = $5, purge_at = $6
			WHERE partition = $7 AND name = $8 AND suffix = $9 AND changed_at = $10`,
			secret.Description, secret.KMSKeyID, toJSON(secret.Tags), millis(secret.ChangedAt), millis(secret.DeletedAt), millis(secret.PurgeAt),
			p.Key(), secret.Name, secret.Suffix, millis(before))
	})
	if errors.Is(err, fescue.ErrNotFound) {
		return fmt.Errorf("secret %s: %w", secret.Name, fescue.ErrConflict)
	}
	return err
}

// DropSecret removes a secret at once, with its versions.
func (s Secrets) DropSecret(ctx context.Context, p fescue.Partition, name, suffix string) error {
	return s.db.update(ctx, func(tx transaction) error {
		return changed(ctx, tx, `DELETE FROM secret WHERE partition = $1 AND name = $2 AND suffix = $3`, p.Key(), name, suffix)
	})
}

// PurgeSecrets removes the deleted secrets of the partition whose time has come.
func (s Secrets) PurgeSecrets(ctx context.Context, p fescue.Partition, now time.Time) error {
	return s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM secret WHERE partition = $1 AND purge_at > 0 AND purge_at <= $2`, p.Key(), millis(now))
		return err
	})
}

// AddSecretVersion adds a version and moves its labels to it. An id that the
// secret has already is fescue.ErrExists, a secret that is not there or deleted
// fescue.ErrNotFound. Versions without a label that are older than unlabelled go.
func (s Secrets) AddSecretVersion(ctx context.Context, p fescue.Partition, name, suffix string, v secrets.SecretVersion, unlabelled time.Time) error {
	return s.db.update(ctx, func(tx transaction) error {
		// The secret's row is the lock of its labels.
		if err := changed(ctx, tx, `
			UPDATE secret SET changed_at = CASE WHEN changed_at < $1 THEN $1 ELSE changed_at + 1 END
			WHERE partition = $2 AND name = $3 AND suffix = $4 AND deleted_at = 0`, millis(v.CreatedAt), p.Key(), name, suffix); err != nil {
			return err
		}
		if err := addSecretVersion(ctx, tx, p, name, v); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			DELETE FROM secret_version WHERE partition = $1 AND name = $2 AND created_at < $3
			AND id NOT IN (SELECT version FROM secret_stage WHERE partition = $1 AND name = $2)`,
			p.Key(), name, millis(unlabelled))
		return err
	})
}

func addSecretVersion(ctx context.Context, tx transaction, p fescue.Partition, name string, v secrets.SecretVersion) error {
	err := changed(ctx, tx, `
		INSERT INTO secret_version (partition, name, id, sealed, is_binary, created_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (partition, name, id) DO NOTHING`,
		p.Key(), name, v.ID, base64.StdEncoding.EncodeToString(v.Sealed), v.Binary, millis(v.CreatedAt))
	if errors.Is(err, fescue.ErrNotFound) {
		return fmt.Errorf("version %s of secret %s: %w", v.ID, name, fescue.ErrExists)
	}
	if err != nil {
		return err
	}
	for _, stage := range v.Stages {
		if stage == fescue.StageCurrent {
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO secret_stage (partition, name, stage, version)
				SELECT partition, name, $1, version FROM secret_stage WHERE partition = $2 AND name = $3 AND stage = $4
				ON CONFLICT (partition, name, stage) DO UPDATE SET version = excluded.version`,
				fescue.StagePrevious, p.Key(), name, fescue.StageCurrent); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO secret_stage (partition, name, stage, version) VALUES ($1, $2, $3, $4)
			ON CONFLICT (partition, name, stage) DO UPDATE SET version = excluded.version`,
			p.Key(), name, stage, v.ID); err != nil {
			return err
		}
	}
	return nil
}

// SecretVersions lists the versions of a secret, oldest first, with their labels.
func (s Secrets) SecretVersions(ctx context.Context, p fescue.Partition, name string) ([]secrets.SecretVersion, error) {
	scan := func(rows *sql.Rows) (secrets.SecretVersion, error) {
		var v secrets.SecretVersion
		var sealed string
		var created int64
		err := rows.Scan(&v.ID, &sealed, &v.Binary, &created)
		if err != nil {
			return v, err
		}
		v.CreatedAt = fromMillis(created)
		v.Sealed, err = base64.StdEncoding.DecodeString(sealed)
		return v, err
	}
	list, err := all(ctx, s.db.read, scan, `
		SELECT id, sealed, is_binary, created_at FROM secret_version WHERE partition = $1 AND name = $2 ORDER BY created_at, id`, p.Key(), name)
	if err != nil {
		return nil, err
	}
	labels, err := all(ctx, s.db.read, columns(func(l *[2]string) []any { return []any{&l[0], &l[1]} }), `
		SELECT version, stage FROM secret_stage WHERE partition = $1 AND name = $2 ORDER BY stage`, p.Key(), name)
	for _, l := range labels {
		for i := range list {
			if list[i].ID == l[0] {
				list[i].Stages = append(list[i].Stages, l[1])
			}
		}
	}
	return list, err
}
