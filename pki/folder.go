package pki

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// MakeFolder is os.MkdirAll for folders whose names must survive a power cut.
func MakeFolder(path string, mode os.FileMode) error {
	parent := filepath.Dir(path)
	if _, err := os.Lstat(parent); errors.Is(err, fs.ErrNotExist) {
		if err := MakeFolder(parent, mode); err != nil {
			return err
		}
	}
	_, err := os.Lstat(path)
	there := err == nil
	if err := os.MkdirAll(path, mode); err != nil || there {
		return err
	}
	return SyncFolder(parent)
}
