package cloud

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// othersMay are the permission bits of users who have no business in the data folder.
const othersMay fs.FileMode = 0o077

// begun are files that only a data folder has.
var begun = []string{databaseName, masterKeyName, lockName}

// keepPrivate takes from all other users what they may do in a data folder: a lock on
// the database by any of them would stop every write. A folder that holds something
// else is refused, since others may be meant to use that, and so is one that cannot
// be made private. What its files let others do, as those of earlier versions, is
// taken back too; the authority's certificate is public.
func keepPrivate(dir string, logger *slog.Logger) error {
	if runtime.GOOS == "windows" {
		return nil // whose modes say nothing of others
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if info.Mode()&othersMay != 0 {
		if !ofServer(entries) {
			if inner := serverWithin(dir, entries); inner != "" {
				return fmt.Errorf("%s is no server's data folder, and has one in it: name that with --data %s", dir, inner)
			}
			return fmt.Errorf("%s holds other things than a server's data, and other users may enter it (mode %04o): name a folder with --data that is empty, or that nobody else may enter", dir, info.Mode().Perm())
		}
		if err := tighten(dir, info, logger); err != nil {
			return err
		}
	}
	for _, entry := range entries {
		// A master key that others could read is refused when it is read.
		if entry.Name() == authorityPEMName || entry.Name() == masterKeyName || !entry.Type().IsRegular() && !entry.IsDir() {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // of a server that runs
		}
		if err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
		if info.Mode()&othersMay != 0 {
			if err := tighten(filepath.Join(dir, entry.Name()), info, logger); err != nil {
				return err
			}
		}
	}
	return nil
}

// ofServer reports whether a folder is a server's, or empty.
func ofServer(entries []os.DirEntry) bool {
	others := slices.ContainsFunc(entries, func(entry os.DirEntry) bool {
		return entry.Name() != "lost+found" // a file system's own
	})
	return !others || hasBegun(entries)
}

// hasBegun reports whether a server has made something in a folder.
func hasBegun(entries []os.DirEntry) bool {
	return slices.ContainsFunc(entries, func(entry os.DirEntry) bool { return slices.Contains(begun, entry.Name()) })
}

// serverWithin is the server's folder among the entries of one that is none, as fescue up
// makes them; empty where there is none, or more than one.
func serverWithin(dir string, entries []os.DirEntry) (found string) {
	for _, entry := range entries {
		inner := filepath.Join(dir, entry.Name())
		if within, err := os.ReadDir(inner); err == nil && hasBegun(within) {
			if found != "" {
				return ""
			}
			found = inner
		}
	}
	return found
}

// tighten leaves a file or folder to its owner. A folder of somebody else's whose
// group this process is in, as volumes of containers are, stays as it is.
func tighten(path string, info fs.FileInfo, logger *slog.Logger) error {
	mode := info.Mode().Perm()
	err := os.Chmod(path, mode&^othersMay)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrPermission) && mode&0o007 == 0:
		logger.Warn("the data folder belongs to another user, whose group may read it", "path", path, "mode", mode)
		return nil
	case err != nil:
		return fmt.Errorf("other users may use %s (mode %04o), and that cannot be taken back: %w. Give the data folder to the user that the server runs as (chown), with mode 0700", path, mode, err)
	}
	logger.Info("taken from other users what they might do", "path", path, "mode", mode, "now", mode&^othersMay)
	return nil
}
