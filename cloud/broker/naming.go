package broker

import (
	"strings"

	"github.com/fescue-edge/fescue"
)

// How names look to nats-server. A topic of a partition becomes a subject,
//
//	<account>:<region>.<class>.<level>.<level>…
//
// behind the prefix of what it is for. The class is "s" for topics that start with $ and
// "n" for all others, so that no wildcard reaches from one to the other. A # at the end
// becomes >, which finds what lies below as AWS IoT's does: at least one level.
//
// Inside a level every byte that a subject may not hold is written as ~ and two
// hexadecimal digits; an empty level is a bare ~.
const (
	classPlain  = "n"
	classDollar = "s"
	emptyLevel  = "~"
	escapeByte  = '~'
	hexDigits   = "0123456789abcdef"
)

// unescaped reports the bytes that go through as they are. NATS takes all bytes
// of UTF-8 sequences.
func unescaped(c byte) bool {
	switch {
	case c >= 0x80, '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		return true
	}
	return c == '-' || c == '_' || c == ':' || c == '$' || c == '@' || c == '='
}

func escape(b *strings.Builder, level string) {
	if level == "" {
		b.WriteString(emptyLevel)
		return
	}
	for i := range len(level) {
		if c := level[i]; unescaped(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte(escapeByte)
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
}

func unescape(b *strings.Builder, level string) bool {
	switch level {
	case emptyLevel:
		return true
	case "*":
		b.WriteByte('+')
		return true
	case ">":
		b.WriteByte('#')
		return true
	}
	for i := 0; i < len(level); i++ {
		if level[i] != escapeByte {
			b.WriteByte(level[i])
			continue
		}
		if i+2 >= len(level) {
			return false
		}
		hi, lo := strings.IndexByte(hexDigits, level[i+1]), strings.IndexByte(hexDigits, level[i+2])
		if hi < 0 || lo < 0 {
			return false
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return level != ""
}

// space is a partition in subjects and keys: no topic or client of one has the name of
// another's.
type space string

func spaceOf(p fescue.Partition) space {
	var b strings.Builder
	escape(&b, p.Account)
	b.WriteByte(':')
	escape(&b, p.Region)
	return space(b.String())
}

// Key names a client's session in the whole of a broker.
func Key(p fescue.Partition, clientID string) string {
	var b strings.Builder
	b.WriteString(string(spaceOf(p)))
	b.WriteByte(':')
	escape(&b, clientID)
	return b.String()
}

// Space is the part of a key that all of a partition have in common.
func Space(key string) string {
	if parts := strings.SplitN(key, ":", 3); len(parts) == 3 {
		return parts[0] + ":" + parts[1]
	}
	return key
}

// subject is what follows a prefix for a valid topic name or filter.
func (s space) subject(name string) string {
	var b strings.Builder
	b.Grow(len(s) + len(name) + 16)
	b.WriteString(string(s))
	b.WriteByte('.')
	if strings.HasPrefix(name, "$") {
		b.WriteString(classDollar)
	} else {
		b.WriteString(classPlain)
	}
	for level, rest, found := "", name, true; found; {
		level, rest, found = strings.Cut(rest, "/")
		b.WriteByte('.')
		switch {
		case level == "#" && !found:
			b.WriteByte('>')
		case level == "+":
			b.WriteByte('*')
		default:
			escape(&b, level)
		}
	}
	return b.String()
}

// original undoes subject; false for what subject did not make.
func original(subject string) (space, string, bool) {
	in, rest, _ := strings.Cut(subject, ".")
	class, rest, ok := strings.Cut(rest, ".")
	if !ok {
		return "", "", false
	}
	var b strings.Builder
	b.Grow(len(rest))
	for level, more := "", true; more; {
		level, rest, more = strings.Cut(rest, ".")
		if !unescape(&b, level) {
			return "", "", false
		}
		if more {
			b.WriteByte('/')
		}
	}
	name := b.String()
	if dollar := strings.HasPrefix(name, "$"); dollar != (class == classDollar) || !dollar && class != classPlain {
		return "", "", false
	}
	return space(in), name, true
}
