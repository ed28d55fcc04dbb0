package identity

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/policy"
)

// What Signer answers for keys that are not good.
var (
	// ErrUnknownKey means that the key does not exist or was revoked.
	ErrUnknownKey = errors.New("access key is not known")
	// ErrExpiredKey means that a temporary key has ended: clients that can ask for
	// another one.
	ErrExpiredKey = errors.New("temporary access key has expired")
)

// Signer is who signs a request: the key that proves it, and what it may do.
type Signer struct {
	Key
	Caller
}

// Signers finds who signs with an access key. It is asked once for each request, so
// that a revoked key fails at once.
type Signers interface {
	// Signer is who has the key; ErrUnknownKey, ErrExpiredKey, or another error when
	// it is not known.
	Signer(ctx context.Context, keyID string) (Signer, error)
}

// Key is an access key with its secret.
type Key struct {
	ID     string
	Secret string
	// Account is the twelve-digit account that the key acts in.
	Account string
	// SessionToken is set for temporary keys; a request must then carry it.
	SessionToken string
	// Ends is when a temporary key is good no more: at its own end, or at that of the
	// certificate that asked for it. It is zero for a key that does not end by itself.
	Ends time.Time
}

// Caller is whom a key is, and what decides about it.
type Caller struct {
	// Name is what the operator called the access key.
	Name string
	// Person is who signed in and was given the access key's rights for a while, as the
	// provider of identities calls them; empty for whoever has the key itself. It is for
	// people and records, and decides nothing.
	Person string
	// Identity is the resource part of the caller's ARN: "user/admin", or
	// "assumed-role/name/session" for a key that AssumeRole gave out.
	Identity string
	// Holder is what the caller cannot make more of: the id of the access key, also for
	// the temporary keys that it asked for, or of the certificate of a core that did.
	Holder string
	// Access is the key's access level, for texts.
	Access string
	// Policies each have to allow what the caller does.
	Policies []policy.Set
	// Scope is what a limited caller may act on; nil is everything.
	Scope *Scope
	// Conditional is set when the policies look at more than action and resource:
	// who calls from where, and the tags of groups.
	Conditional bool
}

// ARN is the caller in ARNs that start with "arn:" and aws.
func (c Caller) ARN(aws, account string) string {
	service := "iam"
	if strings.HasPrefix(c.Identity, "assumed-role/") {
		service = "sts"
	}
	return "arn:" + aws + ":" + service + "::" + account + ":" + c.Identity
}

// LooksAtTags reports whether the tags of a request may decide.
func (c Caller) LooksAtTags() bool { return c.Conditional || c.Scope != nil }

// MayEver reports whether the caller's policies may allow an action, whatever it is
// on.
func (c Caller) MayEver(action string) bool {
	for _, set := range c.Policies {
		if !set.Possible(action) {
			return false
		}
	}
	return len(c.Policies) > 0
}
