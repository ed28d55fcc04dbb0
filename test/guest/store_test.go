//go:build linux

package guest_test

import (
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/test/guest"
)

// kept is a line of core/store's process that queues without end: what is on the disk,
// and whether that was there when it started.
var kept = regexp.MustCompile(`(?m)^kept (\d+) (\d+) (there)?\n`)

// TestPowerCutOfTheStore: what the core's store said to be on the disk is there after a
// power cut, in order and once.
func TestPowerCutOfTheStore(t *testing.T) {
	m := guest.Need(t)
	disk := guest.Prepare(t, guest.Disk{
		Script: `cd /guest; FESCUE_TEST_STORE_FILE=/var/state/core.db ./store.test | while read first last there; do echo "kept $first $last $there"; done`,
		Files:  build(t, map[string]string{"store.test": "core/store"}),
	})
	var first, last uint64 // as was said before the cut
	for run := range 3 {
		g := m.Start(t, disk)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		if err := g.Until(ctx, 40+30*run, "kept "); err != nil {
			t.Fatal(err)
		}
		g.Cut()
		said, _ := g.Said()
		lines := kept.FindAllStringSubmatch(said, -1)
		numbers := func(line []string) (first, last uint64) {
			if _, err := fmt.Sscan(line[1], &first); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Sscan(line[2], &last); err != nil {
				t.Fatal(err)
			}
			return first, last
		}
		if begin, end := numbers(lines[0]); run > 0 && (lines[0][3] != "there" || begin < first || end < last) {
			t.Errorf("run %d: there are %d to %d, said were %d to %d", run, begin, end, first, last)
		}
		first, last = numbers(lines[len(lines)-1])
	}
}
