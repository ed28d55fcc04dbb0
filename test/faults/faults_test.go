//go:build linux

package faults_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/test/faults"
)

func TestMain(m *testing.M) {
	natstest.Main()
	m.Run()
}

// TestFaults deploys through faults. FESCUE_FAULT_RUNS and FESCUE_FAULT_SEED say
// how often with one server and from which seed.
func TestFaults(t *testing.T) {
	dir, err := os.MkdirTemp("", "fescue-faults-")
	if err == nil {
		// Functions may run as another user: the folder must be open to all.
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	built, err := faults.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	seed := number(t, "FESCUE_FAULT_SEED", 1)
	for _, tc := range []struct {
		name          string
		runs, servers int
	}{
		{"one server", int(number(t, "FESCUE_FAULT_RUNS", 20)), 1},
		{"two servers", 10, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			play(t, faults.Options{Programs: built, Seed: seed, Runs: tc.runs, Servers: tc.servers, Parallel: 4, Dir: dir, Log: t.Output()})
		})
	}
	if t.Failed() {
		return // the logs stay
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

func play(t *testing.T, o faults.Options) {
	report, err := faults.Run(t.Context(), o)
	if pgtest.Missing(err) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
	for _, b := range report.Broken {
		t.Errorf("seed %d: %v", b.Seed, b.Err)
	}
	if len(report.Broken) == 0 && report.Runs != o.Runs {
		t.Errorf("%d runs, %d were to be made", report.Runs, o.Runs)
	}
	for _, missing := range report.Skipped {
		t.Run("everything was done", func(t *testing.T) { t.Skip(missing) })
	}
}

func number(t *testing.T, variable string, standard uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return standard
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}
