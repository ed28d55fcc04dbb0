package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile writes a file of the machine so that after a power cut it is there whole
// or not at all, as a Pending file is. perm holds whatever the umask is. Several may write
// the same name at once: one of them wins.
func WriteFile(name string, data []byte, perm fs.FileMode) error {
	p, err := CreatePending(name)
	if err != nil {
		return err
	}
	defer p.Discard()
	if err := p.Chmod(perm); err != nil {
		return err
	}
	if _, err := p.Write(data); err != nil {
		return err
	}
	return p.Keep()
}

// Pending is a file of the machine that has not got its name yet. Its own one, in the same
// folder, cannot be foreseen: where others may write, nobody has a link there.
type Pending struct {
	*os.File
	target string
	kept   bool
}

// CreatePending makes a file that only its owner may read, for Keep to give it the name.
func CreatePending(name string) (*Pending, error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return nil, err
	}
	return &Pending{File: f, target: name}, nil
}

// Keep flushes the file, closes it, gives it its name and flushes the folder.
func (p *Pending) Keep() error {
	if err := errors.Join(p.Sync(), p.Close()); err != nil {
		return err
	}
	if err := os.Rename(p.Name(), p.target); err != nil {
		return err
	}
	p.kept = true
	return SyncFolder(filepath.Dir(p.target))
}

// Discard removes the file, unless it has got its name.
func (p *Pending) Discard() {
	if !p.kept {
		p.Close()
		os.Remove(p.Name())
	}
}

// MakeFolder is os.MkdirAll for folders of the machine whose names must survive a
// power cut.
func MakeFolder(name string, perm fs.FileMode) error { return MakeFolderOn(Local{}, name, perm) }

// SyncFolder makes the names in a folder of the machine survive a power cut.
func SyncFolder(name string) error { return Local{}.SyncDir(name) }

// NewSuffix is at the end of the name of something that a rename will put in place.
const NewSuffix = ".new"

// ReplaceFile is WriteFile on a file system, for a name with one writer at a time:
// what a power cut leaves has NewSuffix, and the next attempt overwrites it.
func ReplaceFile(on FS, name string, data []byte, perm fs.FileMode) error {
	temp := name + NewSuffix
	err := WriteSynced(on, temp, data, perm)
	if err == nil {
		err = on.Rename(temp, name)
	}
	if err != nil {
		_ = on.Remove(temp) // a disk that is full needs the room
		return err
	}
	return on.SyncDir(filepath.Dir(name))
}

// WriteSynced writes a file in place and flushes its content, not its name. perm
// holds whatever the umask is.
func WriteSynced(on FS, name string, data []byte, perm fs.FileMode) error {
	f, err := on.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
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
	return on.Chmod(name, perm)
}

// MakeFolderOn makes a folder, and those above it. What it makes has perm whatever
// the umask is; what is there keeps its mode. The name survives a power cut, also
// when an earlier attempt was cut short.
func MakeFolderOn(on FS, name string, perm fs.FileMode) error {
	parent := filepath.Dir(name)
	there, err := Exists(on, parent)
	if err == nil && !there {
		err = MakeFolderOn(on, parent, perm)
	}
	if err == nil {
		there, err = Exists(on, name)
	}
	if err == nil {
		err = on.MkdirAll(name, perm) // an error where a file is
	}
	if err == nil && !there {
		err = on.Chmod(name, perm)
	}
	if err != nil {
		return err
	}
	return on.SyncDir(parent)
}

// EnsureFolder is MakeFolderOn for a folder that has perm afterwards, also when it
// was there with another mode.
func EnsureFolder(on FS, name string, perm fs.FileMode) error {
	if err := MakeFolderOn(on, name, perm); err != nil {
		return err
	}
	info, err := on.Lstat(name)
	if err == nil && info.Mode().Perm() != perm {
		err = on.Chmod(name, perm)
	}
	return err
}

// ReadFile reads a whole file of at most limit bytes.
func ReadFile(on FS, name string, limit int64) ([]byte, error) {
	f, err := on.OpenFile(name, os.O_RDONLY, 0)
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

// ReplaceLink makes name a symbolic link to target, in one step. It does not flush the name.
func ReplaceLink(on FS, target, name string) error {
	temp := name + NewSuffix
	if err := RemoveIfThere(on, temp); err != nil {
		return err
	}
	if err := on.Symlink(target, temp); err != nil {
		return err
	}
	return on.Rename(temp, name)
}

// RemoveIfThere removes a file that need not exist.
func RemoveIfThere(on FS, name string) error {
	if err := on.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Exists reports whether something has the name; a link need not lead anywhere.
func Exists(on FS, name string) (bool, error) {
	_, err := on.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
