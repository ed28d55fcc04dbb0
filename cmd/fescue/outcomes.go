package main

import (
	"fmt"
	"io"

	"github.com/fescue-edge/fescue/transfer"
)

// printOutcomes prints what became of the parts, and in one line what that comes
// to.
func printOutcomes(w io.Writer, outcomes []transfer.Outcome) {
	counts := map[transfer.State]int{}
	for _, o := range outcomes {
		counts[o.State]++
		fmt.Fprintf(w, "%-10s %s\n", o.State, o.What)
	}
	fmt.Fprintln(w)
	switch {
	case counts[transfer.Restored] == len(outcomes) && len(outcomes) > 0:
		fmt.Fprintf(w, "Restored all %d parts.\n", len(outcomes))
	case counts[transfer.Restored] > 0:
		fmt.Fprintf(w, "Restored %d of %d parts; the others were there.\n", counts[transfer.Restored], len(outcomes))
	case counts[transfer.Missing] > 0:
		fmt.Fprintf(w, "Nothing was changed. %d of %d parts are missing; without --dry-run they are restored.\n", counts[transfer.Missing], len(outcomes))
	default:
		fmt.Fprintf(w, "Nothing changed: all %d parts were there.\n", len(outcomes))
	}
}
