package agent

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/fescue-edge/fescue/disk"
)

// Limits of a function's package. The first is AWS Lambda's own ("Lambda
// quotas": 250 MB unzipped).
const (
	MaxUnpackedBytes = 250 << 20
	MaxEntries       = 10000
	maxNameBytes     = 4096
)

// ErrArchive is wrapped by every refusal of a zip archive.
var ErrArchive = errors.New("the archive cannot be unpacked")

// Unpack lays a zip archive of size bytes out in the folder dir, which must not
// exist and is made. Files become 0644, or 0755 when the archive marks them
// executable; folders 0755. Everything is on the disk when it returns without
// error. Archives that reach outside of dir, name something twice, hold anything
// but files and folders, or grow beyond the limits are refused with ErrArchive;
// dir then holds a part and is the caller's to remove.
func Unpack(ctx context.Context, on disk.FS, archive io.ReaderAt, size int64, dir string) error {
	r, err := zip.NewReader(archive, size)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	entries, err := checkEntries(r.File)
	if err != nil {
		return err
	}
	if err := on.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := on.Chmod(dir, 0o755); err != nil {
		return err
	}
	left := int64(MaxUnpackedBytes)
	for _, e := range entries.list {
		if err := ctx.Err(); err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(e.name))
		if e.file == nil {
			err = makeUnpacked(on, target)
		} else {
			err = unpackFile(on, e, target, &left)
		}
		if err != nil {
			return err
		}
	}
	// Folders are synchronised last: their entries are complete now.
	for _, folder := range entries.folders() {
		if err := on.SyncDir(filepath.Join(dir, filepath.FromSlash(folder))); err != nil {
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

func unpackFile(on disk.FS, e entry, target string, left *int64) (err error) {
	in, err := e.file.Open()
	if err != nil {
		return fmt.Errorf("%w: %q: %w", ErrArchive, e.name, err)
	}
	defer in.Close()
	mode := fs.FileMode(0o644)
	if e.file.Mode()&0o111 != 0 {
		mode = 0o755
	}
	out, err := on.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	// What the archive says of its sizes is not believed: the bytes are counted.
	written := bufio.NewWriterSize(out, 64<<10)
	n, err := io.Copy(written, archiveReader{io.LimitReader(in, *left+1), e.name})
	if err != nil {
		return err
	}
	if *left -= n; *left < 0 {
		return fmt.Errorf("%w: it holds more than %d bytes unpacked", ErrArchive, MaxUnpackedBytes)
	}
	if err := written.Flush(); err != nil {
		return err
	}
	if err := on.Chmod(target, mode); err != nil {
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

// entry is one file, or one folder when file is nil.
type entry struct {
	name string
	file *zip.File
}

type entries struct {
	list  []entry
	known map[string]bool // name -> is a folder
}

// checkEntries looks at all names before anything is written.
func checkEntries(files []*zip.File) (entries, error) {
	all := entries{known: map[string]bool{}}
	if len(files) > MaxEntries {
		return all, fmt.Errorf("%w: %d entries, at most %d are accepted", ErrArchive, len(files), MaxEntries)
	}
	for _, f := range files {
		name, folder, err := checkName(f)
		if err != nil {
			return all, err
		}
		if name == "." {
			continue
		}
		if err := all.addParents(name); err != nil {
			return all, err
		}
		was, seen := all.known[name]
		switch {
		case seen && folder && was:
			continue // a folder that a file before it implied
		case seen:
			return all, fmt.Errorf("%w: it names %q twice", ErrArchive, name)
		}
		if err := all.add(name, folder, f); err != nil {
			return all, err
		}
	}
	return all, nil
}

// addParents adds the folders above name, which archives need not list.
func (e *entries) addParents(name string) error {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		folder, seen := e.known[name[:i]]
		if seen && !folder {
			return fmt.Errorf("%w: %q is a file and a folder", ErrArchive, name[:i])
		}
		if !seen {
			if err := e.add(name[:i], true, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// add bounds the folders too: a few long names can imply very many.
func (e *entries) add(name string, folder bool, f *zip.File) error {
	if len(e.list) >= 2*MaxEntries {
		return fmt.Errorf("%w: more than %d files and folders", ErrArchive, 2*MaxEntries)
	}
	if folder {
		f = nil
	}
	e.known[name] = folder
	e.list = append(e.list, entry{name, f})
	return nil
}

// folders lists the folders, the deepest first and the root (".") last.
func (e *entries) folders() []string {
	var list []string
	for i := len(e.list) - 1; i >= 0; i-- {
		if e.list[i].file == nil {
			list = append(list, e.list[i].name)
		}
	}
	return append(list, ".")
}

func checkName(f *zip.File) (name string, folder bool, err error) {
	refuse := func(why string) (string, bool, error) {
		return "", false, fmt.Errorf("%w: entry %q %s", ErrArchive, cut(f.Name, 200), why)
	}
	switch {
	case f.Name == "" || len(f.Name) > maxNameBytes:
		return refuse("has a name of a length that is not accepted")
	case strings.ContainsAny(f.Name, "\x00\\"):
		return refuse("has a zero byte or a backslash in its name; make the archive with forward slashes")
	case strings.HasPrefix(f.Name, "/"):
		return refuse("has an absolute name")
	}
	for _, part := range strings.Split(f.Name, "/") {
		if part == ".." {
			return refuse("reaches outside of the archive")
		}
		if len(part) > 255 {
			return refuse("has a part longer than 255 bytes in its name")
		}
	}
	switch f.Mode().Type() {
	case 0:
	case fs.ModeDir:
		folder = true
	case fs.ModeSymlink:
		return refuse("is a symbolic link; put the file itself into the archive")
	default:
		return refuse("is neither a file nor a folder")
	}
	if f.Flags&1 != 0 {
		return refuse("is encrypted")
	}
	return path.Clean(f.Name), folder || strings.HasSuffix(f.Name, "/"), nil
}
