package testkit

import (
	"bytes"
	"regexp"
	"sync"
)

// Buffer keeps what is written to it, and can be read meanwhile: a log, or what a
// process prints. The zero Buffer is empty.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is everything so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Find returns the first group of a pattern in what was written so far.
func (b *Buffer) Find(pattern string) (string, bool) {
	m := regexp.MustCompile(pattern).FindStringSubmatch(b.String())
	if m == nil {
		return "", false
	}
	return m[1], true
}
