package agent

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
	"github.com/fescue-edge/fescue/disk"
)

// errNoKey means that the core has not met its control plane yet.
var errNoKey = errors.New("no signing key is trusted yet")

// maxKeyFile bounds the file of trusted keys, in bytes.
const maxKeyFile = 64 << 10

// keyring reads the keys that may sign manifests: those of the key file, and what
// follows from them by the chain. They are read and followed anew for each
// manifest, so that a key that an operator adds or takes away counts at once.
func (a *Agent) keyring() (*bundle.Keyring, error) {
	data, err := disk.ReadFile(a.disk, a.keyFile, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoKey
	}
	if err != nil {
		return nil, fmt.Errorf("read the trusted signing keys: %w", err)
	}
	roots, err := parseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("trusted signing keys in %s: %w; remove the file to take the key from the control plane again", a.keyFile, err)
	}
	ring := bundle.NewKeyring(roots)
	chain, err := a.readChain()
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

// firstContact takes the signing keys over the mutual-TLS connection when the
// core has none yet, and keeps them: from then on nothing else is trusted.
func (a *Agent) firstContact(ctx context.Context) error {
	there, err := disk.Exists(a.disk, a.keyFile)
	if err != nil {
		return fmt.Errorf("look for the trusted signing keys: %w", err)
	}
	if there {
		return nil
	}
	answer, err := a.cloud.SigningKeys(ctx)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	for _, k := range answer.Keys {
		text.WriteString(k.PEM)
		if !bytes.HasSuffix(text.Bytes(), []byte("\n")) {
			text.WriteByte('\n')
		}
	}
	keys, err := parseKeys(text.Bytes())
	if err != nil {
		return fmt.Errorf("signing keys from the control plane: %w", err)
	}
	if err := disk.ReplaceFile(a.disk, a.keyFile, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("keep the signing keys: %w", err)
	}
	ids := make([]string, 0, len(keys))
	for id := range keys {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	a.logger.Warn("First contact: the control plane's signing keys are trusted from now on.",
		slog.Any("keyIds", ids), slog.String("file", a.keyFile))
	return nil
}
