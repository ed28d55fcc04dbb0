//go:build linux

package faults_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/fescue-edge/fescue/test/faults"
)

// TestFaults deploys through faults. FESCUE_FAULT_RUNS and FESCUE_FAULT_SEED say
// how often and from which seed.
func TestFaults(t *testing.T) {
	dir, err := os.MkdirTemp("", "fescue-faults-")
	if err == nil {
		// Functions may run as another user: the folder must be open to all.
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	o := faults.Options{Seed: number(t, "FESCUE_FAULT_SEED", 1), Runs: int(number(t, "FESCUE_FAULT_RUNS", 20)), Parallel: 4, Dir: dir, Log: t.Output()}
	if o.Programs, err = faults.Build(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	report, err := faults.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
	for _, b := range report.Broken {
		t.Errorf("seed %d: %v", b.Seed, b.Err)
	}
	if len(report.Broken) > 0 {
		return // the logs stay
	}
	if report.Runs != o.Runs {
		t.Errorf("%d runs, %d were to be made", report.Runs, o.Runs)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
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
