package store

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/fescue-edge/fescue/disk"
)

// damaged is what comes after the name of a file that was put aside, before the time;
// maxDamaged is how many of those are kept.
const (
	damaged    = ".damaged-"
	maxDamaged = 3
)

// primary is SQLite's code of an error without its details, 0 if there is none.
func primary(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// isDamage reports whether the file's content cannot be right, or not be read.
func isDamage(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) && slices.Contains([]int{sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}, e.Code()) {
		return true
	}
	return slices.Contains([]int{sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}, primary(err))
}

// kindOf is the error of this package that another one is, nil if there is none.
func kindOf(err error) error {
	if primary(err) == sqlite3.SQLITE_FULL || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return ErrDiskFull
	}
	unusable := []int{sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_IOERR}
	var path *fs.PathError
	if slices.Contains(unusable, primary(err)) || errors.As(err, &path) {
		return ErrUnusable
	}
	return nil
}

// replace puts the file of a generation aside, unless someone else has done it.
func (db *DB) replace(generation uint64, cause error) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if generation != db.generation || db.open == nil {
		return nil
	}
	// The connections' own trouble with a damaged file is no news.
	_ = db.drop()
	return db.putAside(cause)
}

// putAside renames a damaged file that is not open, so that the next use begins a new
// one; the caller holds mu.
func (db *DB) putAside(cause error) error {
	aside := db.path + damaged + db.now().UTC().Format("20060102T150405.000Z")
	if err := os.Rename(db.path, aside); err != nil {
		return err
	}
	// The log belongs to the file; the index of the log is made again from it.
	for _, move := range []func() error{
		func() error { return os.Rename(db.path+"-wal", aside+"-wal") },
		func() error { return os.Remove(db.path + "-shm") },
	} {
		if err := move(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := disk.SyncFolder(filepath.Dir(db.path)); err != nil {
		return err
	}
	db.logger.Error("The core's store is damaged: messages queued on the disk and shadows that it held are lost. It was put aside, and a new one is begun. Check the disk.",
		slog.String("file", aside), slog.String("errorString", cause.Error()))
	return db.prune()
}

// prune removes the oldest files that were put aside.
func (db *DB) prune() error {
	all, err := filepath.Glob(db.path + damaged + "*Z")
	if err != nil {
		return err
	}
	slices.Sort(all)
	for _, name := range all[:max(0, len(all)-maxDamaged)] {
		if err := os.Remove(name); err != nil {
			return err
		}
		if err := os.Remove(name + "-wal"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
