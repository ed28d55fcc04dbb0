package main

import (
	"strings"
	"testing"
)

// TestCandidates: what may come next is what the command line's parser takes.
func TestCandidates(t *testing.T) {
	for line, want := range map[string]string{
		"":                            "up server core",
		"statu":                       "status",
		"keys ":                       "list create revoke signing",
		"keys signing r":              "rotate",
		"nonsense":                    "",
		"completion ":                 "bash zsh fish",
		"deployments --status ":       "Building InProgress Success Failure",
		"deployments --status = S":    "Success",
		"deployments --status=Su":     "--status=Success",
		"deployments --limit 3 --jso": "--json",
		"deployments --json --stat":   "--status",
		"status --log-l":              "--log-level",
		"keys --account":              "",
		"keys create --access ":       "admin deployer reader",
		"keys create --da":            "--database --data",
		"login --ca ":                 "",
		"login x --profi":             "--profile",
		"__comp":                      "",
	} {
		var out, errs strings.Builder
		if code := run(t.Context(), append([]string{completionWord}, strings.Split(line, " ")...), &out, &errs); code != 0 || errs.Len() > 0 {
			t.Errorf("%q: exit code %d, %s", line, code, &errs)
		}
		var words []string
		for row := range strings.Lines(out.String()) {
			word, what, ok := strings.Cut(strings.TrimSuffix(row, "\n"), "\t")
			if !ok || what == "" {
				t.Errorf("%q: nothing is said of %q", line, row)
			}
			words = append(words, word)
		}
		if got := strings.Join(words, " "); got != want && !(line == "" && strings.HasPrefix(got, want)) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
