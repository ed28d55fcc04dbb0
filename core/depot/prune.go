package depot

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/disk"
)

// partAge is how long a download that was not continued is kept.
const partAge = 7 * 24 * time.Hour

// Prune removes what none of the manifests names.
func (d *Depot) Prune(manifests ...bundle.Manifest) error {
	keep := make(map[string]bool)
	for _, m := range manifests {
		for _, art := range m.Artifacts {
			keep[place(art)] = true
		}
	}
	return d.sweep(func(e fs.DirEntry) bool { return !keep[e.Name()] })
}

// Clean removes what a start finds half done: unpacking always begins anew, a
// download is continued unless it is old.
func (d *Depot) Clean(now time.Time) error {
	return d.sweep(func(e fs.DirEntry) bool {
		if strings.HasSuffix(e.Name(), disk.NewSuffix) {
			return true
		}
		if !strings.HasSuffix(e.Name(), partSuffix) {
			return false
		}
		info, err := e.Info()
		return err == nil && now.Sub(info.ModTime()) > partAge
	})
}

func (d *Depot) sweep(unwanted func(fs.DirEntry) bool) error {
	entries, err := d.Disk.ReadDir(d.Folder)
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
		if err := d.Disk.RemoveAll(filepath.Join(d.Folder, e.Name())); err != nil {
			return fmt.Errorf("clean the deployment store: %w", err)
		}
	}
	return nil
}
