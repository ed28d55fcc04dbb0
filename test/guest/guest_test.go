//go:build linux

package guest_test

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/test/guest"
)

const module = "github.com/fescue-edge/fescue/"

// build makes programs for a guest, by their names in its folder /guest. A test's is
// that of the package itself.
func build(t *testing.T, packages map[string]string) map[string]string {
	t.Helper()
	dir, files := t.TempDir(), make(map[string]string)
	for name, pkg := range packages {
		words := []string{"build"}
		if strings.HasSuffix(name, ".test") {
			words = []string{"test", "-c", "-tags=guest"}
		}
		files["guest/"+name] = filepath.Join(dir, name)
		guest.Build(t, files["guest/"+name], append(words, "-ldflags=-s -w", module+pkg)...)
	}
	return files
}

// passed says of a guest's tests that they ran and that none was skipped.
func passed(t *testing.T, said string) {
	t.Helper()
	if !strings.Contains(said, "\nPASS\n") {
		t.Errorf("no tests passed")
	}
	for line := range strings.Lines(said) {
		if strings.Contains(line, "--- SKIP") {
			t.Error(strings.TrimSpace(line))
		}
	}
	t.Log(said)
}

// TestContainersOfVersion2 runs the sandbox's tests where control groups are of version
// 2 alone, in a group whose processes must leave it before those below it have limits.
func TestContainersOfVersion2(t *testing.T) {
	m := guest.Need(t)
	disk := guest.Prepare(t, guest.Disk{Script: guest.Delegated + "in_unit ./sandbox.test -test.v -test.skip 'RootOfAContainer|TestMemoryOfContainers/(together|in_shared)' -test.run 'Containers?|Groups|TestDevices|TestNothingOutlivesItsProcess/cgroup_v2|TestWhatAKilledCoreLeftIsEnded/cgroup_v2'",
		Files: build(t, map[string]string{"sandbox.test": "core/sandbox"})})
	passed(t, m.Run(t, disk))
}

// TestPowerCut: what containers were when the power failed is gone when the core has
// started again, and it starts others.
func TestPowerCut(t *testing.T) {
	m := guest.Need(t)
	disk := guest.Prepare(t, guest.Disk{
		Script: guest.Delegated + "(while sync; do sleep 0.1; done) & in_unit ./sandbox.test play containers /var/sandbox",
		Files:  build(t, map[string]string{"sandbox.test": "core/sandbox"}),
	})
	left := 0
	for run := range 3 {
		g := m.Start(t, disk)
		if err := g.Until(t.Context(), 2+run, "ended with"); err != nil {
			t.Fatal(err)
		}
		g.Cut()
		said, _ := g.Said()
		before := regexp.MustCompile(`before (\d+) left`).FindStringSubmatch(said)
		if before == nil || !strings.Contains(said, "after 0 left") {
			t.Errorf("run %d:\n%s", run, said)
			continue
		}
		n, _ := strconv.Atoi(before[1])
		left += n
	}
	if left == 0 {
		t.Error("no cut left anything; this shows nothing")
	}
}
