package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/pki"
)

// Source is what to back up.
type Source struct {
	// Dir is the data folder. A server may run on it.
	Dir string
	// Artifacts is the folder of artifacts; empty is the one in Dir.
	Artifacts string
	// WithoutArtifacts leaves them out, where something else backs them up.
	WithoutArtifacts bool
	// MasterKey is the server's; it authenticates the archive.
	MasterKey *pki.MasterKey
	// Secrets are files that open everything else, by their names in the
	// archive; without them the archive alone opens no secret.
	Secrets map[string]string
	Now     func() time.Time
	// Progress is called with how far the work has come.
	Progress Progress
}

// Create writes a backup to file, replacing an older one when it is complete. The
// database is copied as it is at one instant; the artifacts are read after that,
// so everything that the copy names is among them.
func Create(ctx context.Context, s Source, file string) (_ Table, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(file), ".fescue-backup-*") // mode 0700
	if err != nil {
		return Table{}, fmt.Errorf("back up to %s: %w", file, err)
	}
	defer func() {
		if removed := os.RemoveAll(dir); err == nil && removed != nil {
			err = fmt.Errorf("remove the backup's working files: %w", removed)
		}
	}()
	w := writer{Source: s, dir: dir}
	if err := w.collect(ctx); err != nil {
		return Table{}, fmt.Errorf("back up %s: %w", s.Dir, err)
	}
	if err := w.write(ctx); err != nil {
		return Table{}, fmt.Errorf("back up to %s: %w", file, err)
	}
	if err := os.Rename(w.archive(), file); err != nil {
		return Table{}, fmt.Errorf("back up to %s: %w", file, err)
	}
	if err := disk.SyncFolder(filepath.Dir(file)); err != nil {
		return Table{}, fmt.Errorf("back up to %s: %w", file, err)
	}
	return w.table, nil
}

type writer struct {
	Source
	dir   string // of unfinished work
	table Table
	// from is where each file of the table lies.
	from []string
	done int64
}

func (w *writer) database() string { return filepath.Join(w.dir, Database) }
func (w *writer) archive() string  { return filepath.Join(w.dir, "archive") }

// collect takes the copy of the database and makes the table.
func (w *writer) collect(ctx context.Context) error {
	database := filepath.Join(w.Dir, Database)
	if _, err := os.Stat(database); err != nil {
		return fmt.Errorf("there is no server's database: %w", err)
	}
	if err := store.SnapshotSQLite(ctx, database, w.database()); err != nil {
		return err
	}
	id, err := store.CheckSQLite(ctx, w.database(), MasterKeySetting)
	if err != nil {
		return err
	}
	if id != w.MasterKey.ID() {
		return fmt.Errorf("the database was made with the master key %s, and %s is given", id, w.MasterKey.ID())
	}
	w.table = Table{Format: Format, CreatedAt: w.Now().UTC(), MasterKeyID: id}
	if err := w.add(ctx, Database, w.database()); err != nil {
		return err
	}
	for name, path := range w.Secrets {
		if err := w.add(ctx, name, path); err != nil {
			return err
		}
	}
	if w.WithoutArtifacts {
		return nil
	}
	if err := w.addArtifacts(ctx); err != nil {
		return err
	}
	return w.checkNamed(ctx)
}

// checkNamed refuses a backup that lacks what functions and deployments need:
// then the artifacts lie somewhere else.
func (w *writer) checkNamed(ctx context.Context) error {
	named, err := store.NamedArtifacts(ctx, w.database())
	if err != nil {
		return err
	}
	has := make(map[string]bool, len(w.table.Files))
	for _, f := range w.table.Files {
		has[f.Name] = true
	}
	for _, hash := range named {
		if name := Artifacts + "/" + hash[:2] + "/" + hash; !has[name] {
			return fmt.Errorf("%s, which the database names, is not in %s: name the folder of artifacts with --artifacts, or leave them out with --without-artifacts where they lie in a store that has its own backup", name, w.artifacts())
		}
	}
	return nil
}

func (w *writer) artifacts() string {
	if w.Artifacts != "" {
		return w.Artifacts
	}
	return filepath.Join(w.Dir, Artifacts)
}

// add hashes a file and puts it into the table.
func (w *writer) add(ctx context.Context, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, disk.Reader(ctx, f))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	w.table.Files = append(w.table.Files, File{name, n, sumOf(sum)})
	w.from = append(w.from, path)
	return nil
}

// addArtifacts puts the artifacts, and the contents of buckets, into the table.
// Their names are their hashes, which writing checks.
func (w *writer) addArtifacts(ctx context.Context) error {
	root := w.artifacts()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile, or there are none
		case err != nil:
			return err
		case !e.Type().IsRegular() || !fescue.ValidHash(e.Name()):
			return ctx.Err() // an upload that is under way
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		within, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f := File{Artifacts + "/" + filepath.ToSlash(within), info.Size(), e.Name()}
		if validName(f) {
			w.table.Files = append(w.table.Files, f)
			w.from = append(w.from, path)
		}
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("list the artifacts: %w", err)
	}
	return nil
}

// write writes the archive and flushes it.
func (w *writer) write(ctx context.Context) (err error) {
	out, err := os.OpenFile(w.archive(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if w.table.MAC, err = w.table.authenticator(w.MasterKey); err != nil {
		return err
	}
	table, err := json.Marshal(w.table)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(out)
	if err := archive.WriteHeader(w.header(tableName, int64(len(table)))); err != nil {
		return err
	}
	if _, err := archive.Write(table); err != nil {
		return err
	}
	for i, f := range w.table.Files {
		if err := w.copy(ctx, archive, f, w.from[i]); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return out.Sync()
}

func (w *writer) header(name string, size int64) *tar.Header {
	return &tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: w.table.CreatedAt, Format: tar.FormatPAX}
}

// copy copies one file, and checks that it is what the table says.
func (w *writer) copy(ctx context.Context, archive *tar.Writer, f File, path string) error {
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && path != w.database() {
		return fmt.Errorf("%s was removed while the backup was made; make it again", f.Name)
	}
	if err != nil {
		return err
	}
	defer in.Close()
	if err := archive.WriteHeader(w.header(f.Name, f.Size)); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(archive, sum, counter{w}), disk.Reader(ctx, io.LimitReader(in, f.Size)))
	if err != nil {
		return fmt.Errorf("copy %s: %w", f.Name, err)
	}
	if n != f.Size || sumOf(sum) != f.SHA256 {
		return fmt.Errorf("%s does not have the content that its hash says: the disk has changed it, or somebody did; put the right file there, or remove it and publish its function again", path)
	}
	return nil
}

// counter reports progress.
type counter struct{ w *writer }

func (c counter) Write(b []byte) (int, error) {
	c.w.done += int64(len(b))
	c.w.Progress.report(c.w.done, c.w.table.Bytes())
	return len(b), nil
}

func sumOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
