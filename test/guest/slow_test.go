//go:build linux && slow

package guest_test

import (
	"testing"

	"github.com/fescue-edge/fescue/test/guest"
)

// inGuest runs tests of package test, with real servers and cores. They take minutes of
// an idle machine, and on a busy one what they start may find the others too slow: who
// changes what they are about runs them, with the tag slow.
func inGuest(t *testing.T, tests string) {
	t.Helper()
	m := guest.Need(t)
	disk := guest.Prepare(t, guest.Disk{Script: delegated + "export FESCUE_TEST_PROGRAMS=/guest; in_unit ./programs.test -test.v -test.run '" + tests + "'",
		Files: build(t, map[string]string{"programs.test": "test", "fescue": "cmd/fescue", "fescue-core": "cmd/fescue-core", "echo": "test/testdata/echo"})})
	passed(t, m.Run(t, disk))
}

// TestMonths changes the clock.
func TestMonths(t *testing.T) { inGuest(t, "^TestMonths$") }

// TestLanguages is the matrix of functions' languages on control groups of version 2.
func TestLanguages(t *testing.T) { inGuest(t, "^TestLanguages$") }
