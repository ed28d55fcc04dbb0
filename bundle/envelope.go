package bundle

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// PayloadType is what the envelope's payload is, in DSSE's terms.
const PayloadType = "application/vnd.fescue.deployment-manifest+json"

// Envelope is a DSSE envelope (Dead Simple Signing Envelope, v1) around a
// manifest.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"` // base64 in JSON
	Signatures  []Signature `json:"signatures"`
}

// Signature is an Ed25519 signature over the payload type and the payload.
type Signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"` // base64 in JSON
}

// Envelope errors.
var (
	// ErrUnknownKey means that no signature is by a trusted key.
	ErrUnknownKey = errors.New("signed by no trusted key")
	// ErrSignature means that a trusted key's signature does not fit.
	ErrSignature = errors.New("signature does not verify")
)

// maxEnvelope bounds a parsed envelope, in bytes; a manifest of 200 functions is
// well under 100 KB.
const maxEnvelope = 4 << 20

// KeyID names a signing key: the SHA-256 of the public key in lowercase
// hexadecimal.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}

// Sign encodes the manifest and wraps it in an envelope, as JSON.
func Sign(m Manifest, key ed25519.PrivateKey) ([]byte, error) {
	payload, err := m.Encode()
	if err != nil {
		return nil, err
	}
	env := Envelope{
		PayloadType: PayloadType,
		Payload:     payload,
		Signatures: []Signature{{
			KeyID: KeyID(key.Public().(ed25519.PublicKey)),
			Sig:   ed25519.Sign(key, preAuthentication(PayloadType, payload)),
		}},
	}
	return json.Marshal(env)
}

// Open verifies an envelope against the trusted keys, by key id, and returns
// the manifest. Nothing of the payload is read before a signature has verified.
func Open(envelope []byte, trusted map[string]ed25519.PublicKey) (Manifest, error) {
	if len(envelope) > maxEnvelope {
		return Manifest{}, fmt.Errorf("%w: envelope of %d bytes", ErrManifest, len(envelope))
	}
	var env Envelope
	if err := json.Unmarshal(envelope, &env); err != nil {
		return Manifest{}, fmt.Errorf("%w: the envelope does not parse: %w", ErrManifest, err)
	}
	if env.PayloadType != PayloadType {
		return Manifest{}, fmt.Errorf("%w: payload type %q", ErrManifest, env.PayloadType)
	}
	message := preAuthentication(env.PayloadType, env.Payload)
	known := false
	for _, s := range env.Signatures {
		key, ok := trusted[s.KeyID]
		if !ok || len(key) != ed25519.PublicKeySize {
			continue
		}
		known = true
		if ed25519.Verify(key, message, s.Sig) {
			return ParseManifest(env.Payload)
		}
	}
	if known {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, ErrSignature)
	}
	return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, ErrUnknownKey)
}

// preAuthentication is DSSE's PAE, the bytes that are signed.
func preAuthentication(payloadType string, payload []byte) []byte {
	b := append([]byte("DSSEv1 "), strconv.Itoa(len(payloadType))...)
	b = append(b, ' ')
	b = append(b, payloadType...)
	b = append(b, ' ')
	b = append(b, strconv.Itoa(len(payload))...)
	b = append(b, ' ')
	return append(b, payload...)
}
