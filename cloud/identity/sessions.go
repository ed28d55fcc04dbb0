package identity

import (
	"cmp"
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
// what its parent may. It ends with its parent. One that a person asks for who signed in
// is that person's, too, and does not outlast what it was asked for with.
func (k *Keys) StartSession(ctx context.Context, signer, identity, role string, life time.Duration) (Session, error) {
	made := SessionKey{Parent: signer, Identity: identity, Role: role}
	if IsSession(signer) {
		row, err := k.sessionRow(ctx, signer)
		if err != nil {
			return Session{}, err
		}
		if row.OfCore() {
			return Session{}, ErrUnknownKey // a role gives no right to make keys
		}
		if made.Parent, made.Person = row.Parent, row.Person; made.Person != "" {
			life = min(life, row.ExpiresAt.Sub(k.now()))
			made.SignIn = cmp.Or(row.SignIn, signer)
		}
	}
	return k.startSession(ctx, made, life)
}

// ErrLastingKey is for an access key that is asked to end as a temporary one does.
var ErrLastingKey = errors.New("an access key does not end so: it is revoked")

// EndSession ends a temporary key, and those that were made with it by whoever had signed
// in: here at once, at other servers within a second. One that ended before is
// ErrExpiredKey, one that is a core's ErrUnknownKey.
func (k *Keys) EndSession(ctx context.Context, id string) error {
	if !IsSession(id) {
		return ErrLastingKey
	}
	if _, err := k.sessionRow(ctx, id); err != nil {
		return err
	}
	err := k.store.EndSessionKey(ctx, id)
	k.mu.Lock()
	clear(k.recent) // which were made with it is not known here
	k.mu.Unlock()
	if errors.Is(err, fescue.ErrNotFound) {
		return ErrUnknownKey
	}
	if err != nil {
		return fmt.Errorf("end a session: %w", err)
	}
	return nil
}

// ErrTaken means that a session was begun already for what is good for one.
var ErrTaken = errors.New("it was used already")

// SignIn makes a temporary key of an access key for a person who proved who it is by
// something that is good once, such as a token: of two who come with the same one, here or
// at another server, the second gets ErrTaken, for as long as the key is good and a day more.
func (k *Keys) SignIn(ctx context.Context, keyID, person, once string, life time.Duration) (Session, error) {
	if IsSession(keyID) {
		return Session{}, ErrTemporaryKey
	}
	key, err := k.master.Derive("ids of sign-ins")
	if err != nil {
		return Session{}, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(keyID + "/" + once))
	s, err := k.startSession(ctx, SessionKey{ID: sessionID(mac.Sum(nil)), Parent: keyID, Person: person}, life)
	if errors.Is(err, fescue.ErrConflict) {
		err = ErrTaken
	}
	return s, err
}

// sessionID makes the id of a temporary key of ten bytes that nobody guesses, or that
// nothing else has.
func sessionID(of []byte) string {
	return sessionPrefix + base32.StdEncoding.EncodeToString(of[:10])
}

// startSession makes a temporary key of an access key, or of a core's certificate. The row
// has whose it is; without an id it gets one.
func (k *Keys) startSession(ctx context.Context, row SessionKey, life time.Duration) (Session, error) {
	if row.ID == "" {
		var raw [10]byte
		if _, err := rand.Read(raw[:]); err != nil {
			return Session{}, err
		}
		row.ID = sessionID(raw[:])
	}
	row.CreatedAt = k.now().UTC().Truncate(time.Millisecond) // as the database keeps it
	row.ExpiresAt = row.CreatedAt.Add(life).Truncate(time.Millisecond)
	s, err := k.session(row)
	if err != nil {
		return Session{}, err
	}
	if row.MAC, err = k.sessionMAC(row); err != nil {
		return Session{}, err
	}
	if err := k.store.AddSessionKey(ctx, row); errors.Is(err, fescue.ErrNotFound) {
		return Session{}, ErrExpiredKey // what it was to be made with ended meanwhile
	} else if err != nil {
		return Session{}, err
	}
	return s, nil
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

// sessionRow reads the row of a temporary key that nobody changed. Those that nothing
// authenticates have ended: they were ended, or an early version gave them out.
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
	signer.ID, signer.Secret, signer.SessionToken, signer.Person = s.ID, s.Secret, s.Token, row.Person
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
