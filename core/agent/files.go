package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is every file operation of the agent, small enough that a test can make
// each one fail. Names are absolute paths.
type FS interface {
	// OpenFile is os.OpenFile.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	MkdirAll(name string, perm fs.FileMode) error
	Chmod(name string, perm fs.FileMode) error
	Rename(from, to string) error
	Remove(name string) error
	RemoveAll(name string) error
	Symlink(target, name string) error
	Readlink(name string) (string, error)
	Lstat(name string) (fs.FileInfo, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	// SyncDir makes the entries of a folder survive a power cut.
	SyncDir(name string) error
}

// File is an open file.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.Closer
	Sync() error
}

// Disk is the machine's own file system.
type Disk struct{}

// OpenFile opens a file as os.OpenFile does.
func (Disk) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// MkdirAll makes a folder and those above it.
func (Disk) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }

// Chmod sets the permission bits.
func (Disk) Chmod(name string, perm fs.FileMode) error { return os.Chmod(name, perm) }

// Rename replaces to by from, in one step.
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// Remove removes a file, a link or an empty folder.
func (Disk) Remove(name string) error { return os.Remove(name) }

// RemoveAll removes a tree.
func (Disk) RemoveAll(name string) error { return os.RemoveAll(name) }

// Symlink makes a symbolic link.
func (Disk) Symlink(target, name string) error { return os.Symlink(target, name) }

// Readlink reads a symbolic link.
func (Disk) Readlink(name string) (string, error) { return os.Readlink(name) }

// Lstat describes what lies at name, without following a link.
func (Disk) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// ReadDir lists a folder in the order of names.
func (Disk) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// SyncDir is fsync on a folder.
func (Disk) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readFile reads a whole file of at most limit bytes.
func readFile(disk FS, name string, limit int64) ([]byte, error) {
	f, err := disk.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return data, nil
}

// replaceFile puts data at name so that after a power cut either the old or the
// new content is there, never a part.
func replaceFile(disk FS, name string, data []byte, perm fs.FileMode) error {
	temp := name + newSuffix
	if err := writeSynced(disk, temp, data, perm); err != nil {
		return err
	}
	if err := disk.Rename(temp, name); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(name))
}

func writeSynced(disk FS, name string, data []byte, perm fs.FileMode) error {
	f, err := disk.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	// A leftover file keeps its mode, and the umask takes bits away.
	return disk.Chmod(name, perm)
}

// makeFolder makes a folder that functions' users can enter, and those above it.
// Its name survives a power cut, also when an earlier attempt was cut short.
func makeFolder(disk FS, name string) error {
	parent := filepath.Dir(name)
	there, err := exists(disk, parent)
	if err == nil && !there {
		err = makeFolder(disk, parent)
	}
	if err == nil {
		err = disk.MkdirAll(name, 0o755)
	}
	if err != nil {
		return err
	}
	info, err := disk.Lstat(name)
	if err == nil && info.Mode().Perm()&0o755 != 0o755 {
		err = disk.Chmod(name, info.Mode().Perm()|0o755)
	}
	if err != nil {
		return err
	}
	return disk.SyncDir(parent)
}

// removeIfThere removes a file that need not exist.
func removeIfThere(disk FS, name string) error {
	if err := disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func exists(disk FS, name string) (bool, error) {
	_, err := disk.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
