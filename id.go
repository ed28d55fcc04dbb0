package fescue

import (
	"regexp"
	"time"

	"github.com/google/uuid"
)

// NewID makes the id of a group, definition, version or deployment: a random
// UUID in lowercase text, as the original's were.
func NewID() string { return uuid.NewString() }

// NewTimedID makes an id of NewID's form that sorts behind those that were made in the
// milliseconds before (UUID, version 7). What is written by the thousand one after the other has
// such ones: its rows lie together in the database's indexes, and are written together.
func NewTimedID() string { return uuid.Must(uuid.NewV7()).String() }

// ValidID reports whether s has the form of NewID's ids. Ids reach Fescue in
// URL paths, so everything that is looked up by one is checked first.
func ValidID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

var (
	entityIDPattern  = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)
	thingNamePattern = entityIDPattern
	hashPattern      = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ValidEntityID reports whether s may be the Id of a core, device, function,
// resource, subscription, connector or logger inside a definition version: at
// most 128 characters of [a-zA-Z0-9:_-] (Greengrass API model).
func ValidEntityID(s string) bool { return entityIDPattern.MatchString(s) }

// ValidThingName reports whether s may name an IoT thing: 1 to 128 characters
// of [a-zA-Z0-9:_-] (AWS IoT API model).
func ValidThingName(s string) bool { return thingNamePattern.MatchString(s) }

// ValidHash reports whether s is a SHA-256 in lowercase hexadecimal: the form
// of certificate ids and artifact names.
func ValidHash(s string) bool { return hashPattern.MatchString(s) }

// Timestamp formats a time as the Greengrass API prints CreationTimestamp,
// LastUpdatedTimestamp, CreatedAt and UpdatedAt: UTC with milliseconds.
func Timestamp(t time.Time) string {
	t = t.UTC()
	// Package time has a way of its own for RFC 3339, which takes a third of the time.
	b, millis := t.AppendFormat(make([]byte, 0, len(time.RFC3339Nano)), time.RFC3339), t.Nanosecond()/int(time.Millisecond)
	b = append(b[:len(b)-len("Z")], '.', '0'+byte(millis/100), '0'+byte(millis/10%10), '0'+byte(millis%10), 'Z')
	return string(b)
}

// TimestampSeconds formats a time as the Greengrass API prints AssociatedAt and
// DisassociatedAt: UTC without a fraction.
func TimestampSeconds(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
