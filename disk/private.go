package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// MakePrivate makes a file of the machine, if it is absent, and leaves it to its owner,
// whatever the umask is; those beside it, whose names have the suffixes, as well, if
// they are there. The name survives a power cut.
func MakePrivate(name string, suffixes ...string) error {
	there, err := Exists(Local{}, name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	for _, suffix := range append([]string{""}, suffixes...) {
		info, err := os.Stat(name + suffix)
		if err == nil && info.Mode()&0o077 != 0 {
			err = os.Chmod(name+suffix, 0o600)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if there {
		return nil
	}
	return SyncFolder(filepath.Dir(name))
}
