package fescue

import (
	"strconv"
	"strings"
)

// ParseTag reads a tag as it is looked for: its key, = and its value. A key that has an = in
// it, or begins with a quotation mark, stands in quotation marks, as in "a=b"=c, with \ before
// each quotation mark and \ that is its own.
func ParseTag(text string) (key, value string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		key, value, ok = strings.Cut(text, "=")
		return key, value, ok && key != ""
	}
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return "", "", false
	}
	if key, err = strconv.Unquote(quoted); err != nil {
		return "", "", false
	}
	value, ok = strings.CutPrefix(text[len(quoted):], "=")
	return key, value, ok && key != ""
}

// FormatTag is what ParseTag reads as a tag.
func FormatTag(key, value string) string {
	if strings.Contains(key, "=") || strings.HasPrefix(key, `"`) {
		key = strconv.Quote(key)
	}
	return key + "=" + value
}
