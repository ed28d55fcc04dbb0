// Package topic holds the rules of MQTT topic names and topic filters as AWS
// IoT applies them: what is well formed, and which filter matches which name.
//
// The package is pure. It knows nothing of sessions, policies or partitions; a
// prefix that a broker puts in front of a topic is the broker's business and
// has to be off before a topic comes here.
package topic

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of AWS IoT Core, from "AWS IoT Core endpoints and quotas" in the AWS
// General Reference. The Basic Ingest prefix $aws/rules/<rule>/ counts towards
// neither; names below $aws/things/ may have any number of slashes.
const (
	// MaxBytes is the longest topic or filter, in bytes of UTF-8.
	MaxBytes = 256
	// MaxSlashes is the largest number of slashes in a topic or filter.
	MaxSlashes = 7
)

// What can be wrong with a topic name or filter. Every error of this package
// wraps exactly one of these.
var (
	// ErrEmpty means that nothing is there, or nothing after the Basic Ingest
	// prefix.
	ErrEmpty = errors.New("is empty")
	// ErrEncoding means bytes that MQTT forbids in its strings: they are not
	// UTF-8, or contain U+0000.
	ErrEncoding = errors.New("is not UTF-8 text without U+0000")
	// ErrTooLong means more than MaxBytes bytes.
	ErrTooLong = errors.New("is too long")
	// ErrTooDeep means more than MaxSlashes slashes.
	ErrTooDeep = errors.New("has too many levels")
	// ErrWildcard means a + or # where it may not stand.
	ErrWildcard = errors.New("has a misplaced wildcard")
)

const (
	ingestPrefix = "$aws/rules/"
	thingsPrefix = "$aws/things/"
)

// ValidName says whether s can be published to: it is nil, or wraps one of the
// errors above.
func ValidName(s string) error {
	if err := valid(s); err != nil {
		return fmt.Errorf("topic %.300q %w", s, err)
	}
	if i := strings.IndexAny(s, "+#"); i >= 0 {
		return fmt.Errorf("topic %q %w: %c stands only in subscriptions, publish to one topic", s, ErrWildcard, s[i])
	}
	return nil
}

// ValidFilter says whether s can be subscribed to: it is nil, or wraps one of
// the errors above. A name is a filter too.
func ValidFilter(s string) error {
	if err := valid(s); err != nil {
		return fmt.Errorf("topic filter %.300q %w", s, err)
	}
	for level, rest, more := "", s, true; more; {
		level, rest, more = strings.Cut(rest, "/")
		switch {
		case level == "+":
		case level == "#":
			if more {
				return fmt.Errorf("topic filter %q %w: # must be the last level", s, ErrWildcard)
			}
		case strings.ContainsAny(level, "+#"):
			return fmt.Errorf("topic filter %q %w: + and # must be a whole level between slashes", s, ErrWildcard)
		}
	}
	return nil
}

// valid checks what names and filters have in common.
func valid(s string) error {
	counted, unlimited := s, strings.HasPrefix(s, thingsPrefix)
	if rest, ok := strings.CutPrefix(s, ingestPrefix); ok {
		// A topic of fewer than three levels and the rule's own name have
		// nothing after the prefix: the rule would get a message without topic.
		if _, counted, ok = strings.Cut(rest, "/"); !ok {
			return fmt.Errorf("%w after %s<rule>/", ErrEmpty, ingestPrefix)
		}
	}
	switch {
	case counted == "":
		return ErrEmpty
	case len(counted) > MaxBytes:
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLong, len(counted), MaxBytes)
	// The prefix is not counted, yet nothing may be unbounded.
	case len(s)-len(counted) > MaxBytes:
		return fmt.Errorf("%w: its rule prefix has %d bytes, at most %d are allowed", ErrTooLong, len(s)-len(counted), MaxBytes)
	case !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0:
		return ErrEncoding
	case unlimited:
		return nil
	}
	if n := strings.Count(counted, "/"); n > MaxSlashes {
		return fmt.Errorf("%w: %d slashes, at most %d are allowed", ErrTooDeep, n, MaxSlashes)
	}
	return nil
}
