package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/buckets"
)

// Buckets keep buckets, their objects and uploads, and which blobs may go.
type Buckets struct{ db *DB }

// Buckets is that part of the database.
func (db *DB) Buckets() Buckets { return Buckets{db} }

// CreateBucket writes a bucket. A name that is taken is fescue.ErrExists, a
// partition that has limit buckets already fescue.ErrQuota.
func (s Buckets) CreateBucket(ctx context.Context, p fescue.Partition, b buckets.Bucket, limit int) error {
	err := s.db.update(ctx, func(tx transaction) error {
		// Callers that come at the same moment may exceed the limit by as many as
		// they are: it is there to bound, not to count.
		err := changed(ctx, tx, `
			INSERT INTO bucket (partition, name, created_at)
			SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS BIGINT)
			WHERE (SELECT COUNT(*) FROM bucket WHERE partition = $4 AND name <> $5) < $6`,
			p.Key(), b.Name, millis(b.CreatedAt), p.Key(), b.Name, limit)
		switch {
		case isUnique(err):
			return fescue.ErrExists
		case errors.Is(err, fescue.ErrNotFound):
			return fescue.ErrQuota
		}
		return err
	})
	return aboutBucket("create", b.Name, err)
}

// Buckets lists a partition's buckets by name.
func (s Buckets) Buckets(ctx context.Context, p fescue.Partition) ([]buckets.Bucket, error) {
	return all(ctx, s.db.read, func(rows *sql.Rows) (b buckets.Bucket, err error) {
		var at int64
		err = rows.Scan(&b.Name, &at)
		b.CreatedAt = fromMillis(at)
		return b, err
	}, `SELECT name, created_at FROM bucket WHERE partition = $1 ORDER BY name`, p.Key())
}

// Bucket reads a bucket.
func (s Buckets) Bucket(ctx context.Context, p fescue.Partition, name string) (buckets.Bucket, error) {
	b, at := buckets.Bucket{Name: name}, int64(0)
	err := one(s.db.read.QueryRowContext(ctx, `
		SELECT created_at FROM bucket WHERE partition = $1 AND name = $2`, p.Key(), name), &at)
	b.CreatedAt = fromMillis(at)
	return b, aboutBucket("read", name, err)
}

// DeleteBucket removes a bucket with the uploads under way in it. One that holds
// objects is fescue.ErrInUse. What becomes garbage is looked at from lookAt on.
func (s Buckets) DeleteBucket(ctx context.Context, p fescue.Partition, name string, lookAt time.Time) error {
	err := s.db.update(ctx, func(tx transaction) error {
		uploads, err := all(ctx, tx, column[string], `
			DELETE FROM bucket_upload WHERE partition = $1 AND bucket = $2 RETURNING id`, p.Key(), name)
		if err != nil {
			return err
		}
		for _, id := range uploads {
			if err := releaseContent(ctx, tx, p.Key(), id, lookAt); err != nil {
				return err
			}
		}
		err = changed(ctx, tx, `DELETE FROM bucket WHERE partition = $1 AND name = $2`, p.Key(), name)
		if isForeignKey(err) {
			return fescue.ErrInUse
		}
		return err
	})
	return aboutBucket("delete", name, err)
}

// Object reads an object. What is not found may be the bucket or the key.
func (s Buckets) Object(ctx context.Context, p fescue.Partition, bucket, key string) (buckets.Object, error) {
	list, err := all(ctx, s.db.read, scanObject, selectObject+`
		WHERE partition = $1 AND bucket = $2 AND object_key = $3`, p.Key(), bucket, key)
	if err == nil && len(list) == 0 {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return buckets.Object{}, aboutObject("read", bucket, key, err)
	}
	return list[0], nil
}

// Objects lists objects by key, from a key on, without the one called except.
func (s Buckets) Objects(ctx context.Context, p fescue.Partition, bucket, from, except string, limit int) ([]buckets.Object, error) {
	return all(ctx, s.db.read, scanObject, selectObject+`
		WHERE partition = $1 AND bucket = $2 AND object_key >= $3 AND object_key <> $4 ORDER BY object_key LIMIT $5`,
		p.Key(), bucket, from, except, limit)
}

// PutObject writes an object whose content is one blob that was put under
// HoldBlob, in the place of the one that is there, if the condition allows it. A
// bucket that is not there is fescue.ErrNotFound; a write that came in between,
// or a blob that was collected, fescue.ErrConflict.
func (s Buckets) PutObject(ctx context.Context, p fescue.Partition, bucket string, o buckets.Object, part buckets.ObjectPart, w buckets.ObjectWrite) error {
	err := s.db.update(ctx, func(tx transaction) error {
		if err := nameBlob(ctx, tx, part.Hash, w); err != nil {
			return err
		}
		if err := insertPart(ctx, tx, p, o.ContentID, part); err != nil {
			return err
		}
		return replaceObject(ctx, tx, p, bucket, o, w)
	})
	return aboutObject("put", bucket, o.Key, err)
}

// CopyObject writes an object with the pieces of the content called from; if
// they are gone it is fescue.ErrConflict.
func (s Buckets) CopyObject(ctx context.Context, p fescue.Partition, bucket string, o buckets.Object, from string, w buckets.ObjectWrite) error {
	err := s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			INSERT INTO bucket_part (partition, content, number, hash, size, etag, checksum_json, modified_at)
			SELECT partition, CAST($1 AS TEXT), number, hash, size, etag, checksum_json, CAST($2 AS BIGINT)
			FROM bucket_part WHERE partition = $3 AND content = $4`,
			o.ContentID, millis(o.ModifiedAt), p.Key(), from)
		if errors.Is(err, fescue.ErrNotFound) {
			return fescue.ErrConflict
		}
		if err != nil {
			return err
		}
		return replaceObject(ctx, tx, p, bucket, o, w)
	})
	return aboutObject("copy to", bucket, o.Key, err)
}

// replaceObject writes an object's row in the place of the one that is there and
// gives that one's content up.
func replaceObject(ctx context.Context, tx transaction, p fescue.Partition, bucket string, o buckets.Object, w buckets.ObjectWrite) error {
	if !w.OnlyNew {
		before, err := all(ctx, tx, column[string], `
			DELETE FROM bucket_object WHERE partition = $1 AND bucket = $2 AND object_key = $3 AND (etag = $4 OR $4 = '')
			RETURNING content`, p.Key(), bucket, o.Key, w.OnlyETag)
		if err != nil {
			return err
		}
		if w.OnlyETag != "" && len(before) == 0 {
			return fescue.ErrPrecondition
		}
		for _, content := range before {
			if err := releaseContent(ctx, tx, p.Key(), content, w.LookAt); err != nil {
				return err
			}
		}
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO bucket_object (partition, bucket, object_key, content, size, etag, part_count, checksum_json, settings_json, modified_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		p.Key(), bucket, o.Key, o.ContentID, o.Size, o.ETag, o.PartCount, toJSON(o.Checksum), toJSON(o.ObjectSettings), millis(o.ModifiedAt))
	switch {
	case isForeignKey(err):
		return fescue.ErrNotFound
	case isUnique(err) && w.OnlyNew:
		return fescue.ErrPrecondition
	case isUnique(err):
		return fescue.ErrConflict // another write came between
	}
	return err
}

// DeleteObject removes an object. One that is not there is fescue.ErrNotFound.
func (s Buckets) DeleteObject(ctx context.Context, p fescue.Partition, bucket, key string, lookAt time.Time) error {
	err := s.db.update(ctx, func(tx transaction) error {
		var content string
		if err := one(tx.QueryRowContext(ctx, `
			DELETE FROM bucket_object WHERE partition = $1 AND bucket = $2 AND object_key = $3 RETURNING content`,
			p.Key(), bucket, key), &content); err != nil {
			return err
		}
		return releaseContent(ctx, tx, p.Key(), content, lookAt)
	})
	return aboutObject("delete", bucket, key, err)
}

const selectObject = `
	SELECT object_key, content, size, etag, part_count, checksum_json, settings_json, modified_at FROM bucket_object`

func scanObject(rows *sql.Rows) (o buckets.Object, err error) {
	var checksum, settings string
	var modified int64
	if err := rows.Scan(&o.Key, &o.ContentID, &o.Size, &o.ETag, &o.PartCount, &checksum, &settings, &modified); err != nil {
		return o, err
	}
	o.ModifiedAt = fromMillis(modified)
	err = errors.Join(fromJSON(checksum, &o.Checksum), fromJSON(settings, &o.ObjectSettings))
	return o, err
}

func aboutBucket(doing, name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s bucket %s: %w", doing, name, err)
	}
	return nil
}

func aboutObject(doing, bucket, key string, err error) error {
	if err != nil {
		return fmt.Errorf("%s object %q of bucket %s: %w", doing, key, bucket, err)
	}
	return nil
}
