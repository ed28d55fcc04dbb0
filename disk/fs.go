package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
)

// FS is a file system. Names are absolute paths.
type FS interface {
	// OpenFile is os.OpenFile.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// CreateTemp makes a new file that only its owner may read, as os.CreateTemp does.
	CreateTemp(dir, pattern string) (File, error)
	MkdirAll(name string, perm fs.FileMode) error
	Chmod(name string, perm fs.FileMode) error
	Rename(from, to string) error
	Remove(name string) error
	RemoveAll(name string) error
	Symlink(target, name string) error
	Readlink(name string) (string, error)
	Lstat(name string) (fs.FileInfo, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	// SyncDir makes the names in a folder survive a power cut.
	SyncDir(name string) error
}

// File is an open file.
type File interface {
	io.ReadWriteSeeker
	io.ReaderAt
	io.Closer
	// Name is the name with which the file was opened.
	Name() string
	Stat() (fs.FileInfo, error)
	Sync() error
}

// Local is the machine's own file system.
type Local struct{}

var _ FS = Local{}

// OpenFile opens a file as os.OpenFile does.
func (Local) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	return file(os.OpenFile(name, flag, perm))
}

// CreateTemp makes a file as os.CreateTemp does.
func (Local) CreateTemp(dir, pattern string) (File, error) { return file(os.CreateTemp(dir, pattern)) }

func file(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err // not a File that holds a nil *os.File
	}
	return f, nil
}

// MkdirAll makes a folder and those above it.
func (Local) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }

// Chmod sets the permission bits.
func (Local) Chmod(name string, perm fs.FileMode) error { return os.Chmod(name, perm) }

// Rename replaces to by from, in one step.
func (Local) Rename(from, to string) error { return os.Rename(from, to) }

// Remove removes a file, a link or an empty folder.
func (Local) Remove(name string) error { return os.Remove(name) }

// RemoveAll removes a tree.
func (Local) RemoveAll(name string) error { return os.RemoveAll(name) }

// Symlink makes a symbolic link.
func (Local) Symlink(target, name string) error { return os.Symlink(target, name) }

// Readlink reads a symbolic link.
func (Local) Readlink(name string) (string, error) { return os.Readlink(name) }

// Lstat describes what lies at name, without following a link.
func (Local) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// ReadDir lists a folder in the order of names.
func (Local) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// SyncDir is fsync on a folder. Windows cannot flush a folder and writes names
// through by itself.
func (Local) SyncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
