package signing

import "time"

// ServerKey is a key of the control plane itself: an authority or a signing key.
type ServerKey struct {
	ID string
	// Purpose is what the key is for; Number counts the keys of a purpose, and
	// the highest one is in use.
	Purpose string
	Number  int
	// PublicPEM is the public half, Sealed the private one, wrapped by the master
	// key.
	PublicPEM string
	Sealed    []byte
	// Statement is the signed word of the key before that this one follows it;
	// empty for the first key, and for keys of which nobody needs it.
	Statement []byte
	CreatedAt time.Time
}
