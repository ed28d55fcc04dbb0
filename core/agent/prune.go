package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/disk"
)

// partAge is how long a download that was not continued is kept.
const partAge = 7 * 24 * time.Hour

// prune removes from the store what neither the current nor the previous
// manifest names.
func (a *Agent) prune() error {
	keep := make(map[string]bool)
	for _, d := range []*deployed{a.current, a.previous} {
		if d == nil {
			continue
		}
		for _, art := range d.manifest.Artifacts {
			keep[art.SHA256] = true
		}
	}
	return a.sweep(func(e fs.DirEntry) bool { return !keep[e.Name()] })
}

// clean removes what a start finds half done: unpacking always begins anew, a
// download is continued unless it is old.
func (a *Agent) clean(now time.Time) error {
	err := a.sweep(func(e fs.DirEntry) bool {
		if strings.HasSuffix(e.Name(), disk.NewSuffix) {
			return true
		}
		if !strings.HasSuffix(e.Name(), partSuffix) {
			return false
		}
		info, err := e.Info()
		return err == nil && now.Sub(info.ModTime()) > partAge
	})
	for _, name := range []string{a.layout.manifest(), a.layout.previous(), a.layout.state(), a.layout.group(), a.keyFile, a.chainFile()} {
		err = errors.Join(err, disk.RemoveIfThere(a.disk, name+disk.NewSuffix))
	}
	return err
}

func (a *Agent) sweep(unwanted func(fs.DirEntry) bool) error {
	entries, err := a.disk.ReadDir(a.layout.store())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clean the deployment store: %w", err)
	}
	for _, e := range entries {
		if !unwanted(e) {
			continue
		}
		if err := a.disk.RemoveAll(filepath.Join(a.layout.store(), e.Name())); err != nil {
			return fmt.Errorf("clean the deployment store: %w", err)
		}
	}
	return nil
}
