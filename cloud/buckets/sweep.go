package buckets

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/periodic"
)

const (
	// sweepEvery is how often garbage is looked for.
	sweepEvery = 10 * time.Minute
	// sweepBatch is how much is looked at in one read.
	sweepBatch = 500
	// UploadLife is how long an upload may be under way.
	UploadLife = 7 * 24 * time.Hour
	// doom is how long the removal of a blob may take; it is begun in the first
	// half. Until then nobody can put that blob, and no other server removes it.
	doom = 10 * time.Minute
)

// Run collects garbage until ctx ends. Any number of servers may do so.
func (s *Service) Run(ctx context.Context) {
	periodic.AtOnce(ctx, sweepEvery, func() {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.o.Logger.Warn("unused content of buckets was not all removed; tried again later", "error", err)
		}
	})
}

// Sweep ends uploads that are too old and removes blobs that no object names any
// more.
func (s *Service) Sweep(ctx context.Context) error {
	for {
		n, err := s.o.Store.AbortOldUploads(ctx, s.now().Add(-UploadLife), sweepBatch, s.now().Add(grace))
		if err != nil {
			return fmt.Errorf("end old uploads: %w", err)
		}
		if n < sweepBatch {
			break
		}
	}
	for {
		looks, err := s.o.Store.BlobsToLookAt(ctx, s.now(), sweepBatch)
		if err != nil {
			return fmt.Errorf("look for unused blobs: %w", err)
		}
		for _, b := range looks {
			if err := s.collect(ctx, b); err != nil {
				return err
			}
		}
		if len(looks) < sweepBatch {
			return nil
		}
	}
}

// collect removes a blob, if nothing names it.
func (s *Service) collect(ctx context.Context, b BlobLook) error {
	if b.Named {
		return s.o.Store.ForgetBlob(ctx, b)
	}
	until := s.now().Add(doom)
	err := s.o.Store.CondemnBlob(ctx, b, until)
	if errors.Is(err, fescue.ErrConflict) {
		return nil // it is wanted again, or another server removes it
	}
	if err != nil {
		return err
	}
	if s.now().Add(doom / 2).After(until) {
		return nil // this process stood still: another may be at it soon
	}
	limited, cancel := context.WithTimeout(ctx, doom/2-time.Minute)
	defer cancel()
	if err := s.o.Blobs.Delete(limited, b.Hash); err != nil {
		return err
	}
	b.DoomedUntil = until
	return s.o.Store.ForgetBlob(ctx, b)
}
