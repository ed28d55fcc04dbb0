package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/buckets"
)

// CreateUpload writes a multipart upload without parts. A bucket that is not
// there is fescue.ErrNotFound.
func (s Buckets) CreateUpload(ctx context.Context, p fescue.Partition, bucket string, u buckets.ObjectUpload) error {
	err := s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO bucket_upload (partition, bucket, id, object_key, checksum_json, settings_json, changes, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, 0, $7)`,
			p.Key(), bucket, u.ID, u.Key, toJSON(u.Checksum), toJSON(u.ObjectSettings), millis(u.CreatedAt))
		if isForeignKey(err) {
			return fescue.ErrNotFound
		}
		return err
	})
	return aboutObject("begin upload of", bucket, u.Key, err)
}

const selectUpload = `SELECT id, object_key, checksum_json, settings_json, created_at FROM bucket_upload`

func scanUpload(rows *sql.Rows) (u buckets.ObjectUpload, err error) {
	var checksum, settings string
	var created int64
	if err := rows.Scan(&u.ID, &u.Key, &checksum, &settings, &created); err != nil {
		return u, err
	}
	u.CreatedAt = fromMillis(created)
	err = errors.Join(fromJSON(checksum, &u.Checksum), fromJSON(settings, &u.ObjectSettings))
	return u, err
}

// Upload reads a multipart upload that is under way.
func (s Buckets) Upload(ctx context.Context, p fescue.Partition, bucket, id string) (buckets.ObjectUpload, error) {
	list, err := all(ctx, s.db.read, scanUpload, selectUpload+`
		WHERE partition = $1 AND bucket = $2 AND id = $3`, p.Key(), bucket, id)
	if err == nil && len(list) == 0 {
		err = fescue.ErrNotFound
	}
	if err != nil {
		return buckets.ObjectUpload{}, aboutBucket("read an upload of", bucket, err)
	}
	return list[0], nil
}

// Uploads lists the uploads of a bucket by key and id, after both, from the key
// called from on.
func (s Buckets) Uploads(ctx context.Context, p fescue.Partition, bucket, from, afterKey, afterID string, limit int) ([]buckets.ObjectUpload, error) {
	return all(ctx, s.db.read, scanUpload, selectUpload+`
		WHERE partition = $1 AND bucket = $2 AND object_key >= $3 AND (object_key > $4 OR (object_key = $4 AND id > $5))
		ORDER BY object_key, id LIMIT $6`, p.Key(), bucket, from, afterKey, afterID, limit)
}

// PutPart writes a part whose blob was put under HoldBlob, in the place of the one
// of its number. An upload that is not under way is fescue.ErrNotFound.
func (s Buckets) PutPart(ctx context.Context, p fescue.Partition, bucket, id string, part buckets.ObjectPart, w buckets.ObjectWrite) error {
	err := s.db.update(ctx, func(tx transaction) error {
		if err := changed(ctx, tx, `
			UPDATE bucket_upload SET changes = changes + 1 WHERE partition = $1 AND bucket = $2 AND id = $3`,
			p.Key(), bucket, id); err != nil {
			return err
		}
		if err := nameBlob(ctx, tx, part.Hash, w); err != nil {
			return err
		}
		if err := releasePart(ctx, tx, p, id, part.Number, w.LookAt); err != nil {
			return err
		}
		return insertPart(ctx, tx, p, id, part)
	})
	return aboutBucket("put a part into", bucket, err)
}

// releasePart forgets one piece of a content, if it is there.
func releasePart(ctx context.Context, tx transaction, p fescue.Partition, content string, number int, lookAt time.Time) error {
	hashes, err := all(ctx, tx, column[string], `
		DELETE FROM bucket_part WHERE partition = $1 AND content = $2 AND number = $3 RETURNING hash`, p.Key(), content, number)
	if err != nil {
		return err
	}
	for _, hash := range hashes {
		if err := lookAtBlob(ctx, tx, hash, lookAt); err != nil {
			return err
		}
	}
	return nil
}

// CompleteUpload makes the object o of an upload, whose id is the object's
// ContentID, from some of its parts. If these are not what the upload has any
// more it is fescue.ErrConflict; if the upload is not under way,
// fescue.ErrNotFound.
func (s Buckets) CompleteUpload(ctx context.Context, p fescue.Partition, bucket string, o buckets.Object, chosen []buckets.ObjectPart, w buckets.ObjectWrite) error {
	err := s.db.update(ctx, func(tx transaction) error {
		// First the upload's row, for which PutPart waits.
		if err := changed(ctx, tx, `
			DELETE FROM bucket_upload WHERE partition = $1 AND bucket = $2 AND id = $3`, p.Key(), bucket, o.ContentID); err != nil {
			return err
		}
		present, err := objectParts(ctx, tx, p, o.ContentID, 0, buckets.MaxObjectParts)
		if err != nil {
			return err
		}
		missing := chosen
		for _, part := range present {
			if len(missing) > 0 && missing[0].Number == part.Number {
				if missing[0].Hash != part.Hash {
					return fescue.ErrConflict
				}
				missing = missing[1:]
				continue
			}
			if err := releasePart(ctx, tx, p, o.ContentID, part.Number, w.LookAt); err != nil {
				return err
			}
		}
		if len(missing) > 0 {
			return fescue.ErrConflict
		}
		return replaceObject(ctx, tx, p, bucket, o, w)
	})
	return aboutObject("complete upload of", bucket, o.Key, err)
}

// AbortUpload forgets an upload and its parts. One that is not under way is
// fescue.ErrNotFound.
func (s Buckets) AbortUpload(ctx context.Context, p fescue.Partition, bucket, id string, lookAt time.Time) error {
	err := s.db.update(ctx, func(tx transaction) error {
		if err := changed(ctx, tx, `
			DELETE FROM bucket_upload WHERE partition = $1 AND bucket = $2 AND id = $3`, p.Key(), bucket, id); err != nil {
			return err
		}
		return releaseContent(ctx, tx, p.Key(), id, lookAt)
	})
	return aboutBucket("abort an upload of", bucket, err)
}

// AbortOldUploads forgets some of the uploads of all partitions that began before
// a time, and says how many.
func (s Buckets) AbortOldUploads(ctx context.Context, before time.Time, limit int, lookAt time.Time) (n int, err error) {
	type upload struct{ partition, id string }
	err = s.db.update(ctx, func(tx transaction) error {
		old, err := all(ctx, tx, columns(func(u *upload) []any { return []any{&u.partition, &u.id} }), `
			DELETE FROM bucket_upload WHERE (partition, bucket, id) IN (
				SELECT partition, bucket, id FROM bucket_upload WHERE created_at < $1 ORDER BY created_at LIMIT $2)
			RETURNING partition, id`, millis(before), limit)
		if err != nil {
			return err
		}
		for _, u := range old {
			if err := releaseContent(ctx, tx, u.partition, u.id, lookAt); err != nil {
				return err
			}
		}
		n = len(old)
		return nil
	})
	return n, err
}
