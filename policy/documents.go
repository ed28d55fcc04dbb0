package policy

import (
	"crypto/sha256"
	"runtime"
	"sync"
	"weak"
)

// Documents parses documents once for all who use them at the same time: a fleet has
// many principals and few policies. What nobody uses any more is forgotten. The zero value
// is ready; it must not be copied.
type Documents struct {
	mu     sync.Mutex
	parsed map[[sha256.Size]byte]weak.Pointer[Document]
}

// ParseAll is the function of that name.
func (d *Documents) ParseAll(documents []string) (Set, error) {
	set := make(Set, 0, len(documents))
	for _, text := range documents {
		document, err := d.parse(text)
		if err != nil {
			return nil, err
		}
		set = append(set, document)
	}
	return set, nil
}

func (d *Documents) parse(text string) (*Document, error) {
	key := sha256.Sum256([]byte(text))
	if document := d.find(key); document != nil {
		return document, nil
	}
	document, err := Parse(text)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if other := d.parsed[key].Value(); other != nil {
		return other, nil // somebody was faster
	}
	if d.parsed == nil {
		d.parsed = make(map[[sha256.Size]byte]weak.Pointer[Document])
	}
	d.parsed[key] = weak.Make(document)
	runtime.AddCleanup(document, d.forget, key)
	return document, nil
}

func (d *Documents) find(key [sha256.Size]byte) *Document {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.parsed[key].Value()
}

// forget removes a document that is gone, unless it was parsed anew.
func (d *Documents) forget(key [sha256.Size]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.parsed[key].Value() == nil {
		delete(d.parsed, key)
	}
}

// Len is how many documents are in use, or were a moment ago.
func (d *Documents) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.parsed)
}
