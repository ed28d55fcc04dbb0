package store

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
)

// oneByOne is how many rows are looked at for a text one by one, from where a page begins: of
// a text that many have, they have enough. For a rare one an index is asked then, where the
// database has one.
const oneByOne = 2000

// end is behind all ids and names.
const end = "~"

// nearby is where those rows end, which query finds.
func nearby(ctx context.Context, q querier, query string, p fescue.Partition, page fescue.Page) (edge string, err error) {
	if err = one(q.QueryRowContext(ctx, query, p.Key(), page.After, oneByOne), &edge); errors.Is(err, fescue.ErrNotFound) {
		return end, nil
	}
	return edge, err
}

// pattern is for LIKE what holds a text, in upper or lower case; empty for none.
func pattern(text string) string {
	if text == "" {
		return ""
	}
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(lower(text)) + "%"
}

// lower is what the databases make of a text: they know the letters from A to Z.
func lower(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, text)
}

// long reports whether a text has what text_grams of the schema makes of texts.
func long(text string) bool { return utf8.RuneCountInString(text) >= 3 }
