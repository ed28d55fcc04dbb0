package mqttfront

import (
	"strings"

	"github.com/fescue-edge/fescue"
)

// How names look on the broker's side. A topic becomes
//
//	<account>:<region>:<class>/m/<level>/m/<level>/e/<last level>
//
// The class is "s" for topics that start with $ and "n" for all others, so that
// no wildcard reaches from one to the other. Each level stands behind a marker
// that says whether more follow ("m") or the topic ends ("e"), so that a/# finds
// "…/m/a/e/b" and never a itself, "…/e/a". With that a broker that follows MQTT
// 3.1.1 to the letter matches exactly as AWS IoT does, and what it delivers needs
// no second look at the client's filters, which only the broker remembers.
//
// Inside a level every byte that a NATS subject or client name may not hold is
// written as ~ and two hexadecimal digits; an empty level is a bare ~.
const (
	more        = "/m/"
	last        = "/e/"
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
	if level == emptyLevel {
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

// namer translates the names of one partition.
type namer struct{ prefix string }

func newNamer(p fescue.Partition) namer {
	var b strings.Builder
	escape(&b, p.Account)
	b.WriteByte(':')
	escape(&b, p.Region)
	b.WriteByte(':')
	return namer{b.String()}
}

// client is the broker's id for a client's session.
func (n namer) client(id string) string {
	var b strings.Builder
	b.WriteString(n.prefix)
	escape(&b, id)
	return b.String()
}

// topic is the broker's form of a valid topic name.
func (n namer) topic(name string) string { return n.translate(name, false) }

// filter is the broker's form of a valid topic filter.
func (n namer) filter(filter string) string { return n.translate(filter, true) }

func (n namer) translate(s string, wildcards bool) string {
	var b strings.Builder
	b.Grow(len(n.prefix) + 2*len(s) + 16)
	b.WriteString(n.prefix)
	if strings.HasPrefix(s, "$") {
		b.WriteString(classDollar)
	} else {
		b.WriteString(classPlain)
	}
	for level, rest, found := "", s, true; found; {
		level, rest, found = strings.Cut(rest, "/")
		if wildcards && level == "#" {
			b.WriteString("/#")
			break
		}
		if found {
			b.WriteString(more)
		} else {
			b.WriteString(last)
		}
		if wildcards && level == "+" {
			b.WriteByte('+')
		} else {
			escape(&b, level)
		}
	}
	return b.String()
}

// original undoes topic; false for a name that topic did not make.
func (n namer) original(s string) (string, bool) {
	rest, ok := strings.CutPrefix(s, n.prefix)
	if !ok || len(rest) < 1 {
		return "", false
	}
	class := rest[:1]
	rest = rest[1:]
	var b strings.Builder
	b.Grow(len(rest))
	for {
		marker := more
		if strings.HasPrefix(rest, last) {
			marker = last
		} else if !strings.HasPrefix(rest, more) {
			return "", false
		}
		level, following := rest[len(marker):], ""
		if i := strings.IndexByte(level, '/'); i >= 0 {
			level, following = level[:i], level[i:]
		}
		if !unescape(&b, level) {
			return "", false
		}
		if marker == last {
			name := b.String()
			dollar := strings.HasPrefix(name, "$")
			return name, following == "" && dollar == (class == classDollar) && (dollar || class == classPlain)
		}
		b.WriteByte('/')
		rest = following
	}
}
