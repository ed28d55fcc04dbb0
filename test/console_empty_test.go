//go:build linux

package test

import "testing"

// TestConsoleEmpty: on a server that has nothing yet every page says what to do first.
func TestConsoleEmpty(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := s.open(t)
	b.signsIn(t, keyID, secret)
	for _, page := range []struct{ name, path, says string }{
		{"empty-overview", "/", "Three steps to a first deployment"},
		{"empty-cores", "/cores", "the overview has the steps from there"},
		{"empty-groups", "/groups", "There is no group yet."},
		{"empty-functions", "/functions", "There is no function yet."},
		{"empty-bulk", "/bulk", "There is none yet."},
		{"empty-things", "/things", "There is no thing yet."},
		{"empty-messages", "/messages", "Subscribe"},
		{"empty-certificates", "/certificates", "No certificate that is ACTIVE ends within 90 days."},
		{"empty-keys", "/keys", "admin"},
		{"empty-audit", "/audit?operation=CreateGroup", "No such call was recorded"},
		{"empty-search", "/cores?q=nothing", "No core matches."},
		{"empty-wrong", "/cores?state=wrong", "No core matches."},
		{"not-there", "/groups/00000000-0000-4000-8000-000000000000", "To the overview"},
	} {
		b.visit(t, page.path)
		b.sees(t, "main", page.says)
		b.fits(t, page.name)
	}
}
