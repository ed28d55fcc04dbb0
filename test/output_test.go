//go:build linux

package test

import (
	"bytes"
	"regexp"
	"sync"
)

// output keeps what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

// String is everything so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// find returns the first group of a pattern in what was printed so far.
func (o *output) find(pattern string) (string, bool) {
	m := regexp.MustCompile(pattern).FindStringSubmatch(o.String())
	if m == nil {
		return "", false
	}
	return m[1], true
}
