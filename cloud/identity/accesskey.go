package identity

import (
	"time"

	"github.com/fescue-edge/fescue"
)

// AccessKey is an access key as it is kept: its secret is sealed by the master key.
type AccessKey struct {
	ID      string
	Account string
	Name    string
	Sealed  []byte
	// Access is one of AccessLevels, and Limit what the key may act on; see package
	// identity.
	Access    string
	Limit     Limit
	CreatedAt time.Time
	// RevokedAt is zero while the key is good.
	RevokedAt time.Time
}

// SessionKey is a temporary key as it is kept; its secret and token are derived from
// its id.
type SessionKey struct {
	ID string
	// Parent is the access key that it came from, and ends with; for one that a core
	// asked for it is the id of the certificate.
	Parent string
	// Identity is the resource part of the caller's ARN; Role is the IAM role
	// that was assumed, both empty for the parent's own.
	Identity, Role       string
	CreatedAt, ExpiresAt time.Time
	// MAC authenticates all of that.
	MAC string
	// Person is who signed in, as Caller has it; empty where that was nobody.
	Person string `json:",omitempty"` // as those rows are authenticated that have none
	// SignIn is the temporary key of that person that it was made with, and ends with;
	// empty where it was made with none.
	SignIn string `json:",omitempty"`
}

// OfCore reports whether a core asked for the key, so that its parent is a
// certificate.
func (k SessionKey) OfCore() bool { return fescue.ValidHash(k.Parent) }
