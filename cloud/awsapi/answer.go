package awsapi

import (
	"bytes"
	"net/http"
)

// answer remembers the status of an answer, and can hold the answer back until
// it is known whether the caller may have it.
type answer struct {
	http.ResponseWriter
	status int
	// code is the error's name, for services that note it.
	code string
	held bool
	body bytes.Buffer
}

// hold keeps what is written from here on until release or discard.
func (a *answer) hold() { a.held = true }

// release sends what was held.
func (a *answer) release() {
	a.held = false
	a.ResponseWriter.WriteHeader(a.status)
	a.ResponseWriter.Write(a.body.Bytes())
}

// discard forgets what was held, so that another answer can be written.
func (a *answer) discard() {
	a.held = false
	a.body.Reset()
	id := a.Header().Get(RequestIDHeader)
	clear(a.Header())
	a.Header().Set(RequestIDHeader, id)
}

// retryAfter is for clients of what cannot be done now, in seconds.
const retryAfter = "2"

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if status == http.StatusServiceUnavailable {
		a.Header().Set("Retry-After", retryAfter)
	}
	if a.held && status < http.StatusOK {
		return // informational; what was held comes at once
	}
	a.status = status
	if !a.held {
		a.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if a.held {
		return a.body.Write(p)
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// NoteCode notes the name of the error that a service writes, for
// the audit record: not every protocol has it in a header.
func NoteCode(w http.ResponseWriter, code string) {
	if a, ok := w.(*answer); ok {
		a.code = code
	}
}
