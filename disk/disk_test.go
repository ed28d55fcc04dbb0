package disk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/testkit/crashfs"
)

// holds checks that a folder holds these names and no others.
func holds(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(names) {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

func hasMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	if info, err := os.Stat(path); err != nil || info.Mode() != want {
		t.Errorf("%s has mode %v, want %v, %v", path, info.Mode(), want, err)
	}
}

// writers are the two ways to write a file whole or not at all.
var writers = map[string]func(name string, data []byte, perm fs.FileMode) error{
	"WriteFile": disk.WriteFile,
	"ReplaceFile": func(name string, data []byte, perm fs.FileMode) error {
		return disk.ReplaceFile(disk.Local{}, name, data, perm)
	},
}

func TestWriteFile(t *testing.T) {
	t.Parallel()
	for name, write := range writers {
		t.Run(name+" writes and replaces", func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			for _, c := range []struct {
				text string
				mode fs.FileMode
			}{{"one", 0o600}, {"", 0o666}, {"three", 0o400}, {"four", 0o640}} {
				if err := write(path, []byte(c.text), c.mode); err != nil {
					t.Fatal(err)
				}
				text, err := disk.ReadFile(disk.Local{}, path, 5)
				if err != nil || string(text) != c.text {
					t.Errorf("%q, %v", text, err)
				}
				hasMode(t, path, c.mode)
			}
			holds(t, dir, "f")
		})
		t.Run(name+" without a folder", func(t *testing.T) {
			t.Parallel()
			if err := write(filepath.Join(t.TempDir(), "none", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v", err)
			}
		})
		t.Run(name+" leaves nothing behind when it fails", func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "taken")
			if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := write(path, []byte("text"), 0o600); err == nil {
				t.Error("it took the place of a folder")
			}
			holds(t, dir, "taken")
		})
	}
	t.Run("ReplaceFile leaves nothing behind on a full disk", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := disk.ReplaceFile(fullDisk{}, filepath.Join(dir, "f"), []byte("text"), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%v", err)
		}
		holds(t, dir)
	})
}

// fullDisk makes files that nothing can be written to.
type fullDisk struct{ disk.Local }

func (d fullDisk) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := d.Local.OpenFile(name, flag, perm)
	return fullFile{f}, err
}

type fullFile struct{ disk.File }

func (fullFile) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestMakeFolder(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, mode := range []fs.FileMode{0o700, 0o755, 0o777} {
		t.Run(fmt.Sprintf("with mode %o", mode), func(t *testing.T) {
			t.Parallel()
			parent := filepath.Join(root, fmt.Sprintf("%o", mode))
			for range 2 {
				if err := disk.MakeFolder(filepath.Join(parent, "b"), mode); err != nil {
					t.Fatal(err)
				}
			}
			hasMode(t, parent, fs.ModeDir|mode)
			hasMode(t, filepath.Join(parent, "b"), fs.ModeDir|mode)
		})
	}
	t.Run("what is there keeps its mode", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "tight")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := disk.MakeFolder(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		hasMode(t, dir, fs.ModeDir|0o700)
	})
	t.Run("where a file is", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "file")
		if err := disk.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{file, filepath.Join(file, "c")} {
			if err := disk.MakeFolder(bad, 0o700); err == nil {
				t.Errorf("%s is a folder now", bad)
			}
		}
	})
}

// TestPowerCut lets the power fail at every step of making a folder and replacing a
// file in it, and loses all that was not flushed.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	const dir, file = "/a/b", "/a/b/file"
	replace := func(on disk.FS, text string) error {
		if err := disk.MakeFolderOn(on, dir, 0o755); err != nil {
			return err
		}
		return disk.ReplaceFile(on, file, []byte(text), 0o600)
	}
	for step, cut := 0, true; cut; step++ {
		on := crashfs.New()
		if err := replace(on, "old"); err != nil {
			t.Fatal(err)
		}
		on.FailAfter(step, func() {})
		err := replace(on, "new")
		if cut = on.Failed(); !cut && err != nil {
			t.Fatal(err)
		}
		on.Restore(func() bool { return false })
		text, readErr := disk.ReadFile(on, file, 3)
		if readErr != nil || string(text) != "new" && (err == nil || string(text) != "old") {
			t.Errorf("step %d (%v): %q, %v", step, err, text, readErr)
		}
	}
	for step, cut := 0, true; cut; step++ {
		on := crashfs.New()
		on.FailAfter(step, func() {})
		err := replace(on, "new")
		cut = on.Failed()
		on.Restore(func() bool { return false })
		if again := replace(on, "new"); again != nil {
			t.Errorf("step %d (%v): the next attempt: %v", step, err, again)
		}
		on.Restore(func() bool { return false })
		if text, err := disk.ReadFile(on, file, 3); err != nil || string(text) != "new" {
			t.Errorf("step %d: %q, %v", step, text, err)
		}
	}
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	if err := disk.WriteFile(path, []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.ReadFile(disk.Local{}, path, 3); err == nil || !strings.Contains(err.Error(), path+" is larger than 3 bytes") {
		t.Errorf("%v", err)
	}
	if _, err := disk.ReadFile(disk.Local{}, path+"2", 3); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestRemoveIfThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("nowhere", path); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if there, err := disk.Exists(disk.Local{}, path); there != want || err != nil {
			t.Errorf("there: %v, %v", there, err)
		}
		if err := disk.RemoveIfThere(disk.Local{}, path); err != nil {
			t.Error(err)
		}
	}
	if err := disk.RemoveIfThere(disk.Local{}, os.TempDir()); err == nil {
		t.Error("a folder that is not empty went")
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r := disk.Reader(ctx, strings.NewReader("ab"))
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	cancel()
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d bytes, %v", n, err)
	}
}
