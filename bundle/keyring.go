package bundle

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/fescue-edge/fescue"
)

// KeyPayloadType is what the payload of a key statement's envelope is.
const KeyPayloadType = "application/vnd.fescue.signing-key+json"

// KeyFormat is the version of key statements that this package writes and the
// only one that it reads.
const KeyFormat = 1

// KeyStatement says that a new key signs manifests. The control plane signs it
// with the key before: whoever trusts that one comes to trust the new one, over
// any number of steps.
type KeyStatement struct {
	Format int `json:"format"`
	// PublicKey is the new Ed25519 key.
	PublicKey []byte    `json:"publicKey"` // base64 in JSON
	CreatedAt time.Time `json:"createdAt"`
	// Revokes are the ids of earlier keys that are to sign nothing any more.
	Revokes []string `json:"revokes,omitempty"`
}

// Key errors.
var (
	// ErrKeyRevoked means that the signature is by a key that was trusted until
	// a later one revoked it.
	ErrKeyRevoked = errors.New("signed by a key that was revoked")
	// ErrStatement is wrapped by every refusal of a key statement.
	ErrStatement = errors.New("key statement refused")
)

// maxKeys bounds a keyring: a rotation each week for twenty years.
const maxKeys = 1024

// SignKey wraps a statement in an envelope, signed by the key before.
func SignKey(s KeyStatement, key ed25519.PrivateKey) ([]byte, error) {
	s.Format = KeyFormat
	if err := s.validate(); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode key statement: %w", err)
	}
	return json.Marshal(seal(KeyPayloadType, payload, key))
}

func (s KeyStatement) validate() error {
	switch {
	case s.Format != KeyFormat:
		return fmt.Errorf("%w: format %d, this version reads %d", ErrStatement, s.Format, KeyFormat)
	case len(s.PublicKey) != ed25519.PublicKeySize:
		return fmt.Errorf("%w: a public key of %d bytes", ErrStatement, len(s.PublicKey))
	case len(s.Revokes) > maxKeys:
		return fmt.Errorf("%w: it revokes %d keys", ErrStatement, len(s.Revokes))
	case slices.Contains(s.Revokes, KeyID(s.PublicKey)):
		return fmt.Errorf("%w: the key revokes itself", ErrStatement)
	}
	for _, id := range s.Revokes {
		if !fescue.ValidHash(id) {
			return fmt.Errorf("%w: it revokes %q, which is no key id", ErrStatement, id)
		}
	}
	return nil
}

func parseStatement(data []byte) (KeyStatement, error) {
	var s KeyStatement
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return s, fmt.Errorf("%w: it does not parse: %w", ErrStatement, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return s, fmt.Errorf("%w: data after the document", ErrStatement)
	}
	return s, s.validate()
}

// Keyring is the signing keys that a core trusts: those that it was given, and
// those that followed from them.
type Keyring struct {
	known   map[string]ed25519.PublicKey
	revoked map[string]bool
}

// NewKeyring makes a keyring of the keys that are trusted to begin with, by id.
func NewKeyring(roots map[string]ed25519.PublicKey) *Keyring {
	return &Keyring{known: maps.Clone(roots), revoked: map[string]bool{}}
}

// Knows reports whether a key is in the ring, revoked or not.
func (k *Keyring) Knows(id string) bool { return k.known[id] != nil }

// IDs are the keys whose signatures count, in order.
func (k *Keyring) IDs() []string {
	var ids []string
	for id := range k.known {
		if !k.revoked[id] {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Add takes a key statement, and reports whether it has anything new: then it
// belongs behind those that were taken before. The errors are ErrUnknownKey,
// ErrKeyRevoked, ErrSignature and others that wrap ErrStatement.
func (k *Keyring) Add(envelope []byte) (id string, added bool, err error) {
	env, err := parseEnvelope(envelope)
	if err != nil {
		return "", false, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	payload, signer, err := env.verify(KeyPayloadType, k.known)
	if err != nil {
		return "", false, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	s, err := parseStatement(payload)
	if err != nil {
		return "", false, err
	}
	id = KeyID(s.PublicKey)
	added = !k.Knows(id)
	for _, old := range s.Revokes {
		added = added || !k.revoked[old]
	}
	switch {
	case !added:
		return id, false, nil
	case k.revoked[signer]:
		return id, false, fmt.Errorf("%w: %w", ErrStatement, ErrKeyRevoked)
	case len(k.known) >= maxKeys:
		return id, false, fmt.Errorf("%w: more than %d keys", ErrStatement, maxKeys)
	}
	k.known[id] = s.PublicKey
	for _, old := range s.Revokes {
		k.revoked[old] = true
	}
	return id, true, nil
}

// Open is the package's Open for a manifest that is offered: revoked keys do not
// count, and the error for one of them is ErrKeyRevoked.
func (k *Keyring) Open(envelope []byte) (Manifest, error) {
	return open(envelope, func(env Envelope) ([]byte, error) {
		payload, signer, err := env.verify(PayloadType, k.known)
		if err == nil && k.revoked[signer] {
			err = ErrKeyRevoked
		}
		return payload, err
	})
}

// OpenAccepted is Open for a manifest that was accepted before: a key that was
// revoked since then counts, since what runs is not to stop for that.
func (k *Keyring) OpenAccepted(envelope []byte) (Manifest, error) { return Open(envelope, k.known) }
