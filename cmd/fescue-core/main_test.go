//go:build linux

package main

import (
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestExamples: the help of each command shows how it is called.
func TestExamples(t *testing.T) {
	parser, err := kong.New(&commands{}, kong.Name("fescue-core"), kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	leaves := parser.Model.Leaves(true)
	if len(leaves) < 5 {
		t.Errorf("%d commands", len(leaves))
	}
	for _, leaf := range leaves {
		if _, examples, _ := strings.Cut(leaf.Detail, "\nExamples:\n"); !strings.Contains(examples, leaf.FullPath()) {
			t.Errorf("%s: %q", leaf.FullPath(), leaf.Detail)
		}
	}
}
