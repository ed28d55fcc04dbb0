//go:build linux

package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/fescue-edge/fescue/cloud/store/pgtest"
)

// TestFleet: five hundred cores wait, are deployed at once, some of them failing or slow,
// and come back after the server was killed, and after it was stopped. What that costs the
// server is held against what it took to connect them, in the same run.
func TestFleet(t *testing.T) {
	t.Parallel()
	const cores = 500
	report := playFleet(t, "--cores", strconv.Itoa(cores), "--processes", "2",
		"--idle", "6s", "--bulk", "--storm", "--restart", "--fail", "0.1", "--slow", "0.1", "--slow-for", "300ms", "--max-retry", "5s")
	cpu := make(map[string]float64)
	for _, s := range report.Steps {
		cpu[s.Name] = s.CPU
	}
	for _, c := range []struct {
		what       string
		cost, most float64
	}{
		// The first two are counts, near 2.0 and 1.0 on any machine; the others are parts of what
		// it takes to connect a core. Memory is bounded in cloud/mqttfront, after a collection:
		// here it is mostly the garbage of having connected them.
		{"goroutines for each that waits", report.Idle.Goroutines, 2.5},
		{"descriptors for each that waits", report.Idle.Descriptors, 1.3},
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

// TestFleetFewConnections: a server that may have a hundred and thirty connections of --device has three
// times as many cores, part of which hold one each to wait on, and all get a deployment at
// once. Who finds no place comes again, and every deployment ends as it should.
func TestFleetFewConnections(t *testing.T) {
	t.Parallel()
	few := filepath.Join(t.TempDir(), "few")
	// With so many descriptors a server has 130 connections of --device, and 624 of --mqtt.
	script := fmt.Sprintf("#!/bin/sh\nulimit -n 1200\nexec '%s' \"$@\"\n", fescueBin)
	if err := os.WriteFile(few, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	playFleetOn(t, few, "--cores", "400", "--idle", "0s", "--bulk", "--without-mqtt", "0.2", "--max-retry", "5s")
}

// TestFleetLosesServer: cores of two servers are deployed to and send each other messages
// while one of the servers and one of the nodes that keep the messages are killed. Every
// deployment ends as it should, and every message arrives.
func TestFleetLosesServer(t *testing.T) {
	t.Parallel()
	pgtest.Database(t) // or it is skipped
	report := playFleet(t, "--cores", "60", "--servers", "2", "--idle", "0s", "--messages", "--breakdown", "--fail", "0.1", "--cut", "0.1", "--max-retry", "5s")
	if last := report.Steps[len(report.Steps)-1]; last.Name != "breakdown" {
		t.Errorf("the last step was %q", last.Name)
	}
}

// fleetReport is what of the fleet's figures is looked at.
type fleetReport struct {
	Idle  struct{ Goroutines, Descriptors, CPU float64 }
	Steps []struct {
		Name string
		CPU  float64
	}
}

// playFleet runs the command of simulated cores, which fails where something did not end as
// it should.
func playFleet(t *testing.T, flags ...string) fleetReport {
	t.Helper()
	return playFleetOn(t, fescueBin, flags...)
}

// playFleetOn is playFleet on a server program.
func playFleetOn(t *testing.T, server string, flags ...string) (report fleetReport) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "fleet")
	build := exec.Command("go", "build", "-o", program, "./fleet")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program, append([]string{"--program", server, "--dir", t.TempDir(), "--limit", "10m", "--json"}, flags...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, &said, &out)
	}
	t.Logf("%s", &out)
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	return report
}
