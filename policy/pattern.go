package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// syntax says what in a text is special.
type syntax struct {
	wildcards bool // * and ?
	variables bool // ${…}
	fold      bool // ASCII letters match in either case
}

// pattern is a compiled text: chunks, with a * between each two. Matching takes
// the leftmost place for every chunk and never comes back to one, so its time
// is bounded by the product of both lengths, whatever the wildcards.
type pattern struct {
	chunks [][]token
	keys   []key // the variables, in the order of their tokens
	fold   bool
}

// token is a piece of a chunk: literal text, one arbitrary character, or the
// value of a variable.
type token struct {
	kind     tokenKind
	text     string // of a literal
	variable int    // index into pattern.keys
}

type tokenKind uint8

const (
	literal tokenKind = iota
	anyCharacter
	variable
)

// escapes write a special character as itself (IAM user guide, "IAM policy
// elements: Variables and tags").
var escapes = map[string]string{"*": "*", "?": "?", "$": "$"}

func compile(text string, how syntax) (pattern, error) {
	p := pattern{chunks: [][]token{nil}, fold: how.fold}
	put := func(t token) {
		last := &p.chunks[len(p.chunks)-1]
		if n := len(*last); n > 0 && t.kind == literal && (*last)[n-1].kind == literal {
			(*last)[n-1].text += t.text
			return
		}
		*last = append(*last, t)
	}
	for text != "" {
		i := strings.IndexAny(text, "*?$")
		if i < 0 {
			i = len(text)
		}
		if i > 0 {
			put(token{text: text[:i]})
			text = text[i:]
			continue
		}
		special := text[0]
		switch {
		case special == '*' && how.wildcards:
			p.chunks = append(p.chunks, nil)
		case special == '?' && how.wildcards:
			put(token{kind: anyCharacter})
		case special == '$' && how.variables && strings.HasPrefix(text, "${"):
			name, rest, ok := strings.Cut(text[len("${"):], "}")
			if !ok {
				return pattern{}, fmt.Errorf("%q has no closing brace of a variable", text)
			}
			if escaped, ok := escapes[name]; ok {
				put(token{text: escaped})
			} else {
				if err := checkVariable(name); err != nil {
					return pattern{}, fmt.Errorf("${%s}: %w", name, err)
				}
				put(token{kind: variable, variable: len(p.keys)})
				p.keys = append(p.keys, parseKey(name))
			}
			text = rest
			continue
		default:
			put(token{text: text[:1]})
		}
		text = text[1:]
	}
	return p, nil
}

func checkVariable(name string) error {
	if !strings.Contains(name, ":") || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || strings.ContainsRune("${*?'\",", r) }) {
		return errors.New("this is not the name of a variable such as ${iot:ClientId}; a literal dollar before a brace is written ${$}")
	}
	return nil
}

// match says whether s matches; resolved is false, and matched then too, when a
// variable has no value. With guardFilter, a value that contains an MQTT
// wildcard counts as none.
func (p *pattern) match(s string, variables map[string][]string, guardFilter bool) (matched, resolved bool) {
	var few [4]string
	values := few[:0]
	for _, k := range p.keys {
		value, ok := k.value(variables)
		if !ok || guardFilter && strings.ContainsAny(value, "+#") {
			return false, false
		}
		values = append(values, value)
	}
	return p.matchValues(s, values), true
}

// isTopicFilter says whether a resource is what iot:Subscribe is asked for.
// There an allowed "my/${iot:ClientId}/x" must not become "my/+/x" for a client
// that calls itself "+". AWS leaves it to the policy's author to prevent that by
// an iot:Connect statement (AWS IoT Core developer guide, "Basic AWS IoT Core
// policy variables").
func isTopicFilter(resource string) bool {
	return strings.Contains(resource, ":topicfilter/")
}

func (p *pattern) matchValues(s string, values []string) bool {
	first, last := p.chunks[0], p.chunks[len(p.chunks)-1]
	n := p.prefix(first, s, values)
	if n < 0 {
		return false
	}
	if len(p.chunks) == 1 {
		return n == len(s)
	}
	s = s[n:]
	if n = p.suffix(last, s, values); n < 0 {
		return false
	}
	s = s[:len(s)-n]
	for _, chunk := range p.chunks[1 : len(p.chunks)-1] {
		end := p.find(chunk, s, values)
		if end < 0 {
			return false
		}
		s = s[end:]
	}
	return true
}

func (t *token) literalText(values []string) string {
	if t.kind == variable {
		return values[t.variable]
	}
	return t.text
}

// prefix is the length of what the chunk matches at the start of s, or -1.
func (p *pattern) prefix(chunk []token, s string, values []string) int {
	n := 0
	for i := range chunk {
		if chunk[i].kind == anyCharacter {
			if n == len(s) {
				return -1
			}
			_, size := utf8.DecodeRuneInString(s[n:])
			n += size
			continue
		}
		text := chunk[i].literalText(values)
		if len(s)-n < len(text) || !p.equal(s[n:n+len(text)], text) {
			return -1
		}
		n += len(text)
	}
	return n
}

// suffix is the length of what the chunk matches at the end of s, or -1.
func (p *pattern) suffix(chunk []token, s string, values []string) int {
	end := len(s)
	for i := len(chunk) - 1; i >= 0; i-- {
		if chunk[i].kind == anyCharacter {
			if end == 0 {
				return -1
			}
			_, size := utf8.DecodeLastRuneInString(s[:end])
			end -= size
			continue
		}
		text := chunk[i].literalText(values)
		if end < len(text) || !p.equal(s[end-len(text):end], text) {
			return -1
		}
		end -= len(text)
	}
	return len(s) - end
}

// find is the end of the chunk's leftmost match in s, or -1.
func (p *pattern) find(chunk []token, s string, values []string) int {
	for start := 0; ; {
		if len(chunk) > 0 && chunk[0].kind != anyCharacter && !p.fold {
			i := strings.Index(s[start:], chunk[0].literalText(values))
			if i < 0 {
				return -1
			}
			start += i
		}
		if n := p.prefix(chunk, s[start:], values); n >= 0 {
			return start + n
		}
		if start == len(s) {
			return -1
		}
		_, size := utf8.DecodeRuneInString(s[start:])
		start += size
	}
}

func (p *pattern) equal(a, b string) bool {
	if a == b || !p.fold {
		return a == b
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// expand is the pattern as text, for comparisons other than match.
func (p *pattern) expand(variables map[string][]string) (text string, resolved bool) {
	var b strings.Builder
	for _, t := range p.chunks[0] {
		if t.kind != variable {
			b.WriteString(t.text)
			continue
		}
		value, ok := p.keys[t.variable].value(variables)
		if !ok {
			return "", false
		}
		b.WriteString(value)
	}
	return b.String(), true
}
