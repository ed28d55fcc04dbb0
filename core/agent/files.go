package agent

import "github.com/fescue-edge/fescue/disk"

// makeFolder makes a folder that functions' users can enter, also where it is there
// already, and those above it.
func makeFolder(on disk.FS, name string) error {
	if err := disk.MakeFolderOn(on, name, 0o755); err != nil {
		return err
	}
	info, err := on.Lstat(name)
	if err == nil && info.Mode().Perm()&0o755 != 0o755 {
		err = on.Chmod(name, info.Mode().Perm()|0o755)
	}
	return err
}
