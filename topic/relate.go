package topic

import "strings"

// Covers says whether every topic that matches the filter other matches filter too.
func Covers(filter, other string) bool {
	return relate(filter, other, func(level, of string) bool {
		return level == of || level == "+" && of != "#"
	}, false)
}

// Overlap says whether there are topics that match both filters.
func Overlap(a, b string) bool {
	return relate(a, b, func(level, of string) bool {
		return level == of || level == "+" || of == "+"
	}, true)
}

// relate compares two filters level by level. A # of the first, and with both one of
// the second, settles the levels that are left.
func relate(a, b string, same func(level, of string) bool, both bool) bool {
	if dollar(a) != dollar(b) && (wild(a) || wild(b)) {
		return false
	}
	for {
		level, restA, moreA := strings.Cut(a, "/")
		of, restB, moreB := strings.Cut(b, "/")
		switch {
		case level == "#", both && of == "#":
			return true
		case !same(level, of):
			return false
		case !moreA || !moreB:
			return moreA == moreB
		}
		a, b = restA, restB
	}
}

// dollar reports whether a filter is for reserved topics, wild whether it begins
// with a wildcard, which never is.
func dollar(filter string) bool { return strings.HasPrefix(filter, "$") }
func wild(filter string) bool {
	return strings.HasPrefix(filter, "+") || strings.HasPrefix(filter, "#")
}
