package artifacts_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/artifacts/artifactstest"
	"github.com/fescue-edge/fescue/disk"
)

func TestFolder(t *testing.T) {
	t.Parallel()
	artifactstest.TestStore(t, func(t *testing.T) artifacts.Store {
		return openFolder(t, t.TempDir())
	})
}

func openFolder(t *testing.T, dir string) *artifacts.Folder {
	t.Helper()
	f, err := artifacts.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var errDisk = errors.New("no space left on device")

// faultyDisk fails at one named step.
type faultyDisk struct {
	disk.Local
	step string
}

func (d *faultyDisk) fail(step string) error {
	if d.step == step {
		return errDisk
	}
	return nil
}

func (d *faultyDisk) MkdirAll(dir string, perm fs.FileMode) error {
	return errors.Join(d.fail("mkdir"), d.Local.MkdirAll(dir, perm))
}

func (d *faultyDisk) CreateTemp(dir, pattern string) (disk.File, error) {
	if err := d.fail("create"); err != nil {
		return nil, err
	}
	f, err := d.Local.CreateTemp(dir, pattern)
	return faultyFile{f, d}, err
}

func (d *faultyDisk) Rename(from, to string) error {
	if err := d.fail("rename"); err != nil {
		return err
	}
	return d.Local.Rename(from, to)
}

func (d *faultyDisk) Remove(path string) error {
	if err := d.fail("remove"); err != nil {
		return err
	}
	return d.Local.Remove(path)
}

func (d *faultyDisk) SyncDir(dir string) error {
	return errors.Join(d.fail("sync folder"), d.Local.SyncDir(dir))
}

type faultyFile struct {
	disk.File
	disk *faultyDisk
}

func (f faultyFile) Write(p []byte) (int, error) {
	if err := f.disk.fail("write"); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f faultyFile) Sync() error { return errors.Join(f.disk.fail("sync"), f.File.Sync()) }

func (f faultyFile) Close() error { return errors.Join(f.disk.fail("close"), f.File.Close()) }

func TestFolderFaults(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	content := []byte("code")
	hash := artifactstest.Hash(content)

	// Before the rename nothing may be visible; after it the blob is whole, but
	// Put must still not promise that it lasts.
	for _, step := range []string{"create", "write", "sync", "close", "mkdir", "rename", "sync folder"} {
		t.Run("put fails at "+step, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			disk := &faultyDisk{}
			f, err := artifacts.OpenFolderOn(disk, dir, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			disk.step = step
			if err := f.Put(ctx, hash, bytes.NewReader(content)); !errors.Is(err, errDisk) {
				t.Fatalf("Put = %v, want the disk's error", err)
			}
			_, err = f.Stat(ctx, hash)
			if visible := err == nil; visible != (step == "sync folder") {
				t.Errorf("Stat = %v", err)
			}
			if names, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(names) != 0 {
				t.Errorf("temporary file left behind: %v", names)
			}
			disk.step = ""
			if err := f.Put(ctx, hash, bytes.NewReader(content)); err != nil {
				t.Errorf("Put after the fault: %v", err)
			}
		})
	}
	t.Run("delete reports a fault", func(t *testing.T) {
		t.Parallel()
		disk := &faultyDisk{}
		f, err := artifacts.OpenFolderOn(disk, t.TempDir(), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Put(ctx, hash, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		disk.step = "remove"
		if err := f.Delete(ctx, hash); !errors.Is(err, errDisk) {
			t.Errorf("Delete = %v, want the disk's error", err)
		}
	})
}

func TestOpenFolder(t *testing.T) {
	t.Parallel()
	t.Run("blobs outlive a restart", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		content := []byte("code")
		if err := openFolder(t, dir).Put(context.Background(), artifactstest.Hash(content), bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if _, err := openFolder(t, dir).Stat(context.Background(), artifactstest.Hash(content)); err != nil {
			t.Error(err)
		}
	})
	t.Run("old uploads are removed, young ones and other files stay", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		openFolder(t, dir)
		name := filepath.Join(dir, "tmp", "put-123")
		other := filepath.Join(dir, "tmp", "README")
		for _, n := range []string{name, other} {
			if err := os.WriteFile(n, []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		openFolder(t, dir)
		if _, err := os.Stat(name); err != nil {
			t.Fatalf("young upload: %v", err)
		}
		if _, err := artifacts.OpenFolderOn(disk.Local{}, dir, func() time.Time { return time.Now().Add(25 * time.Hour) }); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("old upload is still there: %v", err)
		}
		if _, err := os.Stat(other); err != nil {
			t.Errorf("file that is no upload: %v", err)
		}
	})
	t.Run("a file in the way is an error", func(t *testing.T) {
		t.Parallel()
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := artifacts.OpenFolder(name); err == nil {
			t.Error("no error")
		}
	})
	t.Run("a damaged blob is healed by the next put", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		f := openFolder(t, dir)
		content := []byte("code")
		hash := artifactstest.Hash(content)
		for range 2 {
			if err := f.Put(context.Background(), hash, bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, hash[:2], hash)
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
				t.Fatalf("blob = %q, %v", got, err)
			}
			if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestSeeker(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	content := []byte(strings.Repeat("fescue ", 1000))
	hash := artifactstest.Hash(content)
	f := openFolder(t, t.TempDir())
	if err := f.Put(ctx, hash, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	t.Run("reads and seeks as a file does", func(t *testing.T) {
		t.Parallel()
		s := artifacts.NewSeeker(ctx, f, hash, int64(len(content)))
		defer s.Close()
		if err := iotest.TestReader(s, content); err != nil {
			t.Error(err)
		}
	})
	t.Run("seeking outside is refused", func(t *testing.T) {
		t.Parallel()
		s := artifacts.NewSeeker(ctx, f, hash, int64(len(content)))
		for _, offset := range []int64{-1, int64(len(content)) + 1} {
			if _, err := s.Seek(offset, io.SeekStart); !errors.Is(err, artifacts.ErrOffset) {
				t.Errorf("Seek(%d) = %v", offset, err)
			}
		}
		if _, err := s.Seek(0, 7); err == nil {
			t.Error("unknown whence accepted")
		}
	})
	t.Run("a missing blob is not found", func(t *testing.T) {
		t.Parallel()
		s := artifacts.NewSeeker(ctx, f, artifactstest.Hash(nil), 1)
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("Read = %v", err)
		}
	})
}
