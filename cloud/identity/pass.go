package identity

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
)

// Use is what a pass is good for.
type Use string

// The uses of passes: a link signs in to the console once, a session is who has signed
// in.
const (
	ConsoleLink    Use = "console link"
	ConsoleSession Use = "console session"
)

// How long passes are good, and the temporary keys of those who sign in from a terminal.
const (
	ConsoleLinkLife     = 10 * time.Minute
	ConsoleSessionLife  = 12 * time.Hour
	TerminalSessionLife = 12 * time.Hour
)

// ErrTemporaryKey is for what a temporary key may not ask for: a pass would outdo its
// role.
var ErrTemporaryKey = errors.New("a temporary key gets no pass: use the access key that it is from")

// IssuePass makes a pass for whoever has it to act as an access key: for a person who
// signed in, or for whoever has the key where there is none. It is a row as that of a
// temporary key and ends as one, but it signs nothing: its text is derived from its id
// for the one use.
func (k *Keys) IssuePass(ctx context.Context, keyID, person string, use Use, life time.Duration) (pass string, ends time.Time, err error) {
	if IsSession(keyID) {
		return "", ends, ErrTemporaryKey
	}
	s, err := k.startSession(ctx, SessionKey{Parent: keyID, Person: person}, life)
	if err != nil {
		return "", ends, err
	}
	pass, err = k.pass(s.ID, use)
	return pass, s.ExpiresAt, err
}

// pass is the text of a pass.
func (k *Keys) pass(id string, use Use) (string, error) {
	key, err := k.master.Derive("passes")
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(string(use) + "/" + id))
	return id + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
}

// Bearer is whom a pass lets act, and when it ends: ErrUnknownKey for one that is not
// good for the use, was ended, or whose access key was revoked, ErrExpiredKey for one
// that is over. A pass that was ended is refused at once, a revoked key within a second.
func (k *Keys) Bearer(ctx context.Context, use Use, pass string) (Signer, time.Time, error) {
	id, _, _ := strings.Cut(pass, ".")
	if want, err := k.pass(id, use); err != nil || !hmac.Equal([]byte(pass), []byte(want)) {
		return Signer{}, time.Time{}, errors.Join(err, ErrUnknownKey)
	}
	row, err := k.sessionRow(ctx, id)
	if err != nil {
		return Signer{}, time.Time{}, err
	}
	signer, err := k.Signer(ctx, row.Parent)
	signer.Person = row.Person
	return signer, row.ExpiresAt, err
}

// EndPass ends a pass: of two who end one, the second gets ErrUnknownKey.
func (k *Keys) EndPass(ctx context.Context, use Use, pass string) error {
	if _, _, err := k.Bearer(ctx, use, pass); err != nil {
		return err
	}
	id, _, _ := strings.Cut(pass, ".")
	err := k.store.RemoveSessionKey(ctx, id)
	if errors.Is(err, fescue.ErrNotFound) {
		return ErrUnknownKey
	}
	if err != nil {
		return fmt.Errorf("end a pass: %w", err)
	}
	return nil
}

// Proves says whose access key it is that somebody knows the secret of: ErrUnknownKey
// where that is not so. Temporary keys prove nothing here.
func (k *Keys) Proves(ctx context.Context, keyID, secret string) (Signer, error) {
	if IsSession(keyID) {
		return Signer{}, ErrUnknownKey
	}
	signer, err := k.Signer(ctx, keyID)
	if err != nil {
		return Signer{}, err
	}
	if !hmac.Equal([]byte(signer.Secret), []byte(secret)) {
		return Signer{}, ErrUnknownKey
	}
	return signer, nil
}
