// Package trust is whom a core believes: the keys that may sign manifests, on its
// disk, how they are taken at the first contact and followed over rotations, and
// what makes a manifest that is signed well one to refuse all the same.
//
// Nothing is kept in memory but what was noticed: an operator who adds or takes away
// a key is known at once.
package trust

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
)

// ErrNoKey means that the core has not met its control plane yet.
var ErrNoKey = errors.New("no signing key is trusted yet")

// Source returns the control plane's keys; corelink.Client is one.
type Source interface {
	SigningKeys(ctx context.Context) (corelink.SigningKeys, error)
}

// Options is what Keys are made of. All are needed.
type Options struct {
	Disk disk.FS
	// File is the absolute path of the file of trusted keys, which an operator may
	// write; the statements by which later keys follow lie beside it.
	File   string
	Source Source
	Logger *slog.Logger
}

// Keys are the signing keys that a core trusts. One goroutine uses them.
type Keys struct {
	Options
	// noticed is the key that the cloud mentioned last.
	noticed string
}

// New makes the keys of a core. It touches nothing.
func New(o Options) *Keys { return &Keys{Options: o} }

// Files are where the keys lie: those that were given, and what follows from them.
func (k *Keys) Files() []string { return []string{k.File, k.chainFile()} }

// maxKeyFile bounds the file of trusted keys, in bytes.
const maxKeyFile = 64 << 10

// OpenAccepted reads a manifest that was accepted before, see
// bundle.Keyring.OpenAccepted. The error may be ErrNoKey.
func (k *Keys) OpenAccepted(envelope []byte) (bundle.Manifest, error) {
	ring, err := k.ring()
	if err != nil {
		return bundle.Manifest{}, err
	}
	return ring.OpenAccepted(envelope)
}

// OpenSecrets reads sealed secrets that are offered, see bundle.Keyring.OpenSecrets.
// The error may be ErrNoKey.
func (k *Keys) OpenSecrets(envelope []byte, of bundle.SecretsOf) (bundle.SealedSecrets, error) {
	ring, err := k.ring()
	if err != nil {
		return bundle.SealedSecrets{}, err
	}
	return ring.OpenSecrets(envelope, of)
}

// OpenAcceptedSecrets is OpenSecrets for those that were accepted before.
func (k *Keys) OpenAcceptedSecrets(envelope []byte, of bundle.SecretsOf) (bundle.SealedSecrets, error) {
	ring, err := k.ring()
	if err != nil {
		return bundle.SealedSecrets{}, err
	}
	return ring.OpenAcceptedSecrets(envelope, of)
}

// ring reads the keys that may sign manifests: those of the key file, and what
// follows from them by the chain.
func (k *Keys) ring() (*bundle.Keyring, error) {
	data, err := disk.ReadFile(k.Disk, k.File, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoKey
	}
	if err != nil {
		return nil, fmt.Errorf("read the trusted signing keys: %w", err)
	}
	roots, err := parseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("trusted signing keys in %s: %w; remove the file to take the key from the control plane again", k.File, err)
	}
	ring := bundle.NewKeyring(roots)
	chain, err := k.readChain()
	if err != nil {
		return nil, err
	}
	for _, statement := range chain {
		// What follows from keys that the operator took away counts no more.
		_, _, _ = ring.Add(statement)
	}
	return ring, nil
}

// parseKeys reads PEM blocks of type PUBLIC KEY, all of them Ed25519.
func parseKeys(data []byte) (map[string]ed25519.PublicKey, error) {
	keys := make(map[string]ed25519.PublicKey)
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("a PEM block of type %q where PUBLIC KEY is expected", block.Type)
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("a public key does not parse: %w", err)
		}
		key, ok := parsed.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("a key is %T, manifests are signed with Ed25519", parsed)
		}
		keys[bundle.KeyID(key)] = key
	}
	if len(bytes.TrimSpace(data)) > 0 {
		return nil, errors.New("text that is no PEM block")
	}
	if len(keys) == 0 {
		return nil, errors.New("no key")
	}
	return keys, nil
}

// FirstContact takes the signing keys over the mutual-TLS connection when the
// core has none yet, and keeps them: from then on nothing else is trusted.
func (k *Keys) FirstContact(ctx context.Context) error {
	there, err := disk.Exists(k.Disk, k.File)
	if err != nil {
		return fmt.Errorf("look for the trusted signing keys: %w", err)
	}
	if there {
		return nil
	}
	answer, err := k.Source.SigningKeys(ctx)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	for _, key := range answer.Keys {
		text.WriteString(key.PEM)
		if !bytes.HasSuffix(text.Bytes(), []byte("\n")) {
			text.WriteByte('\n')
		}
	}
	keys, err := parseKeys(text.Bytes())
	if err != nil {
		return fmt.Errorf("signing keys from the control plane: %w", err)
	}
	if err := disk.ReplaceFile(k.Disk, k.File, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("keep the signing keys: %w", err)
	}
	ids := make([]string, 0, len(keys))
	for id := range keys {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	k.Logger.Warn("First contact: the control plane's signing keys are trusted from now on.",
		slog.Any("keyIds", ids), slog.String("file", k.File))
	return nil
}
