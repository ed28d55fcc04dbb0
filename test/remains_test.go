//go:build linux

package test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// remains is all that is there of the functions of a core: their processes, control
// groups, mounts and folders. A core that has stopped leaves none; while it runs each
// container has a folder by which it is counted.
func (g *gateway) remains(t testing.TB) (containers int, all []string) {
	t.Helper()
	folder := filepath.Join(g.root, "ggc", "var", "state", "sandbox")
	text, err := os.ReadFile(filepath.Join(folder, "id"))
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(string(text))
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range processes {
		pid, _ := strconv.Atoi(filepath.Base(process))
		// One that cannot be read has ended.
		environment, _ := os.ReadFile(process + "/environ")
		group, _ := os.ReadFile(process + "/cgroup")
		if strings.Contains(string(environment), "FESCUE_PROCESS="+id) || strings.Contains(string(group), "/fescue-"+id) {
			all = append(all, fmt.Sprintf("process %d", pid))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, folder) {
			all = append(all, "mount "+line)
		}
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(path, "fescue-"+id) {
			all = append(all, "control group "+path)
		}
		return nil
	})
	entries, err := os.ReadDir(filepath.Join(folder, "containers"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, entry := range entries {
		all = append(all, "folder "+entry.Name())
	}
	return len(entries), all
}

// settle waits until a core has so many containers.
func (g *gateway) settle(t testing.TB, containers int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d containers", containers), func() error {
		if n, all := g.remains(t); n != containers {
			return fmt.Errorf("%d:\n%s", n, strings.Join(all, "\n"))
		}
		return nil
	})
}

// leaveNothing stops the core and finds nothing of its functions.
func (g *gateway) leaveNothing(t testing.TB) {
	t.Helper()
	if err := g.process.interrupt(t); err != nil {
		t.Errorf("the core ended with %v", err)
	}
	if _, all := g.remains(t); len(all) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(all, "\n"))
	}
}
