package bundle

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/pki"
)

// SecretsPayloadType is what the payload of sealed secrets' envelope is.
const SecretsPayloadType = "application/vnd.fescue.secrets+json"

// SecretsFormat is the version of sealed secrets that this package writes and the
// only one that it reads.
const SecretsFormat = 1

// MaxSecrets bounds the values of the secrets of one deployment together, and
// MaxSealedSecrets the envelope that they are sealed in, in bytes.
const (
	MaxSecrets       = 4 << 20
	MaxSealedSecrets = 8 << 20
)

// ErrSecrets is wrapped by every refusal of sealed secrets.
var ErrSecrets = errors.New("sealed secrets refused")

// SecretsOf says which deployment of which core secrets are for. They open for no
// other one.
type SecretsOf struct {
	CoreThingArn string `json:"coreThingArn"`
	GroupID      string `json:"groupId"`
	DeploymentID string `json:"deploymentId"`
	Epoch        int64  `json:"epoch"`
}

// SecretsOf is the deployment of a manifest.
func (m Manifest) SecretsOf() SecretsOf {
	return SecretsOf{m.CoreThingArn, m.GroupID, m.DeploymentID, m.Epoch}
}

// label binds a sealed part to all that it is.
func (o SecretsOf) label(parts ...string) string {
	text, err := json.Marshal(append([]string{"fescue secrets", o.CoreThingArn, o.GroupID, o.DeploymentID, strconv.FormatInt(o.Epoch, 10)}, parts...))
	if err != nil {
		panic(err) // texts always encode
	}
	return string(text)
}

// Secret is a secret as a deployment has it.
type Secret struct {
	// ARN is the whole one, with its suffix.
	ARN      string          `json:"arn"`
	Name     string          `json:"name"`
	Versions []SecretVersion `json:"versions"`
}

// SecretVersion is a version of a secret.
type SecretVersion struct {
	ID string `json:"id"`
	// Stages are its staging labels among those that the group asks for.
	Stages []string `json:"stages"`
	// Binary is set when the value came as SecretBinary.
	Binary    bool      `json:"binary,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	// Value is 1 to 65536 bytes; in sealed secrets it is encrypted.
	Value []byte `json:"value"` // base64 in JSON
}

// label is what the value of a version is sealed with.
func (v SecretVersion) label(of SecretsOf, arn string) []byte {
	return []byte(of.label(append([]string{arn, v.ID, strconv.FormatBool(v.Binary), v.CreatedAt.UTC().Format(time.RFC3339Nano)}, v.Stages...)...))
}

// SealedSecrets are the secrets of a deployment, each value encrypted with
// AES-256-GCM by a data key that is made for this sealing alone, and the data key by
// the core's public key.
type SealedSecrets struct {
	Format int `json:"format"`
	SecretsOf
	// Key is the wrapped data key.
	Key     []byte   `json:"key"`
	Secrets []Secret `json:"secrets"`
}

// SealSecrets encrypts secrets for one core and signs what comes out, as JSON.
func SealSecrets(of SecretsOf, secrets []Secret, to crypto.PublicKey, key ed25519.PrivateKey) ([]byte, error) {
	size := 0
	data := make([]byte, 32)
	if _, err := rand.Read(data); err != nil {
		return nil, err
	}
	aead, err := dataKey(data)
	if err != nil {
		return nil, err
	}
	sealed := SealedSecrets{Format: SecretsFormat, SecretsOf: of}
	if sealed.Key, err = pki.WrapKey(to, data, of.label()); err != nil {
		return nil, err
	}
	for _, s := range secrets {
		s.Versions = slices.Clone(s.Versions)
		for i, v := range s.Versions {
			size += len(v.Value)
			nonce := make([]byte, aead.NonceSize())
			if _, err := rand.Read(nonce); err != nil {
				return nil, err
			}
			s.Versions[i].Value = aead.Seal(nonce, nonce, v.Value, v.label(of, s.ARN))
		}
		sealed.Secrets = append(sealed.Secrets, s)
	}
	if size > MaxSecrets {
		return nil, fmt.Errorf("%w: their values have %d bytes together; one deployment takes at most %d", ErrSecrets, size, MaxSecrets)
	}
	payload, err := json.Marshal(sealed)
	if err != nil {
		return nil, err
	}
	return json.Marshal(seal(SecretsPayloadType, payload, key))
}

func dataKey(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// OpenSecrets verifies the envelope of sealed secrets that are offered: revoked keys
// do not count, as for manifests. Nothing is decrypted yet.
func (k *Keyring) OpenSecrets(envelope []byte, of SecretsOf) (SealedSecrets, error) {
	return openSecrets(envelope, of, func(env Envelope) ([]byte, error) {
		payload, signer, err := env.verify(SecretsPayloadType, k.known)
		if err == nil && k.revoked[signer] {
			err = ErrKeyRevoked
		}
		return payload, err
	})
}

// OpenAcceptedSecrets is OpenSecrets for those that were accepted before.
func (k *Keyring) OpenAcceptedSecrets(envelope []byte, of SecretsOf) (SealedSecrets, error) {
	return openSecrets(envelope, of, func(env Envelope) ([]byte, error) {
		payload, _, err := env.verify(SecretsPayloadType, k.known)
		return payload, err
	})
}

func openSecrets(envelope []byte, of SecretsOf, verify func(Envelope) ([]byte, error)) (SealedSecrets, error) {
	refuse := func(err error) (SealedSecrets, error) { return SealedSecrets{}, fmt.Errorf("%w: %w", ErrSecrets, err) }
	if len(envelope) > MaxSealedSecrets {
		return refuse(fmt.Errorf("an envelope of %d bytes", len(envelope)))
	}
	var env Envelope
	if err := json.Unmarshal(envelope, &env); err != nil {
		return refuse(fmt.Errorf("the envelope does not parse: %w", err))
	}
	payload, err := verify(env)
	if err != nil {
		return refuse(err)
	}
	var s SealedSecrets
	if err := decode(payload, false, &s); err != nil {
		return refuse(err)
	}
	switch {
	case s.Format != SecretsFormat:
		return refuse(fmt.Errorf("format %d, this version reads %d", s.Format, SecretsFormat))
	case s.SecretsOf != of:
		return refuse(fmt.Errorf("they are for core %s, deployment %s, epoch %d; this is core %s, deployment %s, epoch %d",
			s.CoreThingArn, s.DeploymentID, s.Epoch, of.CoreThingArn, of.DeploymentID, of.Epoch))
	}
	return s, s.validate()
}

func (s SealedSecrets) validate() error {
	arns := make(map[string]bool)
	for _, secret := range s.Secrets {
		if arn, err := fescue.ParseARN(secret.ARN); err != nil || arn.Service != "secretsmanager" || secret.Name == "" || arns[secret.ARN] {
			return fmt.Errorf("%w: %q is not the ARN of a secret, or stands there twice", ErrSecrets, secret.ARN)
		}
		arns[secret.ARN] = true
		stages := make(map[string]bool)
		for _, v := range secret.Versions {
			for _, stage := range v.Stages {
				if stages[stage] {
					return fmt.Errorf("%w: two versions of %s have the label %s", ErrSecrets, secret.ARN, stage)
				}
				stages[stage] = true
			}
		}
		if !stages[fescue.StageCurrent] {
			return fmt.Errorf("%w: %s has no version with the label %s", ErrSecrets, secret.ARN, fescue.StageCurrent)
		}
	}
	return nil
}

// OpenedSecrets can decrypt values of sealed secrets.
type OpenedSecrets struct {
	SealedSecrets
	aead cipher.AEAD
}

// Unwrap opens the data key with the core's private key.
func (s SealedSecrets) Unwrap(private crypto.PrivateKey) (*OpenedSecrets, error) {
	data, err := pki.UnwrapKey(private, s.Key, s.label())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSecrets, err)
	}
	aead, err := dataKey(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSecrets, err)
	}
	return &OpenedSecrets{s, aead}, nil
}

// Value decrypts the value of a version of the secret.
func (s *OpenedSecrets) Value(secret Secret, v SecretVersion) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(v.Value) < n {
		return nil, fmt.Errorf("%w: version %s of %s is cut short", ErrSecrets, v.ID, secret.ARN)
	}
	value, err := s.aead.Open(nil, v.Value[:n], v.Value[n:], v.label(s.SecretsOf, secret.ARN))
	if err != nil {
		return nil, fmt.Errorf("%w: version %s of %s does not decrypt: %w", ErrSecrets, v.ID, secret.ARN, err)
	}
	return value, nil
}
