package functions

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// Limits of a function's zip.
const (
	// MaxArchive is how large a zip may be, in bytes, when it comes with the
	// request (AWS Lambda quotas: 50 MB).
	MaxArchive = 50 << 20
	// maxDirectory bounds what is read while a zip is opened, in bytes. Its
	// directory becomes memory before anything in it can be checked;
	// bundle.MaxEntries with long names fit.
	maxDirectory = 4 << 20
)

// Archive is a function's zip as it was sent.
type Archive struct {
	io.ReaderAt
	// Size is in bytes.
	Size int64
	// Stored says that it comes from a bucket, where zips may be as large as what
	// they hold.
	Stored bool
}

// limit is how large the zip may be, in bytes.
func (a *Archive) limit() int64 {
	if a.Stored {
		return bundle.MaxUnpacked
	}
	return MaxArchive
}

func (a *Archive) reader() *io.SectionReader { return io.NewSectionReader(a, 0, a.Size) }

// keep checks the zip, puts it with the code, and returns the hash it is under.
func (s *Service) keep(ctx context.Context, a *Archive) (hash string, err error) {
	if err := CheckArchive(ctx, a); err != nil {
		return "", err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, a.reader()); err != nil {
		return "", fmt.Errorf("hash function code: %w", err)
	}
	hash = hex.EncodeToString(sum.Sum(nil))
	if err := s.code.Put(ctx, hash, a.reader()); err != nil {
		return "", fmt.Errorf("keep function code: %w", err)
	}
	return hash, nil
}

// CheckArchive refuses what a core could not unpack safely. All of it is
// inflated once, so that a damaged zip is found here and not on a gateway; the
// declared sizes, which bound the work, are held against what comes out.
func CheckArchive(ctx context.Context, a *Archive) error {
	if limit := a.limit(); a.Size > limit {
		return fescue.Refuse(ErrTooLarge, "The zip of %d bytes is larger than the %d bytes that Lambda takes.", a.Size, limit)
	}
	source := &budgetReader{r: a, left: maxDirectory}
	z, err := zip.NewReader(source, a.Size)
	switch {
	case source.failed != nil:
		return fmt.Errorf("read function code: %w", source.failed)
	case source.spent:
		return fescue.Refuse(ErrInvalid, "The zip's directory is larger than %d bytes.", maxDirectory)
	case err != nil:
		return fescue.Refuse(ErrInvalid, "Could not unzip uploaded file. Please check your file, then try to upload again.")
	}
	source.left = -1 // what follows is bounded by bundle.MaxUnpacked
	switch entries, err := bundle.Entries(z.File); {
	case source.failed != nil:
		return fmt.Errorf("read function code: %w", source.failed)
	case err != nil:
		return fescue.Refuse(ErrInvalid, "The zip's %v.", err)
	case len(entries) == 0:
		return fescue.Refuse(ErrInvalid, "Uploaded file must be a non-empty zip")
	}
	for _, f := range z.File {
		if err := inflate(ctx, f); err != nil {
			if source.failed != nil {
				return fmt.Errorf("read function code: %w", source.failed)
			}
			return err
		}
	}
	return nil
}

// inflate reads an entry through; archive/zip compares size and checksum.
func inflate(ctx context.Context, f *zip.File) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	damaged := func() error {
		return fescue.Refuse(ErrInvalid, "Could not unzip uploaded file: its entry %.300q is damaged. Please check your file, then try to upload again.", f.Name)
	}
	r, err := f.Open()
	if err != nil {
		return damaged()
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(r, int64(f.UncompressedSize64)+1))
	if err != nil || uint64(n) != f.UncompressedSize64 {
		return damaged()
	}
	return nil
}

// budgetReader stops after so many bytes; a negative budget has no end. It
// keeps apart a zip that is damaged from a disk that is.
type budgetReader struct {
	r      io.ReaderAt
	left   int
	spent  bool
	failed error
}

var errBudget = errors.New("read more than allowed")

func (b *budgetReader) ReadAt(p []byte, off int64) (int, error) {
	if b.left >= 0 {
		if b.left -= len(p); b.left < 0 {
			b.left, b.spent = 0, true
			return 0, errBudget
		}
	}
	n, err := b.r.ReadAt(p, off)
	if err != nil && err != io.EOF {
		b.failed = err
	}
	return n, err
}
