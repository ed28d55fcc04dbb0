package main

import (
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/fescue-edge/fescue/client"
)

// TestExamples: the help of each command shows how it is called.
func TestExamples(t *testing.T) {
	parser, err := kong.New(&commands{}, kong.Name("fescue"), kong.Vars{"local_endpoint": client.LocalEndpoint})
	if err != nil {
		t.Fatal(err)
	}
	leaves := parser.Model.Leaves(true)
	if len(leaves) < 30 {
		t.Errorf("%d commands", len(leaves))
	}
	for _, leaf := range leaves {
		if _, examples, _ := strings.Cut(leaf.Detail, "\nExamples:\n"); !strings.Contains(examples, leaf.FullPath()) {
			t.Errorf("%s: %q", leaf.FullPath(), leaf.Detail)
		}
	}
}

// TestSuggestions: a word that is not known is taken for one that is near it, or for none.
func TestSuggestions(t *testing.T) {
	for line, want := range map[string]string{
		"bogus":                 "unexpected argument bogus",
		"ls":                    "unexpected argument ls",
		"stauts":                `unexpected argument stauts, did you mean "status"?`,
		"kyes":                  `unexpected argument kyes, did you mean "keys"?`,
		"shdow":                 `unexpected argument shdow, did you mean "shadow"?`,
		"de":                    `unexpected argument de, did you mean one of "deploy", "devices", "deployments"?`,
		"keys signing rotat":    `unexpected argument rotat, did you mean "rotate"?`,
		"status --jsn":          `unknown flag --jsn, did you mean "--json"?`,
		"status --bogus":        "unknown flag --bogus",
		"version \"keys\", --x": `unexpected argument "keys",`,
	} {
		var out, errs strings.Builder
		code := run(t.Context(), strings.Fields(line), &out, &errs)
		if said, _, _ := strings.Cut(errs.String(), "\n"); code != 2 || said != "fescue: "+want {
			t.Errorf("%s: exit code %d, %s", line, code, said)
		}
	}
}
