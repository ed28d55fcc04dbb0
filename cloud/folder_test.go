package cloud_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud"
)

func TestDataFolderIsPrivate(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("its modes say nothing of others")
	}
	folder := func(t *testing.T, files ...string) string {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	t.Run("an empty folder", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		start(t, options(dir)).stop()
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("what a killed server was copying is removed", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		if err := os.Mkdir(filepath.Join(dir, "spool"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		left := filepath.Join(dir, "spool", "model-123")
		if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		start(t, options(dir)).stop()
		if _, err := os.Stat(left); !os.IsNotExist(err) {
			t.Error(err)
		}
	})
	t.Run("an earlier version's", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		start(t, options(dir)).stop()
		for _, name := range []string{"", "fescue.db", "server.lock", "artifacts", "messages"} {
			if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		s := start(t, options(dir))
		for _, name := range []string{"", "fescue.db", "fescue.db-wal", "fescue.db-shm", "master.key", "access-key.json", "server.lock", "artifacts", "messages", "spool"} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode()&0o077 != 0 {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
		s.stop()
		if err := os.Chmod(filepath.Join(dir, "fescue.db"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, done, err := cloud.OpenKeys(t.Context(), cloud.State{DataDir: dir}, options(dir).Logger)
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		if info, err := os.Stat(filepath.Join(dir, "fescue.db")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("one that a server's is in", func(t *testing.T) {
		t.Parallel()
		dir := folder(t, "up.log")
		inner := filepath.Join(dir, "server")
		if err := errors.Join(os.Mkdir(inner, 0o700), os.WriteFile(filepath.Join(inner, "master.key"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if why := refused(t, options(dir)); !strings.HasSuffix(why, "name that with --data "+inner) {
			t.Error(why)
		}
	})
	t.Run("one with other things", func(t *testing.T) {
		t.Parallel()
		dir := folder(t, "thesis.txt")
		if why := refused(t, options(dir)); !strings.Contains(why, "holds other things than a server's data, and other users may enter it (mode 0755)") || !strings.Contains(why, "--data") {
			t.Error(why)
		}
		if _, _, err := cloud.OpenKeys(t.Context(), cloud.State{DataDir: dir}, options(dir).Logger); err == nil {
			t.Error("its keys were opened")
		}
		entries, err := os.ReadDir(dir)
		if info, statErr := os.Stat(dir); err != nil || statErr != nil || len(entries) != 1 || info.Mode().Perm() != 0o755 {
			t.Errorf("%v, %v, %v, %v", entries, err, info, statErr)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		start(t, options(dir)).stop()
	})
	t.Run("a file system of its own", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
			t.Fatal(err)
		}
		start(t, options(dir)).stop()
	})
}
