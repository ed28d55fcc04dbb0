package artifacts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/disk"
)

// Folder keeps blobs as files, each named by its hash, in 256 folders by the
// hash's first two digits. A file has its name only once it is complete and
// flushed: power may fail at any instant.
type Folder struct {
	dir   string
	files disk.FS
	// now dates temporary files.
	now func() time.Time
	// shelves are those of the 256 folders whose own names were flushed. They are never removed.
	shelves sync.Map
}

var _ Store = (*Folder)(nil)

const (
	folderMode  = 0o700
	tempFolder  = "tmp"
	tempPattern = "put-*"
	// tempLife is how long an upload may take before its temporary file counts
	// as left behind by a crash. Another server process may be writing into the
	// same folder while this one starts.
	tempLife = 24 * time.Hour
)

// OpenFolder opens a folder of blobs, makes it if it is absent, and removes
// what interrupted uploads left there.
func OpenFolder(dir string) (*Folder, error) { return OpenFolderOn(disk.Local{}, dir, time.Now) }

// OpenFolderOn is OpenFolder on another file system, with another clock.
func OpenFolderOn(files disk.FS, dir string, now func() time.Time) (*Folder, error) {
	f := &Folder{dir: dir, files: files, now: now}
	if err := files.MkdirAll(filepath.Join(dir, tempFolder), folderMode); err != nil {
		return nil, fmt.Errorf("open artifact folder %s: %w", dir, err)
	}
	// Each blob's last step flushes the names in dir, but not dir's own.
	if err := files.SyncDir(filepath.Dir(filepath.Clean(dir))); err != nil {
		return nil, fmt.Errorf("open artifact folder %s: %w", dir, err)
	}
	if err := f.removeLeftovers(); err != nil {
		return nil, fmt.Errorf("open artifact folder %s: remove interrupted uploads: %w", dir, err)
	}
	return f, nil
}

func (f *Folder) removeLeftovers() error {
	dir := filepath.Join(f.dir, tempFolder)
	entries, err := f.files.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // its upload has just ended
		}
		if err != nil {
			return err
		}
		if !strings.HasPrefix(e.Name(), "put-") || f.now().Sub(info.ModTime()) < tempLife {
			continue
		}
		if err := f.files.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// InFolder reports whether a folder has an artifact. It leaves the folder as it is: a server
// may have it open.
func InFolder(dir, hash string) (bool, error) {
	if err := checkHash(hash); err != nil {
		return false, err
	}
	return disk.Exists(disk.Local{}, (&Folder{dir: dir}).path(hash))
}

func (f *Folder) path(hash string) string { return filepath.Join(f.dir, hash[:2], hash) }

// Put implements Store.
func (f *Folder) Put(ctx context.Context, hash string, r io.Reader) (err error) {
	if err := checkHash(hash); err != nil {
		return err
	}
	temp, err := f.files.CreateTemp(filepath.Join(f.dir, tempFolder), tempPattern)
	if err != nil {
		return fmt.Errorf("put artifact %s: %w", hash, err)
	}
	defer func() {
		if err != nil {
			temp.Close() // again after a Close, which then changes nothing
			f.files.Remove(temp.Name())
			err = fmt.Errorf("put artifact %s: %w", hash, err)
		}
	}()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(temp, sum), disk.Reader(ctx, r)); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != hash {
		return fmt.Errorf("SHA-256 is %s: %w", got, ErrContent)
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	return f.adopt(temp.Name(), hash)
}

// adopt gives a complete file its name.
func (f *Folder) adopt(temp, hash string) error {
	path := f.path(hash)
	shelf := filepath.Dir(path)
	_, lasts := f.shelves.Load(shelf)
	if !lasts {
		if err := f.files.MkdirAll(shelf, folderMode); err != nil {
			return err
		}
	}
	if err := f.files.Rename(temp, path); err != nil {
		return err
	}
	if err := f.files.SyncDir(shelf); err != nil || lasts {
		return err
	}
	// The shelf's own name is flushed once here: whoever made it may have lost
	// power before flushing it.
	if err := f.files.SyncDir(f.dir); err != nil {
		return err
	}
	f.shelves.Store(shelf, true)
	return nil
}

// Open implements Store.
func (f *Folder) Open(ctx context.Context, hash string, offset int64) (io.ReadCloser, error) {
	if err := checkHash(hash); err != nil {
		return nil, err
	}
	file, err := f.files.OpenFile(f.path(hash), os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open artifact %s: %w", hash, notFound(err))
	}
	if err := seek(file, offset); err != nil {
		file.Close()
		return nil, fmt.Errorf("open artifact %s at %d: %w", hash, offset, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{disk.Reader(ctx, file), file}, nil
}

func seek(file disk.File, offset int64) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if offset < 0 || offset > info.Size() {
		return ErrOffset
	}
	_, err = file.Seek(offset, io.SeekStart)
	return err
}

// Stat implements Store.
func (f *Folder) Stat(_ context.Context, hash string) (Info, error) {
	if err := checkHash(hash); err != nil {
		return Info{}, err
	}
	info, err := f.files.Lstat(f.path(hash))
	if err != nil {
		return Info{}, fmt.Errorf("stat artifact %s: %w", hash, notFound(err))
	}
	return Info{Size: info.Size(), StoredAt: info.ModTime().UTC()}, nil
}

// Delete implements Store.
func (f *Folder) Delete(_ context.Context, hash string) error {
	if err := checkHash(hash); err != nil {
		return err
	}
	path := f.path(hash)
	err := f.files.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = f.files.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("delete artifact %s: %w", hash, err)
	}
	return nil
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fescue.ErrNotFound
	}
	return err
}
