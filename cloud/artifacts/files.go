package artifacts

import (
	"errors"
	"io"
	"os"
	"runtime"
	"time"
)

// Files is the part of a file system that a Folder needs. Tests put one in
// front that fails at a chosen step.
type Files interface {
	MkdirAll(dir string) error
	// CreateTemp makes a new file that only its owner may read.
	CreateTemp(dir, pattern string) (File, error)
	Open(path string) (File, error)
	Stat(path string) (os.FileInfo, error)
	Rename(from, to string) error
	Remove(path string) error
	ReadDir(dir string) ([]os.DirEntry, error)
	// SyncDir makes names that were added to a folder durable.
	SyncDir(dir string) error
	// Now dates temporary files.
	Now() time.Time
}

// File is an open file.
type File interface {
	io.ReadWriteSeeker
	io.Closer
	Name() string
	Stat() (os.FileInfo, error)
	Sync() error
}

// Disk is the operating system's file system.
type Disk struct{}

// MkdirAll implements Files; folders are for their owner alone.
func (Disk) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

// CreateTemp implements Files.
func (Disk) CreateTemp(dir, pattern string) (File, error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err // not a File that holds a nil *os.File
	}
	return f, nil
}

// Open implements Files.
func (Disk) Open(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // not a File that holds a nil *os.File
	}
	return f, nil
}

// Stat implements Files.
func (Disk) Stat(path string) (os.FileInfo, error) { return os.Stat(path) }

// Rename implements Files.
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements Files.
func (Disk) Remove(path string) error { return os.Remove(path) }

// ReadDir implements Files.
func (Disk) ReadDir(dir string) ([]os.DirEntry, error) { return os.ReadDir(dir) }

// Now implements Files.
func (Disk) Now() time.Time { return time.Now() }

// SyncDir implements Files. Windows cannot flush a folder and writes names
// through by itself.
func (Disk) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
