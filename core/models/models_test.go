package models_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/fescue-edge/fescue/core/models"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/sandbox"
)

// laid is a model as it is unpacked.
func laid(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "hash.model", "files")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(folder, "model"), 0o755), os.WriteFile(filepath.Join(folder, "model", "weights"), nil, 0o644),
		os.WriteFile(filepath.Join(folder, "run"), nil, 0o755), os.Symlink("/etc/passwd", filepath.Join(folder, "out")), os.Chmod(filepath.Dir(folder), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// owners are the modes and groups of a model's files.
func owners(t *testing.T, folder string) map[string]string {
	t.Helper()
	list := make(map[string]string)
	for _, name := range []string{"..", ".", "model", "model/weights", "run"} {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		list[name] = fmt.Sprintf("%o %d", info.Mode().Perm(), info.Sys().(*syscall.Stat_t).Gid)
	}
	return list
}

func TestOwners(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root gives files to other groups; run the tests as root to include this one")
	}
	gid := uint32(43210)
	for _, tc := range []struct {
		name     string
		gid      *uint32
		writable bool
		want     map[string]string
	}{
		{"nobody's", nil, false, map[string]string{"..": "700 0", ".": "755 0", "model": "755 0", "model/weights": "644 0", "run": "755 0"}},
		{"nobody's, to be written", nil, true, map[string]string{"..": "700 0", ".": "777 0", "model": "777 0", "model/weights": "666 0", "run": "777 0"}},
		{"a group's", &gid, false, map[string]string{"..": "710 43210", ".": "750 43210", "model": "750 43210", "model/weights": "640 43210", "run": "750 43210"}},
		{"a group's, to be written", &gid, true, map[string]string{"..": "710 43210", ".": "770 43210", "model": "770 43210", "model/weights": "660 43210", "run": "770 43210"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			folder := laid(t)
			before, err := os.Stat("/etc/passwd")
			if err != nil {
				t.Fatal(err)
			}
			p := plan.Plan{Models: []plan.Model{{Resource: "r", Folder: sandbox.HostPath(folder), GID: tc.gid, Writable: tc.writable}}}
			for range 2 { // it is made again at each start
				if err := (models.Shelf{Folder: t.TempDir()}).Arrange(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			for name, want := range tc.want {
				if got := owners(t, folder)[name]; got != want {
					t.Errorf("%s is %s, want %s", name, got, want)
				}
			}
			after, err := os.Stat("/etc/passwd")
			if err != nil || after.Mode() != before.Mode() || after.Sys().(*syscall.Stat_t).Gid != before.Sys().(*syscall.Stat_t).Gid {
				t.Errorf("what a link in the model leads to was given away: %v, %v", after, err)
			}
		})
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	shelf, folder := models.Shelf{Folder: filepath.Join(t.TempDir(), "resources")}, laid(t)
	f := plan.Function{ARN: "f", Links: map[string]sandbox.HostPath{"/ml/../ml/wear": sandbox.HostPath(folder), "../../up": sandbox.HostPath(folder)}}
	f.ResourceFolder = sandbox.HostPath(filepath.Join(shelf.Folder, "hash"))
	for range 2 {
		if err := shelf.Arrange(t.Context(), plan.Plan{Functions: []plan.Function{f, {ARN: "other"}}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ml/wear", "up"} {
		if _, err := os.Stat(filepath.Join(shelf.Folder, "hash", name, "run")); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]fs.FileMode{".": 0o711, "hash": 0o755, "hash/ml": 0o755} {
		if info, err := os.Stat(filepath.Join(shelf.Folder, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s is %v, %v", name, info, err)
		}
	}
	if err := shelf.Prune(plan.Plan{Functions: []plan.Function{f}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(shelf.Folder, "hash")); err != nil {
		t.Error("what is used was removed")
	}
	if err := shelf.Prune(plan.Plan{}); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(shelf.Folder); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v are left", entries, err)
	}
	if _, err := os.Stat(filepath.Join(folder, "run")); err != nil {
		t.Errorf("the model went with its links: %v", err)
	}
}
