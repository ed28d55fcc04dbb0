package fescue

import (
	"context"
	"errors"
	"fmt"
)

// What the services and the store say when they refuse. Each wire (a package
// under cloud/awsapi, cloud/edge) maps them to its own codes and texts.
var (
	// ErrNotFound means that the partition holds no such thing. Another
	// partition's things are not found either.
	ErrNotFound = errors.New("not found")
	// ErrExists means that the name or id is taken.
	ErrExists = errors.New("already exists")
	// ErrConflict means that the record changed since it was read, or that its
	// state forbids the change.
	ErrConflict = errors.New("conflicts with the present state")
	// ErrInUse means that something else still refers to the record.
	ErrInUse = errors.New("still in use")
	// ErrTokenReused means that a client token came back with another request.
	ErrTokenReused = errors.New("client token was used for a different request")
	// ErrPrecondition means that the record is not what the caller demanded of it.
	ErrPrecondition = errors.New("precondition failed")
	// ErrDiskFull means that the server has no room to store anything.
	ErrDiskFull = errors.New("the server's disk is full")
	// ErrBusy means that the server came to no connection to its database in time, or to
	// no lock in it. Nothing was done; the same may be asked again.
	ErrBusy = errors.New("the server's database is busy")
	// ErrLocked is an ErrBusy that is of one record alone: another transaction has it.
	ErrLocked = fmt.Errorf("%w: another transaction has what was to be changed", ErrBusy)
	// ErrAway means that the server's database could not be reached, or the connection to
	// it broke before anything was done for good. The same may be asked again.
	ErrAway = errors.New("the server's database cannot be reached")
	// ErrUncertain means that the server's database was told to keep what was done, and has not
	// answered: it may have been done.
	ErrUncertain = errors.New("the server's database has not answered whether it was done")
	// ErrQuota means that the partition holds as many as it may.
	ErrQuota = errors.New("quota is used up")
	// ErrCrowded means that of the partition's MQTT messages as many are kept as may be, and that
	// the oldest do not give way as fast as new ones are published. The same may be asked again.
	ErrCrowded = errors.New("the account publishes more than can give way")
	// ErrPage: the record behind which a page begins is not in the list.
	ErrPage = errors.New("the page begins behind a record that is not there")
)

// Passing reports whether an error may be over by itself, and says nothing of what was asked:
// the database is away, busy or full, or time ran out.
func Passing(err error) bool {
	for _, target := range []error{ErrBusy, ErrAway, ErrUncertain, ErrDiskFull, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// Refusal is an error whose text is fit for the caller, most often in the words
// of the original.
type Refusal struct {
	// Kind is one of the errors above or of a service's own.
	Kind error
	Text string
}

// Refuse makes a Refusal.
func Refuse(kind error, format string, args ...any) error {
	return &Refusal{kind, fmt.Sprintf(format, args...)}
}

// Error is the text for the caller.
func (r *Refusal) Error() string { return r.Text }

// Unwrap is the kind.
func (r *Refusal) Unwrap() error { return r.Kind }

// Token makes a create call idempotent: the same Value for the same Operation
// with the same RequestHash yields the record that the first call made;
// another RequestHash is refused with ErrTokenReused. The zero Token asks for
// nothing.
type Token struct {
	// Operation is the API operation's name, for example "CreateGroup".
	Operation string
	// Value is what the caller sent as X-Amzn-Client-Token, at most 64 ASCII
	// characters.
	Value string
	// RequestHash is the SHA-256 of everything else in the request.
	RequestHash string
}

// AttemptPrefix begins the Value of an AttemptToken.
const AttemptPrefix = "attempt "

// AttemptToken is the token of a call that brings none: hash is the SHA-256, in hexadecimal
// digits, of what all attempts of the call have in common, and other calls do not. It is
// longer than what a caller may send, and kept for a short time.
func AttemptToken(operation, hash string) Token {
	return Token{Operation: operation, Value: AttemptPrefix + hash}
}
