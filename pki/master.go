package pki

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fescue-edge/fescue/disk"
)

// MasterKey wraps secrets (private keys, access key secrets) before they are
// stored, with AES-256-GCM. Whoever has the database without the master key has
// no secret.
type MasterKey struct {
	aead cipher.AEAD
	id   string
	key  []byte
}

const masterKeySize = 32

// ErrSealed is wrapped when a sealed value does not open: it was sealed with
// another master key or was changed.
var ErrSealed = errors.New("the sealed value does not open with this master key")

// NewMasterKey makes a master key from its 32 bytes.
func NewMasterKey(key []byte) (*MasterKey, error) {
	if len(key) != masterKeySize {
		return nil, fmt.Errorf("a master key has %d bytes, not %d", masterKeySize, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("fescue master key id\x00"), key...))
	return &MasterKey{aead: aead, id: base64.RawURLEncoding.EncodeToString(sum[:9]), key: bytes.Clone(key)}, nil
}

// LoadMasterKey reads the master key from a file of base64 text. When the file
// is absent and create is set, a new key is made and written with mode 0600.
func LoadMasterKey(path string, create bool) (*MasterKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && create {
		return createMasterKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && !lent(info) {
		return nil, fmt.Errorf("master key %s can be read by others (mode %04o): run chmod 600 on it", path, mode)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("master key %s is not base64: %w", path, err)
	}
	return NewMasterKey(key)
}

// lent reports whether a file belongs to another user who lets this process's group read
// it and nobody else: so secrets come into the containers of Kubernetes.
func lent(info fs.FileInfo) bool {
	owner := disk.Owner(info)
	return info.Mode().Perm()&0o037 == 0 && owner >= 0 && owner != os.Geteuid()
}

func createMasterKey(path string) (*MasterKey, error) {
	key := make([]byte, masterKeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make master key: %w", err)
	}
	// Servers that share the file may start at once: the first one's key is it.
	own := path + "." + rand.Text()
	if err := disk.WriteFile(own, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write master key: %w", err)
	}
	err := os.Link(own, path)
	if removed := os.Remove(own); err == nil {
		err = removed
	}
	if errors.Is(err, os.ErrExist) {
		return LoadMasterKey(path, false)
	}
	if err != nil {
		return nil, fmt.Errorf("write master key: %w", err)
	}
	if err := disk.SyncFolder(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("write master key: %w", err)
	}
	return NewMasterKey(key)
}

// ID names the key without revealing anything about it, so that servers that
// share a database can check that they share the key.
func (k *MasterKey) ID() string { return k.id }

// Derive makes a key of 32 bytes for one purpose, the same on every server that
// has the master key. It reveals nothing about the master key.
func (k *MasterKey) Derive(purpose string) ([]byte, error) {
	return hkdf.Expand(sha256.New, k.key, "fescue "+purpose, masterKeySize)
}

// Seal wraps a secret. The label says what the secret is (for example
// "access-key/AKIA…") and must be given again to Open, so that sealed values
// cannot be swapped.
func (k *MasterKey) Seal(secret []byte, label string) ([]byte, error) {
	nonce := make([]byte, k.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return k.aead.Seal(nonce, nonce, secret, []byte(label)), nil
}

// Open unwraps what Seal made.
func (k *MasterKey) Open(sealed []byte, label string) ([]byte, error) {
	n := k.aead.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("%s: %w", label, ErrSealed)
	}
	secret, err := k.aead.Open(nil, sealed[:n], sealed[n:], []byte(label))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", label, ErrSealed)
	}
	return secret, nil
}
