package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/policy"
)

// Session is a temporary key with its secrets. They are derived from the id by
// the master key, so that nothing of them is stored.
type Session struct {
	ID, Secret, Token string
	ExpiresAt         time.Time
}

// sessionPrefix begins the ids of temporary keys, as AWS's do.
const sessionPrefix = "ASIA"

// IsSession says whether a key id is that of a temporary key.
func IsSession(id string) bool { return strings.HasPrefix(id, sessionPrefix) }

// StartSession makes a temporary key of the key that signed. With a role it may
// do what both the parent and the role's policies allow; without one it may do
// what its parent may. It ends with its parent.
func (k *Keys) StartSession(ctx context.Context, signer, identity, role string, life time.Duration) (Session, error) {
	parent := signer
	if IsSession(signer) {
		row, err := k.sessionRow(ctx, signer)
		if err != nil {
			return Session{}, err
		}
		if row.OfCore() {
			return Session{}, ErrUnknownKey // a role gives no right to make keys
		}
		parent = row.Parent
	}
	return k.startSession(ctx, parent, identity, role, life)
}

// startSession makes a temporary key of an access key, or of a core's certificate.
func (k *Keys) startSession(ctx context.Context, parent, identity, role string, life time.Duration) (Session, error) {
	var raw [10]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return Session{}, err
	}
	now := k.now().UTC().Truncate(time.Millisecond) // as the database keeps it
	row := SessionKey{
		ID: sessionPrefix + base32.StdEncoding.EncodeToString(raw[:]), Parent: parent, Identity: identity, Role: role,
		CreatedAt: now, ExpiresAt: now.Add(life),
	}
	s, err := k.session(row)
	if err != nil {
		return Session{}, err
	}
	if row.MAC, err = k.sessionMAC(row); err != nil {
		return Session{}, err
	}
	return s, k.store.AddSessionKey(ctx, row)
}

// sessionMAC authenticates a row: whose the key is, and what limits it.
func (k *Keys) sessionMAC(row SessionKey) (string, error) {
	key, err := k.master.Derive("rows of session keys")
	if err != nil {
		return "", err
	}
	row.MAC = ""
	data, err := json.Marshal(row)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// sessionRow reads the row of a temporary key that nobody changed. Those that an
// early version gave out, whose rows nothing authenticates, have ended.
func (k *Keys) sessionRow(ctx context.Context, id string) (SessionKey, error) {
	row, err := k.store.SessionKey(ctx, id)
	if errors.Is(err, fescue.ErrNotFound) {
		return row, ErrUnknownKey
	}
	if err != nil {
		return row, err
	}
	if row.MAC == "" || !k.now().Before(row.ExpiresAt) {
		return row, ErrExpiredKey
	}
	want, err := k.sessionMAC(row)
	if err == nil && !hmac.Equal([]byte(want), []byte(row.MAC)) {
		err = fmt.Errorf("session key %s is not as Fescue wrote it: its row in the database was changed: %w", id, pki.ErrSealed)
	}
	return row, err
}

// session derives the secrets of a row.
func (k *Keys) session(row SessionKey) (Session, error) {
	key, err := k.master.Derive("session keys")
	if err != nil {
		return Session{}, err
	}
	derive := func(purpose string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(purpose + "/" + row.ID))
		return mac.Sum(nil)
	}
	return Session{
		ID: row.ID, Secret: base64.StdEncoding.EncodeToString(derive("secret")[:30]),
		Token: base64.StdEncoding.EncodeToString(slices.Concat([]byte("fescue"), derive("token"), derive("token, continued"))), ExpiresAt: row.ExpiresAt,
	}, nil
}

// readSession reads a temporary key and who it is.
func (k *Keys) readSession(ctx context.Context, id string) (Signer, error) {
	row, err := k.sessionRow(ctx, id)
	if err != nil {
		return Signer{}, err
	}
	var signer Signer
	if row.OfCore() {
		signer, err = k.readCore(ctx, row)
	} else {
		signer, err = k.read(ctx, row.Parent)
	}
	if err != nil {
		return Signer{}, err
	}
	s, err := k.session(row)
	if err != nil {
		return Signer{}, err
	}
	signer.ID, signer.Secret, signer.SessionToken = s.ID, s.Secret, s.Token
	if signer.Ends.IsZero() || row.ExpiresAt.Before(signer.Ends) {
		signer.Ends = row.ExpiresAt
	}
	if row.Role == "" {
		return signer, nil
	}
	set, err := k.rolePolicies(ctx, signer.Account, row.Role)
	if errors.Is(err, fescue.ErrNotFound) {
		return Signer{}, ErrUnknownKey // the role was deleted
	}
	if err != nil {
		return Signer{}, fmt.Errorf("session key %s of role %s: %w", id, row.Role, err)
	}
	signer.Identity, signer.Conditional = row.Identity, true
	signer.Policies = append(slices.Clone(signer.Policies), set)
	return signer, nil
}

func (k *Keys) rolePolicies(ctx context.Context, account, role string) (policy.Set, error) {
	documents, err := k.roles.Documents(ctx, account, role)
	if err != nil {
		return nil, err
	}
	return policy.ParseAll(documents)
}
