package depot

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/disk"
)

// ErrArchive is wrapped by every refusal of a zip archive.
var ErrArchive = errors.New("the archive cannot be unpacked")

// Unpack lays a zip archive of size bytes out in the folder dir, which must not
// exist and is made. Files become 0644, or 0755 when the archive marks them
// executable; folders 0755. Everything is on the disk when it returns without
// error. Archives that bundle.Entries refuses, or that grow beyond its limits, are
// refused with ErrArchive; dir then holds a part and is the caller's to remove.
func Unpack(ctx context.Context, on disk.FS, archive io.ReaderAt, size int64, dir string) error {
	r, err := zip.NewReader(archive, size)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	entries, err := bundle.Entries(r.File)
	if err != nil {
		return fmt.Errorf("%w: its %w", ErrArchive, err)
	}
	if err := makeUnpacked(on, dir); err != nil {
		return err
	}
	folders := []string{dir}
	left := int64(bundle.MaxUnpacked)
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(e.Name))
		switch {
		case e.Mode.IsDir():
			folders = append(folders, target)
			err = makeUnpacked(on, target)
		case e.Target != "":
			err = on.Symlink(e.Target, target)
		default:
			err = unpackFile(on, e, target, &left)
		}
		if err != nil {
			return err
		}
	}
	// Folders are synchronised last, the deepest first: their entries are complete
	// now.
	for _, folder := range slices.Backward(folders) {
		if err := on.SyncDir(folder); err != nil {
			return err
		}
	}
	return nil
}

func makeUnpacked(on disk.FS, name string) error {
	if err := on.MkdirAll(name, 0o755); err != nil {
		return err
	}
	return on.Chmod(name, 0o755)
}

func unpackFile(on disk.FS, e bundle.Entry, target string, left *int64) (err error) {
	in, err := e.File.Open()
	if err != nil {
		return fmt.Errorf("%w: %q: %w", ErrArchive, e.Name, err)
	}
	defer in.Close()
	out, err := on.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, e.Mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	// What the archive says of its sizes is not believed: the bytes are counted.
	written := bufio.NewWriterSize(out, 64<<10)
	n, err := io.Copy(written, archiveReader{io.LimitReader(in, *left+1), e.Name})
	if err != nil {
		return err
	}
	if *left -= n; *left < 0 {
		return fmt.Errorf("%w: it holds more than %d bytes unpacked", ErrArchive, bundle.MaxUnpacked)
	}
	if err := written.Flush(); err != nil {
		return err
	}
	if err := on.Chmod(target, e.Mode); err != nil {
		return err
	}
	return out.Sync()
}

// archiveReader marks the errors of reading, so that they are told apart from
// those of writing.
type archiveReader struct {
	io.Reader
	name string
}

func (r archiveReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %q: %w", ErrArchive, r.name, err)
	}
	return n, err
}
