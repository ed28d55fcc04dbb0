package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/fescue-edge/fescue/cloud/artifacts"
)

const (
	// maxBreaks is how often a download may break off in a row without bringing a
	// byte.
	maxBreaks = 4
	// breakPause is the wait after a download broke off, times how often it did.
	breakPause = 100 * time.Millisecond
	// stall is how long a download may bring nothing.
	stall = time.Minute
)

// Open implements artifacts.Store. A download that breaks off goes on where it
// was.
func (s *Store) Open(ctx context.Context, hash string, offset int64) (io.ReadCloser, error) {
	if _, err := s.key(hash); err != nil {
		return nil, err
	}
	d := &download{ctx: ctx, store: s, hash: hash, offset: offset, size: -1}
	if err := d.open(); err != nil {
		return nil, err
	}
	return d, nil
}

// download reads an artifact from an offset on.
type download struct {
	ctx          context.Context
	store        *Store
	hash         string
	offset, size int64 // size is -1 before it is known

	body   io.ReadCloser // nil when it has to be opened
	cancel context.CancelFunc
	watch  *time.Timer
	breaks int
}

// open asks for what is left.
func (d *download) open() error {
	if d.offset < 0 {
		return d.store.about("open", d.hash, artifacts.ErrOffset)
	}
	key, err := d.store.key(d.hash)
	if err != nil {
		return err
	}
	in := &s3.GetObjectInput{Bucket: &d.store.bucket, Key: key}
	if d.offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", d.offset))
	}
	ctx, cancel := context.WithCancel(d.ctx)
	out, err := d.store.client.GetObject(ctx, in)
	if code(err) == "InvalidRange" {
		cancel()
		return d.atEnd()
	}
	if err != nil {
		cancel()
		return d.store.about("open", d.hash, err)
	}
	d.size = d.offset + aws.ToInt64(out.ContentLength)
	d.body, d.cancel, d.watch = out.Body, cancel, time.AfterFunc(stall, cancel)
	return nil
}

// atEnd finds out whether an offset without anything behind it is the size, as it
// may be.
func (d *download) atEnd() error {
	info, err := d.store.Stat(d.ctx, d.hash)
	if err != nil {
		return err
	}
	if d.offset != info.Size {
		return d.store.about("open", d.hash, artifacts.ErrOffset)
	}
	d.size = info.Size
	return nil
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for d.offset < d.size {
		err := d.reopen()
		if err == nil {
			var n int
			n, err = d.body.Read(p)
			d.watch.Reset(stall)
			if n > 0 {
				d.offset += int64(n)
				d.breaks = 0
				if err != nil {
					d.Close() // goes on with the next read
				}
				return n, nil
			}
		}
		d.Close()
		if err := d.broken(err); err != nil {
			return 0, err
		}
	}
	return 0, io.EOF
}

func (d *download) reopen() error {
	if d.body != nil {
		return nil
	}
	return d.open()
}

// broken waits before the next attempt, or gives up.
func (d *download) broken(err error) error {
	if d.ctx.Err() != nil {
		return d.ctx.Err()
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if d.breaks++; d.breaks >= maxBreaks {
		return d.store.about("read", d.hash, fmt.Errorf("broke off at byte %d of %d, %d times: %w", d.offset, d.size, d.breaks, err))
	}
	select {
	case <-d.ctx.Done():
		return d.ctx.Err()
	case <-time.After(time.Duration(d.breaks) * breakPause):
		return nil
	}
}

// Close implements io.Closer.
func (d *download) Close() error {
	if d.body == nil {
		return nil
	}
	d.watch.Stop()
	d.cancel()
	err := d.body.Close()
	d.body = nil
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
