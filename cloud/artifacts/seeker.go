package artifacts

import (
	"context"
	"errors"
	"io"
)

// Opener is the part of a Store that reads.
type Opener interface {
	Open(ctx context.Context, hash string, offset int64) (io.ReadCloser, error)
}

// Seeker reads a blob as http.ServeContent wants it: seeking costs nothing, and
// the blob is opened where reading starts. It is not for concurrent use.
type Seeker struct {
	ctx    context.Context
	store  Opener
	hash   string
	size   int64
	offset int64
	open   io.ReadCloser // at offset; nil when it has to be opened
}

// NewSeeker reads the blob of a hash, size bytes long, for as long as ctx
// lasts. The caller closes it.
func NewSeeker(ctx context.Context, store Opener, hash string, size int64) *Seeker {
	return &Seeker{ctx: ctx, store: store, hash: hash, size: size}
}

// Seek implements io.Seeker.
func (s *Seeker) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += s.offset
	case io.SeekEnd:
		offset += s.size
	default:
		return 0, errors.New("seek in artifact: unknown whence")
	}
	if offset < 0 || offset > s.size {
		return 0, ErrOffset
	}
	if offset != s.offset {
		s.offset = offset
		return offset, s.Close()
	}
	return offset, nil
}

// Read implements io.Reader.
func (s *Seeker) Read(p []byte) (int, error) {
	if s.open == nil {
		open, err := s.store.Open(s.ctx, s.hash, s.offset)
		if err != nil {
			return 0, err
		}
		s.open = open
	}
	n, err := s.open.Read(p)
	s.offset += int64(n)
	return n, err
}

// Close implements io.Closer. A later Read opens the blob again.
func (s *Seeker) Close() error {
	if s.open == nil {
		return nil
	}
	err := s.open.Close()
	s.open = nil
	return err
}
