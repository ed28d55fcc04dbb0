package shadow

import (
	"fmt"
	"time"
)

// Error is a refusal as the shadow service words it: Code is an HTTP status.
type Error struct {
	Code    int
	Message string
}

// Error is the code and the message.
func (e *Error) Error() string { return fmt.Sprintf("%d: %s", e.Code, e.Message) }

// The refusals (AWS IoT Core developer guide, "Device Shadow error messages").
var (
	ErrInvalidJSON = &Error{400, "Invalid JSON"}
	ErrNoPayload   = &Error{400, "Missing update payload"}
	ErrNoState     = &Error{400, "Missing required node: state"}
	ErrState       = &Error{400, "State node must be an object"}
	ErrDesired     = &Error{400, "Desired node must be an object"}
	ErrReported    = &Error{400, "Reported node must be an object"}
	ErrVersion     = &Error{400, "Invalid version"}
	ErrClientToken = &Error{400, "Invalid clientToken"}
	ErrNode        = &Error{400, "State contains an invalid node"}
	ErrThingName   = &Error{400, "Invalid thing name"}
	ErrShadowName  = &Error{400, "Invalid shadow name"}
	ErrConflict    = &Error{409, "Version conflict"}
	ErrTooLarge    = &Error{413, "The payload exceeds the maximum size allowed"}
	ErrEncoding    = &Error{415, "Unsupported documented encoding; supported encoding is UTF-8"}
	ErrInternal    = &Error{500, "Internal service failure"}
)

// ErrNotFound is the refusal of what needs a document where there is none.
func ErrNotFound(id ID) *Error {
	name := id.Name
	if name == "" {
		name = id.Thing
	}
	return &Error{404, fmt.Sprintf("No shadow exists with name: '%s'", name)}
}

// DeletedError is the refusal of what needs a document where one was deleted, not longer
// than VersionsKept ago. It wraps an *Error.
type DeletedError struct {
	Refusal *Error
	// Version is that of the document when it was deleted.
	Version int64
}

// Error is the refusal's.
func (e *DeletedError) Error() string { return e.Refusal.Error() }

// Unwrap is the refusal.
func (e *DeletedError) Unwrap() error { return e.Refusal }

// Missing is the refusal of what needs the document, for one that does not exist: a
// *DeletedError as long as its deletion is known, an *Error otherwise.
func (d Document) Missing(id ID, at time.Time) error {
	if d.Deleted.IsZero() || d.Expired(at) {
		return ErrNotFound(id)
	}
	return &DeletedError{ErrNotFound(id), d.Version}
}

func errTooDeep(maxDepth int) *Error {
	return &Error{400, fmt.Sprintf("JSON contains too many levels of nesting; maximum is %d", maxDepth)}
}

// Answer is the payload of a rejected topic. The client token is left out when
// the request had none that could be read.
func (e *Error) Answer(at time.Time, clientToken string) []byte {
	return encode(struct {
		Code        int    `json:"code"`
		Message     string `json:"message"`
		Timestamp   int64  `json:"timestamp"`
		ClientToken string `json:"clientToken,omitempty"`
	}{e.Code, e.Message, at.Unix(), clientToken})
}
