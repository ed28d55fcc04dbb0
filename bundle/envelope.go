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
// manifest, or around a statement of trust.
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
	return seal(PayloadType, payload, key)
}

// Open verifies an envelope against the trusted keys, by key id, and returns
// the manifest. Nothing of the payload is read before a signature has verified.
func Open(envelope []byte, trusted map[string]ed25519.PublicKey) (Manifest, error) {
	payload, _, err := unseal(envelope, PayloadType, trusted)
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return ParseManifest(payload)
}

// Signers are the key ids that an envelope names, believed or not.
func Signers(envelope []byte) ([]string, error) {
	env, err := parseEnvelope(envelope)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, s := range env.Signatures {
		ids = append(ids, s.KeyID)
	}
	return ids, nil
}

// seal wraps a payload in an envelope, as JSON.
func seal(payloadType string, payload []byte, key ed25519.PrivateKey) ([]byte, error) {
	return json.Marshal(Envelope{
		PayloadType: payloadType,
		Payload:     payload,
		Signatures: []Signature{{
			KeyID: KeyID(key.Public().(ed25519.PublicKey)),
			Sig:   ed25519.Sign(key, preAuthentication(payloadType, payload)),
		}},
	})
}

// unseal verifies an envelope and returns its payload with the id of the key that
// signed it.
func unseal(envelope []byte, payloadType string, trusted map[string]ed25519.PublicKey) (payload []byte, keyID string, err error) {
	env, err := parseEnvelope(envelope)
	if err != nil {
		return nil, "", err
	}
	if env.PayloadType != payloadType {
		return nil, "", fmt.Errorf("payload type %q", env.PayloadType)
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
			return env.Payload, s.KeyID, nil
		}
	}
	if known {
		return nil, "", ErrSignature
	}
	return nil, "", ErrUnknownKey
}

func parseEnvelope(envelope []byte) (Envelope, error) {
	var env Envelope
	if len(envelope) > maxEnvelope {
		return env, fmt.Errorf("envelope of %d bytes", len(envelope))
	}
	if err := json.Unmarshal(envelope, &env); err != nil {
		return env, fmt.Errorf("the envelope does not parse: %w", err)
	}
	return env, nil
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
