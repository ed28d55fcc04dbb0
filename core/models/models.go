// Package models gives the models of machine learning that lie on this machine to
// those who may use them: the files to their group, and to functions without a
// container links by the paths at which they look for them. All of it follows from a
// plan and is made again with each.
//
// It knows nothing of where models come from, nor of how functions run.
package models

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/fescue-edge/fescue/core/plan"
)

// FolderName is what the folder of a Shelf is called, below that of deployments.
const FolderName = ".resources"

// Shelf is where functions without a container find their models.
type Shelf struct {
	// Folder holds a folder for each; it is made. Who knows a name in it may pass.
	Folder string
}

// Arrange gives models to their owners and makes the links of a plan.
func (s Shelf) Arrange(ctx context.Context, p plan.Plan) error {
	for _, m := range p.Models {
		if err := own(ctx, m); err != nil {
			return fmt.Errorf("give the model of resource %s to its owner: %w", m.Resource, err)
		}
	}
	for _, f := range p.Functions {
		if err := link(f); err != nil {
			return fmt.Errorf("give %s its models: %w", f.ARN, err)
		}
	}
	return nil
}

// Prune removes the links that no function of a plan has.
func (s Shelf) Prune(p plan.Plan) error {
	entries, err := os.ReadDir(s.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	used := make(map[string]bool)
	for _, f := range p.Functions {
		used[string(f.ResourceFolder)] = true
	}
	for _, e := range entries {
		if name := filepath.Join(s.Folder, e.Name()); !used[name] {
			err = errors.Join(err, os.RemoveAll(name))
		}
	}
	return err
}

// link makes the links of a function. What is there already is of the same plan.
func link(f plan.Function) error {
	for destination, folder := range f.Links {
		name := filepath.Join(string(f.ResourceFolder), path.Clean("/"+destination))
		if err := makeFolders(string(f.ResourceFolder), filepath.Dir(name)); err != nil {
			return err
		}
		if err := os.Symlink(string(folder), name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// makeFolders makes the folders from the shelf down, for whoever knows the way.
func makeFolders(own, folder string) error {
	for _, f := range []struct {
		name string
		mode fs.FileMode
	}{{filepath.Dir(own), 0o711}, {own, 0o755}, {folder, 0o755}} {
		// The core's umask does not count, for those that everybody passes.
		if err := os.MkdirAll(f.name, f.mode); err != nil {
			return err
		}
		if err := os.Chmod(f.name, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// own gives a model to its group, file by file; the folder that it lies in, which is a
// door, at last. Without a group it is root's: the door is closed, and a mount leads
// past it.
//
// A function that may write the model can put other things in the place of what is
// looked at. So nothing is followed, and nothing outside of the folder is reached.
func own(ctx context.Context, m plan.Model) error {
	root, err := os.OpenRoot(string(m.Folder))
	if err != nil {
		return err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		return hand(root, name, m)
	})
	if err != nil {
		return err
	}
	door := filepath.Dir(string(m.Folder))
	if m.GID == nil {
		return os.Chmod(door, 0o700)
	}
	return errors.Join(os.Lchown(door, -1, int(*m.GID)), os.Chmod(door, 0o710))
}

// hand gives one file or folder to the owner.
func hand(root *os.Root, name string, m plan.Model) error {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	stat := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() && (!info.Mode().IsRegular() || stat.Nlink > 1) {
		return nil // nothing that came with the model
	}
	mode := modeOf(info, m)
	// A new group takes bits away: it comes first.
	if m.GID != nil && stat.Gid != *m.GID {
		if err := f.Chown(-1, int(*m.GID)); err != nil {
			return err
		}
	}
	if info.Mode().Perm() == mode {
		return nil
	}
	return f.Chmod(mode)
}

// modeOf is what a file of a model may be used for: by its group, or, behind the
// closed door, by whoever it is shown to.
func modeOf(info fs.FileInfo, m plan.Model) fs.FileMode {
	mode := fs.FileMode(0o644)
	if info.IsDir() || info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	if m.Writable {
		mode |= 0o022
	}
	if m.GID != nil {
		mode &^= 0o007
	}
	return mode
}
