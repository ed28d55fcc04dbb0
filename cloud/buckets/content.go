package buckets

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/disk"
)

// measure reads a content through once and returns its size, hash, ETag and its
// checksum by the algorithm keep; what the caller said of it must be so.
func measure(ctx context.Context, content io.ReadSeeker, wantMD5 []byte, want Checksum, keep string) (part ObjectPart, err error) {
	sums := checksums{}
	for _, algorithm := range []string{keep, want.Algorithm} {
		if err := sums.add(algorithm); err != nil {
			return part, err
		}
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return part, err
	}
	tag, hash := md5.New(), sha256.New()
	size, err := sums.read(disk.Reader(ctx, io.LimitReader(content, MaxPut+1)), tag, hash)
	if err != nil {
		return part, err
	}
	if size > MaxPut {
		return part, fescue.Refuse(ErrTooLarge, "Your proposed upload exceeds the maximum allowed size: %d bytes.", int64(MaxPut))
	}
	if wantMD5 != nil && !bytes.Equal(tag.Sum(nil), wantMD5) {
		return part, fescue.Refuse(ErrDigest, "The Content-MD5 you specified did not match what we received.")
	}
	if got := sums.value(want.Algorithm); want.Value != "" && got != want.Value {
		return part, differs(want, got)
	}
	return ObjectPart{
		Hash: hex.EncodeToString(hash.Sum(nil)), Size: size, ETag: hex.EncodeToString(tag.Sum(nil)),
		Checksum: Checksum{Algorithm: keep, Value: sums.value(keep)},
	}, nil
}

// differs is the refusal of content that has another checksum than was said.
func differs(want Checksum, got string) error {
	return fescue.Refuse(ErrDigest, "The %s you specified did not match the calculated checksum: %.100q instead of %q.", want.Algorithm, want.Value, got)
}

// open reads a range of an object's content. The first blob is opened at once, so
// that one that is gone is reported in time. When the object was replaced since it
// was found the error is fescue.ErrConflict.
func (s *Service) open(ctx context.Context, p fescue.Partition, o Object, want Range) (io.ReadCloser, error) {
	parts, err := s.o.Store.ObjectParts(ctx, p, o.ContentID, 0, MaxObjectParts)
	if err != nil {
		return nil, err
	}
	var size int64
	r := &reader{ctx: ctx, blobs: s.o.Blobs}
	for _, part := range parts {
		from, to := max(want.Offset-size, 0), min(want.Offset+want.Length-size, part.Size)
		if from < to {
			r.pieces = append(r.pieces, piece{part.Hash, from, to - from})
		}
		size += part.Size
	}
	if size != o.Size || len(parts) == 0 {
		return nil, fmt.Errorf("content %s: %w", o.ContentID, fescue.ErrConflict)
	}
	if len(r.pieces) > 0 {
		if err := r.next(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// piece is a part of a blob.
type piece struct {
	hash         string
	offset, size int64
}

// reader reads pieces one after the other.
type reader struct {
	ctx    context.Context
	blobs  Blobs
	pieces []piece // not opened yet
	open   io.ReadCloser
	left   int64 // of what is open
}

func (r *reader) next() error {
	first := r.pieces[0]
	open, err := r.blobs.Open(r.ctx, first.hash, first.offset)
	if errors.Is(err, fescue.ErrNotFound) {
		// Not what a caller asked for: the server has lost it.
		return fmt.Errorf("blob %s of an object is not in the artifact store", first.hash)
	}
	if err != nil {
		return err
	}
	r.pieces, r.open, r.left = r.pieces[1:], open, first.size
	return nil
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	for r.left == 0 {
		if err := r.Close(); err != nil {
			return 0, err
		}
		if len(r.pieces) == 0 {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n, err := r.open.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err == io.EOF {
		if err = nil; r.left > 0 {
			err = fmt.Errorf("blob of an object is %d bytes too short: %w", r.left, io.ErrUnexpectedEOF)
		}
	}
	return n, err
}

// Close implements io.Closer.
func (r *reader) Close() error {
	if r.open == nil {
		return nil
	}
	err := r.open.Close()
	r.open = nil
	return err
}

// Check compares a content with what its sender said of it.
func Check(ctx context.Context, content io.ReadSeeker, wantMD5 []byte, want Checksum) error {
	_, err := measure(ctx, content, wantMD5, want, "")
	return err
}

// PartRange is where the part of a number lies in an object. An object that was
// put at once has part 1.
func (s *Service) PartRange(ctx context.Context, p fescue.Partition, o Object, number int) (want Range, err error) {
	parts, err := s.o.Store.ObjectParts(ctx, p, o.ContentID, 0, MaxObjectParts)
	if err != nil {
		return want, err
	}
	// Parts are counted as they follow each other: the numbers of an upload may
	// have gaps, those of an object have none.
	if number > len(parts) {
		return want, fescue.Refuse(ErrRange, "The requested partnumber is not satisfiable.")
	}
	for _, part := range parts[:number-1] {
		want.Offset += part.Size
	}
	want.Length = parts[number-1].Size
	return want, nil
}
