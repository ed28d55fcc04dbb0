package buckets

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
)

// MaxListed is the most that one page of a list holds.
const MaxListed = 1000

// Position is where a page of a list begins: at the first key that is not before
// From, without the key Except.
type Position struct{ From, Except string }

// List asks for a page of a bucket's objects, by key.
type List struct {
	// Prefix is what every key begins with.
	Prefix string
	// Delimiter, if not empty, groups the keys that have it after the prefix, by
	// what stands before and with it.
	Delimiter string
	// After leaves out keys up to this one, and the group that it names.
	After string
	// Position, if not zero, continues a list, and stands above After.
	Position Position
	// Limit bounds objects and groups together.
	Limit int
}

// Listing is a page.
type Listing struct {
	Objects []Object
	// Prefixes are the groups.
	Prefixes []string
	// Truncated says that there is more, from Next on; Last is the last key or
	// group of this page.
	Truncated bool
	Next      Position
	Last      string
}

// List lists objects. Reading goes around what is grouped, not through it.
func (s *Service) List(ctx context.Context, p fescue.Partition, bucket string, q List) (page Listing, err error) {
	if _, err := s.Bucket(ctx, p, bucket); err != nil {
		return page, err
	}
	q.Limit = min(q.Limit, MaxListed)
	at, more := q.start()
	for more && q.Limit > 0 {
		// One more than there is room for shows whether the list goes on.
		want := q.Limit - page.size() + 1
		rows, err := s.o.Store.Objects(ctx, p, bucket, at.From, at.Except, want)
		if err != nil {
			return page, err
		}
		at, more = page.add(rows, q, at)
		if page.Truncated || len(rows) < want {
			break
		}
	}
	return page, nil
}

func (l *Listing) size() int { return len(l.Objects) + len(l.Prefixes) }

// start is where the first row lies; false means that there can be none.
func (q List) start() (at Position, more bool) {
	at = q.Position
	if at == (Position{}) && q.After != "" {
		at = Position{From: q.After, Except: q.After}
		if q.group(q.After) == q.After {
			return q.beyond(q.After)
		}
	}
	if at.From < q.Prefix {
		at = Position{From: q.Prefix}
	}
	return at, true
}

// group is what a key is grouped under, empty when it stands for itself.
func (q List) group(key string) string {
	rest, ok := strings.CutPrefix(key, q.Prefix)
	if !ok || q.Delimiter == "" {
		return ""
	}
	if i := strings.Index(rest, q.Delimiter); i >= 0 {
		return key[:len(q.Prefix)+i+len(q.Delimiter)]
	}
	return ""
}

func (q List) beyond(group string) (Position, bool) {
	next, ok := successor(group)
	return Position{From: next}, ok
}

// add takes rows into the page and returns where reading goes on, if it does.
func (l *Listing) add(rows []Object, q List, at Position) (Position, bool) {
	group := ""
	for _, o := range rows {
		if !strings.HasPrefix(o.Key, q.Prefix) {
			return at, false
		}
		if group != "" && strings.HasPrefix(o.Key, group) {
			continue
		}
		if l.size() == q.Limit {
			l.Truncated, l.Next = true, at
			return at, false
		}
		if group = q.group(o.Key); group != "" {
			l.Prefixes, l.Last = append(l.Prefixes, group), group
			var more bool
			if at, more = q.beyond(group); !more {
				return at, false
			}
			continue
		}
		l.Objects, l.Last = append(l.Objects, o), o.Key
		at = Position{From: o.Key, Except: o.Key}
	}
	return at, true
}

// successor is the least text above every text that begins with prefix; false
// means that there is none.
func successor(prefix string) (string, bool) {
	for prefix != "" {
		r, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch {
		case r == utf8.MaxRune:
			continue
		case r == 0xD7FF: // what follows is no text
			return prefix + "\uE000", true
		}
		return prefix + string(r+1), true
	}
	return "", false
}
