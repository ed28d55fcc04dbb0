package bundle

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	// Newer is the same manifest in a newer format, signed by itself. Versions
	// that do not know the member read the payload: a core that is taken back to
	// the version before starts from what the newer one wrote.
	Newer *Envelope `json:"newer,omitempty"`
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

// Sign encodes the manifest in formats that its reader knows, of those that this
// version writes, and wraps it in an envelope, as JSON. The payload is in the oldest
// of them that can say what is in the manifest, the newest is beside it. Without
// formats it is the oldest that there is. The error is ErrFormat when none fits.
func Sign(m Manifest, key ed25519.PrivateKey, read ...int) ([]byte, error) {
	if len(read) == 0 {
		read = []int{OldestFormat}
	}
	var written []Envelope
	unfit := fmt.Errorf("%w: formats %v are read, this version writes %v", ErrFormat, read, Formats())
	for _, f := range formats {
		if !slices.Contains(read, f.number) {
			continue
		}
		payload, err := f.encode(m)
		if errors.Is(err, ErrFormat) {
			unfit = err
			continue
		}
		if err != nil {
			return nil, err
		}
		written = append(written, seal(PayloadType, payload, key))
	}
	if len(written) == 0 {
		return nil, unfit
	}
	envelope := written[0]
	if len(written) > 1 {
		envelope.Newer = &written[len(written)-1]
	}
	return json.Marshal(envelope)
}

// Current reports whether signing an envelope of Sign's again, with the key of an id and for a
// reader of the formats read, would change nothing: it has all formats that this version writes,
// the reader reads them all, and that key signed each. It verifies nothing.
func Current(envelope []byte, keyID string, read ...int) bool {
	for _, f := range formats {
		if !slices.Contains(read, f.number) {
			return false
		}
	}
	env, err := parseEnvelope(envelope)
	if err != nil {
		return false
	}
	by := func(e Envelope) bool { return len(e.Signatures) == 1 && e.Signatures[0].KeyID == keyID }
	newest := env
	if env.Newer != nil {
		newest = *env.Newer
	}
	f, err := formatOf(newest.Payload)
	return err == nil && f.number == formats[len(formats)-1].number && by(env) && by(newest)
}

// Open verifies an envelope against the trusted keys, by key id, and returns
// the manifest. Nothing of the payload is read before a signature has verified.
func Open(envelope []byte, trusted map[string]ed25519.PublicKey) (Manifest, error) {
	return open(envelope, func(env Envelope) ([]byte, error) {
		payload, _, err := env.verify(PayloadType, trusted)
		return payload, err
	})
}

// open reads the manifest in the newest format that the envelope has and this
// version reads. verify gives the payload of an envelope that is trusted.
func open(envelope []byte, verify func(Envelope) ([]byte, error)) (Manifest, error) {
	env, err := parseEnvelope(envelope)
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	payload, err := verify(env)
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if env.Newer == nil {
		return ParseManifest(payload)
	}
	newer, err := verify(*env.Newer)
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: in its newer format: %w", ErrManifest, err)
	}
	if _, err := formatOf(newer); err != nil {
		return ParseManifest(payload)
	}
	m, err := ParseManifest(newer)
	if err != nil {
		return Manifest{}, err
	}
	if old, err := ParseManifest(payload); err == nil && (old.DeploymentID != m.DeploymentID || old.Epoch != m.Epoch) {
		return Manifest{}, refuse("its two formats are of deployments %s and %s, epochs %d and %d", old.DeploymentID, m.DeploymentID, old.Epoch, m.Epoch)
	}
	return m, nil
}

// seal wraps a payload in an envelope.
func seal(payloadType string, payload []byte, key ed25519.PrivateKey) Envelope {
	return Envelope{
		PayloadType: payloadType,
		Payload:     payload,
		Signatures: []Signature{{
			KeyID: KeyID(key.Public().(ed25519.PublicKey)),
			Sig:   ed25519.Sign(key, preAuthentication(payloadType, payload)),
		}},
	}
}

// verify returns the payload of an envelope that one of the keys signed, with the
// id of that key.
func (env Envelope) verify(payloadType string, trusted map[string]ed25519.PublicKey) (payload []byte, keyID string, err error) {
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
