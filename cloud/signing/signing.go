// Package signing keeps the keys that sign manifests. The newest one signs; each
// was vouched for by the one before, so that cores follow over any number of
// rotations. Private keys are stored sealed by the master key. Nothing is kept in
// memory that another program could not have changed: a rotation counts at once,
// on every server.
package signing

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
)

// Store keeps the keys.
type Store interface {
	ServerKeys(ctx context.Context, purpose string) ([]ServerKey, error)
	AddServerKey(ctx context.Context, k ServerKey) (added bool, err error)
}

// purpose is that of the keys here.
const purpose = "signing"

// Keys is the service.
type Keys struct {
	store  Store
	master *pki.MasterKey
	now    func() time.Time

	mu sync.Mutex
	// opened is the private key that was unwrapped last.
	opened Key
}

// Key is one signing key.
type Key struct {
	// ID is the SHA-256 of the public key, as manifests and cores name it.
	ID        string
	Public    ed25519.PublicKey
	CreatedAt time.Time
	// Signs is true for the newest key; Revoked for one that a later key revoked.
	Signs, Revoked bool

	row     ServerKey
	private ed25519.PrivateKey
}

// New makes the service.
func New(s Store, master *pki.MasterKey, now func() time.Time) *Keys {
	return &Keys{store: s, master: master, now: now}
}

// Prepare makes the first key when there is none.
func (k *Keys) Prepare(ctx context.Context) error {
	rows, err := k.store.ServerKeys(ctx, purpose)
	if err != nil || len(rows) > 0 {
		return err
	}
	row, err := k.generate(1)
	if err != nil {
		return fmt.Errorf("make the first signing key: %w", err)
	}
	// Another server that starts on the same empty database may be faster.
	_, err = k.store.AddServerKey(ctx, row)
	return err
}

// generate makes a key that nobody vouches for yet.
func (k *Keys) generate(number int) (ServerKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return ServerKey{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return ServerKey{}, err
	}
	id := fmt.Sprintf("%s/%d", purpose, number)
	sealed, err := k.master.Seal(private.Seed(), id)
	return ServerKey{
		ID: id, Purpose: purpose, Number: number, Sealed: sealed, CreatedAt: k.now().UTC(),
		PublicPEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}, err
}

// rows reads the keys, newest first.
func (k *Keys) rows(ctx context.Context) ([]ServerKey, error) {
	rows, err := k.store.ServerKeys(ctx, purpose)
	if err == nil && len(rows) == 0 {
		err = errors.New("there is none: start a server on the data folder once, which makes the first one")
	}
	if err != nil {
		return nil, fmt.Errorf("read the signing keys: %w", err)
	}
	return rows, nil
}

// List is all keys, newest first.
func (k *Keys) List(ctx context.Context) ([]Key, error) {
	rows, err := k.rows(ctx)
	if err != nil {
		return nil, err
	}
	keys := make([]Key, len(rows))
	for i, row := range rows {
		if keys[i], err = keyOf(row); err != nil {
			return nil, err
		}
	}
	keys[0].Signs = true
	return keys, markRevoked(keys)
}

func keyOf(row ServerKey) (Key, error) {
	public, err := parsePublic(row.PublicPEM)
	if err != nil {
		return Key{}, fmt.Errorf("signing key %s: %w", row.ID, err)
	}
	return Key{ID: bundle.KeyID(public), Public: public, CreatedAt: row.CreatedAt, row: row}, nil
}

// markRevoked follows the statements from the first key on, as a core does.
func markRevoked(keys []Key) error {
	first := keys[len(keys)-1]
	ring := bundle.NewKeyring(map[string]ed25519.PublicKey{first.ID: first.Public})
	for _, key := range slices.Backward(keys[:len(keys)-1]) {
		if _, _, err := ring.Add(key.row.Statement); err != nil {
			return fmt.Errorf("signing key %s does not follow from the one before: %w", key.ID, err)
		}
	}
	good := ring.IDs()
	for i := range keys {
		keys[i].Revoked = !slices.Contains(good, keys[i].ID)
	}
	return nil
}

func parsePublic(text string) (ed25519.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("not PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("it is a %T", parsed)
	}
	return key, nil
}

// current is the key that signs, with its private half.
func (k *Keys) current(ctx context.Context) (Key, error) {
	rows, err := k.rows(ctx)
	if err != nil {
		return Key{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.opened.row.ID == rows[0].ID {
		return k.opened, nil
	}
	key, err := keyOf(rows[0])
	if err != nil {
		return Key{}, err
	}
	seed, err := k.master.Open(key.row.Sealed, key.row.ID)
	if err != nil {
		return Key{}, fmt.Errorf("signing key: %w", err)
	}
	if len(seed) != ed25519.SeedSize {
		return Key{}, fmt.Errorf("signing key %s has %d bytes", key.row.ID, len(seed))
	}
	key.Signs, key.private = true, ed25519.NewKeyFromSeed(seed)
	k.opened = key
	return key, nil
}

// Sign signs a manifest with the newest key, for readers of the formats. The
// errors are those of bundle.Sign.
func (k *Keys) Sign(ctx context.Context, m bundle.Manifest, formats ...int) ([]byte, error) {
	key, err := k.current(ctx)
	if err != nil {
		return nil, err
	}
	return bundle.Sign(m, key.private, formats...)
}

// SignSecrets seals secrets for a core's public key and signs them with the newest
// key. The errors are those of bundle.SealSecrets.
func (k *Keys) SignSecrets(ctx context.Context, of bundle.SecretsOf, list []bundle.Secret, to crypto.PublicKey) ([]byte, error) {
	key, err := k.current(ctx)
	if err != nil {
		return nil, err
	}
	return bundle.SealSecrets(of, list, to, key.private)
}

// Renew signs a manifest of this control plane again, with the newest key and for
// readers of the formats, and returns the id of that key. A nil envelope stays nil, and one that is
// signed so already as it is, whoever signed it: whether it is this key's signature the
// reader finds out.
func (k *Keys) Renew(ctx context.Context, envelope []byte, formats ...int) (renewed []byte, keyID string, err error) {
	key, err := k.current(ctx)
	if err != nil || len(envelope) == 0 || bundle.Current(envelope, key.ID, formats...) {
		return envelope, key.ID, err
	}
	keys, err := k.List(ctx)
	if err != nil {
		return nil, "", err
	}
	own := make(map[string]ed25519.PublicKey, len(keys))
	for _, key := range keys {
		own[key.ID] = key.Public
	}
	m, err := bundle.Open(envelope, own)
	if err != nil {
		return nil, "", fmt.Errorf("sign a manifest again: %w", err)
	}
	renewed, err = bundle.Sign(m, key.private, formats...)
	return renewed, key.ID, err
}

// Public is what cores may know: the good keys, and the whole chain. A key is served
// until it is revoked, its statement for ever, so that a core which was away for
// years still follows.
func (k *Keys) Public(ctx context.Context) (corelink.SigningKeys, error) {
	keys, err := k.List(ctx)
	if err != nil {
		return corelink.SigningKeys{}, err
	}
	var answer corelink.SigningKeys
	for _, key := range keys {
		if !key.Revoked {
			answer.Keys = append(answer.Keys, corelink.SigningKey{KeyID: key.ID, PEM: key.row.PublicPEM})
		}
	}
	for _, key := range slices.Backward(keys[:len(keys)-1]) {
		answer.Chain = append(answer.Chain, key.row.Statement)
	}
	return answer, nil
}

// ErrRotated means that somebody else rotated at the same time.
var ErrRotated = errors.New("another rotation came first; list the keys and look whether one more is wanted")

// Rotate makes a new key, vouched for by the newest one, and has it sign from now
// on. With revoke every earlier key is revoked: cores that learn of it refuse
// whatever such a key signs from then on.
func (k *Keys) Rotate(ctx context.Context, revoke bool) (Key, error) {
	keys, err := k.List(ctx)
	if err != nil {
		return Key{}, err
	}
	by, err := k.current(ctx)
	if err != nil {
		return Key{}, err
	}
	row, err := k.generate(by.row.Number + 1)
	if err != nil {
		return Key{}, fmt.Errorf("make a signing key: %w", err)
	}
	public, err := parsePublic(row.PublicPEM)
	if err != nil {
		return Key{}, err
	}
	statement := bundle.KeyStatement{PublicKey: public, CreatedAt: row.CreatedAt}
	if revoke {
		for _, key := range keys {
			statement.Revokes = append(statement.Revokes, key.ID)
		}
	}
	if row.Statement, err = bundle.SignKey(statement, by.private); err != nil {
		return Key{}, err
	}
	added, err := k.store.AddServerKey(ctx, row)
	if err == nil && !added {
		err = ErrRotated
	}
	return Key{ID: bundle.KeyID(public), Public: public, CreatedAt: row.CreatedAt, Signs: true, row: row}, err
}
