package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/pki"
)

// ErrNotEmpty means that there is something where a backup was to be restored.
var ErrNotEmpty = errors.New("the folder is not empty")

// Accept is asked before anything is written whether an archive with the table is to
// be restored.
type Accept func(Table) (Terms, error)

// Terms are how an archive is restored.
type Terms struct {
	// Beside is written beside the archive's files, by names of the data folder.
	Beside map[string][]byte
	// MasterKey is what the archive has to be authenticated by; nil takes the key
	// that is in the archive.
	MasterKey *pki.MasterKey
	// Unauthenticated restores what nothing proves.
	Unauthenticated bool
}

// Restore lays a backup out in a folder that is empty or absent, and checks every
// byte of it, and that the server's master key made it; accept may be nil. A folder in which that was cut short is known by the
// file Unfinished: no server starts on it, and the next Restore begins anew in it.
func Restore(ctx context.Context, file, dir string, accept Accept, progress Progress) (Table, error) {
	in, err := os.Open(file)
	if err != nil {
		return Table{}, fmt.Errorf("restore: %w", err)
	}
	defer in.Close()
	r := reader{archive: tar.NewReader(disk.Reader(ctx, in)), dir: dir, progress: progress}
	if err := r.readTable(); err != nil {
		return Table{}, fmt.Errorf("restore %s: %w", file, err)
	}
	var terms Terms
	if accept != nil {
		terms, err = accept(r.table)
	}
	if err == nil {
		err = terms.before(r.table)
	}
	if err != nil {
		return Table{}, fmt.Errorf("restore %s: %w", file, err)
	}
	if err := r.begin(); err != nil {
		return Table{}, fmt.Errorf("restore into %s: %w", dir, err)
	}
	err = r.unpack(ctx)
	if err == nil && terms.MasterKey == nil && !terms.Unauthenticated {
		err = r.verifyByOwnKey()
	}
	if err != nil {
		return Table{}, fmt.Errorf("restore %s: %w; no server starts on %s, and restoring into it begins anew", file, err, dir)
	}
	for name, data := range terms.Beside {
		if err := disk.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return Table{}, fmt.Errorf("restore into %s: %w", dir, err)
		}
	}
	if err := r.finish(); err != nil {
		return Table{}, fmt.Errorf("restore into %s: %w", dir, err)
	}
	return r.table, nil
}

// before refuses an archive that nothing proves, before anything is written.
func (t Terms) before(table Table) error {
	switch {
	case t.Unauthenticated:
		return nil
	case t.MasterKey != nil:
		return table.Verify(t.MasterKey)
	case !table.Holds(MasterKey):
		return fmt.Errorf("%w: %w: the master key is not in it, and none is given", ErrArchive, ErrUnauthenticated)
	}
	return nil
}

// verifyByOwnKey proves that whoever made the archive has the key that is in it.
func (r *reader) verifyByOwnKey() error {
	key, err := pki.LoadMasterKey(filepath.Join(r.dir, MasterKey), false)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	return r.table.Verify(key)
}

type reader struct {
	archive  *tar.Reader
	dir      string
	progress Progress
	table    Table
	done     int64
	// shelves are the folders that were made for artifacts.
	shelves map[string]bool
}

func (r *reader) readTable() error {
	h, err := r.archive.Next()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	if h.Name != tableName || h.Typeflag != tar.TypeReg || h.Size > maxTable {
		return fmt.Errorf("%w: it begins with %q of %d bytes", ErrArchive, h.Name, h.Size)
	}
	data, err := io.ReadAll(io.LimitReader(r.archive, maxTable))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	r.table, err = parseTable(data)
	return err
}

// begin marks the folder before anything else is in it.
func (r *reader) begin() error {
	if err := disk.MakeFolder(r.dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	_, err = os.Lstat(filepath.Join(r.dir, Unfinished))
	again := err == nil
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "lost+found": // of a file system that was just made
		case again && ours(name):
		default:
			return fmt.Errorf("%w: it has %s; restore into an empty folder", ErrNotEmpty, name)
		}
	}
	if again {
		return r.clear(entries)
	}
	return disk.WriteFile(filepath.Join(r.dir, Unfinished), []byte("A restore was begun here and has not ended.\n"), 0o600)
}

// ours reports whether a restore may have left something of this name: what it
// writes, temporary files of that, and SQLite's files beside a database.
func ours(name string) bool {
	for _, w := range []string{Database, Artifacts, MasterKey, AccessKey, Unfinished} {
		if name == w || strings.HasPrefix(name, "."+w+"-") {
			return true
		}
	}
	return slices.Contains([]string{Database + "-wal", Database + "-shm", Database + "-journal"}, name)
}

// clear removes what an earlier restore left, but its mark.
func (r *reader) clear(entries []fs.DirEntry) error {
	for _, e := range entries {
		if name := e.Name(); ours(name) && name != Unfinished {
			if err := os.RemoveAll(filepath.Join(r.dir, name)); err != nil {
				return err
			}
		}
	}
	return disk.SyncFolder(r.dir)
}

func (r *reader) unpack(ctx context.Context) error {
	r.shelves = make(map[string]bool)
	for _, f := range r.table.Files {
		h, err := r.archive.Next()
		if err != nil {
			return fmt.Errorf("%w: before %s: %w", ErrArchive, f.Name, err)
		}
		if h.Name != f.Name || h.Typeflag != tar.TypeReg || h.Size != f.Size {
			return fmt.Errorf("%w: %q of %d bytes where its table has %s of %d", ErrArchive, h.Name, h.Size, f.Name, f.Size)
		}
		if err := r.file(f); err != nil {
			return err
		}
	}
	if _, err := r.archive.Next(); err != io.EOF {
		return fmt.Errorf("%w: there is more in it than its table says (%v)", ErrArchive, err)
	}
	id, err := store.CheckSQLite(ctx, filepath.Join(r.dir, Database), MasterKeySetting)
	if err == nil && id != r.table.MasterKeyID {
		err = fmt.Errorf("%w: its database was made with the master key %q, its table says %q", ErrArchive, id, r.table.MasterKeyID)
	}
	return err
}

// file writes one file, and flushes it when it is what the table says.
func (r *reader) file(f File) (err error) {
	path := filepath.Join(r.dir, filepath.FromSlash(f.Name))
	if shelf := filepath.Dir(path); shelf != r.dir && !r.shelves[shelf] {
		if err := os.MkdirAll(shelf, 0o700); err != nil {
			return err
		}
		r.shelves[shelf] = true
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), r.archive)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: it ends in the middle", ErrArchive)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	if got := sumOf(sum); got != f.SHA256 {
		return fmt.Errorf("%w: %s has the SHA-256 %s, not %s", ErrArchive, f.Name, got, f.SHA256)
	}
	r.done += f.Size
	r.progress.report(r.done, r.table.Bytes())
	return out.Sync()
}

// finish flushes the folders, then takes the mark away.
func (r *reader) finish() error {
	for shelf := range r.shelves {
		if err := disk.SyncFolder(shelf); err != nil {
			return err
		}
	}
	for _, dir := range []string{filepath.Join(r.dir, Artifacts, Buckets), filepath.Join(r.dir, Artifacts), r.dir} {
		if err := disk.SyncFolder(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(filepath.Join(r.dir, Unfinished)); err != nil {
		return err
	}
	return disk.SyncFolder(r.dir)
}
