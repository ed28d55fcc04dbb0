package sigv4

import "strings"

// characters are a set of them; all are ASCII.
type characters uint8

const (
	// unreserved are never encoded (RFC 3986, section 2.3).
	unreserved characters = 1 << iota
	// ofPath stand in a path that is not encoded again.
	ofPath
	// ofScope stand in the parts of a credential scope.
	ofScope
	// ofHeader stand in a header's name in lower case (RFC 9110, token).
	ofHeader
)

// sets are those that a byte is in.
var sets = func() (sets [256]characters) {
	put := func(c byte, of characters) { sets[c] |= of }
	for c := range byte(0x80) {
		lower, digit := 'a' <= c && c <= 'z', '0' <= c && c <= '9'
		letter := lower || 'A' <= c && c <= 'Z'
		if letter || digit || strings.IndexByte("-_.~", c) >= 0 {
			put(c, unreserved|ofPath)
		}
		if c == '/' {
			put(c, ofPath)
		}
		if letter || digit || strings.IndexByte("-_.", c) >= 0 {
			put(c, ofScope)
		}
		if lower || digit || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			put(c, ofHeader)
		}
	}
	return sets
}()

// has reports whether a character is in the set.
func (s characters) has(c byte) bool { return sets[c]&s != 0 }

// makeUp reports whether a text is made of characters of the set alone.
func (s characters) makeUp(text string) bool {
	for i := range len(text) {
		if !s.has(text[i]) {
			return false
		}
	}
	return true
}
