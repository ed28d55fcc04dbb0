package models

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/cloud/buckets"
)

var (
	// errChanged means that an object was written while it was read.
	errChanged = errors.New("it was written meanwhile")
	// errStalled means that no byte came for too long.
	errStalled = errors.New("no more of it came")
)

// pauses are those between attempts to go on with a copy that broke off.
var pauses = backoff.Policy{First: 100 * time.Millisecond, Most: 10 * time.Second}

// fetch writes a content of size bytes to w. What breaks off goes on where it was; an
// error comes back when no byte has come for Stall, errChanged at once.
func (s *Service) fetch(ctx context.Context, from source, size int64, w io.Writer, copied func(int64)) error {
	out := &counting{w: w, copied: copied, last: time.Now()}
	for failures := 0; ; {
		before := out.n
		err := s.fetchFrom(ctx, from, size, out)
		var refusal *fescue.Refusal
		switch {
		case out.failed != nil:
			return out.failed
		case err == nil && out.n == size:
			return nil
		case err == nil:
			err = fmt.Errorf("%d of %d bytes came: %w", out.n, size, io.ErrUnexpectedEOF)
		case ctx.Err() != nil, errors.Is(err, errChanged), errors.As(err, &refusal):
			return err
		}
		if time.Since(out.last) > s.Stall {
			return fmt.Errorf("%w for %v, after %d of %d bytes: %w", errStalled, s.Stall, out.n, size, err)
		}
		if failures++; out.n > before {
			failures = 1
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pauses.Pause(failures)):
		}
	}
}

// fetchFrom reads what out has not got, until it ends or nothing comes for a fifth of
// Stall.
func (s *Service) fetchFrom(ctx context.Context, from source, size int64, out *counting) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out.pause = s.Stall / 5
	out.alarm = time.AfterFunc(out.pause, func() { cancel(errStalled) })
	defer out.alarm.Stop()
	_, r, err := s.Buckets.Read(ctx, from.partition, from.bucket, from.key, func(o buckets.Object) (buckets.Range, error) {
		if o.ContentID != from.content {
			return buckets.Range{}, errChanged
		}
		return buckets.Range{Offset: out.n, Length: size - out.n}, nil
	})
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(out, r)
	return err
}

// counting writes, and counts what was written.
type counting struct {
	w      io.Writer
	n      int64
	copied func(int64)
	// last is when something came; alarm goes off a pause later.
	last  time.Time
	alarm *time.Timer
	pause time.Duration
	// failed is why nothing can be written any more.
	failed error
}

// Write implements io.Writer.
func (c *counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.last, c.failed = time.Now(), err
	c.alarm.Reset(c.pause)
	c.copied(c.n)
	return n, err
}
