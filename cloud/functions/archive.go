package functions

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
)

// Limits of a function's zip.
const (
	// MaxArchive is how large a zip may be, in bytes, when it comes with the
	// request (AWS Lambda quotas: 50 MB).
	MaxArchive = 50 << 20
	// MaxUnpacked is how much a zip may hold, in bytes (AWS Lambda quotas:
	// 250 MB).
	MaxUnpacked = 250 << 20
	// MaxEntries is how many files and folders a zip may hold; a core has to
	// make them all.
	MaxEntries = 10_000

	// maxDirectory bounds what is read while a zip is opened, in bytes. Its
	// directory becomes memory before anything in it can be checked; 10,000
	// entries with long names fit.
	maxDirectory = 4 << 20
	// maxName and maxSegment are what Linux takes as path and as file name.
	maxName    = 2048
	maxSegment = 255
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
		return MaxUnpacked
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
	source.left = -1 // what follows is bounded by MaxUnpacked
	if len(z.File) == 0 {
		return fescue.Refuse(ErrInvalid, "Uploaded file must be a non-empty zip")
	}
	if len(z.File) > MaxEntries {
		return fescue.Refuse(ErrInvalid, "The zip has %d entries; at most %d can be deployed.", len(z.File), MaxEntries)
	}
	if err := checkEntries(z.File); err != nil {
		return err
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

func checkEntries(files []*zip.File) error {
	folders, names := make(map[string]bool), make(map[string]bool, len(files))
	var total uint64
	for _, f := range files {
		if why := unsafeEntry(f); why != "" {
			return fescue.Refuse(ErrInvalid, "The zip's entry %.300q %s.", f.Name, why)
		}
		if f.UncompressedSize64 > MaxUnpacked || total+f.UncompressedSize64 > MaxUnpacked {
			return fescue.Refuse(ErrInvalid, "Unzipped size must be smaller than %d bytes; the zip exceeds it with its entry %.300q.", MaxUnpacked, f.Name)
		}
		total += f.UncompressedSize64
		name := cleanName(f.Name)
		if f.Mode().IsDir() {
			folders[name] = true // some tools repeat folders, which is harmless
			continue
		}
		if names[name] {
			return fescue.Refuse(ErrInvalid, "The zip has the entry %.300q more than once.", f.Name)
		}
		names[name] = true
	}
	for _, f := range files {
		for dir := path.Dir(cleanName(f.Name)); dir != "."; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	for _, f := range files {
		if name := cleanName(f.Name); !f.Mode().IsDir() && folders[name] {
			return fescue.Refuse(ErrInvalid, "The zip's entry %.300q is a file and a folder at once.", f.Name)
		}
	}
	return nil
}

// cleanName is an entry's name as a core's file system will have it. Zips made
// on Windows may separate by backslashes.
func cleanName(name string) string { return path.Clean(strings.ReplaceAll(name, `\`, "/")) }

// unsafeEntry says what is wrong with an entry, or nothing.
func unsafeEntry(f *zip.File) string {
	name := strings.ReplaceAll(f.Name, `\`, "/")
	switch {
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "has a name with control characters or that is not UTF-8"
	case strings.HasPrefix(name, "/") || (len(name) > 1 && name[1] == ':'):
		return "has an absolute path"
	case len(name) > maxName:
		return fmt.Sprintf("has a path of more than %d bytes", maxName)
	case f.Flags&1 != 0:
		return "is encrypted"
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment == ".." {
			return "leads out of its folder by .."
		}
		if len(segment) > maxSegment {
			return fmt.Sprintf("has a file name of more than %d bytes", maxSegment)
		}
	}
	if cleanName(name) == "." {
		return "has no name"
	}
	switch mode := f.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return "is a symbolic link; replace it by the file itself"
	case !mode.IsRegular() && !mode.IsDir():
		return "is neither a file nor a folder"
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return "is compressed by a method other than store and deflate"
	}
	return ""
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
