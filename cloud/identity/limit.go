package identity

import "strings"

// Limit is what a limited access key may act on. Groups and definitions are
// covered by a tag of theirs. What has no tags is covered by patterns of its name,
// in which * stands for any text and ? for one character, or by a covered group
// that holds it. The zero Limit limits nothing.
type Limit struct {
	// GroupTag, as "site=north", covers the groups and definitions with that tag.
	GroupTag string `json:"groupTag,omitempty"`
	// Things, Functions, Secrets and Buckets are patterns of names.
	Things    []string `json:"things,omitempty"`
	Functions []string `json:"functions,omitempty"`
	Secrets   []string `json:"secrets,omitempty"`
	Buckets   []string `json:"buckets,omitempty"`
}

// Unlimited reports whether the limit limits nothing.
func (l Limit) Unlimited() bool { return l.String() == "" }

// String is the limit in words, as "groups site=north; things mill-*,saw-*", empty
// for none.
func (l Limit) String() string {
	var parts []string
	for _, p := range []struct {
		what   string
		values []string
	}{
		{"groups", l.tag()}, {"things", l.Things}, {"functions", l.Functions}, {"secrets", l.Secrets}, {"buckets", l.Buckets},
	} {
		if len(p.values) > 0 {
			parts = append(parts, p.what+" "+strings.Join(p.values, ","))
		}
	}
	return strings.Join(parts, "; ")
}

// Tag is the key and the value of GroupTag.
func (l Limit) Tag() (key, value string, ok bool) { return strings.Cut(l.GroupTag, "=") }

// Tagged reports whether a group or definition with the tags is covered.
func (l Limit) Tagged(tags map[string]string) bool {
	key, value, ok := l.Tag()
	got, has := tags[key]
	return ok && has && got == value
}

func (l Limit) tag() []string {
	if l.GroupTag == "" {
		return nil
	}
	return []string{l.GroupTag}
}
