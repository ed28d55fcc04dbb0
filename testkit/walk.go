package testkit

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// Walk calls f for all below a folder that a running program uses, the folder
// included. What goes meanwhile is passed over, also when f is what meets that.
func Walk(root string, f func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				err = f(path, info)
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}
