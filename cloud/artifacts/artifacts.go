// Package artifacts keeps blobs under the SHA-256 of their content: function
// code, and whatever else a deployment's manifest names by hash. It knows
// nothing of partitions, functions or deployments: who may read a blob is
// decided by the rows that name its hash, before this package is asked.
package artifacts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fescue-edge/fescue"
)

var (
	// ErrHash means that a hash is not a SHA-256 in lowercase hexadecimal.
	ErrHash = errors.New("not a SHA-256 in lowercase hexadecimal")
	// ErrContent means that what was read does not have the hash it was said to
	// have. Nothing is kept of it.
	ErrContent = errors.New("content does not match its hash")
	// ErrOffset means that an offset lies outside of the blob.
	ErrOffset = errors.New("offset outside of the blob")
)

// Info is what is known of a blob without reading it.
type Info struct {
	// Size is in bytes.
	Size int64
	// StoredAt is when the blob was last put, in UTC. A sweep of unnamed blobs
	// must leave young ones alone: a blob is put before the row that names it.
	StoredAt time.Time
}

// Store keeps blobs. Implementations pass artifactstest.TestStore. Every method
// answers ErrHash for a hash that is not one, so that a hash can be part of a
// path or a key without further care.
type Store interface {
	// Put reads r to its end and keeps it under hash, durably once Put returns
	// nil. Content of another hash is ErrContent. A blob that is there already
	// is written again in one step, which readers do not notice and which heals
	// a damaged one.
	Put(ctx context.Context, hash string, r io.Reader) error
	// Open reads a blob from an offset in bytes, which may be the blob's size
	// and not more (ErrOffset). An unknown hash is fescue.ErrNotFound. The
	// caller closes the reader, which ends with ctx.
	Open(ctx context.Context, hash string, offset int64) (io.ReadCloser, error)
	// Stat returns size and age. An unknown hash is fescue.ErrNotFound.
	Stat(ctx context.Context, hash string) (Info, error)
	// Delete forgets a blob. One that is not there is no error.
	Delete(ctx context.Context, hash string) error
}

func checkHash(hash string) error {
	if !fescue.ValidHash(hash) {
		return fmt.Errorf("artifact %.80q: %w", hash, ErrHash)
	}
	return nil
}
