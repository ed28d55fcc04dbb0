//go:build linux

package test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// TestFleet: five hundred cores wait, are deployed at once, some of them failing or slow,
// and come back after the server was killed, and after it was stopped. What that costs the
// server is held against what it took to connect them, in the same run.
func TestFleet(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "fleet")
	build := exec.Command("go", "build", "-o", program, "./fleet")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const cores = 500
	cmd := exec.CommandContext(t.Context(), program, "--program", fescueBin, "--dir", t.TempDir(), "--cores", strconv.Itoa(cores), "--processes", "2",
		"--idle", "6s", "--bulk", "--storm", "--restart", "--fail", "0.1", "--slow", "0.1", "--slow-for", "300ms", "--max-retry", "5s", "--limit", "10m", "--json")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, &said, &out)
	}
	t.Logf("%s", &out)
	var report struct {
		Idle  struct{ Goroutines, Descriptors, CPU float64 }
		Steps []struct {
			Name string
			CPU  float64
		}
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	cpu := make(map[string]float64)
	for _, s := range report.Steps {
		cpu[s.Name] = s.CPU
	}
	for _, c := range []struct {
		what       string
		cost, most float64
	}{
		// The first two are counts, the others parts of what it takes to connect a core.
		{"goroutines for each that waits", report.Idle.Goroutines, 10},
		{"descriptors for each that waits", report.Idle.Descriptors, 3.5},
		{"ten seconds of waiting", report.Idle.CPU * 10 * 1e3 / cores / cpu["connect"], 0.1},
		{"a deployment", cpu["bulk: ended"] / cpu["connect"], 5},
		{"coming back after it was killed", cpu["storm"] / cpu["connect"], 3},
		{"coming back after it was stopped", cpu["restart"] / cpu["connect"], 3},
	} {
		if t.Logf("%s: %.2f", c.what, c.cost); c.cost > c.most || c.cost != c.cost {
			t.Errorf("%s: %.2f, at most %.2f", c.what, c.cost, c.most)
		}
	}
}
