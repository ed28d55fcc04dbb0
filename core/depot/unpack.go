package depot

import (
	"archive/zip"
	"bufio"
	"compress/gzip"
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

// Unpack lays an archive of size bytes out in the folder dir, which must not exist and
// is made: a zip archive, or by the rules of bundle.WalkTar one of tar. Files become 0644,
// or 0755 when the archive marks them executable; folders 0755. Everything is on the disk
// when it returns without error. Archives that bundle.Entries or bundle.WalkTar refuses, or
// that grow beyond most bytes, are refused with ErrArchive; dir then holds a part and is the
// caller's to remove.
func Unpack(ctx context.Context, on disk.FS, archive io.ReaderAt, size int64, dir string, packing bundle.Packing, most int64) error {
	if err := makeUnpacked(on, dir); err != nil {
		return err
	}
	u := &unpacking{ctx: ctx, on: on, dir: dir, left: most, most: most, folders: []string{dir}}
	read := u.zip
	if packing == bundle.TarGz {
		read = u.tar
	}
	if err := read(archive, size); err != nil {
		return err
	}
	// Folders are synchronised last, the deepest first: their entries are complete
	// now.
	for _, folder := range slices.Backward(u.folders) {
		if err := on.SyncDir(folder); err != nil {
			return err
		}
	}
	return nil
}

// unpacking is an archive that is being laid out.
type unpacking struct {
	ctx     context.Context
	on      disk.FS
	dir     string
	folders []string
	// left is how many bytes it may still hold, of most.
	left, most int64
}

func (u *unpacking) zip(archive io.ReaderAt, size int64) error {
	r, err := zip.NewReader(archive, size)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	entries, err := bundle.EntriesWithin(r.File, uint64(u.most))
	if err != nil {
		return fmt.Errorf("%w: its %w", ErrArchive, err)
	}
	for _, e := range entries {
		var content io.ReadCloser
		if e.File != nil {
			if content, err = e.File.Open(); err != nil {
				return fmt.Errorf("%w: %q: %w", ErrArchive, e.Name, err)
			}
		}
		err := u.make(e, content)
		if content != nil {
			content.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacking) tar(archive io.ReaderAt, size int64) error {
	packed, err := gzip.NewReader(io.NewSectionReader(archive, 0, size))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	var failed error
	err = bundle.WalkTar(packed, u.most, func(e bundle.Entry, content io.Reader) error {
		failed = u.make(e, content)
		return failed
	})
	if err != nil && failed == nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	return err
}

// make makes one entry.
func (u *unpacking) make(e bundle.Entry, content io.Reader) error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	target := filepath.Join(u.dir, filepath.FromSlash(e.Name))
	switch {
	case e.Mode.IsDir():
		u.folders = append(u.folders, target)
		return makeUnpacked(u.on, target)
	case e.Target != "":
		if err := disk.RemoveIfThere(u.on, target); err != nil {
			return err
		}
		return u.on.Symlink(e.Target, target)
	}
	return u.file(e, target, content)
}

func makeUnpacked(on disk.FS, name string) error {
	if err := on.MkdirAll(name, 0o755); err != nil {
		return err
	}
	return on.Chmod(name, 0o755)
}

func (u *unpacking) file(e bundle.Entry, target string, in io.Reader) (err error) {
	out, err := u.on.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, e.Mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	// What the archive says of its sizes is not believed: the bytes are counted.
	written := bufio.NewWriterSize(out, 64<<10)
	n, err := io.Copy(written, archiveReader{io.LimitReader(in, u.left+1), e.Name})
	if err != nil {
		return err
	}
	if u.left -= n; u.left < 0 {
		return fmt.Errorf("%w: it holds more than %d bytes unpacked", ErrArchive, u.most)
	}
	if err := written.Flush(); err != nil {
		return err
	}
	if err := u.on.Chmod(target, e.Mode); err != nil {
		return err
	}
	return out.Sync()
}

// archiveReader marks the errors of reading, so that they are distinguished from
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
