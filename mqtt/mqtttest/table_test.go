package mqtttest

import (
	"strings"
	"testing"
)

// TestTable: every statement has a row, or a reason why not, and rows that differ say why.
func TestTable(t *testing.T) {
	t.Parallel()
	held := make(map[string]bool)
	for _, r := range table {
		for _, id := range strings.Fields(r.ids) {
			held[id] = true
		}
		if differ := r.both == nil; differ != (r.why != "") || differ == (r.core == nil) || differ == (r.cloud == nil) {
			t.Errorf("%s %s: either the same steps for both, or some for each and why", r.ids, r.name)
		}
	}
	known := make(map[string]bool)
	for _, s := range statements {
		if known[s.id] {
			t.Errorf("%s is there twice", s.id)
		}
		known[s.id] = true
		if held[s.id] != (s.no == "") {
			t.Errorf("%s has a row: %v; why it has none: %q", s.id, held[s.id], s.no)
		}
	}
	for id := range held {
		if !known[id] {
			t.Errorf("there is no statement %s", id)
		}
	}
}
