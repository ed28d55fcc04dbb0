//go:build linux

package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestClock: a program that is built as the harness builds them has the clock that
// it is given.
func TestClock(t *testing.T) {
	dir := t.TempDir()
	clocks, err := overlay(dir)
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "now")
	build := exec.Command("go", "build", "-overlay", clocks, "-o", bin, "./testdata/now")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c, err := newClock(filepath.Join(dir, "clock"))
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time {
		t.Helper()
		cmd := exec.Command(bin)
		cmd.Env = append(os.Environ(), clockVariable+"="+c.file)
		out, err := cmd.CombinedOutput()
		ns, bad := strconv.ParseInt(string(out), 10, 64)
		if err != nil || bad != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return time.Unix(0, ns)
	}
	for _, tc := range []struct {
		stands time.Time
		wrong  time.Duration
	}{{}, {wrong: 30 * time.Hour}, {wrong: -40 * time.Minute}, {stands: time.Unix(1700000000, 5)}, {}} {
		if err := c.set(tc.stands, tc.wrong); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		got := now()
		switch after := time.Now(); {
		case !tc.stands.IsZero():
			if !got.Equal(tc.stands) {
				t.Errorf("it stands at %s, and is said to be %s", tc.stands, got)
			}
		case got.Before(before.Add(tc.wrong)) || got.After(after.Add(tc.wrong)):
			t.Errorf("wrong by %s it is %s between %s and %s", tc.wrong, got, before, after)
		}
	}
}
