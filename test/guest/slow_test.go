//go:build linux && slow

package guest_test

import (
	"testing"

	"github.com/fescue-edge/fescue/test/guest"
)

// TestMonths changes the clock, under the feet of real servers, cores and devices. It takes
// minutes of an idle machine, and on a busy one what it starts may find the rest too slow:
// who changes what it is about runs it, with the tag slow.
func TestMonths(t *testing.T) {
	m := guest.Need(t)
	disk := guest.Prepare(t, guest.Disk{Script: "cd /guest; FESCUE_TEST_PROGRAMS=/guest ./programs.test -test.v -test.run '^TestMonths$'",
		Files: build(t, map[string]string{"programs.test": "test", "fescue": "cmd/fescue", "fescue-core": "cmd/fescue-core"})})
	passed(t, m.Run(t, disk))
}
