package runtimes_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/runtimes"
)

func extracted(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "runtime")
	if err := runtimes.Extract(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestExtract(t *testing.T) {
	t.Parallel()

	t.Run("writes what functions load, readable for everyone", func(t *testing.T) {
		t.Parallel()
		dir := extracted(t)
		for _, name := range []string{
			runtimes.PythonMain,
			"python/greengrass_common/__init__.py",
			"python/greengrass_common/env_vars.py",
			"python/greengrass_ipc_python_sdk/__init__.py",
			"python/greengrass_ipc_python_sdk/ipc_client.py",
			runtimes.NodeMain,
			"nodejs/node_modules/aws-greengrass-common-js/index.js",
			"nodejs/node_modules/aws-greengrass-ipc-sdk-js/index.js",
		} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o644 {
				t.Errorf("%s has mode %v, want 0644", name, info.Mode().Perm())
			}
		}
		info, err := os.Stat(filepath.Join(dir, "python", "greengrass_common"))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o755 {
			t.Errorf("folder has mode %v, want 0755", info.Mode().Perm())
		}
	})

	t.Run("leaves identical files alone", func(t *testing.T) {
		t.Parallel()
		dir := extracted(t)
		before, err := os.Stat(filepath.Join(dir, runtimes.PythonMain))
		if err != nil {
			t.Fatal(err)
		}
		if err := runtimes.Extract(dir); err != nil {
			t.Fatal(err)
		}
		after, err := os.Stat(filepath.Join(dir, runtimes.PythonMain))
		if err != nil {
			t.Fatal(err)
		}
		if !os.SameFile(before, after) {
			t.Error("an identical file was replaced")
		}
	})

	t.Run("repairs what is damaged or missing", func(t *testing.T) {
		t.Parallel()
		dir := extracted(t)
		main := filepath.Join(dir, runtimes.PythonMain)
		want, err := os.ReadFile(main)
		if err != nil {
			t.Fatal(err)
		}
		gone := filepath.Join(dir, "python/greengrass_common/env_vars.py")
		if err := os.WriteFile(main, want[:100], 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(gone); err != nil {
			t.Fatal(err)
		}
		if err := runtimes.Extract(dir); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(main)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Error("the truncated file was not repaired")
		}
		if _, err := os.Stat(gone); err != nil {
			t.Error("the missing file was not written again:", err)
		}
	})

	t.Run("replaces an earlier version and removes it", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		old := filepath.Join(dir, ".runtimes-0123456789abcdef")
		if err := os.MkdirAll(filepath.Join(old, "python"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(".runtimes-0123456789abcdef/python", filepath.Join(dir, "python")); err != nil {
			t.Fatal(err)
		}
		if err := runtimes.Extract(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, runtimes.PythonMain)); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(old); !os.IsNotExist(err) {
			t.Errorf("the earlier version is still there: %v", err)
		}
	})

	t.Run("does not touch a folder that it did not make", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "python"), 0o755); err != nil {
			t.Fatal(err)
		}
		err := runtimes.Extract(dir)
		if err == nil || !strings.Contains(err.Error(), "in the way") {
			t.Errorf("got %v, want an error that says what is in the way", err)
		}
	})
}
