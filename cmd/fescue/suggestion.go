package main

import (
	"regexp"
	"slices"
	"strings"
)

// suggested are what the parser takes for meant where it does not know a word: all that are
// two letters away, which of five letters leaves little.
var suggested = regexp.MustCompile(`^(unexpected argument|unknown flag) (\S+), did you mean (?:one of )?("[^"]*"(?:, "[^"]*")*)\?$`)

// nearby is a parser's message without the suggestions that are far from the word: at most a
// third of the letters may differ, or the word is how the suggestion begins.
func nearby(message string) string {
	m := suggested.FindStringSubmatch(message)
	if m == nil {
		return message
	}
	word, list := m[2], strings.Split(m[3], ", ")
	list = slices.DeleteFunc(list, func(quoted string) bool {
		s := strings.Trim(quoted, `"`)
		return !strings.HasPrefix(s, word) && distance(word, s) > max(len(word), len(s))/3
	})
	message = m[1] + " " + word
	switch len(list) {
	case 0:
		return message
	case 1:
		return message + ", did you mean " + list[0] + "?"
	}
	return message + ", did you mean one of " + strings.Join(list, ", ") + "?"
}

// distance is how many letters have to be put in, left out, changed or swapped with the next
// one to make a word of another.
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
