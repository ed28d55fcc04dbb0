package agent

import (
	"io/fs"

	"github.com/fescue-edge/fescue/disk"
)

// Modes of folders. Functions need the code that they are given by its path; they
// list nothing above it.
const (
	passable fs.FileMode = 0o711
	private  fs.FileMode = 0o700
)

// makeFolder makes a folder with a mode, also where it is there already, and those
// above it.
func makeFolder(on disk.FS, name string, mode fs.FileMode) error {
	if err := disk.MakeFolderOn(on, name, mode); err != nil {
		return err
	}
	info, err := on.Lstat(name)
	if err == nil && info.Mode().Perm() != mode {
		err = on.Chmod(name, mode)
	}
	return err
}
