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

// Blobs lie outside of the database, so that none can be written or removed in
// one step with its name. bucket_garbage bridges that: whoever is about to put a
// blob announces it (HoldBlob), and moves the announcement on in the transaction
// that names it (nameBlob). A blob is removed only after CondemnBlob, which fails
// when the announcement moved, and which nameBlob sees: by the mark while it is
// being removed, and by the announcement's id once it has been. What a crash
// leaves is looked at when its time has come.

// HoldBlob announces that a blob is going to be put and named before until, and
// returns the announcement's id, by which it is named. While somebody removes that
// very blob it is fescue.ErrConflict.
func (s Buckets) HoldBlob(ctx context.Context, hash string, until time.Time) (hold string, err error) {
	err = s.db.update(ctx, func(tx transaction) error {
		if err := lookAtBlob(ctx, tx, hash, until); err != nil {
			return err
		}
		err := one(tx.QueryRowContext(ctx, `SELECT hold FROM bucket_garbage WHERE hash = $1 AND doomed_until = 0`, hash), &hold)
		if errors.Is(err, fescue.ErrNotFound) {
			err = fescue.ErrConflict
		}
		return err
	})
	return hold, aboutBlob("hold", hash, err)
}

// lookAtBlob has a blob looked at from a time on, or later if it already was to
// be looked at later. What was seen of the blob before counts no more.
func lookAtBlob(ctx context.Context, tx transaction, hash string, at time.Time) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO bucket_garbage (hash, look_at, doomed_until, hold) VALUES ($1, $2, 0, $3)
		ON CONFLICT (hash) DO UPDATE SET look_at =
			CASE WHEN bucket_garbage.look_at < excluded.look_at THEN excluded.look_at ELSE bucket_garbage.look_at + 1 END`,
		hash, millis(at), fescue.NewID())
	return err
}

// nameBlob moves the announcement under which a blob was put on, and be it by a
// millisecond: who looked at the blob before may not condemn it any more. If that
// announcement is gone, and be there another of the same blob, or the blob is
// being removed, it has to be put again: fescue.ErrConflict.
func nameBlob(ctx context.Context, tx transaction, hash string, w buckets.ObjectWrite) error {
	err := changed(ctx, tx, `
		UPDATE bucket_garbage SET look_at = CASE WHEN look_at < $1 THEN $1 ELSE look_at + 1 END
		WHERE hash = $2 AND hold = $3 AND doomed_until = 0`, millis(w.HoldUntil), hash, w.Hold)
	if errors.Is(err, fescue.ErrNotFound) {
		return fescue.ErrConflict
	}
	return err
}

// releaseContent forgets the pieces of a content. Their blobs may be garbage now.
func releaseContent(ctx context.Context, tx transaction, partition, content string, lookAt time.Time) error {
	// In the order of hashes, so that two of these never wait for each other.
	hashes, err := all(ctx, tx, column[string], `
		SELECT DISTINCT hash FROM bucket_part WHERE partition = $1 AND content = $2 ORDER BY hash`, partition, content)
	if err != nil {
		return err
	}
	for _, hash := range hashes {
		if err := lookAtBlob(ctx, tx, hash, lookAt); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM bucket_part WHERE partition = $1 AND content = $2`, partition, content)
	return err
}

// insertPart writes a piece of a content.
func insertPart(ctx context.Context, tx transaction, p fescue.Partition, content string, part buckets.ObjectPart) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO bucket_part (partition, content, number, hash, size, etag, checksum_json, modified_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		p.Key(), content, part.Number, part.Hash, part.Size, part.ETag, toJSON(part.Checksum), millis(part.ModifiedAt))
	return err
}

// ObjectParts lists the pieces of a content by number, after a number. A content
// that is gone has none.
func (s Buckets) ObjectParts(ctx context.Context, p fescue.Partition, content string, after, limit int) ([]buckets.ObjectPart, error) {
	return objectParts(ctx, s.db.read, p, content, after, limit)
}

func objectParts(ctx context.Context, q querier, p fescue.Partition, content string, after, limit int) ([]buckets.ObjectPart, error) {
	return all(ctx, q, func(rows *sql.Rows) (part buckets.ObjectPart, err error) {
		var checksum string
		var modified int64
		if err := rows.Scan(&part.Number, &part.Hash, &part.Size, &part.ETag, &checksum, &modified); err != nil {
			return part, err
		}
		part.ModifiedAt = fromMillis(modified)
		err = fromJSON(checksum, &part.Checksum)
		return part, err
	}, `
		SELECT number, hash, size, etag, checksum_json, modified_at FROM bucket_part
		WHERE partition = $1 AND content = $2 AND number > $3 ORDER BY number LIMIT $4`, p.Key(), content, after, limit)
}

// BlobsToLookAt lists blobs that may be garbage and whose time has come, also
// those whose removal was begun and not finished.
func (s Buckets) BlobsToLookAt(ctx context.Context, now time.Time, limit int) ([]buckets.BlobLook, error) {
	return all(ctx, s.db.read, func(rows *sql.Rows) (b buckets.BlobLook, err error) {
		var at, doomed int64
		err = rows.Scan(&b.Hash, &at, &doomed, &b.Named)
		b.LookAt, b.DoomedUntil = fromMillis(at), fromMillis(doomed)
		return b, err
	}, `
		SELECT hash, look_at, doomed_until, EXISTS (SELECT 1 FROM bucket_part p WHERE p.hash = g.hash)
		FROM bucket_garbage g WHERE look_at <= $1 AND doomed_until <= $1 ORDER BY look_at LIMIT $2`, millis(now), limit)
}

// CondemnBlob says that the caller is going to remove a blob before until. If
// anything happened to the blob since it was looked at it is fescue.ErrConflict.
func (s Buckets) CondemnBlob(ctx context.Context, b buckets.BlobLook, until time.Time) error {
	err := s.db.update(ctx, func(tx transaction) error {
		err := changed(ctx, tx, `
			UPDATE bucket_garbage SET doomed_until = $1 WHERE hash = $2 AND look_at = $3 AND doomed_until = $4`,
			millis(until), b.Hash, millis(b.LookAt), millis(b.DoomedUntil))
		if errors.Is(err, fescue.ErrNotFound) {
			return fescue.ErrConflict
		}
		return err
	})
	return aboutBlob("condemn", b.Hash, err)
}

// ForgetBlob says that a blob as it was looked at, or as it was condemned since,
// needs no further look.
func (s Buckets) ForgetBlob(ctx context.Context, b buckets.BlobLook) error {
	return s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			DELETE FROM bucket_garbage WHERE hash = $1 AND look_at = $2 AND doomed_until = $3`,
			b.Hash, millis(b.LookAt), millis(b.DoomedUntil))
		return err
	})
}

func aboutBlob(doing, hash string, err error) error {
	if err != nil {
		return fmt.Errorf("%s blob %s: %w", doing, hash, err)
	}
	return nil
}
