package shadow

import (
	"encoding/json"
	"time"
)

// VersionsKept is how long a deleted document's version is remembered: one that is
// made again within that time goes on counting, later it starts anew (AWS IoT Core
// developer guide, "Deleting shadow data").
const VersionsKept = 48 * time.Hour

// Document is a shadow as it is kept. The zero Document is a shadow that never
// was. Documents are values: what changes one returns another, and neither is to
// be written to.
type Document struct {
	// Desired and Reported are the two sections, nil when absent. Numbers are
	// json.Number, as they were written.
	Desired  map[string]any `json:"desired,omitempty"`
	Reported map[string]any `json:"reported,omitempty"`
	// Metadata holds for each value of a section when it was written.
	Metadata Metadata `json:"metadata"`
	// Version is 1 for the first update and rises by one with each.
	Version int64 `json:"-"`
	// Deleted is when the document was deleted, zero for one that exists. What is
	// left of a deleted one is its version.
	Deleted time.Time `json:"-"`
}

// Metadata mirrors the sections: {"timestamp": T} stands in the place of each value
// that is no object and no array.
type Metadata struct {
	Desired  map[string]any `json:"desired,omitempty"`
	Reported map[string]any `json:"reported,omitempty"`
}

// Exists reports whether there is something to get.
func (d Document) Exists() bool { return d.Version > 0 && d.Deleted.IsZero() }

// Expired reports whether a deleted document's version no longer counts, so that
// nothing of it need be kept.
func (d Document) Expired(at time.Time) bool {
	return !d.Deleted.IsZero() && at.Sub(d.Deleted) > VersionsKept
}

// Apply is the document after an update. Its error is an *Error. The depth is looked at
// where updates are parsed: what is put together of two that are shallow enough cannot
// be deeper, and a document that came from the cloud may be.
func (d Document) Apply(u Update, at time.Time, limits Limits) (Document, error) {
	switch {
	case !d.Exists() && u.Version > 1:
		return d, ErrVersion
	case d.Exists() && u.Version != 0 && u.Version != d.Version:
		return d, ErrConflict
	}
	next := Document{Version: d.Version + 1}
	if d.Expired(at) {
		next.Version = 1
	}
	if u.Clear {
		return next, nil
	}
	stamp := timestamp(at)
	next.Desired, next.Metadata.Desired = u.Desired.merge(d.Desired, d.Metadata.Desired, stamp)
	next.Reported, next.Metadata.Reported = u.Reported.merge(d.Reported, d.Metadata.Reported, stamp)
	if limits.MaxSize > 0 && next.size() > limits.MaxSize {
		return d, ErrTooLarge
	}
	return next, nil
}

// Delete is what is left of the document after its deletion. Its error is an
// *Error.
func (d Document) Delete(id ID, r Request, at time.Time) (Document, error) {
	switch {
	case !d.Exists():
		return d, ErrNotFound(id)
	case r.Version != 0 && r.Version != d.Version:
		return d, ErrConflict
	}
	return Document{Version: d.Version, Deleted: at}, nil
}

// size is what counts of a document against the limit.
func (d Document) size() int {
	n := 0
	for _, section := range []map[string]any{d.Desired, d.Reported} {
		if section != nil {
			n += len(encode(section))
		}
	}
	return n
}

// timestamp is the metadata of a value that is written now.
func timestamp(at time.Time) map[string]any {
	return map[string]any{"timestamp": json.Number(seconds(at))}
}

// merge is a section and its metadata after an update.
func (s Section) merge(old, oldMeta map[string]any, stamp map[string]any) (values, meta map[string]any) {
	switch {
	case !s.Present:
		return old, oldMeta
	case s.Values == nil:
		return nil, nil
	}
	values, meta = merge(old, oldMeta, s.Values, stamp)
	if len(values) == 0 {
		return nil, nil
	}
	return values, meta
}

// merge lays a patch over an object: objects member by member, everything else as
// a whole; null removes.
func merge(old, oldMeta, patch, stamp map[string]any) (values, meta map[string]any) {
	values, meta = clone(old), clone(oldMeta)
	for key, value := range patch {
		if value == nil {
			delete(values, key)
			delete(meta, key)
			continue
		}
		if object, ok := value.(map[string]any); ok {
			if present, ok := values[key].(map[string]any); ok {
				presentMeta, _ := meta[key].(map[string]any)
				values[key], meta[key] = merge(present, presentMeta, object, stamp)
				continue
			}
			if object = withoutNulls(object); object == nil {
				delete(values, key)
				delete(meta, key)
				continue
			}
			value = object
		}
		values[key], meta[key] = value, mirror(value, stamp)
	}
	return values, meta
}

func clone(m map[string]any) map[string]any {
	c := make(map[string]any, len(m))
	for key, value := range m {
		c[key] = value
	}
	return c
}

// withoutNulls is a new object without its null members, nil when nothing but
// nulls was in it: such an object is not made. An empty one is a value.
func withoutNulls(object map[string]any) map[string]any {
	kept := make(map[string]any, len(object))
	for key, value := range object {
		if inner, ok := value.(map[string]any); ok {
			if inner = withoutNulls(inner); inner != nil {
				kept[key] = inner
			}
		} else if value != nil {
			kept[key] = value
		}
	}
	if len(kept) == 0 && len(object) > 0 {
		return nil
	}
	return kept
}

// mirror is the metadata of a value, without its nulls.
func mirror(value any, stamp map[string]any) any {
	switch v := value.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, member := range v {
			if member != nil {
				m[key] = mirror(member, stamp)
			}
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			list[i] = mirror(element, stamp)
		}
		return list
	}
	return stamp
}
