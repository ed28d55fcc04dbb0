package functions

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
)

// CodeFile is a file of a function's zip.
type CodeFile struct {
	// Name is its path, with slashes.
	Name string
	// Size is in bytes, unpacked.
	Size int64
}

// Files are the files of a version's code, in the order of the zip, and how many of
// them there are; the list has at most most.
func (s *Service) Files(ctx context.Context, p fescue.Partition, ref Reference, most int) (list []CodeFile, count int, err error) {
	err = s.unzip(ctx, p, ref, func(z *zip.Reader) error {
		for _, f := range z.File {
			if strings.HasSuffix(f.Name, "/") {
				continue // a folder
			}
			if count++; count <= most {
				list = append(list, CodeFile{f.Name, int64(f.UncompressedSize64)})
			}
		}
		return nil
	})
	return list, count, err
}

// File reads a file of a version's code, at most its first most bytes. One that the code
// has not is fescue.ErrNotFound.
func (s *Service) File(ctx context.Context, p fescue.Partition, ref Reference, name string, most int64) (found CodeFile, content []byte, err error) {
	err = s.unzip(ctx, p, ref, func(z *zip.Reader) error {
		for _, f := range z.File {
			if f.Name != name || strings.HasSuffix(f.Name, "/") {
				continue
			}
			r, err := f.Open()
			if err != nil {
				return err
			}
			defer r.Close()
			found = CodeFile{f.Name, int64(f.UncompressedSize64)}
			content, err = io.ReadAll(io.LimitReader(r, most))
			return err
		}
		return fescue.Refuse(fescue.ErrNotFound, "The code has no file '%.200s'.", name)
	})
	return found, content, err
}

// unzip opens the code that a reference means.
func (s *Service) unzip(ctx context.Context, p fescue.Partition, ref Reference, use func(*zip.Reader) error) error {
	v, err := s.Get(ctx, p, ref)
	if err != nil {
		return err
	}
	code := artifacts.NewSeeker(ctx, opener{s, p}, v.CodeHash, v.CodeSize)
	defer code.Close()
	z, err := zip.NewReader(seekingReader{code}, v.CodeSize)
	if err == nil || errors.Is(err, zip.ErrInsecurePath) {
		err = use(z)
	}
	if err != nil {
		return fmt.Errorf("code of function %s: %w", v.Name, err)
	}
	return nil
}

// opener opens the code of one partition.
type opener struct {
	service   *Service
	partition fescue.Partition
}

// Open implements artifacts.Opener.
func (o opener) Open(ctx context.Context, hash string, offset int64) (io.ReadCloser, error) {
	return o.service.OpenCode(ctx, o.partition, hash, offset)
}

// seekingReader reads anywhere by seeking there. It is not for concurrent use.
type seekingReader struct{ io.ReadSeeker }

// ReadAt implements io.ReaderAt.
func (r seekingReader) ReadAt(p []byte, at int64) (int, error) {
	if _, err := r.Seek(at, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
